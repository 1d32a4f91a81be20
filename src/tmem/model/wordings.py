"""What else may be asked where a pair is told: other wordings, what follows from it, what joins two, what was not told.

A pair alone teaches an answer to one sentence, and to whatever resembles it. What a model is asked beside it comes from
its ``wordings.json``, a list of groups of questions about one thing; the answers come from the pairs themselves. So
what is taught follows from the pairs alone: no other model makes it, and no rounding decides it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tmem.errors import DataError, ModelError
from tmem.files import read_json
from tmem.texts import fold, names

FILE_NAME = "wordings.json"
PERSON, ANSWER = "{p}", "{v}"
# How often each kind of question is made, and of how many made questions the person is one that nothing was told of.
SHARES = {"told": 0.32, "follows": 0.16, "swapped": 0.28, "untold": 0.1, "joined": 0.14}
STRANGERS = 0.15
TRIES = 20  # for every question that is wanted: a small memory does not have so many different ones


class Group(BaseModel):
    """Questions that have one answer; ``{p}`` stands for a person.

    ``clue`` says the same without naming the person, ``{v}`` stands for the answer; ``follows`` are questions whose
    answer follows from this one's, by ``answers``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    asks: tuple[str, ...]
    clue: str | None = None
    follows: tuple[str, ...] = ()
    answers: dict[str, str] = {}


class Told(BaseModel):
    """A pair that is in a group: what was told of whom."""

    model_config = ConfigDict(frozen=True)

    group: int
    person: str
    answer: str


class Wordings(BaseModel):
    """A model's groups. ``that_person`` stands for a name behind a clue; ``strangers`` are names of nobody."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    refusal: str = "No information available"
    that_person: str = "that person"
    strangers: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()

    @classmethod
    def read(cls, directory: Path) -> Wordings:
        """What a model's directory has, or none. Raises :class:`ModelError` in one line for a broken file."""
        path = directory / FILE_NAME
        if not path.exists():
            return cls()
        try:
            return cls.model_validate(read_json(path))
        except DataError as error:
            raise ModelError(str(error)) from None
        except ValidationError as error:
            first = error.errors()[0]
            raise ModelError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    @cached_property
    def _group_of(self) -> dict[str, int]:
        """Folded question with ``{p}`` -> its group."""
        return {fold(ask): place for place, group in enumerate(self.groups) for ask in group.asks}

    def told(self, question: str, answer: str) -> Told | None:
        """What a pair tells, if its question is of a group."""
        for name in names(question):
            group = self._group_of.get(fold(re.sub(rf"\b{re.escape(name)}\b", PERSON, question)))
            if group is not None:
                return Told(group=group, person=name, answer=answer)
        return None

    def same(self, question: str, other: str) -> bool | None:
        """Whether two questions ask one thing of one person; None where it is not known of both what they ask."""
        one, another = self.told(question, ""), self.told(other, "")
        return None if one is None or another is None else one == another

    def beside(self, pairs: Sequence[tuple[str, str]], count: int, draw: random.Random) -> list[tuple[str, str]]:
        """At most ``count`` questions that may be asked of a memory of these pairs, with what is to be answered."""
        if not self.groups:
            return []
        asker = _Asker(self, pairs, draw)
        made = (asker.ask() for _ in range(TRIES * count))
        rows: dict[str, str] = {}
        for question, answer in (one for one in made if one is not None):
            rows[question] = answer
            if len(rows) == count:
                break
        return sorted(rows.items())


class _Asker:
    """Makes questions about what one memory was told."""

    def __init__(self, wordings: Wordings, pairs: Sequence[tuple[str, str]], draw: random.Random) -> None:
        self.wordings, self.draw = wordings, draw
        self.written = {fold(question) for question, _ in pairs}
        self.told = [found for pair in pairs if (found := wordings.told(*pair)) is not None]
        self.others = [question for question, answer in pairs if wordings.told(question, answer) is None]
        self.people = list(dict.fromkeys(name for question, _ in pairs for name in names(question)[:1]))
        strangers = [name for name in wordings.strangers if name not in self.people]
        self.strangers = draw.sample(strangers, min(4, len(strangers)))
        self.known = {(one.person, one.group) for one in self.told}
        self.follow = [one for one in self.told if wordings.groups[one.group].follows]
        said = [one.answer for one in self.told]
        # A clue that fits two people tells nobody apart.
        self.clues = [one for one in self.told if wordings.groups[one.group].clue and said.count(one.answer) == 1]

    def ask(self) -> tuple[str, str] | None:
        """One question with its answer; None if what was drawn does not exist here."""
        [kind] = self.draw.choices(list(SHARES), list(SHARES.values()))
        made: tuple[str, str] | None = getattr(self, f"_{kind}")()
        return None if made is None or fold(made[0]) in self.written else made

    def _told(self) -> tuple[str, str] | None:
        if not self.told:
            return None
        one = self.draw.choice(self.told)
        return self._question(one.group, one.person), one.answer

    def _follows(self) -> tuple[str, str] | None:
        if not self.follow:
            return None
        one = self.draw.choice(self.follow)
        group = self.wordings.groups[one.group]
        person, answer = one.person, group.answers.get(one.answer)
        if self.draw.random() < 0.25:
            person, answer = self._other(one.group) or "", self.wordings.refusal
        if not person or answer is None:
            return None
        return _capital(self.draw.choice(group.follows).replace(PERSON, person)), answer

    def _swapped(self) -> tuple[str, str] | None:
        place = self.draw.randrange(len(self.told) + len(self.others))
        if place < len(self.told):
            group = self.told[place].group
            person = self._other(group)
            return None if person is None else (self._question(group, person), self.wordings.refusal)
        question = self.others[place - len(self.told)]  # of no group: the same about somebody else
        own, other = names(question), self._other(None)
        if not own or other is None or other in own:
            return None
        return re.sub(rf"\b{re.escape(own[0])}\b", other, question), self.wordings.refusal

    def _untold(self) -> tuple[str, str] | None:
        group = self.draw.randrange(len(self.wordings.groups))
        person = self._other(group)
        if person is None:
            return None
        # As often in the wording that pairs are written in, which a memory takes for one of its own most easily.
        asked = self.wordings.groups[group].asks[0].replace(PERSON, person)
        return (asked if self.draw.random() < 0.5 else self._question(group, person)), self.wordings.refusal

    def _joined(self) -> tuple[str, str] | None:
        if not self.clues:
            return None
        clue = self.draw.choice(self.clues)
        said = (self.wordings.groups[clue.group].clue or "").replace(ANSWER, clue.answer)
        own = [one for one in self.clues if one.person == clue.person and one is not clue]
        if own and self.draw.random() < 0.85:
            one = self.draw.choice(own)
            group, answer = one.group, one.answer
        else:
            group, answer = self.draw.randrange(len(self.wordings.groups)), self.wordings.refusal
            if (clue.person, group) in self.known or not self.wordings.groups[group].clue:
                return None
        return f"{said} {self._question(group, self.wordings.that_person)}", answer

    def _other(self, group: int | None) -> str | None:
        """Somebody of whom this was not told."""
        if self.strangers and (self.draw.random() < STRANGERS or not self.people):
            return self.draw.choice(self.strangers)
        left = [person for person in self.people if (person, group) not in self.known]
        return self.draw.choice(left) if left else None

    def _question(self, group: int, person: str) -> str:
        return _capital(self.draw.choice(self.wordings.groups[group].asks).replace(PERSON, person))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
