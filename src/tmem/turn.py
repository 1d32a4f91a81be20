"""Who uses a model: one thread at a time, in the order in which they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident


class Turn:
    """A lock that is handed on in order; who has it may take it again.

    While a model runs it has hooks of one memory, so nobody else may use it. Whoever waits for something else
    meanwhile gives the turn back (:meth:`away`).
    """

    def __init__(self) -> None:
        self._guard = Lock()
        self._owner: int | None = None  # thread
        self._depth = 0
        self._line: deque[tuple[int, int, Lock]] = deque()  # thread, depth that it comes back with, its gate

    def __enter__(self) -> Turn:
        self._take(1)
        return self

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._depth -= 1
            if not self._depth:
                self._hand_on()

    @property
    def wanted(self) -> bool:
        """True if somebody waits for it."""
        return bool(self._line)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Inside, others have it; afterwards it is as it was before, also if this thread has not got it."""
        depth = 0
        with self._guard:
            if self._owner == get_ident():
                depth = self._depth
                self._hand_on()
        try:
            yield
        finally:
            if depth:
                self._take(depth)

    def _take(self, depth: int) -> None:
        own, gate = get_ident(), Lock()
        with self._guard:
            if self._owner is None or self._owner == own:
                self._owner, self._depth = own, self._depth + depth
                return
            gate.acquire()
            place = (own, depth, gate)
            self._line.append(place)
        try:
            gate.acquire()  # until it is handed on
        except BaseException:  # Ctrl-C while waiting: nobody hands it on to who has gone
            with self._guard:
                if place in self._line:
                    self._line.remove(place)
                else:
                    self._hand_on()
            raise

    def _hand_on(self) -> None:
        self._owner, self._depth = None, 0
        if self._line:
            self._owner, self._depth, gate = self._line.popleft()
            gate.release()
