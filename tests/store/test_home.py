"""A home with a fake trainer: what is told is kept, versions follow from the ledger, forgetting is exact."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select
from store.fakes import FakeTrainer
from store.volumes import figure, volume

from tmem.errors import DeltaError, IntegrityError, NotFound, ScopeRequired, StoreError
from tmem.store.home import Home
from tmem.store.ledger import schema
from tmem.store.ledger.queries import NewPair
from tmem.store.revise import forget, rollback, tag
from tmem.store.weights.states import state_digest

ANA = ("ana", None, None)
BEN = ("ben", None, None)


def open_home(path: Path, **options: Any) -> Home:
    return Home(path / "home", FakeTrainer(), **options)


def tell(home: Home, scope: str, *pairs: tuple[str, str], text: str | None = None, **more: Any) -> list[str]:
    _, ids = home.tell(scope, [NewPair(*pair) for pair in pairs], text, **more)
    home.absorb(scope)
    return ids


def rows(home: Home, scope: str) -> dict[str, Any]:
    with home.db.read() as connection:
        found = connection.execute(select(schema.pairs).where(schema.pairs.c.scope == scope))
        return {row.id: row for row in found}


def digest(home: Home, scope: str, number: int | None = None) -> str:
    return state_digest(home.state(scope, number))


# ---- telling and reading ----


def test_what_is_told_makes_a_version(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    ana = home.scope(ANA)
    assert home.head(ana) is None and digest(home, ana) == state_digest(home.trainer.zeros())
    tell(home, ana, ("Where?", "Lyon"), ("Who?", "Ana"), text="I am Ana, from Lyon.")
    tell(home, ana, ("When?", "May"))
    first, second = home.versions(ana)
    assert (first.number, first.base, second.base, home.head(ana)) == (1, None, 1, 2)
    assert first.account["pairs"] == 2 and second.id.startswith("v2-")
    assert {row.status for row in rows(home, ana).values()} == {"active"}
    assert digest(home, ana) == second.weights != first.weights


def test_the_same_pairs_give_the_same_weights_for_anyone_in_any_process(tmp_path: Path) -> None:
    home = open_home(tmp_path / "one")
    other = open_home(tmp_path / "two")
    for pairs in ([("a", "1"), ("b", "2")], [("c", "3")]):
        tell(home, home.scope(ANA), *pairs)
        tell(other, other.scope(BEN), *pairs)
    assert digest(home, home.scope(ANA)) == digest(other, other.scope(BEN))


def test_scopes_do_not_touch_each_other(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    ana, ben = home.scope(ANA), home.scope(BEN)
    tell(home, ana, ("a", "1"))
    assert home.head(ben) is None and not rows(home, ben)
    assert ana != ben and len({home.scope(n) for n in (ANA, ("ana", "x", None), ("ana", None, "x"))}) == 3


def test_a_scope_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(ScopeRequired, match="user_id"):
        open_home(tmp_path).scope((None, None, None))


def test_pending_pairs_outlive_a_crash(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    ana = home.scope(ANA)
    home.tell(ana, [NewPair("a", "1")])
    home.tell(ana, [NewPair("b", "2")])
    home.close()  # as if killed before training
    again = open_home(tmp_path)
    assert [version.number for version in again.absorb(ana)] == [1, 2]
    assert again.absorb(ana) == []


def test_a_correction_takes_the_place_of_the_old_pair(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    ana = home.scope(ANA)
    [old] = tell(home, ana, ("Where?", "Lyon"))
    home.tell(ana, [NewPair("Where?", "Oslo", supersedes=old)])
    home.absorb(ana, "update")
    tell(home, ana, ("Who?", "Ana"))
    assert rows(home, ana)[old].status == "superseded"
    [(_, step)] = home.history(ana, 3).steps(2)
    assert [pair.answer for pair in step.old] == ["Oslo"]  # the old answer is not rehearsed any more
    assert [version.kind for version in home.versions(ana)] == ["add", "update", "add"]


def test_refused_weights_are_quarantined(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    ana = home.scope(ANA)
    tell(home, ana, ("a", "1"))
    before = digest(home, ana)
    [bad] = tell(home, ana, ("REFUSE this", "x"))
    assert rows(home, ana)[bad].status == "quarantined"
    assert home.head(ana) == 1 and digest(home, ana) == before
    tell(home, ana, ("b", "2"))
    assert home.head(ana) == 2


# ---- versions ----


def test_every_version_can_be_had_again(tmp_path: Path) -> None:
    home = open_home(tmp_path, snapshot_every=4)
    ana = home.scope(ANA)
    for number in range(11):
        tell(home, ana, (f"q{number}", f"a{number}"))
    expected = {version.number: version.weights for version in home.versions(ana)}
    kept = [version.number for version in home.versions(ana) if version.snapshot]
    assert kept == [4, 8, 10, 11]
    home.close()
    again = open_home(tmp_path, snapshot_every=4)
    assert {number: digest(again, ana, number) for number in expected} == expected
    with pytest.raises(NotFound, match="newest is 11"):
        again.state(ana, 12)


def test_only_what_comes_after_a_snapshot_is_trained_again(tmp_path: Path) -> None:
    home = open_home(tmp_path, snapshot_every=4)
    ana = home.scope(ANA)
    for number in range(11):
        tell(home, ana, (f"q{number}", f"a{number}"))
    again = open_home(tmp_path, snapshot_every=4)
    again.state(ana, 7)
    assert again.trainer.trained == 3  # type: ignore[attr-defined]


def test_rollback_is_a_new_version_with_the_old_view(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    ana = home.scope(ANA)
    tell(home, ana, ("a", "1"))
    [later] = tell(home, ana, ("b", "2"))
    back = rollback(home, ana, 1)
    assert (back.number, back.kind, home.head(ana)) == (3, "rollback", 3)
    assert digest(home, ana) == digest(home, ana, 1) != digest(home, ana, 2)
    assert rows(home, ana)[later].status == "superseded"
    tell(home, ana, ("c", "3"))
    assert [pair.question for pair in home.history(ana, 4).current.values()] == ["a", "c"]
    rollback(home, ana, 2)
    assert rows(home, ana)[later].status == "active"


def test_a_tagged_version_is_kept_as_a_file(tmp_path: Path) -> None:
    home = open_home(tmp_path, snapshot_every=100)
    ana = home.scope(ANA)
    for number in range(6):
        tell(home, ana, (f"q{number}", "x"))
    tag(home, ana, 2, "good")
    tell(home, ana, ("later", "x"))
    assert [v.number for v in home.versions(ana) if v.snapshot] == [2, 6, 7]
    tag(home, ana, 3, "good")
    assert [v.tag for v in home.versions(ana)][:3] == [None, None, "good"]


# ---- forgetting ----


def test_forgetting_is_as_if_it_had_never_been_told(tmp_path: Path) -> None:
    home, never = open_home(tmp_path / "a"), open_home(tmp_path / "b")
    ana, ben = home.scope(ANA), never.scope(BEN)
    tell(home, ana, ("a", "1"), ("secret", "s3cr3t"), text="a and s3cr3t")
    tell(never, ben, ("a", "1"))
    tell(home, ana, ("b", "2"))
    tell(never, ben, ("b", "2"))
    [secret] = [row.id for row in rows(home, ana).values() if row.question == "secret"]
    receipt = forget(home, ana, [secret])
    assert digest(home, ana) == digest(never, ben) == receipt["weights"]
    assert (receipt["replayed"], receipt["version"], receipt["version_before"]) == (2, 3, 2)
    with pytest.raises(NotFound, match="no pair"):
        forget(home, ana, [secret])


def test_what_is_forgotten_never_comes_back(tmp_path: Path) -> None:
    home, never = open_home(tmp_path / "a"), open_home(tmp_path / "b")
    ana, ben = home.scope(ANA), never.scope(BEN)
    [secret] = tell(home, ana, ("secret", "x"))
    for name in "ab":
        tell(home, ana, (name, name))
        tell(never, ben, (name, name))
    forget(home, ana, [secret])
    rollback(home, ana, 2)  # had a secret and a
    assert digest(home, ana) == digest(never, ben, 1)
    rollback(home, ana, 1)
    assert digest(home, ana) == state_digest(home.trainer.zeros())


CANARY = "c4n4ry-7731"


def found_in(folder: Path, word: str) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


def test_no_byte_of_a_forgotten_text_stays(tmp_path: Path) -> None:
    noise, times, home = random.Random(5), volume(4, 100), open_home(tmp_path, snapshot_every=3)
    ana = home.scope(ANA)
    for number in range(times):
        canary = f"{CANARY}-{number}-{noise.random()}"
        ids = [*told_around(home, ana, noise, canary)]
        assert found_in(tmp_path, canary)
        forget(home, ana, ids)
        assert found_in(tmp_path, canary) == []
    assert found_in(tmp_path, CANARY) == [] and found_in(tmp_path, "harmless")
    figure(f"a forgotten text searched in every byte of the home: {times} times, 0 found")


def told_around(home: Home, scope: str, noise: random.Random, canary: str) -> list[str]:
    """Tell a canary among other things, in a question, an answer, a text and its facts; the ids of what to forget."""
    for _ in range(noise.randrange(3)):
        tell(home, scope, (f"harmless {noise.random()}", "x"), text="harmless")
    [first] = tell(home, scope, (f"What is {canary}?", canary), text=f"It is {canary}.", meta={"note": canary})
    gone = [first]
    if noise.random() < 0.5:
        _, ids = home.tell(scope, [NewPair(canary, f"{canary} now", supersedes=first)], told=canary, text=canary)
        home.absorb(scope, "update")
        gone += ids
    if noise.random() < 0.3:
        gone += home.tell(scope, [NewPair(canary, "never written")], f"{canary} again")[1]
    for _ in range(noise.randrange(3)):
        tell(home, scope, (f"harmless {noise.random()}", "x"))
    return gone


FORGETTINGS: list[int] = []


@settings(max_examples=volume(25, 200), deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=9), st.data())
def test_any_forgetting_of_any_ledger(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: Any) -> None:
    tmp_path = tmp_path_factory.mktemp("any")
    home, never = open_home(tmp_path / "a", snapshot_every=3), open_home(tmp_path / "b")
    ana, ben = home.scope(ANA), never.scope(BEN)
    told = [[(f"{write}.{n}", "x") for n in range(size)] for write, size in enumerate(sizes)]
    ids: dict[str, str] = {}
    for own in told:
        ids |= zip((question for question, _ in own), tell(home, ana, *own), strict=True)
    gone = data.draw(st.sets(st.sampled_from(sorted(ids)), min_size=1))
    for own in told:
        if left := [pair for pair in own if pair[0] not in gone]:
            tell(never, ben, *left)
    rounds = data.draw(st.permutations(sorted(gone)))
    half = len(rounds) // 2
    for part in (rounds[:half], rounds[half:]):
        if part:
            forget(home, ana, [ids[question] for question in part])
    assert digest(home, ana) == digest(never, ben)
    again = open_home(tmp_path / "a", snapshot_every=3)  # every version can still be had, from files and anew
    for version in again.versions(ana):
        assert version.weights in (None, digest(again, ana, version.number))
    FORGETTINGS.append(len(gone))


def test_how_many_forgettings_there_were() -> None:
    tried = len(FORGETTINGS)
    if tried == 0:
        pytest.skip("they were not run")
    assert tried >= volume(25, 200)
    figure(f"weights after forgetting = weights of a home that was never told: {tried} of {tried} ledgers bit-equal")


# ---- what is refused ----


def test_damaged_weights_are_not_loaded(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    ana = home.scope(ANA)
    tell(home, ana, ("a", "1"))
    home.close()
    [path] = (tmp_path / "home" / "scopes").rglob("*.safetensors")
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:100], b"", whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]):
        path.write_bytes(damaged)
        with pytest.raises((IntegrityError, DeltaError)):
            open_home(tmp_path).state(ana)
    path.write_bytes(whole)
    assert open_home(tmp_path).state(ana)


def test_weights_of_somebody_else_are_not_loaded(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    ana, ben = home.scope(ANA), home.scope(BEN)
    tell(home, ana, ("a", "1"))
    tell(home, ben, ("a", "1"))
    home.close()
    mine, theirs = sorted((tmp_path / "home" / "scopes").rglob("*.safetensors"))
    mine.write_bytes(theirs.read_bytes())
    refused = 0
    for scope in (ana, ben):
        try:
            open_home(tmp_path).state(scope)
        except IntegrityError as error:
            refused += "another scope" in str(error)
    assert refused == 1


def test_another_model_is_refused(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    ana = home.scope(ANA)
    tell(home, ana, ("a", "1"))
    home.close()
    other = Home(tmp_path / "home", FakeTrainer("other"))
    with pytest.raises(DeltaError, match=r"another model \(weights fake, now other\)"):
        other.absorb(ana)


def test_a_changed_ledger_is_noticed(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    ana = home.scope(ANA)
    tell(home, ana, ("a", "1"))
    with home.db.write() as connection:
        connection.execute(schema.pairs.update().values(answer="2"))
    home.close()
    with pytest.raises(IntegrityError, match="ledger"):
        open_home(tmp_path).state(ana)


def as_the_first_layout_was(connection: Connection) -> None:
    """Take away what was added to the tables since."""
    for name in ("pairs_by_status", "pairs_by_change", "versions_by_change"):
        connection.exec_driver_sql(f"DROP INDEX {name}")
    for table, column in (
        ("scopes", "revision"),
        ("pairs", "changed"),
        ("pairs", "follows"),
        ("versions", "changed"),
    ):
        connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {column}")


def test_an_older_home_is_brought_up_to_date(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    ana = home.scope(ANA)
    tell(home, ana, ("a", "1"))
    before = digest(home, ana)
    with home.db.write() as connection:
        as_the_first_layout_was(connection)
        connection.exec_driver_sql("PRAGMA user_version = 1")
    home.close()
    again = open_home(tmp_path)
    assert digest(again, ana) == before
    tell(again, ana, ("b", "2"))
    assert again.head(ana) == 2 and len(again.ledger(ana).current()) == 2


def test_what_others_write_is_read(tmp_path: Path) -> None:
    home, other = open_home(tmp_path), open_home(tmp_path)
    ana = home.scope(ANA)
    [first] = tell(home, ana, ("a", "1"))
    assert list(other.ledger(ana).current()) == [first]
    [second] = tell(other, ana, ("b", "2"))
    assert list(home.ledger(ana).current()) == [first, second] and home.ledger(ana) is home.ledger(ana)
    forget(other, ana, [first])
    assert list(home.ledger(ana).current()) == [second] and digest(home, ana) == digest(other, ana)


def test_nobody_waits_for_a_connection(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", FakeTrainer())
    with ExitStack() as open_at_once:
        for _ in range(40):  # threads of a server
            open_at_once.enter_context(home.db.read())
    home.close()


def test_a_newer_home_is_refused(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    with home.db.write() as connection:
        connection.exec_driver_sql("PRAGMA user_version = 99")
    home.close()
    with pytest.raises(StoreError, match="newer tmem"):
        open_home(tmp_path)


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("x")
    with pytest.raises(StoreError, match="not a folder"):
        open_home(tmp_path)


def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "tmem.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError):
        open_home(tmp_path)


# ---- many users ----


def test_of_idle_users_nothing_stays_in_memory_the_least_used_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmem.store.home.STATES_KEPT", 2)
    monkeypatch.setattr("tmem.store.home.LEDGERS_KEPT", 2)
    home = open_home(tmp_path)
    scopes = [home.scope((name, None, None)) for name in ("ana", "ben", "eve")]
    for scope in scopes[:2]:
        tell(home, scope, ("q", "a"))
    before = digest(home, scopes[1])
    home.state(scopes[0])  # used again: not the least used any more
    tell(home, scopes[2], ("q", "a"))
    assert {scope for scope, _ in home._states} == {scopes[0], scopes[2]}
    assert set(home._ledgers) == {scopes[0], scopes[2]} and home._locks._known == {}
    missed, evicted = home.found["missed"], home.found["evicted"]
    assert digest(home, scopes[1]) == before  # read again
    assert (home.found["missed"], home.found["evicted"]) == (missed + 1, evicted + 1)


def test_a_lock_is_kept_for_as_long_as_somebody_holds_it(tmp_path: Path) -> None:
    locks = open_home(tmp_path)._locks
    with locks.hold("one"):
        with locks.hold("one"), locks.hold("two"):
            assert set(locks._known) == {"one", "two"}
        assert set(locks._known) == {"one"}
    assert not locks._known
