"""Rewards as a user would write them, named on the command line as own_rewards:NAME."""

from __future__ import annotations

import math
from typing import Any


def long_answers(task: Any, predictions: dict[str, str], life: Any) -> dict[str, float]:
    return {name: len(text) / 100 for name, text in predictions.items()}


def pairs_written(task: Any, predictions: dict[str, str], life: Any) -> float:
    return float(len(life.ledger))


def raises_for_the_first(task: Any, predictions: dict[str, str], life: Any) -> float:
    if life.episode.endswith("/0"):
        raise KeyError("no such fact")
    return float(len(life.ledger))


def never_a_number(task: Any, predictions: dict[str, str], life: Any) -> float:
    return math.nan


def a_text(task: Any, predictions: dict[str, str], life: Any) -> Any:
    return "good"


not_a_function = 3
