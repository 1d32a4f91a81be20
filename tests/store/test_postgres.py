"""A ledger in Postgres: what holds in SQLite holds there, with writers that are killed, late, or lose the server."""

from __future__ import annotations

import inspect
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from store import test_crash, test_home, test_torture
from store.cluster import Cluster, point, program
from store.fakes import FakeTrainer
from store.test_home import as_the_first_layout_was
from store.volumes import figure, volume

from tmem.errors import StoreError, UsageError
from tmem.store.care.backup import backup
from tmem.store.care.doctor import examine
from tmem.store.home import Home
from tmem.store.ledger import postgres, queries
from tmem.store.ledger.history import Step
from tmem.store.ledger.locks import Busy
from tmem.store.ledger.queries import NewPair
from tmem.store.revise import forget
from tmem.store.weights.states import Tensors, Trained, state_digest

pytestmark = pytest.mark.skipif(Cluster.why_not() is not None, reason=str(Cluster.why_not()))
ANA, BEN = ("ana", None, None), ("ben", None, None)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that end soon."""
    monkeypatch.setattr(postgres, "LEASE_SECONDS", 1.0)


def open_home(path: Path, url: str, **more: Any) -> Home:
    return Home(point(path / "home", url), more.pop("trainer", FakeTrainer()), **more)


def tell(home: Home, scope: str, question: str, **more: Any) -> str:
    [pair_id] = home.tell(scope, [NewPair(question, "a")], f"text of {question}", **more)[1]
    home.absorb(scope)
    return pair_id


def rows(home: Home, scope: str) -> list[tuple[str, str]]:
    return [(row.question, row.status) for row in sorted(test_home.rows(home, scope).values(), key=lambda r: r.number)]


# ---- as in SQLite ----

OF_SQLITE = {  # tests of its file, and of who may open it
    "test_no_byte_of_a_forgotten_text_stays",
    "test_an_older_home_is_brought_up_to_date",
    "test_a_newer_home_is_refused",
    "test_a_home_that_is_a_file",
    "test_a_database_that_is_none",
    "test_nobody_waits_for_a_connection",  # there they are counted
}
SAME = [
    own
    for name, own in vars(test_home).items()
    if name.startswith("test_") and name not in OF_SQLITE and [*inspect.signature(own).parameters] == ["tmp_path"]
]


@pytest.mark.parametrize("test", SAME, ids=lambda test: test.__name__)
def test_the_same(test: Callable[[Path], None], tmp_path: Path, url: str) -> None:
    point(tmp_path / "home", url)
    test(tmp_path)


@pytest.mark.skipif(program("pgbouncer") is None, reason="needs pgbouncer (Debian: apt-get install pgbouncer)")
def test_behind_a_pooler_that_gives_every_transaction_another_connection(
    tmp_path: Path, cluster: Cluster, url: str
) -> None:
    url = cluster.pooler(url)
    point(tmp_path / "home", url)
    context = multiprocessing.get_context("fork")
    errors, writes = context.SimpleQueue(), volume(6, 100)
    Home(tmp_path / "home", FakeTrainer()).close()
    running = [
        context.Process(target=test_torture.worker, args=(tmp_path / "home", number, writes, errors))
        for number in range(4)
    ]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert errors.empty(), errors.get()
    home = test_torture.open_home(tmp_path / "home")
    told = 0
    for user in range(8):
        scope = home.scope((f"user {user}", None, None))
        home.absorb(scope)
        test_torture.check(home, scope)
        told += sum(row[1] == "x" for row in test_torture.ledger(home, scope).values())
    assert told == 4 * writes and examine(home) == []
    home.close()
    figure(f"Postgres behind pgbouncer, 4 processes, 8 scopes: {told} writes, none lost, none in a wrong scope")


# ---- writers that are killed, or late ----


def test_killed_at_any_moment(tmp_path: Path, cluster: Cluster, url: str, short: None) -> None:
    kills = volume(8, 200)
    kept, inside = test_crash.kill_many(
        tmp_path,
        FakeTrainer(),
        lambda rng: NewPair(f"q{rng.random()}", "a"),
        kills,
        25,
        1.0,
        lambda path: point(path, cluster.empty(url)),
    )
    assert kept > kills
    figure(f"the same in Postgres: {kills}, {inside} of them between telling and publishing; {kept} kept")


class Slow(FakeTrainer):
    """A trainer that waits, while others work, in the middle of a training."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self.meanwhile = meanwhile

    def train(self, state: Tensors, step: Step, look: bool = True) -> Trained:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return super().train(state, step, look)


