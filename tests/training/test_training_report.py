"""What trainings gave, from their files: before and after, and a page of curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tmem.errors import DataError
from tmem.training.report import figures, find, sections, smooth, value_at, write_page

ABOUT: dict[str, Any] = {
    "spec": {"bench": "persona", "model": "persona-nano"},
    "data": {"facts": 4},
    "model_hash": "0123456789abcdef",
    "memory": "tmem",
    "reward": {"name": "f1"},
    "seed": 1,
    **dict.fromkeys(("tasks", "group", "parts", "lr", "advantage", "weighting", "credit", "clip", "kl"), 1),
}


def look(step: int, f1: float) -> dict[str, Any]:
    extraction = {"recall": 0.5 + f1 / 10, "precision": 0.75}
    kinds = {"single-hop": {"em": f1, "f1": f1}, "<b>": {"em": 0.0, "f1": 0.25}}
    figures = {"em": f1, "f1": f1, "extraction": extraction, "by_category": kinds, "pairs": 4.0}
    figures["by_memory"] = {"rag": {"em": 0.0, "f1": 0.5}, "tmem": {"em": f1, "f1": f1}}
    return {"type": "held out", "step": step, **figures, "recall_after_write": None, "seconds": 1.0}


def step(number: int, reward: float, dropped: list[str]) -> dict[str, Any]:
    seconds = {"rollouts": 2.0, "learning": 1.0}
    return {"type": "step", "step": number, "reward": reward, "entropy": 0.2, "dropped": dropped, "seconds": seconds}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "runs" / "a & b"
    place.mkdir(parents=True)
    (place / "training.json").write_text(json.dumps(ABOUT))
    records = [look(0, 0.4), step(1, 0.5, []), step(2, 0.75, ["x/0: the reward raised"]), look(2, 0.625)]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (place / "metrics.jsonl").write_text(lines + '{"type": "step", "st')  # a crash left half a line
    return tmp_path


def test_before_and_after(folder: Path) -> None:
    [training] = find([folder, folder / "runs"])
    first, own = sections([training])
    [table] = first.tables
    assert table.rows == [
        *[["a & b", "2", "0.400 → 0.625", "0.400 → 0.625", "0.540 → 0.562", "0.750 → 0.750", "", "4.000 → 4.000"]]
    ]
    assert own.remarks == ["1 episodes or groups were dropped; the first: x/0: the reward raised"]
    assert ["single-hop", "0.400 → 0.625"] in own.tables[0].rows
    assert own.tables[1].rows == [["rag", "0.500 → 0.500"], ["tmem", "0.400 → 0.625"]]


def test_the_page_needs_nothing_else(folder: Path) -> None:
    trainings = find([folder])
    names = [figure.name for figure in figures(trainings)]
    assert {"f1", "em", "reward", "entropy", "seconds"} <= set(names)
    assert not {"recall", "kl-start"} & set(names)  # nothing of it was recorded
    page = folder / "page.html"
    write_page(trainings, page)
    text = page.read_text()
    assert text.count("<svg ") == len(names)
    assert "a &amp; b" in text
    assert "&lt;b&gt;" in text
    assert "://" not in text.replace("http://www.w3.org/", "")


def test_what_some_steps_lack_is_not_drawn_as_zero(folder: Path) -> None:
    path = folder / "runs" / "a & b" / "metrics.jsonl"
    steps = [step(1, 0.5, []) | {"kl_start": 0.25}, step(2, 0.5, []) | {"reward": None, "kl_start": 0.5}]
    path.write_text("".join(json.dumps(record) + "\n" for record in steps))
    [training] = find([folder])
    assert "kl-start" in [figure.name for figure in figures([training])]
    assert [value_at(record, ["reward"]) for record in training.steps] == [0.5, None]


def test_a_training_that_has_just_begun(folder: Path) -> None:
    place = folder / "runs" / "a & b"
    (place / "metrics.jsonl").unlink()
    trainings = find([folder])
    assert sections(trainings)[0].tables == []
    assert figures(trainings) == []


@pytest.mark.parametrize("text", ["nonsense\n", "[]\n", '{"step": 1}\n'])
def test_figures_that_cannot_be_read(folder: Path, text: str) -> None:
    (folder / "runs" / "a & b" / "metrics.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"metrics\.jsonl: line 1"):
        find([folder])


def test_no_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training in it"):
        find([tmp_path])


def test_smoothing_begins_at_the_first_value() -> None:
    assert smooth([1.0, 0.0]) == [1.0, 0.8]
