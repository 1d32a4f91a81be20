"""Which database a home has: its ``tmem.db`` is one, or says in one line where on a server it is."""

from __future__ import annotations

from pathlib import Path

from tmem.store.ledger.database import Database, SQLite


def open_database(path: Path) -> Database:
    """The database of the home whose ``tmem.db`` is at ``path``. Raises :class:`StoreError`."""
    url = elsewhere(path)
    if url is None:
        return SQLite(path)
    from tmem.store.ledger.postgres import Postgres

    return Postgres(path, url)


def elsewhere(path: Path) -> str | None:
    """The address that a ``tmem.db`` holds whose tables are on a server, None for every other file."""
    try:
        with open(path, "rb") as file:
            said = file.read(4096)
    except OSError:
        return None
    return said.decode(errors="replace").strip() if said.startswith(b"postgres") else None
