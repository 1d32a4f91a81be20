"""SQuAD's passages: what people asked of each, in the order of the answers; and what was asked of another passage."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tmem.errors import DataError
from tmem.seeds import derive
from tmem.training.sources.rows import NOTHING, Text

HELD_OUT = 6  # whole articles: the last ones, by name
READ = 4  # questions that a passage is read by


def squad(path: Path, seed: int, without: Sequence[str] = (), held_out: bool = False) -> list[Text]:
    """The passages of a file as SEAL ships SQuAD, but for those ``without`` (a benchmark's); or the held-out articles.

    Raises :class:`DataError` for another file.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            passages = json.load(file)
        titles = sorted({one["title"] for one in passages})
        kept = [
            one
            for one in passages
            if (one["title"] in titles[-HELD_OUT:]) == held_out and one["context"].strip() not in without
        ]
        found = [_text(one, kept, random.Random(derive(seed, one["context"], "squad"))) for one in kept]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not SQuAD's passages as SEAL ships them ({type(error).__name__})") from None
    return [text for text in found if text.pairs]


def _text(passage: dict[str, Any], others: Sequence[dict[str, Any]], draw: random.Random) -> Text:
    context = str(passage["context"]).strip()
    by_answer: dict[str, tuple[str, str]] = {}
    for one in passage["questions"]:
        by_answer.setdefault(one["answer"].lower(), (" ".join(one["question"].split()), one["answer"].strip()))
    pairs = sorted(by_answer.values(), key=lambda pair: context.find(pair[1]))
    asked = draw.sample(pairs, min(READ, len(pairs)))
    other = draw.choice(others)
    if other["title"] == passage["title"] and other is not passage and other["questions"]:
        wrong = draw.choice(other["questions"])
        if wrong["answer"].lower() not in context.lower():
            asked.append((" ".join(wrong["question"].split()), NOTHING))
    return Text(context, pairs, asked)
