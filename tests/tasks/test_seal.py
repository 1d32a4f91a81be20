"""SEAL's passages: what models wrote of them, read as pairs, and how passages become episodes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tmem.errors import DataError
from tmem.tasks.seal import Seal, questions_and_answers

WRITTEN = """1. Where does the ferry land?
Answer 1:  At Oban.

Question 2: 2.  Who owns it?
Answer 2:  A family of five.
You are an assistant. Think step by step."""


def passage(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "title": f"Ferry {number}",
        "context": f"The ferry {number} lands at Oban.",
        "questions": [{"question": f"Where does ferry {number} land?", "answer": "Oban"}],
        "completions": [WRITTEN, "1. The ferry lands at Oban.\n2. A family owns it."],
    } | changes


def saved(folder: Path, records: Any, name: str = "edits.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(records))
    return path


@pytest.mark.parametrize(
    ("written", "pairs"),
    [
        (WRITTEN, [("Where does the ferry land?", "At Oban."), ("Who owns it?", "A family of five.")]),
        ("Who owns it?\nAnswer: Ann.\n\nQuestion 2: Who?\nA: Bo", [("Who owns it?", "Ann."), ("Who?", "Bo")]),
        ("Who owns it?\n\nAnn.\n\nQuestion 2: Who?\n\nAnswer:  Bo", [("Who owns it?", "Ann."), ("Who?", "Bo")]),
        ("Who owns it?\nAnswer: Ann.\n\nQuestion 2: WHO owns it?\nAnswer: Bo", [("Who owns it?", "Ann.")]),
        ("Who owns it?\nQuestion 2: Who?\nQuestion 3: When?", []),
        ("1. 1. 1. 1. 1.", []),
        ("1. The ferry lands at Oban.\n2. A family owns it.", []),
        ("", []),
    ],
)
def test_pairs_are_found_in_every_form_that_models_gave_them(written: str, pairs: list[tuple[str, str]]) -> None:
    assert questions_and_answers(written) == pairs


def test_passages_are_learnt_one_by_one_after_one_another_or_all(tmp_path: Path) -> None:
    path = saved(tmp_path, [passage(number) for number in range(5)])
    alone = list(Seal(path, False).tasks(0))
    assert [task.items[0].id for task in alone] == [f"{n}:0" for n in range(5)]
    assert [task.items[0].category for task in alone] == ["question"] * 5
    assert [len(task.episode.units) for task in Seal(path, False, passages=2).tasks(0)] == [2, 2, 1]
    assert Seal(path, False, passages=2).count(0, 1) == 2
    [series] = Seal(path, False, passages=0).tasks(0)
    assert [item.category for item in series.items] == [f"passage {n + 1}" for n in range(5)]
    assert [item.id for item in series.items] == [task.items[0].id for task in alone]
    # The pairs, and what has no pairs as texts for a peer, with the passage before them.
    episode = Seal(path, False, completions=2).tasks(0).__next__().episode
    assert episode.gold == (("Where does the ferry land?", "At Oban.", 0), ("Who owns it?", "A family of five.", 0))
    assert [text for text, _ in episode.texts] == [
        "Ferry 0\nThe ferry 0 lands at Oban.",
        "Ferry 0\n1. The ferry lands at Oban.",
        "Ferry 0\n2. A family owns it.",
    ]


def test_packed_and_plain_files_are_the_same_data(tmp_path: Path) -> None:
    records = [passage(0)]
    packed = tmp_path / "edits.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(records).encode()))
    assert Seal(packed, False).all == Seal(saved(tmp_path, records), False).all


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        (passage(0, questions=[]), "passage 2: it needs a list of questions"),
        (passage(0, questions=[{"question": "Where?"}]), "passage 2: answer must be a text"),
        (passage(0, title=3), "passage 2: title must be a text"),
        (passage(0, completions=[None]), "passage 2: completion must be a text"),
        ("text", "passage 2: it needs a list of questions"),
    ],
)
def test_a_broken_passage_is_named(tmp_path: Path, record: Any, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        Seal(saved(tmp_path, [passage(1), record]), False)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\x1f\x8bno gzip", gzip.compress(b"[]", mtime=0)[:10] + b"\xff" * 20, b"\xff\xfe"]
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "edits.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"edits\.json"):
        Seal(path, False)
    with pytest.raises(DataError, match="no such file"):
        Seal(tmp_path / "nothing.json", False)
