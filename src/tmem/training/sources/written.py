"""What people say, written by hand (``tmem.tasks.written``): to extract from, and to read as a gate shows it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch

from tmem.model.gate import Gate, Keys
from tmem.model.reading import notes, shown
from tmem.seeds import derive
from tmem.tasks.everyday import message
from tmem.tasks.written import taught
from tmem.training.sources.rows import NOTHING, Text

UNSAID = 2  # questions of one text that it does not answer, at most
MEMORY = (8, 120)  # pairs that the gate chooses from
ALSO = 2  # of the other pairs that it shows: so many are asked for, too
SAME = 0.7  # another's pair that is so alike to one of a text's pairs or questions may answer it, too: it is left out


def written(seed: int, keys: Keys, count: int | None = None) -> list[Text]:
    """The texts that are trained on, in their order, or ``count`` that are drawn; behind each what a gate with these
    keys would read of a memory of it.
    """
    lines = taught()
    if count is not None:
        places = random.Random(derive(seed, "some")).sample(range(len(lines)), min(count, len(lines)))
        lines = tuple(lines[place] for place in sorted(places))
    memories = _Memories(lines, keys)
    made = []
    for place, line in enumerate(lines):
        draw = random.Random(derive(seed, place, "written"))
        made += [_said(line, draw), *memories.read(place, draw)]
    return made


def _said(line: dict[str, Any], draw: random.Random) -> Text:
    pairs = [(one["ask"][0], one["answer"]) for one in line["pairs"]]
    asked = [(draw.choice(one["ask"]), one["answer"]) for one in line["pairs"]]
    unsaid = draw.sample(line["never"], min(UNSAID, len(line["never"])))
    return Text(message(line["said"], line["date"]), pairs, [*asked, *((ask, NOTHING) for ask in unsaid)])


class _Memories:
    """The pairs of all lines, in their first wording, and memories that are drawn of them."""

    def __init__(self, lines: Sequence[dict[str, Any]], keys: Keys) -> None:
        self.lines, self.gate = lines, Gate(keys)
        self.pairs = [(one["ask"][0], one["answer"]) for line in lines for one in line["pairs"]]
        self.otherwise = [one["ask"][1:] for line in lines for one in line["pairs"]]
        ends = list(accumulate(len(line["pairs"]) for line in lines))
        self.own = [range(end - len(line["pairs"]), end) for line, end in zip(lines, ends, strict=True)]
        self.keys = keys.pairs(self.pairs)

    def read(self, place: int, draw: random.Random) -> Iterator[Text]:
        """What the gate shows of a line's pairs among others': to a question in other words, and to one that it does
        not answer.
        """
        line, own = self.lines[place], self.own[place]
        if not own:
            return
        right = draw.choice(own)
        asked = [draw.choice(self.otherwise[right]), draw.choice(line["never"])]
        near = torch.cat([self.keys[own.start : own.stop], self.gate.keys.questions(asked)])
        size = round(MEMORY[0] * (MEMORY[1] / MEMORY[0]) ** draw.random())
        others = [one for one in draw.sample(range(len(self.pairs)), min(size, len(self.pairs))) if one not in own]
        alike = (self.keys[others] @ near.mT).amax(1).tolist()
        memory = [*own, *(one for one, like in zip(others, alike, strict=True) if like < SAME)]
        pairs = [self.pairs[one] for one in memory]
        found = self.gate.likeness(asked, pairs, self.keys[memory])
        for question, answer, like in zip(asked, (self.pairs[right][1], NOTHING), found, strict=False):
            places = shown(like)
            if places:  # else theta_0 is not asked
                told = right - own.start in places
                first = (question, answer if told else NOTHING)
                shows = [memory[one] for one in places]
                yield Text(notes([self.pairs[one] for one in shows]), None, [first, *self._also(shows, own, draw)])

    def _also(self, shows: Sequence[int], own: range, draw: random.Random) -> Iterator[tuple[str, str]]:
        """Questions that others of the pairs that are shown answer, each of which no other one is alike to."""
        alike = (self.keys[shows] @ self.keys[shows].mT).fill_diagonal_(0.0).amax(1).tolist()
        alone = [one for one, like in zip(shows, alike, strict=True) if one not in own and like < SAME]
        for one in draw.sample(alone, min(ALSO, len(alone))):
            yield draw.choice(self.otherwise[one]), self.pairs[one][1]
