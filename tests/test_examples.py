"""The examples run as they stand, and print what they are for."""

from __future__ import annotations

import io
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import checkpoints
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What an example prints that is started as the program it is."""

    def start(name: str, *arguments: str | Path, stdin: str = "") -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        monkeypatch.syspath_prepend(str(EXAMPLES))
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return start


def test_the_library(run: Run, tmp_path: Path) -> None:
    shown = run("library.py", tmp_path).splitlines()
    assert shown == [
        "written: What is Ana's home city? Lyon",
        "answer: Lyon",
        "never told: No information available",
        "corrected: Oslo",
        "forgotten: No information available",
    ]


def test_a_chat(run: Run, tmp_path: Path) -> None:
    shown = run("chat.py", tmp_path, stdin="I live in Lyon.\nWhere does Ana live?\n\n")
    assert "learned:" in shown and "it (weights): Lyon" in shown


def test_a_model_of_one_s_own(run: Run, tmp_path: Path) -> None:
    shown = run("own_model.py", checkpoints.make(tmp_path / "model", "qwen3"), tmp_path / "home")
    assert "Delta of rank 32 in " in shown and "answer (" in shown


def test_a_memory_policy_of_one_s_own(run: Run) -> None:
    shown = run("memory_policy.py", "1")
    assert [line.split(":")[0] for line in shown.splitlines()] == ["none", "full", "tmem", "sentences"]


def test_a_reward_of_one_s_own(run: Run, tmp_path: Path) -> None:
    shown = run("own_reward.py", tmp_path)
    assert "step 1 reward: " in shown and (tmp_path / "model" / "model.safetensors").exists()


def test_rollouts_for_another_trainer(run: Run) -> None:
    counts, *apart = run("skyrl_rollouts.py").splitlines()
    assert counts.startswith("4 trajectories, ")
    (own, close), (without, far) = (
        line.split(": log-probabilities of rollouts and learner at most ") for line in apart
    )
    assert (own, without) == ("under its Delta", "without")
    assert float(close.split()[0]) < 1e-4 and float(far.split()[0]) > 0.1


def test_an_export(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    shown = run("export.py", tmp_path)
    assert shown.splitlines() == ["imported: 1 pair; answer: Lyon", "PEFT: Lyon"]
