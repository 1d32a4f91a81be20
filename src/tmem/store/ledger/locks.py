"""One writer at a time, among threads and processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Protocol

from filelock import FileLock, Timeout

from tmem.errors import StoreError

LOCK_SECONDS = 600.0


class Busy(StoreError):
    """A memory that another thread or process is writing."""


class Between(Protocol):
    """A lock among processes; who holds it may take it again, as often as :attr:`lock_counter` says."""

    @property
    def lock_counter(self) -> int: ...

    def acquire(self, timeout: float) -> object:
        """Raises :class:`filelock.Timeout` after so many seconds."""
        ...

    def release(self) -> None: ...


@dataclass
class _Lock:
    """A lock among threads and one among processes; ``users``: who holds it or waits for it."""

    threads: RLock
    processes: Between
    users: int = 0


class Locks:
    """The locks of a home: files in its folder ``locks``, which the system lets go of when a process ends.

    ``between`` makes those among processes in another way.
    """

    def __init__(self, home: Path, between: Callable[[str], Between] | None = None) -> None:
        self.home, self._between = home, between or self._file_lock
        self._known: dict[str, _Lock] = {}  # those in use
        self._guard = RLock()

    @contextmanager
    def hold(self, name: str, wait: bool = True) -> Iterator[bool]:
        """Hold the lock of a name (of a hash, its beginning); who holds it already may, and is told False.

        Raises :class:`StoreError`; :class:`Busy` if somebody else holds it: for too long, or at all without ``wait``.
        """
        with self._guard:
            if name not in self._known:
                self._known[name] = _Lock(RLock(), self._between(name))
            lock = self._known[name]
            lock.users += 1
        try:
            if not lock.threads.acquire(blocking=wait):
                raise Busy(f"{self.home}: another thread is writing this memory; try again")
            try:
                try:
                    lock.processes.acquire(timeout=LOCK_SECONDS if wait else 0)
                except Timeout:
                    raise Busy(f"{self.home}: another process is writing this memory; try again") from None
                except OSError as error:
                    raise StoreError(f"{self.home}: cannot be locked ({error.strerror})") from None
                try:
                    yield lock.processes.lock_counter == 1
                finally:
                    lock.processes.release()
            finally:
                lock.threads.release()
        finally:
            with self._guard:
                lock.users -= 1
                if not lock.users:
                    del self._known[name]

    def remove(self, name: str) -> None:
        """Remove the file of a lock that is held; whoever waits for it makes another one."""
        with suppress(OSError):
            self._file(name).unlink()

    def _file_lock(self, name: str) -> Between:
        return FileLock(self._file(name), thread_local=False)

    def _file(self, name: str) -> Path:
        return self.home / "locks" / f"{name[:16]}.lock"
