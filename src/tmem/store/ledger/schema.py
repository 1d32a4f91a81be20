"""The tables of a home: SQLite through SQLAlchemy, one file, every commit on disk when it returns.

No transaction spans a model call: whoever trains reads first, trains, and comes back with the result.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Boolean,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateColumn

from tmem.errors import StoreError

metadata = MetaData()

# A scope is whose memory it is. ``engine`` is what its weights were made with: base, basis, recipe (JSON).
# ``revision`` counts its changes; ``changed``, of pairs and versions, is the one in which a row last changed what is
# read into a ledger: who has read a scope before reads on from there.
scopes = Table(
    "scopes",
    metadata,
    Column("id", String, primary_key=True),  # sha256 of the three names: what folders are called by
    Column("user_id", Text),
    Column("agent_id", Text),
    Column("run_id", Text),
    Column("head", Integer),  # number of the version in force; None: nothing was written yet
    Column("engine", Text),
    Column("created", Text, nullable=False),
    Column("revision", Integer, nullable=False, server_default="0"),
)

# What was told, word for word: the source of pairs.
episodes = Table(
    "episodes",
    metadata,
    Column("id", String, primary_key=True),
    Column("scope", String, ForeignKey("scopes.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("text", Text),  # None once it is forgotten
    Column("told", Text),  # when, as the caller said
    Column("meta", Text),
    Column("created", Text, nullable=False),
    Column("repeats", Text),  # JSON: ids of earlier pairs that it says again
    UniqueConstraint("scope", "number"),
)

# The ledger. A pair is new in one write; ``supersedes`` is the pair whose place it takes; ``extracted``: by the model,
# from its episode, and not told as it is.
pairs = Table(
    "pairs",
    metadata,
    Column("id", String, primary_key=True),
    Column("scope", String, ForeignKey("scopes.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("write", Integer, nullable=False),
    Column("question", Text),  # None once it is forgotten
    Column("answer", Text),
    Column("episode", String, ForeignKey("episodes.id")),
    Column("supersedes", String),
    Column("extracted", Boolean, nullable=False, server_default="0"),
    Column("status", String, nullable=False),  # pending | active | superseded | quarantined | forgotten
    Column("created", Text, nullable=False),
    Column("changed", Integer, nullable=False, server_default="0"),
    UniqueConstraint("scope", "number"),
    Index("pairs_by_write", "scope", "write"),
    Index("pairs_by_status", "scope", "status"),
    Index("pairs_by_change", "scope", "changed"),
)

# A version is the version ``base`` and one more write (or none: a rollback, a forgetting).
versions = Table(
    "versions",
    metadata,
    Column("scope", String, ForeignKey("scopes.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("base", Integer),
    Column("write", Integer),
    Column("kind", String, nullable=False),  # add | update | rollback | forget | import
    Column("ledger", String, nullable=False),  # digest of all that the weights follow from
    Column("weights", String),  # digest of B; None once a pair of it is forgotten
    Column("snapshot", String),  # file name; None: rebuilt from the ledger
    Column("tag", String),
    Column("account", Text),  # JSON: losses, gates, size
    Column("created", Text, nullable=False),
    Column("changed", Integer, nullable=False, server_default="0"),
    Index("versions_by_change", "scope", "changed"),
)

receipts = Table(
    "receipts",
    metadata,
    Column("id", String, primary_key=True),
    Column("scope", String, ForeignKey("scopes.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("created", Text, nullable=False),
)


def _add(connection: Connection, *columns: Column[Any]) -> None:
    """Add columns, and their indexes, to tables that an older tmem made without."""
    for column in columns:
        table = column.table
        there = connection.exec_driver_sql(f"PRAGMA table_info({table.name})").all()
        if column.name not in [row[1] for row in there]:
            kind = CreateColumn(column).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {kind}")
    for table in {column.table for column in columns}:
        for index in table.indexes:
            index.create(connection, checkfirst=True)


def _extracted(connection: Connection) -> None:
    """Which pairs were extracted. An older tmem did not say: all that came with a text, as far as is known."""
    _add(connection, pairs.c.extracted)
    connection.execute(update(pairs).values(extracted=pairs.c.episode.is_not(None)))


# Step n takes a home from layout n to layout n + 1, in one transaction with the new number. The first one makes the
# tables as they are today; what is added later is added where it is not yet.
MIGRATIONS: list[Callable[[Connection], None]] = [
    metadata.create_all,
    lambda connection: _add(connection, scopes.c.revision, pairs.c.changed, versions.c.changed),
    _extracted,
    lambda connection: _add(connection, episodes.c.repeats),
]


class Database:
    """The database of one home. Raises :class:`StoreError` in one line for one that cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path, self.read_only = path, only_read(path)
        # As parts: in the text of an address, "?" and "#" of a path would begin something else.
        address = URL.create("sqlite", database=str(path))
        if self.read_only:
            address = URL.create("sqlite", database=reading(path), query={"uri": "true"})
        self.engine: Engine = create_engine(address, connect_args={"timeout": 60})
        self._process, self._file = os.getpid(), _which(path)
        event.listen(self.engine, "connect", _prepare_reading if self.read_only else _prepare)
        with self.read() if self.read_only else self.write() as connection:
            layout = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            if layout > len(MIGRATIONS):
                raise StoreError(f"{path}: written by a newer tmem (layout {layout}); install that version")
            if layout < len(MIGRATIONS) and self.read_only:
                raise StoreError(f"{path}: written by an older tmem; open it once where it can be written to")
            for number, migrate in enumerate(MIGRATIONS[layout:], start=layout + 1):
                migrate(connection)
                connection.exec_driver_sql(f"PRAGMA user_version = {number}")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; committed at the end, rolled back by an exception."""
        self.check_writable()
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one state, whatever others write meanwhile."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        self.check()
        try:
            with self.engine.connect() as connection:
                connection.exec_driver_sql(begin)
                try:
                    yield connection
                    connection.exec_driver_sql("COMMIT")
                except BaseException:
                    if connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
                        connection.exec_driver_sql("ROLLBACK")
                    raise
        except DBAPIError as error:
            raise StoreError(f"{self.path}: {error.orig}; nothing was changed") from None

    def check(self) -> None:
        """Raise :class:`StoreError` in a forked process, and where the file is no longer the one that was opened."""
        if os.getpid() != self._process:
            raise StoreError(
                f"{self.path}: this memory was opened before the process forked; open it again in this one"
            )
        if _which(self.path) != self._file:
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

    def close(self) -> None:
        self.engine.dispose()


def _which(path: Path) -> tuple[int, int] | None:
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
