"""What several memories of one evaluation have in common: what theta_0 says by itself, and what is written of pairs.

Weights alone, weights beside text and the same pairs as text extract alike, ask the same gate, and train the same B.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from tmem.fastweights import WriteAccount
from tmem.model import Completion, Request
from tmem.model.contents import Contents

Trained = tuple[Contents, WriteAccount]
ROOM = 2 * 2**30  # bytes of B; what comes when it is full is written anew


class Shared:
    """Replies and writes to have again, for agents with one model and recipe. What it cost is kept beside it."""

    def __init__(self, room: int = ROOM) -> None:
        self._said: dict[bytes, tuple[Completion, float]] = {}
        self._written: dict[bytes, tuple[Trained, float]] = {}
        self._room = room

    def said(self, request: Request) -> tuple[Completion, float] | None:
        """The reply to this request, with the seconds that it took; None if theta_0 was not asked it before."""
        return self._said.get(_key(request)) if _by_itself(request) else None

    def say(self, request: Request, reply: Completion, seconds: float) -> None:
        """Keep a reply, if no memory was heard in it."""
        if _by_itself(request):
            self._said[_key(request)] = reply, seconds

    def written(self, pairs: Sequence[tuple[str, str]]) -> tuple[Trained, float] | None:
        """The memory of these pairs, if it was written before, with the seconds that it took."""
        return self._written.get(_digest(tuple(pairs)))

    def write(self, pairs: Sequence[tuple[str, str]], written: Trained, seconds: float) -> None:
        """Keep a memory, if there is room."""
        contents, account = written
        size = sum(b.nbytes for b in contents.delta.b.values())
        if account.applied and size <= self._room:
            self._room -= size
            self._written[_digest(tuple(pairs))] = written, seconds


def _by_itself(request: Request) -> bool:
    return request.memory is None and request.voices is None


def _key(request: Request) -> bytes:
    return _digest(request if request.temperature > 0 else replace(request, seed=0))


def _digest(what: object) -> bytes:
    return hashlib.sha256(repr(what).encode("utf-8", "surrogatepass")).digest()
