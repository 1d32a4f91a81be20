"""The ledger of a home moved between SQLite and Postgres, both ways; the files of weights stay where they are."""

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
from tmem.store.ledger.locks import Locks
from tmem.store.ledger.opening import elsewhere, open_database
from tmem.store.ledger.schema import metadata, scopes

ROWS = 1000  # in memory at a time


def migrate(home: Path, to: str) -> dict[str, int]:
    """Move the ledger of a home to ``to``: the address of a Postgres database, or ``sqlite``; a new home is made there.

    Nobody can write meanwhile, and who has the home open is told so by their next call. The new ledger is read and
    compared with the old one before it is the home's, and the old one is then removed. Returns the rows of each table.
    Raises :class:`StoreError`; the home is as it was then.
    """
    here, beside = home / "tmem.db", home / ".tmem.db.part"
    if to != "sqlite" and not to.startswith(("postgresql://", "postgres://")):
        raise UsageError("give where the ledger is to be: postgresql://user@host/database, or sqlite")
    if to == "sqlite" and here.exists() and elsewhere(here) is None:
        raise UsageError(f"{home}: its ledger is in SQLite already")
    try:
        check_folder(home)
        for folder in (home, home / "locks", home / "scopes"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with Locks(home).hold("open"):
            here.touch(mode=0o600)
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
    except DataError as error:
        raise StoreError(str(error)) from None
    except OSError as error:
        raise StoreError(f"{home}: cannot be written ({error.strerror})") from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return rows


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
