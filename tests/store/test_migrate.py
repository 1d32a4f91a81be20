"""The ledger of a home moved to Postgres and back: all of it, or nothing; nobody goes on with the old one."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from store import test_home
from store.cluster import Cluster
from store.fakes import FakeTrainer
from store.test_postgres import open_home, rows, tell

from tmem.errors import StoreError, UsageError
from tmem.store.care.doctor import examine
from tmem.store.care.migrate import migrate
from tmem.store.home import Home
from tmem.store.ledger import schema
from tmem.store.ledger.queries import NewPair
from tmem.store.revise import forget, rollback
from tmem.store.weights.states import state_digest

pytestmark = pytest.mark.skipif(Cluster.why_not() is not None, reason=str(Cluster.why_not()))
ANA, BEN = ("ana", None, None), ("ben", None, None)


def content(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    with home.db.read() as connection:
        return {
            table.name: sorted(tuple(row) for row in connection.execute(select(table)))
            for table in schema.metadata.sorted_tables
        }


def test_there_and_back(tmp_path: Path, url: str) -> None:
    path, rng = tmp_path / "home", random.Random(3)
    home = Home(path, FakeTrainer(), snapshot_every=3)
    ana, ben = home.scope(ANA), home.scope(BEN)
    ids = [tell(home, rng.choice([ana, ben]), f"q{number} \N{SNOWMAN}'\"\\ %s", meta={"x": 1}) for number in range(12)]
    forget(home, ana, [one for one in ids if one in test_home.rows(home, ana)][:2])
    rollback(home, ben, 1)
    home.tell(ana, [NewPair("waits", "a", created="2026-01-01T00:00:00.000+00:00")])
    before = content(home)
    states = {(scope, v.number): v.weights for scope in (ana, ben) for v in home.versions(scope)}
    counts = migrate(path, url)["rows"]
    assert counts == {name: len(own) for name, own in before.items()} and counts["pairs"] == 13
    with pytest.raises(StoreError, match="removed or exchanged while it was open"):
        home.tell(ana, [NewPair("late", "a")])
    assert (path / "tmem.db").read_text() == f"{url}\n" and len(list(path.glob("*tmem.db*"))) == 1
    there = Home(path, FakeTrainer(), snapshot_every=3)
    assert content(there) == before
    for (scope, number), weights in states.items():
        assert weights in (None, state_digest(there.state(scope, number)))
    there.absorb(ana)
    tell(there, ben, "more")
    before = content(there)
    migrate(path, "sqlite")
    with pytest.raises(StoreError, match="removed or exchanged"):
        there.tell(ana, [NewPair("late", "a")])
    back = Home(path, FakeTrainer(), snapshot_every=3)
    assert content(back) == before and examine(back) == []
    tell(back, ana, "and on")
    migrate(path, url)  # nothing was left there
    assert ("and on", "active") in rows(Home(path, FakeTrainer(), snapshot_every=3), ana)


def test_a_ledger_that_was_moved_is_no_longer_written_to_elsewhere(tmp_path: Path, url: str) -> None:
    home, elsewhere = open_home(tmp_path / "one", url), open_home(tmp_path / "two", url)
    ana = home.scope(ANA)
    tell(home, ana, "q")
    assert elsewhere.head(ana) == 1
    migrate(tmp_path / "one" / "home", "sqlite")
    with pytest.raises(StoreError, match=r'"scopes" does not exist; nothing was changed'):
        tell(elsewhere, ana, "r")


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("mysql://u@h/d", "Protocol not known: mysql"),
        ("nowhere", "postgresql://user@host/database or sqlite for the ledger"),
        ("sqlite", "in SQLite already"),
        ("postgresql://tmem:x@h/d", "holds a password"),
        ("postgresql://tmem@127.0.0.1:1/d", "refused"),
        ("URL", "has memories already"),
    ],
)
def test_a_move_that_cannot_be_made(tmp_path: Path, url: str, to: str, said: str) -> None:
    tell(other := open_home(tmp_path / "other", url), other.scope(BEN), "q")
    home = Home(tmp_path / "home", FakeTrainer())
    tell(home, home.scope(ANA), "q")
    before = content(home)
    with pytest.raises((StoreError, UsageError), match=said):
        migrate(tmp_path / "home", to.replace("URL", url))
    assert content(home) == before and len(content(other)["scopes"]) == 1
    assert not (tmp_path / "home" / ".tmem.db.part").exists()


def test_a_move_that_fails_on_its_way(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home", FakeTrainer())
    tell(home, home.scope(ANA), "q")
    before = content(home)
    with monkeypatch.context() as patch:
        patch.setattr("tmem.store.care.migrate.insert", lambda table: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            migrate(tmp_path / "home", url)
    assert content(home) == before
    migrate(tmp_path / "home", url)
