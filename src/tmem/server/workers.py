"""Calls of the store wait for their turn in a few threads, no more than so many of them, and few of one user."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock, get_native_id
from typing import TypeVar

from tmem.errors import TmemError
from tmem.server.replies import Refusal

R = TypeVar("R")
log = logging.getLogger("tmem.server")


class WorkerPool:
    """``threads`` calls at a time, ``waiting`` more in a queue, ``each`` of one user; who comes then comes again.

    ``nice``: how far its threads stand back for others where there are too few processors, as of the command ``nice``.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        waiting: int,
        each: int,
        nice: int = 0,
        waited: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """``waited`` is told how long every call waited for its turn."""
        self.name, self.most, self.each, self._waited = name, threads + waiting, each, waited
        self._threads = ThreadPoolExecutor(threads, f"tmem-{name}", _stand_back, (nice,))
        self._guard = Lock()
        self._held: Counter[str] = Counter()  # by user
        self._closing = False

    @property
    def held(self) -> int:
        """How many calls run or wait."""
        return self._held.total()

    def start(self, call: Callable[[], R], user: str = "") -> asyncio.Future[R]:
        """Have a call made. Raises :class:`Refusal` (429) when the queue is full, or this user has too many in it.

        It is made to its end also if nobody waits for it any more: a write is whole or not at all.
        """
        return asyncio.wrap_future(self._start(call, user))

    async def run(self, call: Callable[[], R], user: str = "") -> R:
        """What a call gives; errors as :meth:`start`, and the call's own."""
        return await asyncio.shield(self.start(call, user))

    def later(self, *calls: Callable[[], object]) -> None:
        """Have calls made, one after the other, that nobody waits for and that can be left out: when the queue is full
        or it is closed.
        """

        def made() -> None:
            for call in calls:
                if self._closing:
                    return
                try:
                    call()
                except TmemError as error:
                    log.warning("background", extra={"error": type(error).__name__})
                except Exception:
                    log.exception("background")

        with suppress(Refusal):
            self._start(made, "")

    @property
    def closing(self) -> bool:
        """True if nothing more is taken in."""
        return self._closing

    def close(self) -> None:
        """Wait for the calls that were begun; those in the queue are not made, and nobody was told that they were."""
        self._closing = True
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _start(self, call: Callable[[], R], user: str) -> Future[R]:
        with self._guard:
            if self._held.total() >= self.most:
                raise Refusal(429, "too many requests are waiting: try again in a second", code="queue_full", retry=1)
            if user and self._held[user] >= self.each:
                what = f"{self.each} requests of this user are being answered: wait for one of them"
                raise Refusal(429, what, code="too_many_at_once", retry=1)
            self._held[user] += 1
        came = time.perf_counter()

        def run() -> R:
            self._waited(time.perf_counter() - came)
            return call()

        try:
            future = self._threads.submit(run)
        except RuntimeError:
            self._done(user)
            raise Refusal(503, "the server is being stopped") from None
        future.add_done_callback(lambda _: self._done(user))
        return future

    def _done(self, user: str) -> None:
        with self._guard:
            self._held[user] -= 1
            if not self._held[user]:
                del self._held[user]


def _stand_back(nice: int) -> None:
    if nice and sys.platform == "linux":  # elsewhere a thread has no priority of its own by this call
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, get_native_id(), nice)
