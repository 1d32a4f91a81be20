"""Which written pairs a new one contradicts: the same thing asked, and another answer."""

from __future__ import annotations

import re
import unicodedata
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
_PAST = re.compile(r"\b(did|was|were|had|used)\b")
_SHARP = re.compile(r"(?<=\w)#")
_WAY = re.compile(r"^((?:at|by|for|from|in|on|to|with) |)((?:a|an|the) |)(.+)$", re.IGNORECASE)
Same = Callable[[str, Sequence[str]], Sequence[bool]]  # whether each of some questions asks the same as a question


def contradicted(
    pair: QAPair, belief: str, active: Sequence[Pair], same: Callable[[str, str], bool | None] = lambda one, other: None
) -> str | None:
    """The id of the active pair whose place ``pair`` takes, None if there is none.

    It is the pair with the same question and another answer; or else one whose question is known to ask the ``same``,
    or a similar one whose answer is what the memory still ``belief``-s about the new question, since then both are
    about the same thing. What was so leaves what is so: both ask of the past, or neither does.
    """
    past = is_past(pair.question)
    others = [
        known
        for known in reversed(active)
        if fold(known.answer) != fold(pair.answer) and is_past(known.question) == past
    ]
    for known in others:
        if _asked(pair.question) == _asked(known.question):
            return known.id
    wanted = shared_words(pair.question)
    for known in others:
        theirs = shared_words(known.question)
        alike = len(wanted & theirs) / max(len(wanted | theirs), 1)
        if alike >= _ALIKE and fold(belief) == fold(known.answer):
            return known.id
        if same(pair.question, known.question):
            return known.id
    return None


def following(old: Pair, new: str, active: Sequence[Pair], same: Same) -> list[tuple[Pair, str]]:
    """The active pairs that say in other words what ``old`` says, each with what its answer is when that is ``new``.

    They have the same answer to a question about the same people that asks the ``same``; "by camper" is the same as "a
    camper", and is to be "by ferry". What is asked of the past stays: it is history.
    """
    if is_past(old.question):
        return []
    _, _, answer = _parts(old.answer)
    alike = [
        pair
        for pair in active
        if fold(_parts(pair.answer)[2]) == fold(answer)
        and set(names(pair.question)) == set(names(old.question))
        and not is_past(pair.question)
    ]
    if not alike:
        return []
    asked = same(old.question, [pair.question for pair in alike])
    return [(pair, _said_as(pair.answer, old.answer, new)) for pair, one in zip(alike, asked, strict=True) if one]


@lru_cache(maxsize=1 << 16)  # as _asked
def is_past(question: str) -> bool:
    """Whether it asks of the past: that is not put right by what is so now."""
    return _PAST.search(fold(question)) is not None


def _said_as(answer: str, old: str, new: str) -> str:
    """``new`` with the preposition that ``answer`` has, unless ``old`` has the same and ``new`` one of its own."""
    way, own_article, _ = _parts(answer)
    new_way, article, thing = _parts(new)
    if fold(way) == fold(_parts(old)[0]) and (new_way or not way):
        return new
    return way + (article if own_article or not way else "") + thing


def _parts(answer: str) -> tuple[str, str, str]:
    """The preposition and the article that an answer begins with, and the rest of it."""
    found = _WAY.match(answer)
    return ("", "", answer) if found is None else (found[1], found[2], found[3])


@lru_cache(maxsize=1 << 16)  # every new pair is compared with all that hold
def _asked(question: str) -> tuple[str, ...]:
    """The words of a question but for idle ones, in order: who gave whom makes a difference."""
    return tuple(word for word in _words(fold(question)) if word not in _IDLE)


def _words(text: str) -> list[str]:
    """Words with all their marks, which tell one name in Hindi from another, and signs, which tell C++ from C#."""
    found = ""
    for sign in _SHARP.sub(" \N{MUSIC SHARP SIGN} ", text):
        kind = unicodedata.category(sign)[0]
        found += sign if kind in "LMN" else f" {sign} " if kind == "S" else " "
    return found.split()


@lru_cache(maxsize=1 << 16)
def shared_words(question: str) -> frozenset[str]:
    """What a question is about: the same words in no order."""
    return frozenset(_asked(question))
