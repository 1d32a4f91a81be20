"""What calls take and give: messages, receipts, answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tmem.dates import Moment, spoken
from tmem.errors import UsageError
from tmem.files import without_surrogates

Messages = str | Mapping[str, Any] | Sequence[Mapping[str, Any]]
Record = dict[str, Any]


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


def render(messages: Messages, when: Moment | None) -> str:
    """What users said, as the text of a dated session. Raises :class:`UsageError` for what is no message."""
    several: Sequence[Any] = [messages] if isinstance(messages, str | Mapping) else messages
    lines = []
    for message in several:
        content = message.get("content") if isinstance(message, Mapping) else message
        if not isinstance(content, str):
            raise UsageError("a message is a text, or {'role': ..., 'content': a text}")
        if isinstance(message, Mapping) and message.get("role", "user") != "user":
            continue  # what the assistant said is no news about the user
        name = message.get("name") if isinstance(message, Mapping) else None
        if text := clean(content):
            lines.append(f'{clean(str(name))} said, "{text}"' if name else text)
    told = "\n".join(lines)
    return f"DATE: {spoken(when)}\nCONVERSATION:\n{told}" if when and told else told


def clean(text: str) -> str:
    """Text that can be tokenized and stored: no half surrogates, no NUL, no white space around."""
    return without_surrogates(text).replace("\0", "").strip()


def milliseconds(began: float) -> float:
    """Since ``began``, to a tenth."""
    return round(1000 * (time.perf_counter() - began), 1)
