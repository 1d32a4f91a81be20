"""What a home consists of moved elsewhere and back: its ledger into Postgres, its files of weights into storage."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, Table, insert, select

from tmem.errors import DataError, IntegrityError, StoreError, UsageError
from tmem.files import check_folder, on_disk, write_bytes
from tmem.store.ledger.database import which
from tmem.store.ledger.locks import Locks
from tmem.store.ledger.opening import elsewhere, open_database
from tmem.store.ledger.schema import metadata, scopes, versions
from tmem.store.weights.opening import open_snapshots
from tmem.store.weights.snapshots import Snapshots, said_in
from tmem.store.weights.snapshots import elsewhere as weights_elsewhere
from tmem.store.weights.storage import Storage

ROWS = 1000  # in memory at a time


def migrate(home: Path, to: str) -> dict[str, Any]:
    """Move a part of a home, which may be a new one, to ``to``; nobody can write meanwhile.

    The ledger: the address of a Postgres database, or ``sqlite``. Files of weights: an address that fsspec knows, as
    ``s3://bucket/folder``, or ``folder``: the home's own. Who has the home open is told so by their next call. What is
    moved is read back and compared before it is the home's, and is then removed where it was.
    Returns the ``rows`` of each table, or how many ``files`` there are. Raises :class:`StoreError`; the home is as it
    was then.
    """
    ledger = to == "sqlite" or to.startswith(("postgresql://", "postgres://"))
    if not ledger and to != "folder" and "://" not in to:
        raise UsageError(
            "give where to: postgresql://user@host/database or sqlite for the ledger, "
            "s3://bucket/folder or folder for the weights"
        )
    try:
        check_folder(home)
        for folder in (home, home / "locks", home / "scopes"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with Locks(home).hold("open"):
            (home / "tmem.db").touch(mode=0o600)
            return {"rows": _move_ledger(home, to)} if ledger else {"files": _move_weights(home, to)}
    except DataError as error:
        raise StoreError(str(error)) from None
    except OSError as error:
        raise StoreError(f"{home}: cannot be written ({error.strerror})") from None


def _move_ledger(home: Path, to: str) -> dict[str, int]:
    here, beside = home / "tmem.db", home / ".tmem.db.part"
    if to == "sqlite" and here.stat().st_size and elsewhere(here) is None:
        raise UsageError(f"{home}: its ledger is in SQLite already")
    try:
        write_bytes(beside, b"" if to == "sqlite" else f"{to}\n".encode(), 0o600)
        with closing(open_database(here)) as source, source.write() as old:
            source.alone(old)
            with closing(open_database(beside)) as target, target.write() as new:
                rows = _copy(old, new, target.name)
            on_disk(beside)
            # One renaming: at no moment are both ledgers the home's, or none.
            for log in ("-wal", "-shm"):
                here.with_name(f"{here.name}{log}").unlink(missing_ok=True)
            os.replace(beside, here)
            on_disk(home)
            source.empty(old)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return rows


def _move_weights(home: Path, to: str) -> int:
    """A file that is missing is left so: its version is made anew from the ledger, and the doctor says which."""
    before = open_snapshots(home)
    if (None if to == "folder" else to.rstrip("/")) == weights_elsewhere(home):
        raise UsageError(f"{home}: its weights are there already")
    after = Snapshots(home) if to == "folder" else Storage(to, home)
    with closing(open_database(home / "tmem.db")) as ledger, ledger.write() as connection:
        ledger.alone(connection)
        named = select(versions.c.scope, versions.c.snapshot).where(versions.c.snapshot.is_not(None)).distinct()
        files = [(scope, name) for scope, name in connection.execute(named)]
        moved = 0
        for scope, name in files:
            with suppress(FileNotFoundError):
                data = before.get(scope, name)
                after.put(scope, name, data)
                if after.get(scope, name) != data:
                    raise StoreError(
                        f"{after.path(scope, name)}: is otherwise than it was written; nothing was changed"
                    )
                moved += 1
        if to == "folder":
            said_in(home).unlink()
        else:
            after.put("0" * 16, "tried", b"")  # can be written to, also where there is nothing to move
            after.unlink("0" * 16, "tried")
            after.remove("0" * 16)
            write_bytes(said_in(home), f"{to.rstrip('/')}\n".encode(), 0o600)
        on_disk(home)
        before.said = which(said_in(home))  # no longer the home's: only to be removed
        for scope in {scope for scope, _ in files}:
            before.keep_only(scope, ())
            before.remove(scope)
    return moved


def _copy(old: Connection, new: Connection, name: str) -> dict[str, int]:
    """Copy all rows, and compare what was written with what was read. Returns the number of rows of each table."""
    if new.execute(select(scopes.c.id).limit(1)).first() is not None:
        raise StoreError(f"{name}: has memories already; give a database that is empty")
    found = {}
    for table in metadata.sorted_tables:
        for rows in old.execute(_all(table)).mappings().partitions():
            new.execute(insert(table), [dict(row) for row in rows])
        found[table.name], there = _read(old, table), _read(new, table)
        if found[table.name] != there:
            raise IntegrityError(f"{name}: took {table.name} in otherwise than it was given; nothing was changed")
    return {table: count for table, (count, _) in found.items()}


def _read(connection: Connection, table: Table) -> tuple[int, int]:
    """How many rows a table has, and the sum of their digests: databases sort otherwise."""
    count, total = 0, 0
    for row in connection.execute(_all(table)):
        total += int.from_bytes(hashlib.sha256(json.dumps(list(row)).encode()).digest())
        count += 1
    return count, total


def _all(table: Table) -> Select[Any]:
    return select(table).execution_options(yield_per=ROWS)
