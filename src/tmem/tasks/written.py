"""Everyday English to train on: what people say, written by hand, and questions about it in other words.

None of the statements of ``everyday.jsonl`` is among them. A line of ``written.jsonl``: ``said`` as [name or "" of the
user, text] turns, ``date`` (ISO, or ""), ``pairs`` of the wordings of one question and its answer, ``never``: questions
that it does not answer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tmem.agent.episode import Ask, Episode
from tmem.files import read_jsonl
from tmem.seeds import derive
from tmem.tasks.base import Item, Task
from tmem.tasks.everyday import message
from tmem.tasks.sources import identity
from tmem.tasks.told import Told
from tmem.texts import NO_INFORMATION

FILE = Path(__file__).with_name("written.jsonl")
NEW = 2_672  # lines at the end of the file that the model which is shipped was not taught
MESSAGES = 3  # that one memory is told


class Written(Told):
    """The benchmark: the newest lines, three in a memory, each fact asked in a wording that is not its pair's first.

    Of each line one thing is asked that it does not say.
    """

    name = "written"

    def __init__(self, official: bool = False) -> None:
        own = lines()[-NEW:]
        said = [line for line in own if line["pairs"]]
        random.Random(derive("written", "memories")).shuffle(said)
        self.all = [_task(first, said[first : first + MESSAGES]) for first in range(0, len(said), MESSAGES)]

    def identity(self) -> dict[str, Any]:
        return identity(FILE)


@lru_cache(maxsize=1)
def lines() -> tuple[dict[str, Any], ...]:
    """The file's lines, the oldest first."""
    return tuple(line for _, line in read_jsonl(FILE))


def taught() -> tuple[dict[str, Any], ...]:
    """Those that models are trained on: the benchmark asks about none of them."""
    return lines()[:-NEW]


def _task(number: int, told: Sequence[Mapping[str, Any]]) -> Task:
    draw = random.Random(derive("written", number))
    asks, items = list[Ask](), list[Item]()
    for place, line in enumerate(told):
        asked = [(draw.choice(one["ask"][1:]), one["answer"], "told") for one in line["pairs"]]
        for question, answer, kind in [*asked, (draw.choice(line["never"]), NO_INFORMATION, "never said")]:
            name, unsaid = f"{number}:{len(items)}", kind == "never said"
            asks.append(Ask(name, question))
            items.append(
                Item(name, question, (answer,), kind, () if unsaid else (place,), judging={"abstention": unsaid})
            )
    units = tuple(message(line["said"], line["date"]) for line in told)
    return Task(Episode(id=f"memory {number}", units=units, asks=tuple(asks)), tuple(items))
