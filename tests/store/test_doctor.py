"""Looking a home over: whatever is damaged is found, and made anew where the ledger is whole."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load
from sqlalchemy import text
from store.fakes import FakeTrainer

from tmem.errors import DeltaError
from tmem.store import revise
from tmem.store.care.doctor import examine
from tmem.store.home import Home
from tmem.store.ledger.queries import NewPair

ANA, BEN = ("ana", None, None), ("ben", "agent", None)


def filled(path: Path, **options: Any) -> tuple[Home, str, str]:
    """Two scopes of five writes each, one of them with a tag and a rollback."""
    home = Home(path / "home", FakeTrainer(**options), snapshot_every=2)
    scopes = home.scope(ANA), home.scope(BEN)
    for scope in scopes:
        for number in range(5):
            home.tell(scope, [NewPair(f"What is {number}?", str(number))])
        home.absorb(scope)
    revise.tag(home, scopes[0], 3, "good")
    revise.rollback(home, scopes[0], 4)
    return home, *scopes


def digests(home: Home, scope: str) -> list[str]:
    return [str(home.state(scope, version.number)["b"].tolist()) for version in home.versions(scope)]


def test_a_sound_home_has_no_findings(tmp_path: Path) -> None:
    home, _, _ = filled(tmp_path)
    assert examine(home) == examine(home, fix=True) == []


def test_every_damaged_file_is_found_and_made_anew(tmp_path: Path) -> None:
    home, ana, ben = filled(tmp_path)
    before = digests(home, ana), digests(home, ben)
    files = sorted((tmp_path / "home" / "scopes").rglob("*.safetensors"))
    noise = random.Random(1)
    for round_ in range(60):
        path = files[round_ % len(files)]
        whole = path.read_bytes()
        kind = noise.choice(["flip", "cut", "empty", "missing", "other"])
        if kind == "missing":
            path.unlink()
        elif kind == "other":
            path.write_bytes(files[(round_ + 1) % len(files)].read_bytes())
        else:
            place = noise.randrange(len(whole))
            flipped = whole[:place] + bytes([whole[place] ^ (1 << noise.randrange(8))]) + whole[place + 1 :]
            path.write_bytes({"flip": flipped, "cut": whole[:place], "empty": b""}[kind])
        [found] = examine(home)
        assert not found.fixed and found.remedy == "--fix makes it anew", (kind, found)
        [fixed] = examine(home, fix=True)
        assert fixed.fixed and fixed.problem == found.problem
        assert load(path.read_bytes())["b"].tolist() == load(whole)["b"].tolist()
        assert examine(home) == []
    assert (digests(home, ana), digests(home, ben)) == before


def test_leftovers_and_what_was_never_written(tmp_path: Path) -> None:
    home, ana, _ = filled(tmp_path)
    (home.files.file(ana, "") / "left.safetensors").write_bytes(b"x")
    home.tell(ana, [NewPair("And?", "yes")])
    (tmp_path / "home" / "scopes" / "strange").mkdir()
    problems = [(found.scope, found.problem) for found in examine(home)]
    assert problems == [
        ("ana", "1 files are left over (left.safetensors)"),
        ("ana", "1 pairs were told and never written"),
        ("", "scopes/strange belongs to nobody"),
    ]
    assert [found.fixed for found in examine(home, fix=True)] == [True, True, False]
    assert [found.problem for found in examine(home)] == ["scopes/strange belongs to nobody"]


def test_what_was_told_and_is_refused_is_not_called_written(tmp_path: Path) -> None:
    home, scope, _ = filled(tmp_path)
    home.tell(scope, [NewPair("REFUSE this", "x")])
    [found] = examine(home, fix=True)
    assert (found.remedy, found.fixed) == ("refused, see tmem list --all: a word", True) and examine(home) == []


def test_a_changed_ledger_cannot_be_made_anew(tmp_path: Path) -> None:
    home, _, _ = filled(tmp_path)
    with home.db.write() as connection:
        connection.execute(text("UPDATE pairs SET answer = 'other' WHERE question = 'What is 2?' AND scope LIKE '%'"))
    found = examine(home, fix=True)
    assert [one.fixed for one in found] == [False, False]
    assert all("not the one that version 3 was made from" in one.problem for one in found)
    assert {one.remedy for one in found} == {"put a backup in its place: tmem restore FOLDER"}


def test_pairs_marked_as_what_they_are_not(tmp_path: Path) -> None:
    home, ana, _ = filled(tmp_path)
    with home.db.write() as connection:
        connection.execute(text("UPDATE pairs SET status = 'superseded' WHERE question = 'What is 2?'"))
    assert [one.problem for one in examine(home)] == ["1 pairs are not marked as what they are"] * 2
    assert all(one.fixed for one in examine(home, fix=True)) and examine(home) == []
    assert len(home.ledger(ana).current()) == 4


def test_a_row_that_cannot_be_one(tmp_path: Path) -> None:
    home, _, _ = filled(tmp_path)
    with home.db.write() as connection:
        connection.execute(text("UPDATE versions SET account = '{' WHERE number = 2"))
        connection.execute(text("UPDATE pairs SET answer = x'00' WHERE question = 'What is 1?' AND scope LIKE '%'"))
    found = examine(home)
    assert len(found) == 2 and all("damaged in the ledger" in one.problem for one in found)


def test_another_engine_is_a_finding_and_can_be_adopted(tmp_path: Path) -> None:
    home, ana, ben = filled(tmp_path)
    home.close()
    other = Home(tmp_path / "home", FakeTrainer("newer"), snapshot_every=2)
    assert [one.scope for one in examine(other)] == ["ana", "ben/agent"]
    with pytest.raises(DeltaError, match="tmem rebuild --all"), other.lock(ana):
        pass
    assert revise.adopt(other, ana) == 4
    fresh = Home(tmp_path / "fresh", FakeTrainer("newer"))
    never = fresh.scope(ANA)
    for number in range(5):
        fresh.tell(never, [NewPair(f"What is {number}?", str(number))])
    fresh.absorb(never)
    assert digests(other, ana)[:5] == digests(fresh, never)  # as if it had been told to this engine
    assert [one.scope for one in examine(other)] == ["ben/agent"]
    assert [version.tag for version in other.versions(ana)].count("good") == 1
    with pytest.raises(DeltaError):
        other.check_engine(ben)
