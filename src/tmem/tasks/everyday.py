"""Everyday English: what people tell an assistant, and questions about it in other words.

All sentences of ``everyday.jsonl`` were written by hand, and none is used in training. A line is a statement: one
message, or a short talk between people with names; ``later`` is a message that corrects it after all others of its
task. Ten statements that fit together, one of each kind and one more, are a task: read one after another, then asked
about. A question of the kind ``never_said``, and each one beside ``small_talk``, is about what nobody said.

``dev`` is for working on the library, ``test`` for tables that are published and for nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from tmem.agent.episode import Ask, Episode
from tmem.dates import moment
from tmem.errors import UsageError
from tmem.session import session
from tmem.tasks.base import Item, Task
from tmem.tasks.sources import identity
from tmem.tasks.told import Told
from tmem.texts import NO_INFORMATION

FILE = Path(__file__).with_name("everyday.jsonl")
HALVES = ("dev", "test")
KINDS = (
    *("facts", "preferences", "dates", "numbers", "corrections"),
    *("denials", "two_speakers", "never_said", "small_talk"),
)


@dataclass(frozen=True)
class Asked:
    """A question about a statement; ``kind`` is its own, which the report groups by.

    ``others``: answers that are as right, such as a date with the year that its message has.
    """

    question: str
    answer: str
    kind: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statement:
    """What was said, as messages of (name or "" of the user, text) turns; ``about`` is unlike others' of its task."""

    id: str
    task: int
    kind: str
    half: str
    about: str
    said: tuple[tuple[str, str], ...]
    later: tuple[tuple[str, str], ...]
    date: str  # ISO, of ``said``; "" if it is not known when
    questions: tuple[Asked, ...]


class Everyday(Told):
    """The benchmark: the tasks of one half. Raises :class:`UsageError` for a half that there is not."""

    name = "everyday"

    def __init__(self, half: str = "dev", official: bool = False) -> None:
        if half not in HALVES:
            raise UsageError(f"--half {half}: there are {' and '.join(HALVES)}")
        self.half = half
        own = [statement for statement in statements() if statement.half == half]
        self.all = [task(number, list(part)) for number, part in groupby(own, lambda statement: statement.task)]

    def identity(self) -> dict[str, Any]:
        return {**identity(FILE), "half": self.half}


@lru_cache(maxsize=1)
def statements() -> tuple[Statement, ...]:
    """All statements, in the order of the file: task by task."""
    return tuple(_statement(json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines())


def _statement(record: Mapping[str, Any]) -> Statement:
    said, later = (
        tuple((turn.get("name", ""), turn["text"]) for turn in record.get(key, ())) for key in ("said", "later")
    )
    return Statement(
        **{key: record[key] for key in ("id", "task", "kind", "half", "about")},
        said=said,
        later=later,
        date=record.get("date", ""),
        questions=tuple(
            Asked(own["question"], own["answer"], own["kind"], tuple(own.get("or", ()))) for own in record["questions"]
        ),
    )


def task(number: int, told: Sequence[Statement]) -> Task:
    """Statements that are told one after another, then the messages that correct some of them; all their questions."""
    units = [message(statement.said, statement.date) for statement in told]
    asks, items = [], []
    for place, statement in enumerate(told):
        evidence = [place]
        if statement.later:
            evidence.append(len(units))
            units.append(message(statement.later))
        for index, asked in enumerate(statement.questions):
            name = f"{statement.id}:{index}"
            unknown = asked.answer == NO_INFORMATION
            asks.append(Ask(name, asked.question))
            items.append(
                Item(
                    id=name,
                    question=asked.question,
                    gold=(asked.answer, *asked.others),
                    category=asked.kind,
                    evidence=() if unknown else tuple(evidence),
                    judging={"abstention": unknown},
                )
            )
    return Task(Episode(id=f"task {number}", units=tuple(units), asks=tuple(asks)), tuple(items))


def message(turns: Sequence[tuple[str, str]], date: str = "") -> str:
    """What was said as a message is read: the user's words as they are, others' with their names, dated if it is."""
    return session(turns, moment(date) if date else None)
