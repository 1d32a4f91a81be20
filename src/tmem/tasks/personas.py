"""Synthetic-Persona-Chat (Jandaghi et al., 2023, CC BY 4.0): two people talk, then what is true of each is asked.

Beside every conversation stands what is true of each speaker, a line for each thing. A line becomes a question and its
answer by its form ("I collect stamps." -> "What does Ana collect?", "stamps"); those whose number was lost ("I have a
dogs.") and those of which the speaker says nothing are left out. Speakers have no names in the file: they get some.
"""

from __future__ import annotations

import csv
import gzip
import random
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tmem.agent.episode import Ask, Episode
from tmem.errors import DataError
from tmem.seeds import derive
from tmem.tasks.base import Item, Task
from tmem.tasks.everyday import message
from tmem.tasks.sources import identity
from tmem.tasks.told import Told
from tmem.texts import NO_INFORMATION

NEAR = (
    "mother|father|sister|brother|husband|wife|son|daughter|grandmother|grandfather|aunt|uncle|cousin|mom|dad|flatmate|"
    "colleague|neighbour|girlfriend|boyfriend|niece|nephew"
)
VERBS = (
    "play|collect|eat|drink|speak|teach|write|read|study|watch|ride|grow|make|sell|wear|volunteer|travel|cook|bake|"
    "listen|paint|sing|run|swim|train"
)
PAST = "played|studied|moved|graduated|served|won|lost|broke|bought|joined"
_LIKES = "i (?:really )?(?:like|love|enjoy)"
_DISLIKES = "i (?:(?:do not|don't)(?: really)? (?:like|enjoy)|dislike|cannot stand|can't stand|hate)"
_AM = "i(?: am| m|'m)"
# A line's form; what it is about; its question as it is noted, and in other words ("": not asked). {s} is who, {p}
# whose, {1} the first group; the last one is the answer.
FORMS = [
    (re.compile(form, re.IGNORECASE), kind, ask, otherwise)
    for form, kind, ask, otherwise in (
        (f"{_LIKES} to (.+)", "likes", "What does {s} like to do?", "What is {s} fond of doing?"),
        (f"{_LIKES} (\\w+ing\\b.*)", "likes", "What does {s} like to do?", "What is {s} fond of doing?"),
        (f"{_LIKES} (.+)", "likes", "What does {s} like?", "What is {s} fond of?"),
        (f"{_DISLIKES} (.+)", "likes", "What does {s} dislike?", "What is not to {p} taste?"),
        (
            "my favou?rite ([\\w ]+?) (?:is|are) (.+)",
            "likes",
            "What is {p} favorite {1}?",
            "Which {1} does {s} like most?",
        ),
        ("my name is (.+)", "life", "What is {p} name?", ""),
        ("i (?:currently )?live (?:in|with|on|at) (.+)", "life", "Where does {s} live?", "Where is {p} home?"),
        (f"{_AM} (?:originally )?from (.+)", "life", "Where is {s} from?", "From which place does {s} come?"),
        ("i (?:was born|grew up) in (.+)", "life", "Where did {s} grow up?", "Where was {s} as a child?"),
        ("i work (?:as|in|for|at) (.+)", "life", "What does {s} do for work?", "How does {s} earn a living?"),
        ("i want to (.+)", "plans", "What does {s} want to do?", "What does {s} wish for?"),
        ("i (?:would like|hope|plan|am going) to (.+)", "plans", "What does {s} plan to do?", "What does {s} intend?"),
        ("i drive (.+)", "has", "What does {s} drive?", "Which vehicle is {p}?"),
        (f"{_AM} allergic to (.+)", "life", "What is {s} allergic to?", "What does {s} not tolerate?"),
        (f"{_AM} (?:afraid|scared) of (.+)", "life", "What is {s} afraid of?", "What frightens {s}?"),
        (f"{_AM} (?:studying|learning) (.+)", "life", "What is {s} studying?", "In what is {s} taking lessons?"),
        (f"{_AM} (\\d+|[a-z]+) years old", "life", "How old is {s}?", "What is {p} age?"),
        (f"{_AM} an? ([\\w ]+)", "life", "What is {s}?", ""),
        ("i (?:have|own) (.+)", "has", "What does {s} have?", "What belongs to {s}?"),
        (f"my ({NEAR}) (?:is|was) (.+)", "life", "What is {p} {1}?", "What can be said of {p} {1}?"),
        (f"i ({VERBS}) ((?!to ).+)", "does", "What does {s} {1}?", "What would one see {s} {1}?"),
        (f"i ({PAST}) (.+)", "does", "What did {s} do?", "What has {s} done?"),
    )
]
NAMES = (
    "Ada",
    "Ben",
    "Carla",
    "Dario",
    "Elsa",
    "Felix",
    "Greta",
    "Hugo",
    "Irma",
    "Jonas",
    "Karin",
    "Leo",
    "Mona",
    "Nils",
)
TURNS = 12  # of one unit: a working context, not a whole conversation
SPOKEN = 0.6  # of an answer's words that say something, so many are the speaker's own
LONGEST = 8  # words of an answer
LOST = re.compile(r"\ba (?:\w+ )?\w+s\b", re.IGNORECASE)
WORD = re.compile(r"[\w']+")
LITTLE = frozenset(
    "a an the i my me is are was to of in on at and with for it that very really have has am be do".split()  # noqa: SIM905
)
_ASKING = frozenset(
    "what which where how who does did s p 's whose most one would see much can said done".split()  # noqa: SIM905
)
_PLACE = re.compile(r"\[?\buser ([12])(?:(?:'s)? name)?\b\]?|\[(?:your |my |user)?name\]", re.IGNORECASE)
_AGREES = re.compile(r"\b(?:me too|so do i|so am i|same here|me neither|also|as well)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Trait:
    """What is true of speaker 0 or 1: a question about {s}, in two wordings, and its answer."""

    who: int
    kind: str
    ask: str
    otherwise: str
    answer: str

    def heard(self, lines: Iterable[tuple[int, str]]) -> bool:
        """Whether the speaker says the answer, or most of it."""
        said = WORD.findall(" ".join(text for who, text in lines if who == self.who).lower())
        wanted = [word for word in WORD.findall(self.answer.lower()) if word not in LITTLE]
        found = sum(word in said or word.rstrip("s") in said for word in wanted)
        return bool(wanted) and found / len(wanted) >= SPOKEN


@dataclass(frozen=True)
class Conversation:
    """``lines``: (speaker, what is said); ``traits`` in the file's order."""

    lines: tuple[tuple[int, str], ...]
    traits: tuple[Trait, ...]


class Personas(Told):
    """The benchmark over a file. Each conversation is read in parts of :data:`TURNS` turns.

    ``never said``: what only the other speaker has, where nothing of the kind is in this one's turns or persona.
    """

    name = "personas"

    def __init__(self, path: str | Path, official: bool = False) -> None:
        """Raises :class:`DataError` for another file."""
        self.path = Path(path)
        made = (_task(number, one) for number, one in enumerate(conversations(path)))
        self.all = [task for task in made if task.items]

    def identity(self) -> dict[str, Any]:
        return identity(self.path)


def conversations(path: str | Path) -> list[Conversation]:
    """All conversations of a file (CSV, gzip). Raises :class:`DataError` if it is not one of Synthetic-Persona-Chat."""
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            made = [_conversation(row) for row in csv.DictReader(file)]
    except (OSError, EOFError, zlib.error, csv.Error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a file of Synthetic-Persona-Chat ({type(error).__name__})") from None
    if not made:
        raise DataError(f"{path}: no conversations: not a file of Synthetic-Persona-Chat")
    return made


def named(text: str, who: int, names: Sequence[str]) -> str:
    """A question about a speaker, with that speaker's name."""
    name = names[who]
    return text.replace("{s}", name).replace("{p}", f"{name}'" if name.endswith("s") else f"{name}'s")


def spoken(lines: Iterable[tuple[int, str]], names: Sequence[str]) -> str:
    """Turns as they are read; where the file has "[user 1's name]", the name stands."""
    return message([(names[who], _PLACE.sub(partial(_name, who, names), text)) for who, text in lines])


def _name(who: int, names: Sequence[str], place: re.Match[str]) -> str:
    return names[int(place[1]) - 1 if place[1] else who]


def joined(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """One answer for each question: several are one list."""
    found: dict[str, list[str]] = {}
    for question, answer in pairs:
        found.setdefault(question, []).append(answer)
    return [(question, ", ".join(dict.fromkeys(answers))) for question, answers in found.items()]


def pair(line: str) -> tuple[str, str, str, str] | None:
    """What a line of a persona is about, its question in two wordings and its answer; None if it has no known form."""
    line = line.strip().rstrip(".!")
    if LOST.search(line):
        return None
    for form, kind, ask, otherwise in FORMS:
        found = form.fullmatch(line)
        if found and len(found[found.lastindex or 0].split()) <= LONGEST:
            first, answer = found[1].lower(), found[found.lastindex or 0].strip()
            return kind, ask.replace("{1}", first), otherwise.replace("{1}", first), answer
    return None


def _conversation(row: dict[str, str]) -> Conversation:
    said = (
        re.fullmatch(r"User ([12]): (.+)", line.strip()) for line in row["Best Generated Conversation"].splitlines()
    )
    lines = [(int(one[1]) - 1, one[2].replace('"', "'")) for one in said if one]
    traits = [
        Trait(who, *found)
        for who in (0, 1)
        for one in row[f"user {who + 1} personas"].splitlines()
        if (found := pair(one))
    ]
    return Conversation(tuple(lines), tuple(traits))


def _task(number: int, told: Conversation) -> Task:
    names = random.Random(derive(number, "names of Synthetic-Persona-Chat")).sample(NAMES, 2)
    units = [told.lines[start : start + TURNS] for start in range(0, len(told.lines), TURNS)]
    asked = dict[tuple[int, str, str], list[Trait]]()
    for trait in told.traits:
        if trait.otherwise and trait.heard(told.lines):
            asked.setdefault((trait.who, trait.kind, trait.otherwise), []).append(trait)
    asks, items = list[Ask](), list[Item]()

    def ask(question: str, kind: str, gold: Sequence[str], evidence: Sequence[int]) -> None:
        name = f"{number}:{len(items)}"
        asks.append(Ask(name, question))
        items.append(Item(name, question, tuple(gold), kind, tuple(evidence), {"abstention": not evidence}))

    for (who, kind, otherwise), traits in asked.items():
        # Of one question with several answers each is right, and all of them.
        answers = list(dict.fromkeys(trait.answer for trait in traits))
        places = [place for place, part in enumerate(units) if any(trait.heard(part) for trait in traits)]
        gold = [", ".join(answers), *answers] if len(answers) > 1 else answers
        ask(named(otherwise, who, names), kind, gold, places or range(len(units)))
    for (who, _, otherwise), traits in asked.items():
        if _never(told, 1 - who, traits[0]):
            ask(named(otherwise, 1 - who, names), "never said", (NO_INFORMATION,), ())
    parts = tuple(spoken(part, names) for part in units)
    return Task(Episode(id=f"conversation {number}", units=parts, asks=tuple(asks)), tuple(items))


def _never(told: Conversation, who: int, others: Trait) -> bool:
    """Whether a speaker has nothing like another's trait, says no word of its question, and never says "me too"."""
    own = any(trait.who == who and trait.otherwise == others.otherwise for trait in told.traits)
    text = " ".join(line for speaker, line in told.lines if speaker == who).lower()
    words = set(WORD.findall(f"{others.ask} {others.otherwise}".lower())) - LITTLE - _ASKING
    return not own and not _AGREES.search(text) and not any(re.search(rf"\b{re.escape(word)}", text) for word in words)
