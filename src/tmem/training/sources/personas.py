"""Synthetic-Persona-Chat: two people talk, and what is true of each stands beside it (``tmem.tasks.personas``)."""

from __future__ import annotations

import random
from pathlib import Path

from tmem.seeds import derive
from tmem.tasks.personas import TURNS, Conversation, conversations, joined, named, spoken
from tmem.training.sources.everyday import Who, fill
from tmem.training.sources.rows import NOTHING, Text
from tmem.training.sources.topics import PERSONAL, VALUES

LEAST = 3  # pairs of a part: of one with fewer the lines beside it leave out most


def personas(path: Path, seed: int) -> list[Text]:
    """Conversations of a file, each in parts. Raises :class:`DataError` for another file."""
    return [
        text
        for place, told in enumerate(conversations(path))
        for text in _texts(told, random.Random(derive(seed, place, "personas")))
    ]


def _texts(told: Conversation, draw: random.Random) -> list[Text]:
    names = draw.sample(VALUES["name"], 2)
    texts, left = [], list(told.traits)
    for start in range(0, len(told.lines), TURNS):
        part = told.lines[start : start + TURNS]
        here = [trait for trait in left if trait.heard(part)]
        left = [trait for trait in left if trait not in here]
        pairs = joined((named(trait.ask, trait.who, names), trait.answer) for trait in here)
        other = draw.choice(PERSONAL)
        nobody = fill(
            other.asks[0], Who("I", draw.choice([name for name in VALUES["name"] if name not in names])), "", asked=True
        )
        if len(pairs) >= LEAST:
            asked = [*draw.sample(pairs, min(3, len(pairs))), (nobody, NOTHING)]
            texts.append(Text(spoken(part, names), pairs, asked))
    return texts
