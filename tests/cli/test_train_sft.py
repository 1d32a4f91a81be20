"""``tmem train rows`` and ``tmem train sft``."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from cli.running import Run

from tmem.cli import train_sft
from tmem.model.settings import read_settings
from tmem.training.sources import chat


def test_rows_are_made_and_trained_on(tmem: Run, tmp_path: Path) -> None:
    file, run = tmp_path / "rows.jsonl", tmp_path / "run"
    assert "rows: " in tmem("train", "rows", "everyday", "--count", "12", "--out", file)[1]
    assert tmem("train", "rows", "chat", "--count", "3", "--model", "persona-nano", "--out", tmp_path / "chat")[0] == 0
    options = ("--model", "persona-nano", "--slow-lora", "2", "--held-out", "2", "--stop-at", "1", "--out", run)
    assert "adapter" in tmem("train", "sft", file, *options)[1]
    assert "2" in tmem("train", "report", run)[1]
    code, _, said = tmem("train", "sft", file, *options, "--lr", "2e-3")
    assert code == 1 and "holds another run (lr is 0.001, now 0.002)" in said
    code, _, said = tmem("train", "rows", "squad", "--out", file)
    assert code == 2 and "needs its --data" in said


def test_rows_of_turns_have_what_the_model_answers_among_them(
    tmem: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_sft, "REQUESTS", 4)
    monkeypatch.setattr(chat, "VARIED", ["Count to five."])
    file = tmp_path / "rows.jsonl"
    assert tmem("train", "rows", "turns", "--count", "60", "--model", "persona-nano", "--out", file)[0] == 0
    asked = [json.loads(line)["prompt"][-1]["content"] for line in file.read_text().splitlines()]
    assert len(asked) == 60 and "Count to five." in asked


def test_questions_of_passages_are_asked_without_them(tmem: Run, tmp_path: Path) -> None:
    asked = [{"question": f"Who built tower {number}?", "answer": "Ann"} for number in range(4)]
    passages = [{"title": f"Article {i}", "context": f"Tower {i}, by Ann.", "questions": asked} for i in range(8)]
    data, file = tmp_path / "squad.json", tmp_path / "rows.jsonl"
    data.write_text(json.dumps(passages))
    options = ("--data", data, "--count", "1", "--model", "persona-nano", "--out", file)
    assert tmem("train", "rows", "chat", *options)[0] == 0
    [row] = [json.loads(line) for line in file.read_text().splitlines()]
    assert [turn["role"] for turn in row["prompt"]] == ["user"] and row["prompt"][0]["content"] in {
        one["question"] for one in asked
    }
    code, _, said = tmem("train", "rows", "turns", *options)
    assert code == 2 and "needs no --data" in said


def test_so_many_texts_of_a_data_set_are_taken(tmem: Run, tmp_path: Path) -> None:
    talk = "User 1: I live in Rome and I collect stamps.\nUser 2: I like jazz."
    table = [["user 1 personas", "user 2 personas", "Best Generated Conversation"]]
    table += [["I live in Rome.\nI collect stamps.", "I like jazz.", talk]] * 5
    data, file = tmp_path / "talks.csv.gz", tmp_path / "rows.jsonl"
    with gzip.open(data, "wt", newline="") as written:
        csv.writer(written).writerows(table)
    for count, texts in ((("--count", 2), 2), ((), 5)):
        assert tmem("train", "rows", "personas", "--data", data, *count, "--out", file)[0] == 0
        replies = [json.loads(line)["completion"][0]["content"] for line in file.read_text().splitlines()]
        assert sum(reply.startswith("[") for reply in replies) == texts


def test_the_trained_model_says_what_it_was_taught(tmem: Run, tmp_path: Path) -> None:
    file, run, own = tmp_path / "rows.jsonl", tmp_path / "run", tmp_path / "tmem.json"
    tmem("train", "rows", "everyday", "--count", "12", "--out", file)
    options = ("--model", "persona-nano", "--slow-lora", "2", "--held-out", "2", "--stop-at", "1", "--out", run)
    own.write_text('{"prompts": "english", "budget": 77}')
    assert tmem("train", "sft", file, *options, "--settings", own)[0] == 0
    settings = read_settings(run / "model")
    assert (settings.prompts, settings.budget, settings.results["sft_steps"]) == ("english", 77, 1)
    own.write_text('{"prompt": "english"}')
    code, _, said = tmem("train", "sft", file, *options, "--settings", own)
    assert code == 1 and "unknown key 'prompt'" in said
