"""Measuring: whole episodes against gold answers."""

from tmem.evaluation.persona import evaluate
from tmem.evaluation.scores import Scored, by_kind, mean, score

__all__ = ["Scored", "by_kind", "evaluate", "mean", "score"]
