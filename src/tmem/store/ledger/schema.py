"""The tables of a home, the same in SQLite and in Postgres, and how those of an older tmem become them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    inspect,
    update,
)
from sqlalchemy.schema import CreateColumn

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
# from its episode, and not told as it is; ``follows``: the pair of its write that it was put right with, unsaid, and
# with which it goes.
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
    Column("follows", String),
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
        if column.name not in [there["name"] for there in inspect(connection).get_columns(table.name)]:
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
    lambda connection: _add(connection, pairs.c.follows),  # of what was told before nobody knows
]
