"""What people tell of themselves and of others, in many wordings: what the everyday world is made of (``topics.json``).

In sayings and questions ``{S}`` is who it is about, at the start of a sentence, and ``{s}`` elsewhere; ``{P}`` and
``{p}`` are whose it is ("my", "Ana's"); ``a|b`` is the verb of "I" and that of all others; ``{v}`` is the value.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Topic:
    """Something that can be told: the ``kind`` of its value, wordings, and questions; extraction writes the first.

    ``replies``: what may be said to it, whoever it is about.
    """

    kind: str
    says: Sequence[str]
    asks: Sequence[str]
    replies: Sequence[str]


@dataclass(frozen=True)
class Event:
    """Something that happened or will: "saw a whale", "see a whale", "seeing a whale"; and a reply."""

    past: str
    base: str
    going: str
    reply: str


_DATA = json.loads((files("tmem.training.sources") / "topics.json").read_text(encoding="utf-8"))
PERSONAL = [Topic(**one) for one in _DATA["personal"]]  # of anybody: the speaker, a relative, a friend
OWN = [Topic(**one) for one in _DATA["own"]]  # of who speaks alone
THINGS = [Topic(**one) for one in _DATA["things"]]  # of no person
EVENTS = [Event(*one) for one in _DATA["events"]]
VALUES: dict[str, Sequence[str]] = _DATA["values"]  # by kind; numbers, codes and the like are drawn instead
SMALL_TALK: Sequence[str] = _DATA["small_talk"]
LEADS: Sequence[str] = _DATA["leads"]
TAILS: Sequence[str] = _DATA["tails"]
REQUESTS: Sequence[str] = _DATA["requests"]  # of no memory, about {x}
SUBJECTS: Sequence[str] = _DATA["subjects"]
VARIED: Sequence[str] = _DATA["varied"]  # requests of all kinds and forms
ONWARD: Sequence[str] = _DATA["onward"]  # requests that go on from an answer
SHORT: Sequence[str] = _DATA["short"]  # requests that a few words answer
CORRECTIONS: Sequence[str] = _DATA["corrections"]  # {v} now, {old} before
THANKS: Sequence[str] = _DATA["thanks"]  # replies to them
RELATIVES: Sequence[str] = _DATA["relatives"]
SYLLABLES: Sequence[str] = _DATA["syllables"]  # of names that are made up
COMMON = frozenset(_DATA["common"])  # first words that are small within a sentence
