"""Calls of the store wait for their turn in a few threads, and no more than so many of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

from tmem.server.replies import Refusal

R = TypeVar("R")


class Pool:
    """``threads`` calls at a time, ``waiting`` more in a queue; whoever comes then is told to come again."""

    def __init__(self, threads: int, waiting: int, name: str = "tmem") -> None:
        self.most = threads + waiting
        self._threads = ThreadPoolExecutor(threads, name)
        self._guard = Lock()
        self._held = 0

    def start(self, call: Callable[[], R]) -> asyncio.Future[R]:
        """Have a call made. Raises :class:`Refusal` (429) when the queue is full.

        It is made to its end also if nobody waits for it any more: a write is whole or not at all.
        """
        with self._guard:
            if self._held >= self.most:
                raise Refusal(429, "too many requests are waiting: try again in a second", code="queue_full")
            self._held += 1
        try:
            future = self._threads.submit(call)
        except RuntimeError:
            self._done()
            raise Refusal(503, "the server is being stopped") from None
        future.add_done_callback(self._done)
        return asyncio.wrap_future(future)

    async def run(self, call: Callable[[], R]) -> R:
        """What a call gives; errors as :meth:`start`, and the call's own."""
        return await asyncio.shield(self.start(call))

    def close(self) -> None:
        """Wait for the calls that were begun or queued."""
        self._threads.shutdown(wait=True)

    def _done(self, _: object = None) -> None:
        with self._guard:
            self._held -= 1
