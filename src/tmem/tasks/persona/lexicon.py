"""The words of the persona world: people, values and wordings, each cut into a seen and an unseen part.

Every list is in a fixed order: its last quarter is unseen. Pretraining knows the unseen words as words, as real models
know all words, but never as the value of their own attribute and never as people who speak. The last of each list of
wordings is unseen: a new sentence made of words that the others have, as no model can know a word that it never read.
They stand in ``lexicon.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_DATA: dict[str, Any] = json.loads(Path(__file__).with_name("lexicon.json").read_text(encoding="utf-8"))


def seen(items: Sequence[T]) -> Sequence[T]:
    """The first three quarters of a list."""
    return items[: len(items) * 3 // 4]


def unseen(items: Sequence[T]) -> Sequence[T]:
    """The last quarter of a list."""
    return items[len(items) * 3 // 4 :]


@dataclass(frozen=True)
class Attribute:
    """One kind of fact about a person. ``{v}`` is the value, ``{p}`` the person, ``{np}`` the noun phrase."""

    noun: str  # as in "{p}'s {noun}"
    pool: str  # a key of POOLS, or "name"
    says: tuple[str, ...]  # first person; the last is unseen
    asks: tuple[str, ...]  # the last is unseen
    who: str  # "One of them {who}."


def _texts(name: str) -> tuple[str, ...]:
    return tuple(_DATA[name])


def _tuples(name: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(row) for row in _DATA[name])


NAMES = _texts("names")
POOLS: dict[str, tuple[str, ...]] = {name: tuple(pool) for name, pool in _DATA["pools"].items()}
ATTRIBUTES = tuple(
    Attribute(row["noun"], row["pool"], tuple(row["says"]), tuple(row["asks"]), row["who"])
    for row in _DATA["attributes"]
)

# Frames that fit every attribute; the last of each is unseen. The first question is the one that extraction writes.
SAY, UPDATE, ASK = _texts("say"), _texts("update"), _texts("ask")
EVENTS = _tuples("events")  # (infinitive, past)
EVENT_SAY, EVENT_ASK, WHEN = _texts("event_say"), _texts("event_ask"), _texts("when")
TRAITS = _tuples("traits")  # thing, then two occasions for the question that has to be inferred
LOVES, HATES = _texts("loves"), _texts("hates")
TRAIT_ASK, OPEN_ASK = _texts("trait_ask"), _texts("open_ask")
FILLERS, GREETINGS = _texts("fillers"), _texts("greetings")

# More frames, for training alone: with few of them a model knows sentences by heart instead of reading.
TRAIN_SAY, TRAIN_UPDATE, TRAIN_EVENT_SAY = _texts("train_say"), _texts("train_update"), _texts("train_event_say")

# The unseen wordings.
HELD_OUT = frozenset(
    wordings[-1].lower()
    for wordings in (
        *(wordings for attribute in ATTRIBUTES for wordings in (attribute.says, attribute.asks)),
        *(SAY, UPDATE, ASK, EVENT_SAY, EVENT_ASK, LOVES, HATES, OPEN_ASK),
    )
)

# All words that a model may be taught as words, those of events one by one.
WORDS = sorted(
    {word for pool in (NAMES, *POOLS.values()) for word in pool}
    | {word for event in EVENTS for form in event for word in form.split() if len(word) > 3}
)
NO_NAMES = [word for word in WORDS if word not in NAMES and " " not in word]
MISFITS = {name: [word for word in WORDS if word not in pool] for name, pool in POOLS.items()}
