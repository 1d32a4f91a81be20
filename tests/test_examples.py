"""The examples run as they stand, and print what they are for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import checkpoints
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *arguments: str | Path, stdin: str = "") -> str:
    """What an example prints, in a process of its own as a user starts it."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(EXAMPLES), *sys.path]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, input=stdin, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_library(tmp_path: Path) -> None:
    shown = run("library.py", tmp_path).splitlines()
    assert shown == [
        "written: What is Ana's home city? Lyon",
        "answer: Lyon",
        "never told: No information available",
        "corrected: Oslo",
        "forgotten: No information available",
    ]


def test_a_chat(tmp_path: Path) -> None:
    shown = run("chat.py", tmp_path, stdin="I live in Lyon.\nWhere does Ana live?\n\n")
    assert "learned:" in shown and "it (weights): Lyon" in shown


def test_a_model_of_one_s_own(tmp_path: Path) -> None:
    shown = run("own_model.py", checkpoints.make(tmp_path / "model", "qwen3"), tmp_path / "home")
    assert "Delta of rank 32 in " in shown and "answer (" in shown


def test_a_memory_policy_of_one_s_own() -> None:
    shown = run("memory_policy.py", "1")
    assert [line.split(":")[0] for line in shown.splitlines()] == ["none", "full", "tmem", "sentences"]


def test_a_reward_of_one_s_own(tmp_path: Path) -> None:
    shown = run("own_reward.py", tmp_path)
    assert "step 1 reward: " in shown and (tmp_path / "model" / "model.safetensors").exists()


def test_an_export(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    shown = run("export.py", tmp_path)
    assert shown.splitlines() == ["imported: 1 pair; answer: Lyon", "PEFT: Lyon"]
