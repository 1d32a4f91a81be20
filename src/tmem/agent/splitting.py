"""Sessions and other texts that are too long, cut where a sentence ends."""

from __future__ import annotations

import re
from collections.abc import Callable

_HEADER = re.compile(r"DATE: .*\nCONVERSATION:\n")
# What somebody says in a session, several lines of it too, or any other line.
PIECE = re.compile(
    r'^(?P<name>.+?) said, "(?P<said>(?:[^"\n]++|"(?!$)|\n(?!.+? said, "|DATE: ))*+)"$|^.*$',
    re.MULTILINE,
)
_ENDS = re.compile(r"(?:(?<![.!?])[.!?]++[\"')\]”’]*(?=\s|$)|[。！？]+[\"')\]」』”’]*|\n)\s*")
# Before a full stop that ends nothing: titles and initials, and words that are written short if more follows.
_TITLE = re.compile(r"(?:^|[\s(\"'“])(?:Dr|Mr|Mrs|Ms|Mx|Prof|St|Mt|Rev|Capt|Gen|Sgt|[A-HJ-Z])$")
_SHORT = re.compile(r"(?:^|[\s(\d])(?:[ap]\.m|e\.g|i\.e|etc|approx|vs|Jr|Sr|Inc|Ltd|Co|Apt|Ave|Rd)$")


def sentences(text: str) -> list[str]:
    """A text after whose sentences and lines it is cut; together they are the text as it is."""
    found, start = list[str](), 0
    for end in _ENDS.finditer(text):
        before, after = text[max(start, end.start() - 8) : end.start()], text[end.end() : end.end() + 1]
        mark, goes_on = end.group().rstrip(), "\n" not in end.group() and (after.islower() or after.isdigit())
        if mark == "." and (_TITLE.search(before) or (goes_on and _SHORT.search(before))):
            continue
        if goes_on and mark[-1:] in "\"')]”’」』":  # "He asked 'why?' and left."
            continue
        found.append(text[start : end.end()])
        start = end.end()
    return [*found, text[start:]] if start < len(text) else found


def to_read(text: str, count: Callable[[str], int], budget: int, most: int | None = None) -> list[str]:
    """A text as extractions read it: whole if it is hardly longer than a working context of ``budget``, else in parts.

    Of much text an extraction finds little, by a small model least. ``most``: of a part; default: ``budget``.
    """
    return [text] if count(text) <= 2 * budget else in_parts(text, count, max(16, most or budget))


def in_parts(text: str, count: Callable[[str], int], most: int) -> list[str]:
    """A :func:`session` cut between sentences into several, each of about ``most`` tokens, dated as it is."""
    begins = _HEADER.match(text)
    header = begins.group() if begins else ""
    parts, room = [list[str]()], most
    for said in PIECE.finditer(text, len(header)):
        for piece in cut(said["said"] or said.group(), count, most):
            room -= count(piece)
            if room < 0 and parts[-1]:
                parts.append([])
                room = most - count(piece)
            parts[-1].append(f'{said["name"]} said, "{piece}"' if said["name"] else piece)
    return [header + "\n".join(own) for own in parts]


def cut(text: str, count: Callable[[str], int], most: int) -> list[str]:
    """A text cut after sentences into pieces of about ``most`` tokens; a longer sentence at a space, or anywhere."""
    pieces, held, room = list[str](), "", 0
    for sentence in sentences(text):
        tokens = count(sentence)
        if tokens > most and len(sentence) > 1:
            middle = len(sentence) // 2
            at = sentence.rfind(" ", 1, middle) + 1 or middle
            pieces += [held, *cut(sentence[:at], count, most), *cut(sentence[at:], count, most)]
            held, room = "", 0
        elif tokens > room:
            pieces.append(held)
            held, room = sentence, most - tokens
        else:
            held, room = held + sentence, room - tokens
    return [piece.strip() for piece in [*pieces, held] if piece.strip()]


def the_end(text: str, count: Callable[[str], int], most: int) -> str:
    """The last sentences of a text, of about ``most`` tokens: where a long message asks something."""
    return (cut(text, count, most) or [""])[-1]


def the_question(text: str, count: Callable[[str], int], most: int) -> str:
    """The last question of a text, its last sentence if there is none; of one of more than ``most`` tokens its end."""
    every = [one.strip() for one in sentences(text) if one.strip()] or [text]
    last = next((one for one in reversed(every) if one.rstrip("\"')]").endswith(("?", "？"))), every[-1])
    return the_end(last, count, most)
