"""Which written pair a new one contradicts: the same thing asked, and another answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tmem.agent.extraction import QAPair, fold
from tmem.store.ledger import Pair

# Words that do not change what a question is about.
_IDLE = frozenset(
    [
        "a",
        "an",
        "the",
        "is",
        "are",
        "was",
        "were",
        "do",
        "does",
        "did",
        "has",
        "have",
        "had",
        "now",
        "currently",
        "today",
        "new",
        "latest",
        "actually",
    ]
)
_ALIKE = 0.6  # of the words of both questions together


def contradicted(pair: QAPair, belief: str, active: Sequence[Pair]) -> str | None:
    """The id of the active pair whose place ``pair`` takes, None if there is none.

    It is the pair with the same question and another answer; or else one with a similar question whose answer is what
    the memory still ``belief``-s about the new question, since then both are about the same thing.
    """
    wanted = _words(pair.question)
    for known in reversed(active):
        if fold(known.answer) == fold(pair.answer):
            continue
        theirs = _words(known.question)
        if wanted == theirs:
            return known.id
        alike = len(wanted & theirs) / max(len(wanted | theirs), 1)
        if alike >= _ALIKE and fold(belief) == fold(known.answer):
            return known.id
    return None


def _words(question: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", fold(question))) - _IDLE
