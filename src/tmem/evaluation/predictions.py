"""Scoring predictions that were made anywhere: JSON lines of ``prediction``, ``gold`` and ``category``."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from tmem.errors import DataError
from tmem.files import read_jsonl, without_surrogates
from tmem.tasks.base import Gold
from tmem.tasks.locomo import ADVERSARIAL
from tmem.tasks.scoring import Score, locomo_category, scorer
from tmem.texts import NO_INFORMATION, said

SEVERAL = ("mem1", "ordered_list")  # scorers of several questions at once
LOCOMO = ("tmem_token", "locomo_official", "amem_set")  # what LoCoMo is scored by: it has no adversarial golds


def score_file(path: str | Path, name: str) -> dict[str, Any]:
    """Score every line: ``{"scorer", "n", "f1", "em", "by_category": {category: totals}, "scores": [one per line]}``.

    Totals are 0 to 100, lines 0 to 1; ``mem1`` adds ``f1_sum`` and ``em_sum``, since MEM1 reports sums over the
    sub-questions (in the totals their means over the lines). ``gold`` is a text, a number or a list of accepted
    answers. For ``mem1`` and ``ordered_list`` a list is one of sub-questions instead, each a text, a number or a list
    of accepted answers. LoCoMo's adversarial questions (category 5) need no gold: leave out what the file has there.
    A line without ``category`` counts in the totals of all alone. Raises :class:`DataError` naming file and line,
    :class:`UsageError` for another scorer.
    """
    score = scorer(name)
    scores: list[Score] = []
    by_category: dict[str, list[Score]] = defaultdict(list)
    for where, record in read_jsonl(path):
        prediction, category = record.get("prediction"), record.get("category")
        if not isinstance(prediction, str):
            raise DataError(f"{where}: 'prediction' must be text; add it, \"\" for no answer")
        if isinstance(category, float) and category.is_integer():  # a table with a missing value makes 5 to 5.0
            category = int(category)
        if not isinstance(category, str | int | None) or isinstance(category, bool):
            raise DataError(f"{where}: 'category' must be a number or text; correct or remove it")
        gold = record.get("gold")
        if gold is None and name in LOCOMO and locomo_category(category) == ADVERSARIAL:
            gold = NO_INFORMATION
        accepted = _gold(gold, name in SEVERAL, where)
        try:
            scores.append(score(said(prediction), accepted, category))
        except DataError as error:  # a category or a gold that the scorer does not take
            raise DataError(f"{where}: {error}") from None
        if category is not None:
            by_category[without_surrogates(str(category))].append(scores[-1])
    if not scores:
        raise DataError(f"{path}: no predictions in it; write one JSON object per line")
    sums = name == "mem1"
    return {
        "scorer": name,
        **_totals(scores, sums),
        "by_category": {category: _totals(own, sums) for category, own in sorted(by_category.items())},
        "scores": [
            {"f1": s.f1, "em": s.em} | ({"f1_sum": s.f1 * s.parts, "em_sum": s.em * s.parts} if sums else {})
            for s in scores
        ],
    }


def _totals(scores: list[Score], sums: bool) -> dict[str, Any]:
    n = len(scores)
    totals: dict[str, Any] = {
        "n": n,
        "f1": 100 * sum(s.f1 for s in scores) / n,
        "em": 100 * sum(s.em for s in scores) / n,
    }
    if sums:
        totals["f1_sum"] = sum(s.f1 * s.parts for s in scores) / n
        totals["em_sum"] = sum(s.em * s.parts for s in scores) / n
    return totals


def _gold(value: Any, several: bool, where: str) -> Gold:
    """The accepted answers, by sub-question if there are several or the file nests them."""
    parts = value if isinstance(value, list) else [value]
    if parts and (several or any(isinstance(part, list) for part in parts)):
        return tuple(_accepted(part if isinstance(part, list) else [part], where) for part in parts)
    return _accepted(parts, where)


def _accepted(values: list[Any], where: str) -> tuple[str, ...]:
    if not values or not all(isinstance(v, str | int | float) and not isinstance(v, bool) for v in values):
        raise DataError(f"{where}: 'gold' must be text, a number or a list of accepted answers; add or correct it")
    return tuple(str(value).strip() for value in values)
