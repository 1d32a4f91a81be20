"""What calls take and give: messages, receipts, answers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tmem.dates import Moment, spoken
from tmem.errors import UsageError
from tmem.files import without_surrogates

Messages = str | Mapping[str, Any] | Sequence[Mapping[str, Any]]
Record = dict[str, Any]
_HEADER = re.compile(r"DATE: .*\nCONVERSATION:\n")
_LINE = re.compile(r'(.+?) said, "(.*)"')
_SENTENCES = re.compile(r"[^.!?。！？\n]*(?:[.!?。！？\n]+[\"')\]]*\s*|$)")


@dataclass(frozen=True)
class Receipt:
    """What a call did. ``rejected``: what was found and not written, and why; ``version`` is the one in force now.

    ``pairs`` are as ``get`` gives them, those of a write with ``recalled``: whether the weights now give the answer
    (None: not trained on yet, or not put in force).
    """

    kind: str
    version: str | None
    pairs: list[Record] = field(default_factory=list)
    rejected: list[dict[str, str]] = field(default_factory=list)
    reason: str | None = None  # why nothing was written, if nothing was
    tokens: int = 0  # read and written by the model
    milliseconds: float = 0.0
    details: Record = field(default_factory=dict)

    def record(self) -> Record:
        """The receipt as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Answer:
    """A reply, the version that gave it, and the ids of written pairs that the prompt showed (none by default).

    ``source``: what it is from. ``weights``; ``text``, the pair that the question means, since the weights do not give
    its answer; ``base``, the model without a memory; ``nothing``: it was never told. ``pairs``: ids of those that the
    question means.
    """

    text: str
    version: str | None
    shown: list[str]
    milliseconds: float
    source: str = "weights"
    pairs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reply:
    """A turn of a conversation. ``text`` is "" if there was nothing to answer; ``learned``: what the message taught.

    ``source``: what the text is from, as in :class:`Answer`.
    """

    text: str
    version: str | None
    learned: Receipt | None
    milliseconds: float
    source: str = "nothing"


def heard(messages: Messages, roles: Sequence[str] = ("user",)) -> tuple[list[tuple[str, str]], list[dict[str, str]]]:
    """What those with one of ``roles`` said, (name or "", text) each; and parts that are no text, with reasons.

    A message's content is a text, a list of parts as chat APIs have them, or nothing (beside tool calls). Raises
    :class:`UsageError` for what is no message.
    """
    several: Sequence[Any] = [messages] if isinstance(messages, str | Mapping) else messages
    lines, passed_over = [], []
    for message in several:
        whole: Any = message if isinstance(message, Mapping) else {"content": message}
        if whole.get("role", "user") not in roles:
            continue
        text, others = content(whole)
        passed_over += [{"reason": "not a text, not read", "text": kind} for kind in others]
        if text:
            lines.append((clean(str(whole.get("name") or "")), text))
    return lines, passed_over


def content(message: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The text of a message and the kinds of its other parts. Raises :class:`UsageError` for what has neither."""
    value = message.get("content")
    if value is None and "content" in message and "role" in message:
        return "", []
    parts = [value] if isinstance(value, str | Mapping) else value
    if not isinstance(parts, list | tuple):
        raise UsageError("a message is a text, or {'role': ..., 'content': a text or a list of parts}")
    texts, others = [], []
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) else part
        if isinstance(text, str):
            texts.append(clean(text))
        elif isinstance(part, Mapping) and isinstance(part.get("type"), str):
            others.append(part["type"])
        else:
            raise UsageError("a part of a message is {'type': 'text', 'text': ...}, or of another named type")
    return "\n".join(text for text in texts if text), others


def session(lines: Sequence[tuple[str, str]], when: Moment | None) -> str:
    """What was said as the text of a session, dated if it is known when."""
    told = "\n".join(f'{name} said, "{text}"' if name else text for name, text in lines)
    return f"DATE: {spoken(when)}\nCONVERSATION:\n{told}" if when and told else told


def in_parts(text: str, count: Callable[[str], int], most: int) -> list[str]:
    """A :func:`session` cut between sentences into several, each of about ``most`` tokens, dated as it is."""
    begins = _HEADER.match(text)
    header = begins.group() if begins else ""
    parts, room = [list[str]()], most
    for line in text[len(header) :].splitlines():
        spoken_by = _LINE.fullmatch(line)
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


def clean(text: str) -> str:
    """Text that can be tokenized and stored: no half surrogates, no NUL, no white space around."""
    return without_surrogates(text).replace("\0", "").strip()


def milliseconds(began: float) -> float:
    """Since ``began``, to a tenth."""
    return round(1000 * (time.perf_counter() - began), 1)
