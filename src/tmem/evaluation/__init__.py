"""Measuring: whole episodes against gold answers."""

from tmem.evaluation.summary import evaluate, mean, summarize

__all__ = ["evaluate", "mean", "summarize"]
