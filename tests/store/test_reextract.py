"""The stronger forgetting: later texts are read again by a memory that never had what is forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from store.fakes import Scripted

from tmem import Memory
from tmem.errors import NotFound, UsageError
from tmem.model import Model
from tmem.store.scoped import ScopedMemory

VEHICLE, COLOUR, JOB, PET, SPORT = (f"What is Maria's {x}?" for x in ("vehicle", "colour", "job", "pet", "sport"))
Script = list[list[tuple[str, str]]]


def scripted(memory: Memory, user: str, extractions: Script) -> ScopedMemory:
    """A memory whose next extractions give these pairs."""
    mine = memory.scope(user)
    written = [json.dumps([{"instruction": q, "output": a} for q, a in pairs]) for pairs in extractions]
    mine.actions.engine = Scripted(mine.model, written)  # type: ignore[assignment]
    return mine


def told(memory: ScopedMemory) -> list[tuple[str, str]]:
    return [(row["question"], row["answer"]) for row in memory.get_all()]


@pytest.fixture
def trajectory(memory: Memory) -> ScopedMemory:
    """A text, a pair as it is, and two texts that were read by a model that had the first."""
    script = [[(VEHICLE, "camper")], [(JOB, "camper"), (PET, "cat")], [(SPORT, "tennis")]]
    mine = scripted(memory, "u", script)
    mine.add("the first", pairs=[(COLOUR, "silver")])
    mine.add(pairs=[(COLOUR, "red")])
    mine.add("the second")
    mine.add("the third")
    assert len(told(mine)) == 5
    return mine


def test_later_texts_are_read_again(trajectory: ScopedMemory, memory: Memory, model: Model, tmp_path: Path) -> None:
    before = {row["question"]: row["id"] for row in trajectory.get_all()}
    scripted(memory, "u", [[(PET, "cat"), (JOB, "baker")], [(SPORT, "tennis")]])
    receipt = trajectory.forget([before[VEHICLE]], mode="reextract")
    facts = {key: receipt.details[key] for key in ("texts", "same", "new", "lost", "aside", "unread")}
    assert facts == {"texts": 2, "same": 2, "new": 1, "lost": 1, "aside": 0, "unread": 0}
    assert [(row["question"], row["answer"], row["status"]) for row in receipt.pairs] == [(JOB, "baker", "active")]
    assert sorted(told(trajectory)) == sorted([(COLOUR, "red"), (PET, "cat"), (JOB, "baker"), (SPORT, "tennis")])
    after = {row["question"]: row["id"] for row in trajectory.get_all()}
    assert all(after[question] == before[question] for question in (COLOUR, PET, SPORT))  # who is the same stays
    assert trajectory.get(before[JOB])["question"] is None

    with Memory(model, tmp_path / "never", recipe="sgd") as other:
        never = scripted(other, "v", [[(PET, "cat"), (JOB, "baker")], [(SPORT, "tennis")]])
        never.add(pairs=[(COLOUR, "silver")])
        never.add(pairs=[(COLOUR, "red")])
        never.add("the second")
        never.add("the third")
        assert never.verify()["weights"] == receipt.details["weights"]
    assert trajectory.verify(deep=True)["weights"] == receipt.details["weights"] and memory.doctor() == []
    assert trajectory.rollback(3).version is not None  # an earlier version has what is read now, too
    assert sorted(told(trajectory)) == sorted([(COLOUR, "red"), (PET, "cat"), (JOB, "baker")])
    home = [path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert not any(b"the first" in data for data in home) and any(b"the second" in data for data in home)


def test_what_was_corrected_is_corrected_again(memory: Memory) -> None:
    mine = scripted(memory, "u", [[(VEHICLE, "camper")], [(JOB, "baker")]])
    [first] = mine.add("the first").pairs
    [job] = mine.add("the second").pairs
    mine.update(job["id"], "nurse")
    scripted(memory, "u", [[(JOB, "pilot")]])
    mine.forget([first["id"]], mode="reextract")
    assert told(mine) == [(JOB, "nurse")]
    [nurse] = mine.get_all()
    assert [row["answer"] for row in mine.history(nurse["id"])] == ["nurse", "pilot"]
    assert mine.verify(deep=True) and memory.doctor() == []


def test_what_is_forgotten_is_not_read_again(memory: Memory) -> None:
    again, third = [(VEHICLE, "camper"), (PET, "cat")], [(JOB, "baker"), (SPORT, "tennis")]
    mine = scripted(memory, "u", [[(VEHICLE, "camper")], again, third])
    [camper] = mine.add("the first").pairs
    mine.add("the first again, and the second")
    job, _ = mine.add("the third").pairs
    scripted(memory, "u", [again, third])
    receipt = mine.forget([camper["id"], job["id"]], mode="reextract")
    assert told(mine) == [(PET, "cat"), (SPORT, "tennis")]
    assert receipt.details["unread"] == 2 and receipt.details["texts"] == 0
    assert mine.verify(deep=True) and memory.doctor() == []


def test_what_put_a_forgotten_pair_right_puts_right_what_that_had(memory: Memory) -> None:
    mine = memory.scope("u")
    mine.add(pairs=[(VEHICLE, "camper")])
    [ferry] = mine.add(pairs=[(VEHICLE, "ferry")]).pairs
    mine.add(pairs=[("How does Maria get around?", "plane")])
    mine.rollback(2)
    mine.add(pairs=[(VEHICLE, "tram")])
    mine.forget([ferry["id"]], mode="reextract")
    assert told(mine) == [(VEHICLE, "tram")]
    mine.rollback(3)
    assert told(mine) == [("How does Maria get around?", "plane")]
    assert mine.verify(deep=True) and memory.doctor() == []


def test_what_a_text_no_longer_gives_is_not_what_was_put_right(memory: Memory) -> None:
    mine = scripted(memory, "u", [[(JOB, "baker")], [(VEHICLE, "ferry")]])
    [first] = mine.add("the first").pairs
    mine.add(pairs=[(VEHICLE, "camper")])
    mine.add("the second")
    mine.add(pairs=[("How does Maria get around?", "plane")])
    scripted(memory, "u", [[]])
    mine.forget([first["id"]], mode="reextract")
    assert told(mine) == [("How does Maria get around?", "plane")]
    assert mine.verify(deep=True) and memory.doctor() == []


def test_what_cannot_be_read_again_is_said(memory: Memory) -> None:
    mine = scripted(memory, "u", [[(VEHICLE, "camper")], [(JOB, "baker"), (PET, "cat")], [(SPORT, "tennis")]])
    [first] = mine.add("the first").pairs
    mine.tag(1, "start")
    job, _ = mine.add("the second").pairs
    mine.forget([job["id"]])  # and its text with it
    mine.add("the third")
    mine.rollback(2)  # which leaves the third aside
    receipt = mine.forget([first["id"]], mode="reextract")
    facts = {key: receipt.details[key] for key in ("texts", "same", "new", "lost", "aside", "unread")}
    assert facts == {"texts": 0, "same": 0, "new": 0, "lost": 0, "aside": 1, "unread": 1}
    assert told(mine) == [(PET, "cat")] and mine.stats()["pairs"] == {"active": 1, "forgotten": 3}
    assert mine.verify(deep=True) and memory.doctor() == []


def test_what_cannot_be_forgotten_so(memory: Memory) -> None:
    with pytest.raises(UsageError, match="choose replay or reextract"):
        memory.forget([], mode="other", user_id="u")
    with pytest.raises(NotFound, match="no pair nope"):
        memory.forget(["nope"], mode="reextract", user_id="u")
