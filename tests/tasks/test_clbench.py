"""CL-bench: consent, what is streamed, what stays in view."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmem.errors import DataError, UsageError
from tmem.tasks.clbench import END, LONGEST_UNIT, ClBench, paragraphs, parse_row, task

ROW: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "You referee the game Zed."},
        {"role": "user", "content": "RULES\n\nEverybody starts with four tokens."},
        {"role": "assistant", "content": "Understood."},
        {"role": "user", "content": "How many tokens do I start with?"},
    ],
    "rubrics": ["States that a player starts with 4 tokens.", {"rubric_criteria": "Cites the setup rule."}],
    "metadata": {"task_id": "t-1", "context_id": "c-1", "context_category": "Rule System Application"},
}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    return path


def row(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**ROW, **changes}.items() if value is not ...}


def test_without_consent_nothing_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--accept-eval-license") as error:
        ClBench(tmp_path / "none", True)
    assert "parameter updating" in str(error.value) and "\n" not in str(error.value)


def test_earlier_messages_are_the_stream_and_the_last_one_the_problem(tmp_path: Path) -> None:
    bench = ClBench(write(tmp_path / "f.jsonl", ROW), True, accept_license=True)
    [found] = bench.tasks(1)
    assert found.episode.units == ("user: RULES", "Everybody starts with four tokens.", "assistant: Understood.")
    assert found.episode.asks[0].text == "How many tokens do I start with?"
    assert found.episode.answer_prompt is not None
    system, user = found.episode.answer_prompt("PROBLEM", "CONTEXT")
    assert system == ROW["messages"][0] and user["content"] == "CONTEXT\n\nPROBLEM"
    [item] = found.items
    assert item.gold == () and item.category == "Rule System Application"
    assert item.judging["rubrics"] == ["States that a player starts with 4 tokens.", "Cites the setup rule."]
    assert bench.scorers == () and bench.prediction(item, " four ", 1) == "four"


def test_of_a_long_last_message_both_ends_stay_in_view_and_all_of_it_is_read() -> None:
    text = "TASK FIRST. " + "context sentence. " * 500 + "TASK LAST."
    found = task(parse_row(row(messages=[{"role": "user", "content": text}])))
    problem = found.episode.asks[0].text
    assert problem.startswith("TASK FIRST.") and problem.endswith("TASK LAST.") and len(problem) < 2 * END + 20
    assert " ".join(found.episode.units) == text


@given(st.text(alphabet="ab .!\n", max_size=400), st.integers(1, 40))
def test_paragraphs_lose_nothing_but_blanks(text: str, longest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tmem.tasks.clbench.LONGEST_UNIT", longest)
        units = paragraphs(text)
    assert "".join("".join(units).split()) == "".join(text.split())
    assert all(0 < len(unit) <= longest for unit in units)


def test_units_are_bounded() -> None:
    assert max(map(len, paragraphs("word " * 5000 + "\n\n" + "x" * 9000))) <= LONGEST_UNIT


def test_a_subset_of_ids(tmp_path: Path) -> None:
    rows = [row(metadata={"task_id": f"t-{n}"}) for n in range(4)]
    path, ids = write(tmp_path / "f.jsonl", *rows), tmp_path / "ids.txt"
    ids.write_text("# chosen\nt-3\n\nt-1\n")
    bench = ClBench(path, True, subset=ids, accept_license=True)
    assert [found.episode.id for found in bench.tasks(1)] == ["t-1", "t-3"] and bench.count(1) == 2
    ids.write_text("t-9\n")
    with pytest.raises(DataError, match="'t-9' is no task_id"):
        ClBench(path, True, subset=ids, accept_license=True)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (row(metadata={}), "no metadata.task_id"),
        (row(messages=[]), "'messages' must be chat messages"),
        (row(messages=ROW["messages"][:1]), "'messages' must be chat messages, of which the last is the user's"),
        (row(rubrics="one"), "'rubrics' must be a list of texts"),
        (row(rubrics=[7]), "'rubrics' must be a list of texts"),
        ([1], "not a JSON object"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, bad: Any, problem: str) -> None:
    path = write(tmp_path / "f.jsonl", ROW, bad)
    with pytest.raises(DataError) as error:
        ClBench(path, True, accept_license=True)
    assert f"{path}: line 2: " in str(error.value) and problem in str(error.value)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("{\n")
    (tmp_path / "empty").write_text("\n")
    write(tmp_path / "twice", ROW, ROW)
    for name, problem in (
        ("broken", "line 1: not valid JSON"),
        ("empty", "no tasks in it"),
        ("twice", "'t-1' is used twice"),
        ("missing", "no such file"),
    ):
        with pytest.raises(DataError, match=problem):
            ClBench(tmp_path / name, True, accept_license=True)
