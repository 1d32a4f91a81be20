"""What people say, written by hand: each line with the questions that it answers, in several wordings.

``written.jsonl``: ``said`` as [name or "" of the user, text] turns, ``date`` (ISO, or ""), ``pairs`` of the wordings of
one question and its answer, ``never``: questions that it does not answer.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tmem.files import read_jsonl
from tmem.model.reading import notes
from tmem.seeds import derive
from tmem.tasks.everyday import message
from tmem.training.sources.rows import NOTHING, Text

FILE = Path(__file__).with_name("written.jsonl")
UNSAID = 2  # questions of one text that it does not answer, at most
BESIDE = 3  # texts whose pairs stand among a text's own when pairs are read


def written(seed: int) -> list[Text]:
    """All texts of the file, in its order; behind each what was noted of it, among notes of others, to be read too."""
    lines = [line for _, line in read_jsonl(FILE)]
    made = []
    for place, line in enumerate(lines):
        draw = random.Random(derive(seed, place, "written"))
        made.append(_said(line, draw))
        if line["pairs"]:
            made.append(_noted(line, draw.sample(lines, BESIDE), draw))
    return made


def _said(line: dict[str, Any], draw: random.Random) -> Text:
    pairs = [(one["ask"][0], one["answer"]) for one in line["pairs"]]
    asked = [(draw.choice(one["ask"]), one["answer"]) for one in line["pairs"]]
    return Text(message(line["said"], line["date"]), pairs, [*asked, *_unsaid(line, draw)])


def _noted(line: dict[str, Any], others: list[dict[str, Any]], draw: random.Random) -> Text:
    """Pairs as text, each in one wording, and the questions in another."""
    lines, asked = [], []
    for one in line["pairs"]:
        noted, other = draw.sample(one["ask"], 2)
        lines.append((noted, one["answer"]))
        asked.append((other, one["answer"]))
    lines += [(draw.choice(one["ask"]), one["answer"]) for other in others for one in other["pairs"][:2]]
    return Text(notes(draw.sample(lines, len(lines))), None, [*asked, *_unsaid(line, draw)])


def _unsaid(line: dict[str, Any], draw: random.Random) -> list[tuple[str, str]]:
    return [(ask, NOTHING) for ask in draw.sample(line["never"], min(UNSAID, len(line["never"])))]
