"""Synthetic-Persona-Chat: two people talk, and what is true of each stands beside it, a line for each thing.

A line becomes a pair by its form ("I collect stamps." -> "What does Ana collect?", "stamps"); lines of which
nothing is said in the conversation are left out, and those whose number was lost ("I have a dogs.").
"""

from __future__ import annotations

import csv
import gzip
import random
import re
from pathlib import Path

from tmem.errors import DataError
from tmem.seeds import derive
from tmem.training.sources.everyday import Who, fill
from tmem.training.sources.rows import NOTHING, Text
from tmem.training.sources.topics import PERSONAL, RELATIVES, VALUES

# The form of a line, and its question; {s} is who, {p} whose. The answer is what the last group holds.
VERBS = [
    "play",
    "collect",
    "eat",
    "drink",
    "speak",
    "teach",
    "write",
    "read",
    "study",
    "watch",
    "ride",
    "grow",
    "make",
    "sell",
    "wear",
    "volunteer",
    "travel",
    "cook",
    "bake",
    "listen",
    "paint",
    "sing",
    "run",
    "swim",
    "train",
]
NEAR = (*RELATIVES, "mom", "dad", "wife", "husband", "son", "daughter")
FORMS = [
    (re.compile(form, re.I), ask)
    for form, ask in (
        (r"i (?:really )?(?:like|love|enjoy) to (.+)", "What does {s} like to do?"),
        (r"i (?:really )?(?:like|love|enjoy) (\w+ing\b.*)", "What does {s} like to do?"),
        (r"i (?:really )?(?:like|love|enjoy) (.+)", "What does {s} like?"),
        (r"i (?:do not|don't)(?: really)? (?:like|enjoy) (.+)", "What does {s} dislike?"),
        (r"i (?:dislike|cannot stand|can't stand|hate) (.+)", "What does {s} dislike?"),
        (r"my favou?rite ([\w ]+?) (?:is|are) (.+)", "What is {p} favorite {1}?"),
        (r"my name is (.+)", "What is {p} name?"),
        (r"i (?:currently )?live (?:in|with|on|at) (.+)", "Where does {s} live?"),
        (r"i (?:am|m|'m) (?:originally )?from (.+)", "Where is {s} from?"),
        (r"i (?:was born|grew up) in (.+)", "Where did {s} grow up?"),
        (r"i work (?:as|in|for|at) (.+)", "What does {s} do for work?"),
        (r"i want to (.+)", "What does {s} want to do?"),
        (r"i (?:would like|hope|plan|am going) to (.+)", "What does {s} plan to do?"),
        (r"i drive (.+)", "What does {s} drive?"),
        (r"i (?:am|'m) allergic to (.+)", "What is {s} allergic to?"),
        (r"i (?:am|'m) (?:afraid|scared) of (.+)", "What is {s} afraid of?"),
        (r"i (?:am|'m) (?:studying|learning) (.+)", "What is {s} studying?"),
        (r"i (?:am|'m) (\d+|[a-z]+) years old", "How old is {s}?"),
        (r"i (?:am|'m) an? ([\w ]+)", "What is {s}?"),
        (r"i (?:have|own) (.+)", "What does {s} have?"),
        (rf"my ({'|'.join(NEAR)}) (?:is|was) (.+)", "What is {p} {1}?"),
        (rf"i ({'|'.join(VERBS)}) ((?!to ).+)", "What does {s} {1}?"),
        (r"i (played|studied|moved|graduated|served|won|lost|broke|bought|joined) (.+)", "What did {s} do?"),
    )
]  # fmt: skip
LEAST = 3  # pairs of a part: of one with fewer the lines beside it leave out most
TURNS = 12  # of one text: a working context, not a whole conversation
LOST = re.compile(r"\ba (?:\w+ )?\w+s\b", re.I)
WORD = re.compile(r"[\w']+")
LITTLE = set(
    [
        "a",
        "an",
        "the",
        "i",
        "my",
        "me",
        "is",
        "are",
        "was",
        "to",
        "of",
        "in",
        "on",
        "at",
        "and",
        "with",
        "for",
        "it",
        "that",
        "very",
        "really",
        "have",
        "has",
        "am",
        "be",
        "do",
    ]
)


def personas(path: Path, seed: int) -> list[Text]:
    """Conversations of a file of Synthetic-Persona-Chat, each in parts. Raises :class:`DataError` for another file."""
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file))
        made = [
            text
            for place, row in enumerate(table)
            for text in _texts(row, random.Random(derive(seed, place, "personas")))
        ]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not a file of Synthetic-Persona-Chat ({type(error).__name__})") from None
    if not made:
        raise DataError(f"{path}: no conversations: not a file of Synthetic-Persona-Chat")
    return made


def _texts(row: dict[str, str], draw: random.Random) -> list[Text]:
    names = draw.sample(VALUES["name"], 2)
    lines = []
    for line in row["Best Generated Conversation"].splitlines():
        said = re.fullmatch(r"User ([12]): (.+)", line.strip())
        if said:
            lines.append((int(said[1]) - 1, said[2].replace('"', "'")))
    traits = [
        (who, pair) for who in (0, 1) for one in row[f"user {who + 1} personas"].splitlines() if (pair := _pair(one))
    ]
    texts, left = [], traits
    for start in range(0, len(lines), TURNS):
        part = lines[start : start + TURNS]
        here: list[tuple[int, tuple[str, str]]] = []
        later: list[tuple[int, tuple[str, str]]] = []
        for who, (ask, answer) in left:
            heard = WORD.findall(" ".join(text for speaker, text in part if speaker == who).lower())
            wanted = [word for word in WORD.findall(answer.lower()) if word not in LITTLE]
            spoken = wanted and sum(word in heard or word.rstrip("s") in heard for word in wanted) / len(wanted) >= 0.6
            (here if spoken else later).append((who, (ask, answer)))
        left = later
        pairs = _joined([(_named(ask, names[who]), answer) for who, (ask, answer) in here])
        text = "\n".join(f'{names[who]} said, "{said}"' for who, said in part)
        other = draw.choice(PERSONAL)
        nobody = fill(
            other.asks[0], Who("I", draw.choice([name for name in VALUES["name"] if name not in names])), "", asked=True
        )
        if len(pairs) >= LEAST:
            texts.append(Text(text, pairs, [*draw.sample(pairs, min(3, len(pairs))), (nobody, NOTHING)]))
    return texts


def _pair(line: str) -> tuple[str, str] | None:
    line = line.strip().rstrip(".!")
    if LOST.search(line):
        return None
    for form, ask in FORMS:
        found = form.fullmatch(line)
        if found and len(found[found.lastindex or 0].split()) <= 8:
            return ask.replace("{1}", found[1].lower()), found[found.lastindex or 0].strip()
    return None


def _named(ask: str, name: str) -> str:
    return ask.replace("{s}", name).replace("{p}", f"{name}'" if name.endswith("s") else f"{name}'s")


def _joined(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """One answer for each question: several are one list."""
    found: dict[str, list[str]] = {}
    for question, answer in pairs:
        found.setdefault(question, []).append(answer)
    return [(question, ", ".join(dict.fromkeys(answers))) for question, answers in found.items()]
