"""Which written pairs a new one contradicts: the same thing asked, and another answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from tmem.store.ledger.history import Pair
from tmem.texts import fold, names

if TYPE_CHECKING:
    from tmem.agent.extraction import QAPair

# Words that do not change what a question is about.
_IDLE = {"a", "an", "the", "is", "are", "was", "were", "do", "does", "did", "has", "have", "had", "s"}
_IDLE |= {"now", "currently", "today", "new", "latest", "actually"}
# Of the words of both questions together. A small memory gives the answer that it has to whatever resembles its
# question, so that its belief alone proves little.
_ALIKE = 0.8
# Likeness of two questions by the encoder. Of pairs of questions that ask one thing in two ways, 85 of 100 are more
# alike, of those that ask two things with answers of one kind 21 (docs/log.md, 2026-11-28): whose answers are the same
# too, then.
_FOLLOWS = 0.5
_PAST = re.compile(r"\b(did|was|were|had|used)\b", re.IGNORECASE)
_ARTICLE = re.compile(r"^(a|an|the) ")
Likeness = Callable[[str, Sequence[str]], Sequence[float]]  # of a question to others


def contradicted(pair: QAPair, belief: str, active: Sequence[Pair]) -> str | None:
    """The id of the active pair whose place ``pair`` takes, None if there is none.

    It is the pair with the same question and another answer; or else one with a similar question whose answer is what
    the memory still ``belief``-s about the new question, since then both are about the same thing.
    """
    wanted = shared_words(pair.question)
    for known in reversed(active):
        if fold(known.answer) == fold(pair.answer):
            continue
        theirs = shared_words(known.question)
        if _asked(pair.question) == _asked(known.question):
            return known.id
        alike = len(wanted & theirs) / max(len(wanted | theirs), 1)
        if alike >= _ALIKE and fold(belief) == fold(known.answer):
            return known.id
    return None


def following(old: Pair, active: Sequence[Pair], likeness: Likeness) -> list[Pair]:
    """The active pairs that say in other words what ``old`` says, and are to follow when that is put right.

    The same answer to a question about the same people that is alike. What is asked of the past stays: it is history.
    """
    answer = _ARTICLE.sub("", fold(old.answer))
    same = [
        pair
        for pair in active
        if _ARTICLE.sub("", fold(pair.answer)) == answer
        and set(names(pair.question)) == set(names(old.question))
        and not _PAST.search(pair.question)
    ]
    if not same or _PAST.search(old.question):
        return []
    alike = likeness(old.question, [pair.question for pair in same])
    return [pair for pair, how in zip(same, alike, strict=True) if how >= _FOLLOWS]


@lru_cache(maxsize=1 << 16)  # every new pair is compared with all that hold
def _asked(question: str) -> tuple[str, ...]:
    """The words of a question but for idle ones, in order: who gave whom makes a difference."""
    return tuple(word for word in re.findall(r"\w+", fold(question)) if word not in _IDLE)


@lru_cache(maxsize=1 << 16)
def shared_words(question: str) -> frozenset[str]:
    """What a question is about: the same words in no order."""
    return frozenset(_asked(question))
