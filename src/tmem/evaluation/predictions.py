"""Scoring predictions that were made anywhere: JSON lines of ``prediction``, ``gold`` and ``category``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tmem.errors import DataError
from tmem.tasks.locomo import NO_INFORMATION
from tmem.tasks.scoring import Gold, Score, scorer

SEVERAL = ("mem1", "ordered_list")  # scorers of several questions at once


def score_file(path: str | Path, name: str) -> dict[str, Any]:
    """Score every line: ``{"scorer", "n", "f1", "em", "by_category", "scores": [{"f1", "em"} per line]}``.

    Totals are 0 to 100, lines 0 to 1. ``gold`` is a text, a number or a list of accepted answers; for ``mem1`` and
    ``ordered_list`` a list of the sub-questions, each a text or a list of accepted answers. ``mem1`` adds ``f1_sum``
    and ``em_sum``, since MEM1 reports sums over the sub-questions. Raises :class:`DataError` naming file and line.
    """
    score = scorer(name)
    scores: list[Score] = []
    categories: list[str | None] = []
    for where, record in _lines(Path(path)):
        prediction, category = record.get("prediction"), record.get("category")
        if not isinstance(prediction, str):
            raise DataError(f"{where}: 'prediction' must be text")
        if not isinstance(category, str | int | None) or isinstance(category, bool):
            raise DataError(f"{where}: 'category' must be a number or text")
        try:
            scores.append(score(prediction, _gold(record.get("gold"), category, name, where), category))
        except DataError as error:
            raise DataError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None
        categories.append(None if category is None else str(category))
    if not scores:
        raise DataError(f"{path}: no predictions in it; write one JSON object per line")
    kinds = sorted({category for category in categories if category is not None})
    return {
        "scorer": name,
        **_totals(scores, name),
        "by_category": {
            kind: _totals([s for s, own in zip(scores, categories, strict=True) if own == kind], name) for kind in kinds
        },
        "scores": [
            {"f1": s.f1, "em": s.em} | ({"f1_sum": s.f1 * s.parts, "em_sum": s.em * s.parts} if name == "mem1" else {})
            for s in scores
        ],
    }


def _totals(scores: list[Score], name: str) -> dict[str, Any]:
    n = len(scores)
    totals: dict[str, Any] = {
        "n": n,
        "f1": 100 * sum(s.f1 for s in scores) / n,
        "em": 100 * sum(s.em for s in scores) / n,
    }
    if name == "mem1":
        totals["f1_sum"] = sum(s.f1 * s.parts for s in scores) / n
        totals["em_sum"] = sum(s.em * s.parts for s in scores) / n
    return totals


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) of every line that is not blank."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                where = f"{path}: line {number}"
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError) as error:
                    reason = getattr(error, "msg", "cannot be read")
                    raise DataError(f"{where}: not valid JSON ({reason}); write one object per line") from None
                if not isinstance(record, dict):
                    raise DataError(f"{where}: not a JSON object with 'prediction' and 'gold'")
                yield where, record
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def _gold(value: Any, category: Any, name: str, where: str) -> Gold:
    if value is None and str(category).lower() in ("5", "adversarial"):
        return (NO_INFORMATION,)  # LoCoMo's adversarial questions come without an answer
    several = name in SEVERAL
    if isinstance(value, list) and value and (several or not any(isinstance(part, list) for part in value)):
        if several:
            return tuple(_aliases(part if isinstance(part, list) else [part], where) for part in value)
        return _aliases(value, where)
    if isinstance(value, list):
        raise DataError(f"{where}: 'gold' must be a list of accepted answers, and not an empty one")
    return (_aliases([value], where),) if several else _aliases([value], where)


def _aliases(values: list[Any], where: str) -> tuple[str, ...]:
    if not values or not all(isinstance(v, str | int | float) and not isinstance(v, bool) for v in values):
        raise DataError(f"{where}: 'gold' must be text, a number or a list of them")
    return tuple(str(value).strip() for value in values)
