"""Weights in storage elsewhere: what holds in a folder holds there, also when it cannot be reached in the middle."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from store import test_home, test_torture
from store.cluster import Cluster, point
from store.fakes import FakeTrainer
from store.test_home import ANA, BEN, digest, tell
from store.volumes import figure

from tmem.errors import IntegrityError, StoreError, UsageError
from tmem.server.replies import refusal_of
from tmem.store.care.backup import backup
from tmem.store.care.doctor import examine
from tmem.store.care.migrate import migrate
from tmem.store.home import Home
from tmem.store.revise import forget
from tmem.store.weights.snapshots import Unreachable
from tmem.store.weights.storage import Storage


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A place in this process's memory."""
    import fsspec

    yield f"memory://{tmp_path.name}/weights"
    fsspec.filesystem("memory").rm("/", recursive=True)


def there(path: Path, address: str) -> Path:
    """A home whose weights are at ``address``."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "storage").write_text(f"{address}\n")
    return path


def filled(path: Path) -> tuple[Home, str, str]:
    home = Home(path, FakeTrainer(), snapshot_every=2)
    ana, ben = home.scope(ANA), home.scope(BEN)
    for number in range(5):
        tell(home, ana, (f"q{number}", "a"))
        tell(home, ben, (f"r{number}", "b"))
    return home, ana, ben


def local(path: Path) -> list[str]:
    return sorted(file.name for file in (path / "scopes").rglob("*") if file.is_file())


OF_PATHS = {"test_a_home_that_is_a_file", "test_a_database_that_is_none"}
SAME = [
    own
    for name, own in vars(test_home).items()
    if name.startswith("test_")
    and name not in OF_PATHS
    and '"scopes")' not in inspect.getsource(own)
    and [*inspect.signature(own).parameters] == ["tmp_path"]
]


@pytest.mark.parametrize("test", SAME, ids=lambda test: test.__name__)
def test_the_same(test: Callable[[Path], None], tmp_path: Path, address: str) -> None:
    there(tmp_path / "home", address)
    test(tmp_path)
    assert local(tmp_path / "home") == []


def test_there_and_back(tmp_path: Path, address: str) -> None:
    path = tmp_path / "home"
    home, ana, ben = filled(path)
    names, states = local(path), {scope: digest(home, scope, 4) for scope in (ana, ben)}
    assert migrate(path, address) == {"files": len(names)} and len(names) > 4
    assert local(path) == [] and (path / "storage").read_text() == f"{address}\n"
    home.drop_states(ana)
    for late in (lambda: home.state(ana), lambda: tell(home, ana, ("late", "a"))):
        with pytest.raises(StoreError, match="moved while it was open"):
            late()
    moved = Home(path, FakeTrainer(), snapshot_every=2)
    assert sorted(name for scope in (ana, ben) for name in moved.files.sizes(scope)) == names
    assert {scope: digest(moved, scope, 4) for scope in (ana, ben)} == states and moved.trainer.trained == 0  # type: ignore[attr-defined]
    moved.absorb(ana)  # what the late one told
    assert len(moved.versions(ana)) == 6 and examine(moved) == []
    with pytest.raises(UsageError, match="there already"):
        migrate(path, address)
    migrate(path, f"file://{tmp_path}/elsewhere/")  # from one storage to another
    assert Storage(address, path).folders() == [] and len(list((tmp_path / "elsewhere").rglob("*.safetensors"))) > 4
    migrate(path, "folder")
    assert not (path / "storage").exists() and not list((tmp_path / "elsewhere").rglob("*"))
    back = Home(path, FakeTrainer(), snapshot_every=2)
    assert {scope: digest(back, scope, 4) for scope in (ana, ben)} == states and examine(back) == []


def test_a_move_that_fails_changes_nothing(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home, ana, _ = filled(tmp_path / "home")
    names = local(tmp_path / "home")
    with monkeypatch.context() as patch:  # of which not all arrives
        patch.setattr(Storage, "get", lambda *_: b"half")
        with pytest.raises(StoreError, match="otherwise than it was written"):
            migrate(tmp_path / "home", address)
    assert local(tmp_path / "home") == names and not (tmp_path / "home" / "storage").exists()
    tell(home, ana, ("more", "a"))
    assert examine(home) == []


def test_damage_is_refused_and_made_anew(tmp_path: Path, address: str) -> None:
    home, ana, ben = filled(there(tmp_path / "home", address))
    last = str(home.version(ana, 5).snapshot)
    whole, weights = home.files.get(ana, last), digest(home, ana)
    theirs = home.files.get(ben, str(home.version(ben, 5).snapshot))
    for bad in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[: len(whole) // 2], b"", theirs, b"\x80\x04K\x01.", None):
        home.files.unlink(ana, last) if bad is None else home.files.put(ana, last, bad)
        home.drop_states(ana)
        with pytest.raises(IntegrityError, match="--fix makes it anew"):
            home.state(ana)
        [found] = examine(home, fix=True)
        assert found.fixed and examine(home) == [] and digest(home, ana) == weights


def test_what_is_forgotten_is_removed_there(tmp_path: Path, address: str) -> None:
    home, ana, _ = filled(there(tmp_path / "home", address))
    before = home.files.sizes(ana).keys()
    forget(home, ana, [next(iter(test_home.rows(home, ana)))])
    assert not before & home.files.sizes(ana).keys()
    home.erase(ana)
    assert home.files.sizes(ana) == {} and len(home.files.folders()) == 1


def test_a_backup_holds_the_weights(tmp_path: Path, address: str) -> None:
    home, ana, _ = filled(there(tmp_path / "home", address))
    assert backup(home.path, tmp_path / "copy") == sum(map(len, map(home.files.sizes, (ana, home.scope(BEN)))))
    copy = Home(tmp_path / "copy", FakeTrainer(), snapshot_every=2)
    assert examine(copy) == [] and digest(copy, ana) == digest(home, ana) and not (copy.path / "storage").exists()


class Cut:
    """Storage that is not there any more from the N-th call on."""

    def __init__(self, real: Any, at: int) -> None:
        self.real, self.at, self.count = real, at, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.real, name)

        def call(*args: Any, **more: Any) -> Any:
            self.count += 1
            if self.count >= self.at:
                raise RuntimeError("no route\nto the host")
            return found(*args, **more)

        return call if callable(found) else found


@pytest.mark.parametrize("operation", test_torture.OPERATIONS)
def test_whenever_it_cannot_be_reached(operation: str, tmp_path: Path, address: str) -> None:
    at, failed = 0, 0
    while True:
        at += 1
        path = there(tmp_path / f"home-{at}", f"{address}/{at}")
        test_torture.prepared(path)
        home = test_torture.open_home(path)
        scope = home.scope(ANA)
        before, problem = test_torture.ledger(home, scope), None
        home.files.system = cut = Cut(home.files.system, at)  # type: ignore[attr-defined]
        try:
            test_torture.OPERATIONS[operation](home, scope, list(before))
        except Unreachable as error:
            problem = str(error)
            assert problem.startswith(f"{address}/{at}/") and "cannot be reached (no route)" in problem
        again = test_torture.open_home(path)
        again.absorb(scope)
        test_torture.check(again, scope)
        after = test_torture.ledger(again, scope)
        for pair_id, row in before.items():  # nothing is lost but what was to be forgotten
            assert row[:2] == after[pair_id][:2] or (operation == "forget" and pair_id == next(iter(before)))
        if operation == "add":  # what was told before is written by the next one
            assert len(after) == len(before) + 1
        assert [found for found in examine(again, fix=True) if not found.fixed] == []
        failed += problem is not None
        if cut.count < at:
            break
    assert failed > 0
    figure(
        f"storage that cannot be reached from the N-th call of {operation} on: {at} runs, {failed} ended in one line"
    )


def test_a_home_opens_without_it_and_wipes_when_it_is_back(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, ana, ben = filled(there(tmp_path / "home", address))
    forgotten = home.files.sizes(ana).keys()
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "sizes", lambda *_: (_ for _ in ()).throw(Unreachable("away")))
        with pytest.raises(Unreachable):
            forget(home, ana, [next(iter(test_home.rows(home, ana)))])
        tell(Home(tmp_path / "home", FakeTrainer()), ben, ("goes", "on"))
    assert forgotten <= home.files.sizes(ana).keys()
    Home(tmp_path / "home", FakeTrainer())
    assert not forgotten & home.files.sizes(ana).keys()


def test_callers_are_not_told_where_it_is() -> None:
    said = refusal_of(Unreachable("s3://secret/x: cannot be reached"), "/home")
    assert said.status == 503 and said.retry and "secret" not in str(said)


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("s3://me:secret@host/b", "holds a password"),
        ("nosuch://b/c", "Protocol not known: nosuch"),
        ("memory://", "as s3://bucket/folder"),
        ("folder", "there already"),
        ("s3://b/c", r"pip install 'tmem\[s3\]'"),
    ],
)
def test_places_that_are_none(to: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UsageError, match=said) as caught:
        migrate(tmp_path / "home", to)
    assert "secret" not in str(caught.value) and not (tmp_path / "home" / "storage").exists()


@pytest.mark.skipif(Cluster.why_not() is not None, reason=str(Cluster.why_not()))
def test_machines_with_homes_of_their_own(tmp_path: Path, url: str, address: str) -> None:
    """With the ledger in Postgres and the weights in storage, two lines make a home of another machine."""
    one, two = (there(point(tmp_path / name, url), address) for name in ("one", "two"))
    home, ana, _ = filled(one)
    other = Home(two, FakeTrainer(), snapshot_every=2)
    assert digest(other, ana) == digest(home, ana) and other.trainer.trained == 0  # type: ignore[attr-defined]
    tell(other, ana, ("and", "more"))
    assert home.head(ana) == 6 and digest(home, ana) == digest(other, ana) and examine(home) == examine(other) == []
    assert local(one) == local(two) == []


def test_a_server_that_speaks_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs", reason="needs the extra s3")
    moto = pytest.importorskip("moto.server", reason="needs moto[server,s3]")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        with pytest.raises(Unreachable, match="cannot be reached"):
            migrate(tmp_path / "home", "s3://tmem/weights")  # there is no such bucket
        import s3fs

        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("tmem")
        home, ana, ben = filled(tmp_path / "home")
        before = digest(home, ana, 4)
        assert migrate(tmp_path / "home", "s3://tmem/weights")["files"] > 4 and local(tmp_path / "home") == []
        home = Home(tmp_path / "home", FakeTrainer(), snapshot_every=2)
        assert digest(home, ana, 4) == before and home.trainer.trained == 0  # type: ignore[attr-defined]
        tell(home, ana, ("more", "a"))
        forget(home, ben, [next(iter(test_home.rows(home, ben)))])
        assert examine(home) == []
        home.erase(ben)
        assert home.files.folders() == [ana[:16]]
        other = Home(tmp_path / "home", FakeTrainer())
    finally:
        server.stop()
    with pytest.raises(Unreachable, match=r"s3://tmem/weights/.* cannot be reached"):
        tell(other, ana, ("in the middle", "a"))
    assert "pending" in {row.status for row in test_home.rows(other, ana).values()}
