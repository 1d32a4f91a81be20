"""What every rule needs: the text and its moment, the words around a phrase, and the list of the rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from tmem.dates import Moment
from tmem.when.words import compiled, listed


@dataclass(frozen=True)
class Said:
    """A text and the moment it was said at."""

    text: str
    when: Moment

    @property
    def day(self) -> date:
        return date(self.when.year, self.when.month, self.when.day)


# What may follow a bare date: "I saw her Friday with Tom", not "Friday prayers".
_FOLLOWS = listed(
    "at in on with for to from and but or so because when while after before since as if that which who how "
    "why whether i we he she it they you my our his her their the a an this by was were is will had have "
    "there about both too also again only until till then instead together though although without where "
    "during through not alone please did would are went just via around near"
)
# A capital before a capital: the name of a song, a film, a person.
TITLE = re.compile(r"\b[A-Z][\w']*[ \n]$")
OWNED = listed("the a an my your his its our their every each no whose very this")

Value = date | str | None
Rule = tuple[re.Pattern[str], Callable[[re.Match[str], Said], Value]]
RULES: list[Rule] = []


def rule(*patterns: str) -> Callable[[Callable[[re.Match[str], Said], Value]], Callable[..., Value]]:
    """The function gives the date of what the patterns find; None: it means no date, and no part of it does."""

    def add(made: Callable[[re.Match[str], Said], Value]) -> Callable[..., Value]:
        RULES.extend((compiled(pattern), made) for pattern in patterns)
        return made

    return add


def previous_word(said: Said, start: int) -> str:
    """The word before, in small letters; nothing where a mark stands between."""
    found = re.search(r"([\w']+)[ \n]*$", said.text[max(0, start - 24) : start])
    return found[1].lower() if found else ""


def stands_alone(said: Said, end: int) -> bool:
    """Whether the phrase may end here, and is not the start of "Friday prayers" or "the 3rd floor"."""
    rest = re.match(r"[ \n]*([A-Za-z]+)?", said.text[end : end + 24])
    word = rest[1] if rest else None
    dash = re.match(r" ?[-–—/&] ?\d", said.text[end : end + 4])
    return not dash and said.text[end : end + 1] != "'" and (word is None or word.lower() in _FOLLOWS)
