"""Scoring files of predictions that were made anywhere."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tmem.cli.score import show_scores
from tmem.errors import DataError, UsageError
from tmem.evaluation.predictions import score_file


def write(path: Path, *records: Any) -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n")
    return path


def test_totals_are_0_to_100_and_lines_0_to_1(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.jsonl",
        {"prediction": "The beach", "gold": "beach", "category": 4},
        {"prediction": "2", "gold": 2, "category": 1},
        {"prediction": "x", "gold": ["y", "X"], "category": 4},
        {"prediction": "no", "gold": "yes"},
    )
    found = score_file(path, "tmem_token")
    assert found["scorer"] == "tmem_token" and found["n"] == 4
    assert [line["em"] for line in found["scores"]] == [0, 1, 1, 0]
    assert found["f1"] == pytest.approx(100 * (2 / 3 + 1 + 1 + 0) / 4) and found["em"] == 50
    assert found["by_category"] == {
        "1": {"n": 1, "f1": 100.0, "em": 100.0},
        "4": {"n": 2, "f1": pytest.approx(100 * (2 / 3 + 1) / 2), "em": 50.0},
    }
    assert score_file(path, "locomo_official")["scores"][0]["f1"] == 1.0


def test_blank_lines_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes('\ufeff{"prediction": "é", "gold": "É"}\r\n \n\n{"prediction": "a", "gold": "b"}'.encode())
    assert [line["em"] for line in score_file(path, "tmem_token")["scores"]] == [1.0, 0.0]


def test_a_number_as_gold_is_its_text(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", *({"prediction": p, "gold": g} for p, g in (("2022", 2022), ("1.5", 1.5))))
    for name in ("tmem_token", "locomo_official", "amem_set", "mem1", "ordered_list"):
        assert score_file(path, name)["em"] == 100


@pytest.mark.parametrize("category", [5, "5", "adversarial", 5.0])
def test_adversarial_questions_need_no_gold(tmp_path: Path, category: float | str) -> None:
    lines = [{"prediction": text, "gold": None, "category": category} for text in ("Not mentioned", "red")]
    path = write(tmp_path / "p.jsonl", *lines, {"prediction": "no information available", "category": category})
    assert [line["f1"] for line in score_file(path, "locomo_official")["scores"]] == [1.0, 0.0, 1.0]
    assert [line["em"] for line in score_file(path, "tmem_token")["scores"]] == [0.0, 0.0, 1.0]
    assert [line["em"] for line in score_file(path, "amem_set")["scores"]] == [0.0, 0.0, 1.0]
    for name in ("mem1", "ordered_list"):
        with pytest.raises(DataError, match="line 1: 'gold' must be text"):
            score_file(path, name)


def test_several_questions_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.jsonl",
        {"prediction": "Paris; Albert Einstein", "gold": [["Paris"], ["Einstein", "Albert Einstein"]]},
        {"prediction": "Paris", "gold": ["Paris", "Rome"]},  # a plain list: two questions of one answer each
        {"prediction": "Paris", "gold": "Paris"},
    )
    found = score_file(path, "mem1")
    assert [line["f1_sum"] for line in found["scores"]] == [2.0, 0.0, 1.0]
    assert [line["f1"] for line in found["scores"]] == [1.0, 0.0, 1.0]
    assert (found["f1_sum"], found["em_sum"]) == (1.0, 1.0) and found["f1"] == pytest.approx(200 / 3)
    assert "f1_sum" not in score_file(path, "ordered_list")
    assert [line["em"] for line in score_file(path, "ordered_list")["scores"]] == [1.0, 0.5, 1.0]


def test_tables(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.jsonl",
        {"prediction": "a; b", "gold": ["a", "b"], "category": "[red]nq"},
        {"prediction": "a", "gold": "c", "category": "x"},
    )
    for name, row in (("mem1", "all 2 50.00 50.00 1.0000 1.0000"), ("ordered_list", "all 2 50.00 50.00")):
        out = io.StringIO()
        show_scores(score_file(path, name), Console(file=out, width=100))
        rows = [" ".join(line.replace("│", " ").split()) for line in out.getvalue().splitlines()]
        assert row in rows and any(text.startswith("[red]nq 1 100.00 100.00") for text in rows)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{broken", "line 2: not valid JSON"),
        pytest.param("[" * 100_000, "line 2: not valid JSON", id="deep"),
        ('{"prediction": "a", "gold": NaN}', "line 2: not valid JSON (NaN is no value of JSON)"),
        pytest.param(f'{{"prediction": "a", "gold": {"9" * 5000}}}', "line 2: not valid JSON", id="huge"),
        ("[1]", "line 2: not a JSON object"),
        ("{}", "line 2: 'prediction' must be text"),
        ('{"gold": "a"}', "line 2: 'prediction' must be text"),
        ('{"prediction": null, "gold": "a"}', "line 2: 'prediction' must be text"),
        ('{"prediction": "a"}', "line 2: 'gold' must be text"),
        ('{"prediction": "a", "gold": null, "category": 4}', "line 2: 'gold' must be text"),
        ('{"prediction": "a", "gold": []}', "line 2: 'gold' must be text, a number or a list of accepted answers"),
        ('{"prediction": "a", "gold": ["a", null]}', "line 2: 'gold' must be text"),
        ('{"prediction": "a", "gold": [["a"], []]}', "line 2: 'gold' must be text"),
        ('{"prediction": "a", "gold": [["a"]]}', "line 2: the gold is that of several questions at once"),
        ('{"prediction": "a", "gold": true}', "line 2: 'gold' must be text"),
        ('{"prediction": "a", "gold": {"a": 1}}', "line 2: 'gold' must be text"),
        ('{"prediction": "a", "gold": "a", "category": 7}', "line 2: category 7 is not one of LoCoMo's"),
        ('{"prediction": "a", "gold": "a", "category": [4]}', "line 2: 'category' must be a number or text"),
        ('{"prediction": "a", "gold": "a", "category": true}', "line 2: 'category' must be a number or text"),
        ('{"prediction": "a", "gold": "a", "category": 4.5}', "line 2: 'category' must be a number or text"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"prediction": "a", "gold": "a", "category": 4}}\n{line}\n')
    with pytest.raises(DataError) as error:
        score_file(path, "locomo_official")
    assert str(error.value).startswith(f"{path}: {problem}") and "\n" not in str(error.value)


@pytest.mark.parametrize("gold", ["[]", '[["a"], []]', '[["a"], [null]]', '[["a"], [["b"]]]', "null", "{}"])
def test_bad_golds_of_several_questions(tmp_path: Path, gold: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"prediction": "a", "gold": {gold}}}\n')
    for name in ("mem1", "ordered_list"):
        with pytest.raises(DataError, match="line 1: 'gold' must be text"):
            score_file(path, name)


def test_files_that_cannot_be_scored(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n\n")
    (tmp_path / "latin").write_bytes(b'{"prediction": "a", "gold": "a"}\n{"prediction": "\xff"}\n')
    (tmp_path / "folder").mkdir()
    for name, problem in (
        ("empty", "no predictions in it"),
        ("latin", "line 2: not valid UTF-8"),
        ("folder", "cannot be read"),
        ("none", "no such file"),
    ):
        with pytest.raises(DataError) as error:
            score_file(tmp_path / name, "tmem_token")
        assert str(error.value).startswith(f"{tmp_path / name}: {problem}") and "\n" not in str(error.value)
    with pytest.raises(UsageError, match="unknown scorer 'bleu'"):
        score_file(tmp_path / "none", "bleu")


def test_half_a_surrogate_pair_does_not_stop_the_output(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", {"prediction": "\ud800", "gold": "\ud800", "category": "\ud800"})
    json.dumps(score_file(path, "tmem_token"), ensure_ascii=False).encode()
