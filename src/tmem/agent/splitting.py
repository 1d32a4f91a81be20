"""Sessions and other texts that are too long, cut where a sentence ends."""

from __future__ import annotations

import re
from collections.abc import Callable

_HEADER = re.compile(r"DATE: .*\nCONVERSATION:\n")
LINE = re.compile(r'(.+?) said, "(.*)"')
_SENTENCES = re.compile(r"[^.!?。！？\n]*(?:[.!?。！？\n]+[\"')\]]*\s*|$)")


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
    for line in text[len(header) :].splitlines():
        spoken_by = LINE.fullmatch(line)
        for piece in cut(spoken_by[2] if spoken_by else line, count, most):
            room -= count(piece)
            if room < 0 and parts[-1]:
                parts.append([])
                room = most - count(piece)
            parts[-1].append(f'{spoken_by[1]} said, "{piece}"' if spoken_by else piece)
    return [header + "\n".join(own) for own in parts]


def cut(text: str, count: Callable[[str], int], most: int) -> list[str]:
    """A text cut after sentences into pieces of about ``most`` tokens; a longer sentence at a space, or anywhere."""
    pieces, held, room = list[str](), "", 0
    for sentence in _SENTENCES.findall(text):
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
    sentences = [one.strip() for one in _SENTENCES.findall(text) if one.strip()] or [text]
    last = next((one for one in reversed(sentences) if one.rstrip("\"')]").endswith(("?", "？"))), sentences[-1])
    return the_end(last, count, most)