def away(home: Home) -> None:
    """Let a process be away for longer than its leases last."""
    assert isinstance(home.db, postgres.Postgres)
    home.db._ended.set()  # nothing renews them
    time.sleep(1.5 * postgres.LEASE_SECONDS)


@pytest.mark.parametrize("late", ["knows it", "does not know it"])
def test_who_was_away_for_too_long_publishes_nothing(tmp_path: Path, url: str, short: None, late: str) -> None:
    other = open_home(tmp_path, url)
    ana = other.scope(ANA)

    def meanwhile() -> None:
        away(first)
        other.absorb(ana)
        if late == "does not know it":  # as if its clock had stood still
            first.db._held[ana].renewed = time.monotonic()  # type: ignore[attr-defined]

    first = open_home(tmp_path, url, trainer=Slow(meanwhile))
    first.tell(ana, [NewPair("q", "a")])
    with pytest.raises(StoreError, match=r"was away for too long .* nothing was changed"):
        first.absorb(ana)
    [version] = other.versions(ana)
    assert other.head(ana) == 1 and rows(other, ana) == [("q", "active")]
    other.drop_states(ana)
    assert state_digest(other.state(ana)) == version.weights  # its file is the one that was published
    tell(other, ana, "again")
    assert examine(other) == []  # and what the late one may have written is gone
    assert first.absorb(ana) == [] and first.head(ana) == 2


def test_who_was_away_removes_nothing_of_those_who_came_after(tmp_path: Path, url: str, short: None) -> None:
    first, other = open_home(tmp_path, url), open_home(tmp_path, url)
    ana = first.scope(ANA)
    tell(first, ana, "q")
    with first.lock(ana):
        away(first)
        with other.lock(ana):
            name, _ = other.files.save(ana, "0" * 64, other.trainer.zeros())  # not published yet
            first.db._held[ana].renewed = time.monotonic()  # type: ignore[attr-defined]
            with pytest.raises(StoreError, match="was away for too long"):
                first.clean(ana)
            assert other.files.file(ana, name).exists()
            other.clean(ana)
            assert not other.files.file(ana, name).exists()


def test_a_lease_lasts_for_as_long_as_its_holder_works(tmp_path: Path, url: str, short: None) -> None:
    first, other = open_home(tmp_path, url), open_home(tmp_path, url)
    ana = first.scope(ANA)
    with first.lock(ana):
        time.sleep(2.5)
        with pytest.raises(Busy), other.lock(ana, wait=False):
            pass
    with other.lock(ana, wait=False):  # and ends with it
        pass


def test_a_version_is_only_put_after_the_one_that_it_was_made_from(tmp_path: Path, url: str) -> None:
    home = open_home(tmp_path, url)
    ana = home.scope(ANA)
    tell(home, ana, "q")
    ledger = home.ledger(ana)
    tell(home, ana, "r")
    with pytest.raises(StoreError, match="another process has changed"), home.writing(ana) as connection:
        queries.add_version(connection, ana, ledger.head, (), ledger.history(1), {}, number=9, base=1, kind="add")
    assert home.head(ana) == 2 and [version.number for version in home.versions(ana)] == [1, 2]


def test_two_at_once_number_what_they_tell_one_after_the_other(tmp_path: Path, url: str) -> None:
    homes = [open_home(tmp_path, url) for _ in range(2)]
    ana, errors = homes[0].scope(ANA), list[Exception]()

    def many(home: Home) -> None:
        try:
            for number in range(20):
                home.tell(ana, [NewPair(f"q{number}", "a")])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=many, args=(home,)) for home in homes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and len(rows(homes[0], ana)) == 40
    assert sorted(row.number for row in test_home.rows(homes[0], ana).values()) == list(range(1, 41))


