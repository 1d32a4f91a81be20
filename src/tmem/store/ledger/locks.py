"""One writer at a time, among threads and processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from filelock import FileLock, Timeout

from tmem.errors import StoreError

LOCK_SECONDS = 600.0


@dataclass
class _Lock:
    """A lock among threads and one among processes; ``users``: who holds it or waits for it."""

    threads: RLock
    processes: FileLock
    users: int = 0


class Locks:
    """The locks of a home: files in its folder ``locks``, which the system lets go of when a process ends."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._known: dict[str, _Lock] = {}  # those in use
        self._guard = RLock()

    @contextmanager
    def hold(self, name: str) -> Iterator[bool]:
        """Hold the lock of a name (of a hash, its beginning); who holds it already may, and is told False.

        Raises :class:`StoreError`.
        """
        with self._guard:
            if name not in self._known:
                file = FileLock(self._file(name), timeout=LOCK_SECONDS, thread_local=False)
                self._known[name] = _Lock(RLock(), file)
            lock = self._known[name]
            lock.users += 1
        try:
            with lock.threads:
                try:
                    lock.processes.acquire()
                except Timeout:
                    raise StoreError(f"{self.home}: another process is writing this memory; try again") from None
                except OSError as error:
                    raise StoreError(f"{self.home}: cannot be locked ({error.strerror})") from None
                try:
                    yield lock.processes.lock_counter == 1
                finally:
                    lock.processes.release()
        finally:
            with self._guard:
                lock.users -= 1
                if not lock.users:
                    del self._known[name]

    def remove(self, name: str) -> None:
        """Remove the file of a lock that is held; whoever waits for it makes another one."""
        with suppress(OSError):
            self._file(name).unlink()

    def _file(self, name: str) -> Path:
        return self.home / "locks" / f"{name[:16]}.lock"
