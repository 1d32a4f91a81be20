"""Where a home's files of weights are: in its folder, or in storage that its file ``storage`` names in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tmem.store.weights.snapshots import Snapshots, elsewhere


def open_snapshots(home: Path, engine: Callable[[], str] = str, mark: Callable[[str], int] = lambda _: 0) -> Snapshots:
    """The files of a home; arguments as of :class:`Snapshots`. Raises :class:`StoreError` and :class:`UsageError`."""
    address = elsewhere(home)
    if address is None:
        return Snapshots(home, engine, mark)
    from tmem.store.weights.storage import Storage

    return Storage(address, home, engine, mark)