# ---- what can be wrong with it ----


def test_another_layout(tmp_path: Path, url: str) -> None:
    home = open_home(tmp_path, url)
    ana = home.scope(ANA)
    tell(home, ana, "q")
    before = state_digest(home.state(ana))
    with home.db.write() as connection:
        as_the_first_layout_was(connection)
        connection.exec_driver_sql("UPDATE layout SET number = 1")
    home.close()
    again = open_home(tmp_path, url)
    assert state_digest(again.state(ana)) == before
    tell(again, ana, "r")
    with again.db.write() as connection:
        connection.exec_driver_sql("UPDATE layout SET number = 99")
    with pytest.raises(StoreError, match=r"newer tmem \(layout 99\); install that version"):
        open_home(tmp_path, url)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://tmem:secret@127.0.0.1/x", "the ledger's address holds a password; remove it and set PGPASSWORD"),
        ("postgresql://tmem@127.0.0.1/x?password=secret", "the ledger's address holds a password"),
        ("postgresql://", "is none of a database"),
        ("postgresql+psycopg2://tmem@127.0.0.1/x", "is none of a database"),
        ("postgresql://tmem@127.0.0.1:1/x", "127.0.0.1/x: .*refused"),
        ("HERE/none", "none: .*does not exist"),
    ],
)
def test_an_address_that_cannot_work(tmp_path: Path, cluster: Cluster, address: str, said: str) -> None:
    with pytest.raises(StoreError, match=said) as caught:
        open_home(tmp_path, address.replace("HERE", cluster.address("")[:-1]))
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match=r"pip install 'tmem\[postgres\]'"):
        open_home(tmp_path, "postgresql://tmem@127.0.0.1/x")


def test_a_server_that_says_too_early_that_it_is_on_disk(tmp_path: Path, cluster: Cluster, url: str) -> None:
    database = url.rpartition("/")[2]
    cluster.sql(f"ALTER DATABASE {database} SET synchronous_commit = off")
    try:
        with pytest.raises(StoreError, match="synchronous_commit is off"):
            open_home(tmp_path, url)
    finally:  # other tests have the same database
        cluster.sql(f"ALTER DATABASE {database} RESET synchronous_commit")
    open_home(tmp_path, url)


def test_what_is_only_for_files(tmp_path: Path, url: str) -> None:
    home = open_home(tmp_path, url)
    with pytest.raises(StoreError, match="its ledger is in Postgres; copy it with pg_dump"):
        backup(home.path, tmp_path / "copy")
    assert not (tmp_path / "copy").exists() and examine(home) == []


# ---- forgetting ----

CLEAR = (  # as docs/reliability.md has it
    "VACUUM FULL",
    "CHECKPOINT",
    "SELECT pg_switch_wal()",
    "CHECKPOINT",
)


def test_what_is_forgotten_is_the_servers_to_clear(tmp_path: Path, cluster: Cluster, url: str) -> None:
    def there() -> set[str]:
        files = [file for file in Path(cluster.data).rglob("*") if file.is_file()]
        return {"wal" if "pg_wal" in str(file) else "tables" for file in files if b"canary" in file.read_bytes()}

    cluster.sql("ALTER SYSTEM SET wal_recycle = off", "SELECT pg_reload_conf()")
    home = open_home(tmp_path, url)
    ana = home.scope(ANA)
    [gone] = home.tell(ana, [NewPair("Where is the canary?", "canary")], "the canary is here", meta={"a": "canary"})[1]
    home.absorb(ana)
    tell(home, ana, "q")
    forget(home, ana, [gone])
    assert not any(b"canary" in file.read_bytes() for file in (tmp_path / "home").rglob("*") if file.is_file())
    assert "canary" not in str([test_home.rows(home, ana), home.ledger(ana)])  # no query gives it
    assert "wal" in there()  # but the server has it
    cluster.sql(*CLEAR, database=url.rpartition("/")[2])
    assert there() == set()
