"""A copy of a whole home, taken while it is in use, and the way back."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path

from tmem.errors import DataError, StoreError
from tmem.files import check_folder, on_disk
from tmem.store.ledger.database import reading
from tmem.store.ledger.opening import elsewhere
from tmem.store.weights.opening import open_snapshots


def backup(home: Path, target: Path) -> int:
    """Copy the home to the folder ``target``, which must not be there yet or be empty; returns the number of files.

    The database is of one moment. A file of weights that is thinned out or forgotten while it is copied is left out:
    its version is made anew from the ledger when it is asked for. Whatever is forgotten later is still in the copy.
    Raises :class:`StoreError`; there is no ``target`` then.
    """
    if elsewhere(home / "tmem.db") is not None:
        raise StoreError(f"{home}: its ledger is in Postgres; copy it with pg_dump, and the folder (docs/scale.md)")
    home, target = home.absolute(), target.absolute()  # "." has no name
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StoreError(f"{target}: is there already; give a folder that is new or empty")
    if target.resolve().is_relative_to(home.resolve()):
        raise StoreError(f"{target}: is in the home itself; give a folder elsewhere")
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        check_folder(target.parent)
        beside.mkdir(parents=True, mode=0o700)
        for folder in ("locks", "scopes"):
            (beside / folder).mkdir(mode=0o700)
        with closing(sqlite3.connect(beside / "tmem.db")) as copy:
            with closing(sqlite3.connect(reading(home / "tmem.db"), uri=True)) as source:
                source.backup(copy)
            files = _weights(home, beside, copy)
        for path in (*beside.rglob("*"), beside):
            on_disk(path)
        if target.exists():
            target.rmdir()
        beside.rename(target)
        on_disk(target.parent)
    except sqlite3.Error as error:
        raise StoreError(f"{home}: cannot be copied ({error}); look at it with tmem doctor") from None
    except DataError as error:
        raise StoreError(str(error)) from None
    except OSError as error:
        raise StoreError(f"{target}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return files


def restore(source: Path, home: Path) -> Path | None:
    """Make ``home`` what the backup ``source`` is; returns where what was there is kept now, None if nothing was.

    A database is never put beside the log of another one, which would undo it or be taken for damage. Processes that
    have the old home open are told so by their next call. Raises :class:`StoreError`; the home is as it was then.
    """
    home = home.absolute()  # "." has no name
    if not (source / "tmem.db").is_file():
        raise StoreError(f"{source}: no backup (it has no tmem.db); give the folder that tmem backup made")
    if home.exists() and source.resolve().is_relative_to(home.resolve()):
        raise StoreError(f"{source}: is in the home itself; move it elsewhere first")
    beside = home.with_name(f".{home.name}.{os.getpid()}.restored")
    before: Path | None = None
    backup(source, beside)
    try:
        if home.exists():
            numbers = (home.with_name(f"{home.name}.before-{number}") for number in count(1))
            before = next(path for path in numbers if not path.exists())
            home.rename(before)
        beside.rename(home)
        on_disk(home.parent)
    except OSError as error:
        if before is not None and before.exists() and not home.exists():
            before.rename(home)
        raise StoreError(f"{home}: cannot be exchanged ({error.strerror})") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return before


def _weights(home: Path, beside: Path, copy: sqlite3.Connection) -> int:
    """Copy the files that the copied database names, and strike out those that are no longer there."""
    count, files = 0, open_snapshots(home)
    named = "SELECT DISTINCT scope, snapshot FROM versions WHERE snapshot IS NOT NULL"
    for scope, name in copy.execute(named).fetchall():
        place = Path("scopes", scope[:16], Path(name).name)
        (beside / place).parent.mkdir(exist_ok=True, mode=0o700)
        try:
            (beside / place).write_bytes(files.get(scope, place.name))
            count += 1
        except FileNotFoundError:
            with copy:
                copy.execute("UPDATE versions SET snapshot = NULL WHERE scope = ? AND snapshot = ?", (scope, name))
    return count
