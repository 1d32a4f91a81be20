"""Measuring: whole episodes against gold answers."""

from tmem.evaluation.records.summary import evaluate, mean, summarize

__all__ = ["evaluate", "mean", "summarize"]
