"""How likely the tokens of an answer were, in OpenAI's shape; of those alone that are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tmem.model.request import Likeliest
from tmem.server.visible import HALF, without_thoughts

MOST = 20  # likeliest tokens beside each, as OpenAI has it


@dataclass(frozen=True)
class _Entry:
    start: int  # its place in what is said
    end: int
    shown: dict[str, Any]


class Likelihoods:
    """The log-probabilities of an answer's tokens; :meth:`take` gives those of what is shown.

    Thoughts, the stop text that ended it, white space at both ends and the token that ends a turn are not shown.
    ``piece``: a token's text.
    """

    def __init__(self, piece: Callable[[int], str], likeliest: int, thinking: bool) -> None:
        self._piece, self.likeliest, self._thinking = piece, likeliest, thinking
        self._entries: list[_Entry] = []
        self._said, self._taken = "", 0

    def hear(self, text: str, token: int, logprob: float, likeliest: Likeliest) -> None:
        """Take in the next token, with which the text is ``text``."""
        said = without_thoughts(text, ended=True, thinking=self._thinking)
        while self._entries and self._entries[-1].start >= len(said):  # it began a thought
            self._entries.pop()
        same = (a == b for a, b in zip(self._said, said, strict=False))
        start = next((at for at, alike in enumerate(same) if not alike), min(len(self._said), len(said)))
        if len(said) > start:
            beside = [self._one(*other) for other in likeliest]
            self._entries.append(_Entry(start, len(said), self._one(token, logprob) | {"top_logprobs": beside}))
        self._said = said

    def take(self, shown: str) -> list[dict[str, Any]]:
        """The tokens that ``shown``, the answer so far, has and that were not taken yet."""
        begins = len(self._said) - len(self._said.lstrip())
        ends = begins + len(shown)
        own = [one for one in self._entries if one.start < ends and one.end > begins]
        new = [one.shown for one in own[self._taken :]]
        self._taken = len(own)
        return new

    def _one(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._piece(token)
        # A part of a character has no text of its own.
        parts = None if HALF in text else list(text.encode("utf-8", "replace"))
        return {"token": text, "bytes": parts, "logprob": max(logprob, -9999.0)}  # JSON has no infinity
