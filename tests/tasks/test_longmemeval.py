"""LongMemEval: what is read, in which order, and what is never shown."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tmem.errors import DataError
from tmem.tasks.longmemeval import CUSTOM_TYPES, TYPES, LongMemEval, parse_instance, reader_prompt, rounds, task

INSTANCE: dict[str, Any] = {
    "question_id": "q1",
    "question_type": "multi-session",
    "question": "How many bikes did I repair?",
    "answer": 3,
    "question_date": "2023/05/30 (Tue) 23:40",
    "haystack_session_ids": ["secret-2", "secret-1", "filler", "filler", "empty"],
    "haystack_dates": [
        "2023/05/21 (Sun) 10:02",
        "2023/05/20 (Sat) 00:44",
        "2023/06/30 (Fri) 01:00",
        "2023/05/25 (Thu) 01:00",
        "2023/05/22 (Mon) 01:00",
    ],
    "haystack_sessions": [
        [{"role": "assistant", "content": "Welcome back."}, {"role": "user", "content": ""}],
        [
            {"role": "user", "content": "I repaired a \u201cbike\u201d.", "has_answer": True},
            {"role": "assistant", "content": "Great."},
            {"role": "assistant", "content": "Well done."},
            {"role": "user", "content": "Thanks."},
        ],
        [{"role": "user", "content": "filler"}],
        [{"role": "user", "content": "filler"}],
        [],
    ],
    "answer_session_ids": ["secret-1"],
}


def write(path: Path, instances: Any) -> Path:
    path.write_text(json.dumps(instances))
    return path


def changed(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**deepcopy(INSTANCE), **changes}.items() if value is not ...}


@pytest.mark.parametrize(("custom", "kind"), CUSTOM_TYPES.items())
def test_what_its_script_for_own_histories_makes_is_read(custom: str, kind: str) -> None:
    dates = ["2023/10/2", "2023/5/20", "2023/5/20 (Sat) 07:01", "2023/05/20 (Sat) 06:00", "2023/05/22 (Mon) 01:00"]
    found = parse_instance(changed(question_type=custom, haystack_dates=dates))
    assert found.type == kind and kind in TYPES
    assert [date for _, date, _ in found.sessions] == ["2023/5/20", dates[3], dates[2], "2023/10/2"]


def test_sessions_come_in_time_order_without_what_is_private(tmp_path: Path) -> None:
    bench = LongMemEval(write(tmp_path / "f.json", [INSTANCE]), official=True)
    [found] = bench.tasks(1)
    units = found.episode.units
    assert [unit.splitlines()[1] for unit in units] == [
        "Session Date: 2023/05/20 (Sat) 00:44",
        "Session Date: 2023/05/21 (Sun) 10:02",
        "Session Date: 2023/05/25 (Thu) 01:00",  # the same filler twice, with two dates
        "Session Date: 2023/06/30 (Fri) 01:00",  # after the question's date: kept
    ]
    assert units[0].startswith("### Session 1:\nSession Date: ") and "I repaired a \u201cbike\u201d." in units[0]
    assert "Welcome back." in units[1] and units[1].count('"role"') == 1  # the blank turn is gone
    everything = "".join([*units, *(text for text, _ in found.episode.notes), found.episode.asks[0].text])
    assert not any(word in everything for word in ("has_answer", "secret", "answer_session", "multi-session"))
    [item] = found.items
    assert item.gold == ("3",) and item.evidence == (0,) and item.category == "multi-session"
    assert item.judging == {"question_type": "multi-session", "abstention": False}
    assert bench.count(1) == 1 and bench.count(1, 5) == 1 and bench.identity()["known"] is None


def test_notes_are_rounds_that_do_not_assume_that_speakers_alternate() -> None:
    found = task(parse_instance(INSTANCE), official=False)
    first = [text for text, unit in found.episode.notes if unit == 0]
    assert first == [
        "2023/05/20 (Sat) 00:44\nuser: I repaired a \u201cbike\u201d.\nassistant: Great.\nassistant: Well done.",
        "2023/05/20 (Sat) 00:44\nuser: Thanks.",
    ]
    turns = parse_instance(INSTANCE).sessions[0][2]
    assert "".join(rounds(turns)).count("user:") == 2 and found.episode.answer_prompt is None


def test_the_reader_s_prompt_has_date_and_question_last() -> None:
    found = task(parse_instance(INSTANCE), official=True)
    assert found.episode.answer_prompt is not None and found.episode.answer_tokens == 500
    [message] = found.episode.answer_prompt("Which?", "THE CHATS")
    tail = "Current Date: 2023/05/30 (Tue) 23:40\nQuestion: Which?\nAnswer:"
    assert message["role"] == "user" and message["content"].endswith(tail)
    assert "History Chats:\n\nTHE CHATS" in message["content"]
    assert "History Chats" not in reader_prompt("Which?", "", "today")


def test_abstention_is_in_the_id() -> None:
    assert task(parse_instance(changed(question_id="a_abs_1")), True).items[0].judging["abstention"] is True


@pytest.mark.parametrize(
    ("instance", "problem"),
    [
        (changed(answer=...), "question 0 (q1): 'answer' must be text or a number"),
        (changed(answer=""), "question 0 (q1): 'answer' must be text or a number"),
        (changed(question=7), "question 0 (q1): 'question' must be non-empty text"),
        (changed(question_id=...), "question 0: 'question_id' must be non-empty text"),
        (changed(question_type="riddle"), "question 0 (q1): question_type is 'riddle'"),
        (changed(haystack_dates=["x"]), "question 0 (q1): haystack_session_ids, _dates and _sessions differ"),
        (changed(haystack_sessions=[[], [], [], [], []]), "question 0 (q1): no session has a turn"),
        (
            changed(haystack_sessions=[[{"role": "bot", "content": "x"}], [], [], [], []]),
            "session 0: a turn needs a role",
        ),
        ("text", "question 0: not a JSON object"),
    ],
)
def test_bad_instances_are_named(tmp_path: Path, instance: Any, problem: str) -> None:
    path = write(tmp_path / "f.json", [instance])
    with pytest.raises(DataError) as error:
        LongMemEval(path, official=True)
    assert str(path) in str(error.value) and problem in str(error.value) and "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "cut").write_text(json.dumps([INSTANCE, INSTANCE])[:-40])
    write(tmp_path / "twice", [INSTANCE, INSTANCE])
    write(tmp_path / "none", [])
    (tmp_path / "folder").mkdir()
    (tmp_path / "coded").write_bytes(json.dumps([changed(answer="X")]).encode().replace(b"X", b"\xe9"))
    write(tmp_path / "object", {"a": 1})
    for name, problem in (
        ("cut", "not valid JSON after 1 questions"),
        ("twice", "'q1' is used twice"),
        ("none", "no questions in it"),
        ("object", "no questions in it"),
        ("missing", "no such file"),
        ("folder", "a folder; give the file in it"),
        ("coded", r"after 0 questions \(lexical error: invalid bytes in UTF8"),
    ):
        with pytest.raises(DataError, match=problem) as error:
            LongMemEval(tmp_path / name, official=True)
        assert "\n" not in str(error.value)


def test_instances_are_read_one_at_a_time(tmp_path: Path) -> None:
    path = write(tmp_path / "f.json", [changed(question_id=f"q{n}") for n in range(5)])
    bench = LongMemEval(path, official=True)
    tasks = bench.tasks(1)
    assert next(tasks).episode.id == "q0"
    path.write_text("")  # whatever follows was not read yet, or is in one small buffer
    assert bench.count(1, 3) == 3
