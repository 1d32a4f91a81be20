"""The tables of a home in Postgres, and leases that keep the writers of a scope apart on several machines.

Nothing here needs a session: a pooler may give every transaction another connection.
"""

from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event, RLock, Thread
from typing import Any

from filelock import Timeout
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Integer,
    MetaData,
    Sequence,
    String,
    Table,
    create_engine,
    delete,
    func,
    insert,
    inspect,
    make_url,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tmem.errors import StoreError, UsageError
from tmem.store.ledger.database import Database, Lost
from tmem.store.ledger.locks import Busy
from tmem.store.ledger.schema import metadata, scopes

LEASE_SECONDS = 15.0  # for so long nobody else writes what a process was writing that is gone
WAITS = (0.1, 0.3, 1.0, 3.0, 5.0, 10.0)  # seconds between tries to reach the server again
IN_DOUBT = 60.0  # seconds in which the server has to say whether a commit took place

ours = MetaData()  # what SQLite has otherwise: the number of its layout, and files as locks
layouts = Table("layout", ours, Column("number", Integer, nullable=False))

# Who may write a scope. ``token``: larger with every writer, from ``fences``; whoever is not there with it any more
# changes nothing. ``until``, by the server's clock: when somebody else may take it.
leases = Table(
    "leases",
    ours,
    Column("scope", String, primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
)
fences = Sequence("fences", metadata=ours)


@dataclass
class _Held:
    token: int
    renewed: float  # of time.monotonic(), before it was asked for


class Postgres(Database):
    """Tables on the server that ``url`` names, as ``postgresql://user@host/database``; the password is never in it."""

    reading = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    writing = "BEGIN ISOLATION LEVEL READ COMMITTED"

    def __init__(self, path: Path, url: str) -> None:
        self._held: dict[str, _Held] = {}
        self._guard, self._ended, self._renewing = RLock(), Event(), False
        self._reached = False
        try:
            parts = make_url(url)
        except ArgumentError:
            parts = make_url("postgresql://")
        if parts.drivername not in ("postgresql", "postgres") or not (parts.database or parts.query):
            raise StoreError(
                "the ledger's address is none of a database; it looks like postgresql://user@host/database"
            )
        if parts.password is not None or "password" in parts.query:  # it would be in a file, and in errors
            raise StoreError("the ledger's address holds a password; remove it and set PGPASSWORD, or use ~/.pgpass")
        parts = parts.set(drivername="postgresql+psycopg")
        alive = {"connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
        arguments: dict[str, Any] = {"prepare_threshold": None} | {
            name: value for name, value in alive.items() if name not in parts.query
        }
        try:
            engine = create_engine(
                parts,
                connect_args=arguments,
                isolation_level="AUTOCOMMIT",  # transactions begin and end where this package says so
                use_native_hstore=False,
                pool_pre_ping=True,
                max_overflow=32,
            )
        except ImportError:
            raise UsageError("a ledger in Postgres needs the extra postgres: pip install 'tmem[postgres]'") from None
        super().__init__(path, f"{parts.host or parts.query.get('host', 'local')}/{parts.database}", engine)

    # ---- layout ----

    def _layout(self, connection: Connection) -> int:
        if not self.read_only:
            connection.execute(select(func.pg_advisory_xact_lock(0x746D656D)))  # one at a time makes the tables
            self._check_durable(connection)
            ours.create_all(connection)
        elif not inspect(connection).has_table(layouts.name):
            return 0
        return connection.execute(select(layouts.c.number)).scalar_one_or_none() or 0

    def _now_of_layout(self, connection: Connection, number: int) -> None:
        if connection.execute(update(layouts).values(number=number)).rowcount == 0:
            connection.execute(insert(layouts).values(number=number))

    def _check_durable(self, connection: Connection) -> None:
        """What a call has returned is on disk: a server that says so too early is refused."""
        for setting in ("fsync", "synchronous_commit"):
            if connection.execute(select(func.current_setting(setting))).scalar_one() == "off":
                raise StoreError(
                    f"{self.name}: says that a commit is on disk before it is ({setting} is off); turn {setting} on"
                )

    # ---- transactions ----

    def _begun(self, begin: str) -> Connection:
        waits = WAITS if self._reached else ()  # one that was never reached has a wrong address, or is not ours
        for wait in (*waits, None):
            try:
                connection = super()._begun(begin)
                self._reached = True
                return connection
            except OperationalError:
                if wait is None:
                    raise
                time.sleep(wait)
            except PoolTimeout:
                raise StoreError(f"{self.name}: too many threads want a connection at once; try again") from None
        raise AssertionError

    def _open(self, connection: Connection) -> bool:
        if connection.invalidated:
            return False
        status = connection.connection.dbapi_connection.info.transaction_status  # type: ignore[union-attr]
        return status.name in ("INTRANS", "INERROR", "ACTIVE")

    def _commit(self, connection: Connection, begin: str) -> None:
        number = None
        if begin == self.writing:  # what tells, if the connection is lost while it commits, whether it has
            asked = "SELECT pg_current_xact_id_if_assigned()::text"
            number = connection.exec_driver_sql(asked).scalar_one()
        try:
            super()._commit(connection, begin)
        except DBAPIError as error:
            if number is None or not error.connection_invalidated or not self._was_committed(number):
                raise

    def _failed(self, error: DBAPIError) -> StoreError:
        said = str(super()._failed(error))
        return Lost(said) if error.connection_invalidated or isinstance(error, OperationalError) else StoreError(said)

    def _was_committed(self, number: str) -> bool:
        """Whether a transaction was committed whose connection was lost while it did."""
        until = time.monotonic() + IN_DOUBT
        while time.monotonic() < until:
            with suppress(Lost), self.read() as connection:  # that would have it made once more
                said = connection.exec_driver_sql("SELECT pg_xact_status(%s::xid8)", (number,)).scalar_one()
                if said in ("committed", "aborted"):
                    return bool(said == "committed")
            time.sleep(0.2)
        raise StoreError(f"{self.name}: the connection was lost and it is not known yet what was written; look again")

    # ---- writers ----

    def lease(self, name: str) -> Lease:
        """The lease of a scope, not taken yet."""
        return Lease(self, name)

    def fence(self, connection: Connection, scope: str) -> None:
        held = self._held.get(scope)
        if held is None:  # only tells something: one at a time, so that their numbers differ
            connection.execute(select(scopes.c.id).where(scopes.c.id == scope).with_for_update())
            return
        # Locked, so that nobody takes it before this commits.
        mine = select(leases.c.token).where(leases.c.scope == scope, leases.c.token == held.token)
        if connection.execute(mine.with_for_update()).first() is None:
            raise self._taken()

    def mark(self, scope: str) -> int:
        held = self._held.get(scope)
        if held is None:
            return 0
        if time.monotonic() - held.renewed > LEASE_SECONDS:
            raise self._taken()
        return held.token

    def _taken(self) -> Busy:
        return Busy(
            f"{self.name}: this process was away for too long and another may write this memory now; nothing was "
            "changed: try again"
        )

    def take(self, scope: str) -> bool:
        """Take the lease of a scope if nobody has it."""
        asked = time.monotonic()
        free = insert_or(leases).values(scope=scope, token=0, until=_until())
        free = free.on_conflict_do_update(
            index_elements=["scope"], set_={"until": _until()}, where=leases.c.until < func.clock_timestamp()
        )
        with self.write() as connection:
            if connection.execute(free.returning(leases.c.scope)).first() is None:
                return False
            # Drawn once the row is ours: larger than that of whoever had it before.
            mine = update(leases).where(leases.c.scope == scope).values(token=fences.next_value())
            token = connection.execute(mine.returning(leases.c.token)).scalar_one()
        with self._guard:
            self._held[scope] = _Held(token, asked)
            if not self._renewing:
                self._renewing = True
                Thread(target=self._renew, name="tmem-leases", daemon=True).start()
        return True

    def let_go(self, scope: str) -> None:
        """Give a lease back; one that cannot be given back ends by itself."""
        with self._guard:
            held = self._held.pop(scope)
        with suppress(StoreError), self.write() as connection:
            connection.execute(delete(leases).where(leases.c.scope == scope, leases.c.token == held.token))

    def _renew(self) -> None:
        while not self._ended.wait(LEASE_SECONDS / 3):
            with self._guard:
                held, asked = dict(self._held), time.monotonic()
            if not held:
                continue
            tokens = [one.token for one in held.values()]
            longer = update(leases).where(leases.c.token.in_(tokens)).values(until=_until())
            try:
                with self.write() as connection:
                    kept = set(connection.execute(longer.returning(leases.c.token)).scalars())
            except StoreError:  # again in a moment; who is late is told so by mark and fence
                continue
            for one in held.values():
                if one.token in kept:
                    one.renewed = asked

    # ---- care ----

    def scrub(self) -> None:
        """Nothing: no query gives what was deleted, and its bytes are the server's, until it clears them away."""

    def damage(self) -> list[str]:
        """Rows that belong to nothing are not let in; looking at pages is the server's (``pg_amcheck``)."""
        return []

    def alone(self, connection: Connection) -> None:
        names = ", ".join(table.name for table in (*metadata.sorted_tables, *ours.sorted_tables))
        connection.exec_driver_sql(f"LOCK TABLE {names} IN EXCLUSIVE MODE")

    def empty(self, connection: Connection) -> None:
        metadata.drop_all(connection)
        ours.drop_all(connection)

    def close(self) -> None:
        self._ended.set()
        super().close()


class Lease:
    """The lease of one scope, as a lock among processes; the thread that has it may take it again."""

    def __init__(self, ledger: Postgres, scope: str) -> None:
        self.ledger, self.scope, self.lock_counter = ledger, scope, 0

    def acquire(self, timeout: float) -> None:
        until = time.monotonic() + timeout
        while not self.lock_counter and not self.ledger.take(self.scope):
            if time.monotonic() > until:
                raise Timeout(self.scope)
            time.sleep(random.uniform(0.02, 0.1))
        self.lock_counter += 1

    def release(self) -> None:
        self.lock_counter -= 1
        if not self.lock_counter:
            self.ledger.let_go(self.scope)


def _until() -> Any:
    return func.clock_timestamp() + timedelta(seconds=LEASE_SECONDS)
