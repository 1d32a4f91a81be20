"""Rewards as a user would write them, named on the command line as own_rewards:NAME."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch


def long_answers(task: Any, predictions: dict[str, str], trajectory: Any) -> dict[str, float]:
    return {name: len(text) / 100 for name, text in predictions.items()}


def pairs_written(task: Any, predictions: dict[str, str], trajectory: Any) -> float:
    return float(len(trajectory.ledger))


def raises_for_the_first(task: Any, predictions: dict[str, str], trajectory: Any) -> float:
    if trajectory.episode.endswith("/0"):
        raise KeyError("no such fact")
    return float(len(trajectory.ledger))


def never_a_number(task: Any, predictions: dict[str, str], trajectory: Any) -> float:
    return math.nan


def a_text(task: Any, predictions: dict[str, str], trajectory: Any) -> Any:
    return "good"


def of_no_question(task: Any, predictions: dict[str, str], trajectory: Any) -> dict[str, float]:
    return {}


def of_another_question(task: Any, predictions: dict[str, str], trajectory: Any) -> dict[str, float]:
    return {"nobody's": 1.0, **dict.fromkeys(predictions, 0.5)}


def two_numbers(task: Any, predictions: dict[str, str], trajectory: Any) -> Any:
    return torch.tensor([1.0, 2.0])


def too_large(task: Any, predictions: dict[str, str], trajectory: Any) -> Any:
    return dict.fromkeys(predictions, 10**400)


not_a_function = 3


def leaves(task: Any, predictions: dict[str, str], trajectory: Any) -> float:
    sys.exit(3)
