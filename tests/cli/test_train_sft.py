"""``tmem train rows`` and ``tmem train sft``."""

from __future__ import annotations

from pathlib import Path

from cli.running import Run


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
