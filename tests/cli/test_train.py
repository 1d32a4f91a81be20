"""``tmem train`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.running import Run, one_object
from tasks.test_personas import table

from tmem.files import alone

SMALL = ["--facts", 1, "--tasks", 1, "--group", 2, "--held-out", 1, "--eval-every", 1, "--set", "fresh.steps=2"]


def test_train_goes_on_and_reports(tmem: Run, tmp_path: Path) -> None:
    folder = tmp_path / "rl"
    code, out, err = tmem("train", "rl", *SMALL, "--steps", 1, "--out", folder)
    assert (code, err) == (0, "")
    assert "tmem train report" in out
    code, out, err = tmem("train", "rl", *SMALL, "--steps", 2, "--out", folder)
    assert (code, err) == (0, "tmem: going on after step 1\n")
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(one["type"], one["step"]) for one in steps] == [
        *(("held out", 0), ("step", 1), ("held out", 1), ("step", 2), ("held out", 2)),
    ]
    code, out, _ = tmem("train", "report", folder, "--html", tmp_path / "page.html", "--figures", tmp_path / "f")
    assert code == 0
    assert "Before and after" in out
    assert (tmp_path / "f" / "1-f1.svg").read_text().startswith("<svg ")
    assert (tmp_path / "page.html").read_text().count("<svg ") > 5
    code, out, _ = tmem("train", "report", folder, "--json")
    assert one_object(out)["trainings"][0]["about"]["reward"]["name"] == "f1"
    code, out, _ = tmem("eval", "persona", "--model", folder / "model", "--facts", 1, "--limit", 1, "--json")
    assert code == 0
    assert one_object(out)["model"] == str(folder / "model")
    # What a training that diverges says to do.
    again = tmp_path / "again"
    code, _, err = tmem("train", "rl", *SMALL, "--model", folder / "model", "--lr", 1e-7, "--steps", 1, "--out", again)
    assert (code, err) == (0, "")


def test_training_on_what_people_say_of_themselves(tmem: Run, tmp_path: Path) -> None:
    """Every turn is read by itself, and asked for when nothing but the memory is left."""
    rows = [["I drive a van.", "I sell maps.", "User 1: Hi! I drive a van.\nUser 2: I sell maps."]] * 2
    data = table(tmp_path / "valid.csv.gz", rows)
    code, _, err = tmem("train", "rl", "personas", "--data", data, *SMALL[2:], "--steps", 1, "--out", tmp_path / "rl")
    assert (code, err) == (0, "")
    spec = json.loads((tmp_path / "rl" / "training.json").read_text())["spec"]
    assert (spec["bench"], spec["budget"], spec["write_tail"]) == ("personas", 1, True)


@pytest.mark.parametrize(
    ("options", "code", "problem"),
    [
        (("persona", "--lr", "0"), 2, "--lr 0"),
        (("persona", "--lr", "nan"), 2, "--lr nan"),
        (("persona", "--reward", "bleu"), 2, "unknown reward 'bleu'"),
        (("persona", "--reward", ":f"), 2, "unknown reward ':f'"),
        (("persona", "--reward", ".m:f"), 2, "unknown reward '.m:f'"),
        (("persona", "--memory", "elephant"), 2, "unknown memory 'elephant'"),
        (("persona", "--tasks", 1, "--parts", 2), 2, "at least one task for every part"),
        (("persona", "--reward", "my:reward", "--wrong", 0.5), 2, "--wrong is taken off f1 and em"),
        (("locomo",), 2, "tmem train rl locomo needs its --data"),
        (("personas",), 2, "tmem train rl personas needs its --data"),
        (("locomo", "--held-out-people", "seen"), 2, "--held-out-people is an option of persona"),
        (("persona", "--track", "abacus"), 2, "--track abacus"),
        (("persona", "--model", "nobody"), 1, "unknown model 'nobody'"),
    ],
)
def test_training_that_cannot_work(
    tmem: Run, tmp_path: Path, options: tuple[str, ...], code: int, problem: str
) -> None:
    found, out, err = tmem("train", "rl", *options, "--out", tmp_path / "rl")
    assert (found, out) == (code, "")
    assert problem in err
    assert not (tmp_path / "rl").exists()


def test_another_training_in_the_same_folder(tmem: Run, tmp_path: Path) -> None:
    tmem("train", "rl", *SMALL, "--steps", 1, "--out", tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, out, err = tmem("train", "rl", *SMALL, "--steps", 1, "--lr", "1e-3", "--out", tmp_path)
    assert (code, out) == (1, "")
    assert "lr is 1e-06, now 0.001" in err
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", [("train", "rl", *SMALL), ("train", "sft", "rows"), ("eval", "persona")])
def test_one_run_at_a_time_writes_to_a_folder(tmem: Run, tmp_path: Path, command: tuple[object, ...]) -> None:
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(row) + "\n")
    command = tuple(rows if part == "rows" else part for part in command)
    with alone(tmp_path / "run", "test"):
        code, _, said = tmem(*command, "--out", tmp_path / "run")
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    assert code == 2
    assert said.endswith(f"another tmem {command[0]} is writing there; wait for it, or give another --out\n")
    assert not (tmp_path / "run").exists()


def test_no_training_to_report(tmem: Run, tmp_path: Path) -> None:
    code, _, err = tmem("train", "report", tmp_path)
    assert code == 1
    assert "no training in it" in err
