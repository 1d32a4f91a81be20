"""The database of a home, through SQLAlchemy: one file of SQLite, or that file says where on a server it is.

Every commit is on disk when it returns. No transaction spans a model call: whoever trains reads first, trains, and
comes back with the result.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from tmem.errors import StoreError, first_line
from tmem.store.ledger.locks import Between
from tmem.store.ledger.schema import MIGRATIONS


class Lost(StoreError):
    """A connection that was lost inside a transaction, of which nothing was done: it can be made again."""


class Database(ABC):
    """The tables of one home. Raises :class:`StoreError` in one line for those that cannot be used.

    ``path``: the home's ``tmem.db``; ``name``: what errors call it. ``lease``: what keeps writers of a scope apart on
    several machines; None: files in the home do, among the processes of one.
    """

    reading, writing = "BEGIN", "BEGIN IMMEDIATE"
    lease: Callable[[str], Between] | None = None

    def __init__(self, path: Path, name: str, engine: Engine) -> None:
        self.path, self.name, self.engine, self.read_only = path, name, engine, only_read(path)
        self._process, self._file = os.getpid(), which(path)
        with self.read() if self.read_only else self.write() as connection:
            layout = self._layout(connection)
            if layout > len(MIGRATIONS):
                raise StoreError(f"{name}: written by a newer tmem (layout {layout}); install that version")
            if layout < len(MIGRATIONS) and self.read_only:
                raise StoreError(f"{name}: written by an older tmem; open it once where it can be written to")
            for number, migrate in enumerate(MIGRATIONS[layout:], start=layout + 1):
                migrate(connection)
                self._now_of_layout(connection, number)

    @abstractmethod
    def _layout(self, connection: Connection) -> int:
        """How many migrations it has had."""

    @abstractmethod
    def _now_of_layout(self, connection: Connection, number: int) -> None:
        """Note how many it has had."""

    @abstractmethod
    def _open(self, connection: Connection) -> bool:
        """Whether a transaction is open."""

    @abstractmethod
    def scrub(self) -> None:
        """Take out of its files what was deleted, as far as that is in its power."""

    @abstractmethod
    def damage(self) -> list[str]:
        """What is wrong with the tables, as far as the database can tell."""

    def fence(self, connection: Connection, scope: str) -> None:  # noqa: B027  # files need none
        """Inside a transaction: raise :class:`StoreError` unless this process is still the scope's writer."""

    def mark(self, scope: str) -> int:
        """A number that is larger with every writer of a scope; 0 where files keep them apart.

        Raises :class:`StoreError` for who may no longer be its writer.
        """
        return 0

    def alone(self, connection: Connection) -> None:  # noqa: B027  # one writes at a time in SQLite
        """Inside a transaction: nobody else writes before its end."""

    def empty(self, connection: Connection) -> None:  # noqa: B027  # a file is removed
        """Inside a transaction: remove all tables, so that whoever still has this ledger open is told by an error."""

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; committed at the end, rolled back by an exception."""
        self.check_writable()
        with self._transaction(self.writing) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one state, whatever others write meanwhile."""
        with self._transaction(self.reading) as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        self.check()
        try:
            with self._begun(begin) as connection:
                try:
                    yield connection
                    self._commit(connection, begin)
                except BaseException:
                    if self._open(connection):
                        connection.exec_driver_sql("ROLLBACK")
                    raise
        except DBAPIError as error:
            raise self._failed(error) from None

    def _begun(self, begin: str) -> Connection:
        connection = self.engine.connect()
        try:
            connection.exec_driver_sql(begin)
        except BaseException:
            connection.close()
            raise
        return connection

    def _commit(self, connection: Connection, begin: str) -> None:
        connection.exec_driver_sql("COMMIT")

    def _failed(self, error: DBAPIError) -> StoreError:
        return StoreError(f"{self.name}: {first_line(error.orig or error)}; nothing was changed")

    def check(self) -> None:
        """Raise :class:`StoreError` in a forked process, and where the file is no longer the one that was opened."""
        if os.getpid() != self._process:
            raise StoreError(
                f"{self.path}: this memory was opened before the process forked; open it again in this one"
            )
        if which(self.path) != self._file:
            raise StoreError(
                f"{self.path}: the home was removed or exchanged while it was open; nothing was written: open it again"
            )

    def check_writable(self) -> None:
        """Raise :class:`StoreError` for a database that can only be read."""
        if self.read_only:
            raise StoreError(
                f"{self.path.parent}: this home can only be read here; to change it, copy it to where it can be "
                "written to (tmem backup FOLDER)"
            )

    def close(self) -> None:
        self.engine.dispose()


class SQLite(Database):
    """Tables in the file ``path``, the home's own by default."""

    def __init__(self, path: Path) -> None:
        # As parts: in the text of an address, "?" and "#" of a path would begin something else.
        address = URL.create("sqlite", database=str(path))
        if only_read(path):
            address = URL.create("sqlite", database=reading(path), query={"uri": "true"})
        # As many connections at once as there are threads: who waits, waits for the file and not for a connection.
        engine = create_engine(address, connect_args={"timeout": 60}, max_overflow=-1)
        event.listen(engine, "connect", _prepare_reading if only_read(path) else _prepare)
        super().__init__(path, str(path), engine)

    def _layout(self, connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())

    def _now_of_layout(self, connection: Connection, number: int) -> None:
        connection.exec_driver_sql(f"PRAGMA user_version = {number}")

    def _open(self, connection: Connection) -> bool:
        return bool(connection.connection.dbapi_connection.in_transaction)  # type: ignore[union-attr]

    def scrub(self) -> None:
        """Take what was deleted out of the file and its log as well (pages are zeroed, the log is cut)."""
        try:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("VACUUM")
                for _ in range(600):  # a reader in another process holds pages of the log for a moment
                    if connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one() == 0:
                        return
                    time.sleep(0.1)
        except DBAPIError as error:
            raise StoreError(f"{self.path}: cannot be wiped yet ({error.orig}); open it again") from None
        raise StoreError(f"{self.path}: cannot be wiped while others read it; end them and open it again")

    def damage(self) -> list[str]:
        with self.read() as connection:
            said = connection.exec_driver_sql("PRAGMA integrity_check(5)").scalars().all()
            loose = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        found = [] if said == ["ok"] else [f"tmem.db is damaged: {said[0]}"]
        return found + ([f"tmem.db: {len(loose)} rows belong to nothing"] if loose else [])


def which(path: Path) -> tuple[int, int] | None:
    """What tells a file from one that took its place; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def only_read(path: Path) -> bool:
    """True for a database that is there and cannot be written to: on a read-only mount, or somebody else's."""
    return path.exists() and not (os.access(path.parent, os.W_OK | os.X_OK) and os.access(path, os.W_OK))


def reading(path: Path) -> str:
    """The address of a database that is only read.

    Where nothing can be written there are no files for SQLite's locks either, and nobody to lock out; but a log that
    somebody left or writes has to be read.
    """
    log = path.with_name(f"{path.name}-wal")
    alone = only_read(path) and not (log.exists() and log.stat().st_size)
    return f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"


def _prepare_reading(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin and end where this file says so


def _prepare(connection: Any, _: Any) -> None:
    _prepare_reading(connection, _)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
