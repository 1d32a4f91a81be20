"""What one scope's ledger says, read once and then only as far as it changes.

A home of ten thousand pairs would otherwise read and digest all of them again in every call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

from sqlalchemy import Column, Connection, Select, select

from tmem.errors import IntegrityError, NotFound
from tmem.store.ledger import schema as db
from tmem.store.ledger.history import History, Pair, digest, version_digests, view
from tmem.store.ledger.queries import Version

HISTORIES_KEPT = 4  # of a scope: the head's, and a few that were asked for
_reading = RLock()  # of histories, which ledgers share
GONE = ("quarantined", "forgotten")  # pairs that no weights follow from


@dataclass(frozen=True)
class Ledger:
    """One state of a scope's ledger; whatever is written meanwhile is in the next one. Not to be changed.

    ``made`` is when the scope was: one that was erased and told something again has nothing in common with it.
    ``start`` stands for the engine that its weights are made with, as every history begins; ``versions`` are by number,
    oldest first; ``new`` is by write: the pairs that are left of it, in the order in which they were told, pending ones
    too.
    """

    start: str
    made: str | None
    revision: int
    head: int | None
    versions: Mapping[int, Version]
    new: Mapping[int, Sequence[Pair]]
    _histories: dict[int | None, History] = field(default_factory=dict)

    def version(self, number: int) -> Version:
        """One version. Raises :class:`NotFound`."""
        if number not in self.versions:
            newest = f"the newest is {max(self.versions)}" if self.versions else "nothing was written yet"
            raise NotFound(f"there is no version {number}: {newest}")
        return self.versions[number]

    @property
    def next(self) -> int:
        """The number of the next version."""
        return max(self.versions, default=0) + 1

    def history(self, number: int | None) -> History:
        """The training runs of a version; None: of a memory that was told nothing."""
        with _reading:
            found = self._histories.get(number)
            if found is None:
                version = None if number is None else self.version(number)
                base = None if version is None else self._histories.get(version.base)
                if version is not None and base is not None:
                    found = base.then(() if version.write is None else self.new.get(version.write, ()))
                else:
                    found = History(self.start, view(self.versions, number), self.new)
                while len(self._histories) >= HISTORIES_KEPT:
                    del self._histories[next(iter(self._histories))]
                self._histories[number] = found
            return found

    def current(self) -> dict[str, Pair]:
        """The pairs that hold, by id."""
        return self.history(self.head).current

    def digests(self) -> dict[int, str]:
        """What every version follows from, made anew from the pairs."""
        return version_digests(self.start, self.versions, self.new)


def read_on(connection: Connection, scope: str, before: Ledger | None) -> Ledger:
    """The ledger of a scope as it is now; ``before``, an earlier one, saves reading what has not changed since.

    Raises :class:`IntegrityError` for rows that no tmem wrote.
    """
    of = db.scopes.c
    this = select(of.created, of.revision, of.head, of.engine).where(of.id == scope)
    made, revision, head, engine = connection.execute(this).one_or_none() or (None, 0, None, None)
    if before is not None and (before.made != made or before.revision > revision):
        before = None
    if before is not None and before.revision == revision:
        return before
    start = digest(engine_of(engine))
    versions = dict(before.versions) if before else {}
    columns = [column for column in db.versions.c if column.name not in ("scope", "changed")]
    for row in connection.execute(_changed(columns, scope, before).order_by(db.versions.c.number)):
        versions[row.number] = _version(row)
    new: dict[int, Sequence[Pair]] = dict(before.new) if before else {}
    of_pair = db.pairs.c
    columns = [of_pair.write, of_pair.status, of_pair.id, of_pair.question, of_pair.answer, of_pair.supersedes]
    rows = connection.execute(_changed(columns, scope, before).order_by(of_pair.number)).all()
    # What was only added to leaves the histories that are known as they are.
    same = before is not None and before.start == start and before.new.keys().isdisjoint(row.write for row in rows)
    changed = {row.write: {pair.id: pair for pair in new.get(row.write, ())} for row in rows}
    for row in rows:
        own = changed[row.write]
        if row.status in GONE:
            own.pop(row.id, None)
        else:
            own[row.id] = _pair(row)  # in its place, or, if it is new, at the end of its write
    for write, own in changed.items():
        new[write] = list(own.values())
        if not own:
            del new[write]
    with _reading:
        kept = dict(before._histories) if before is not None and same else {}
    return Ledger(start, made, revision, head, versions, new, kept)


def engine_of(kept: str | None) -> dict[str, Any] | None:
    """What made a scope's weights; None: nothing did yet. Raises :class:`IntegrityError` if that cannot be read."""
    try:
        return None if kept is None else dict(json.loads(kept))
    except (TypeError, ValueError):
        raise IntegrityError(
            "a memory's engine is damaged in the ledger; put a backup in its place: tmem restore FOLDER"
        ) from None


def _changed(columns: Sequence[Column[Any]], scope: str, before: Ledger | None) -> Select[Any]:
    """Of a scope's rows, those that changed since."""
    table = columns[0].table
    own = select(*columns).where(table.c.scope == scope)
    return own if before is None else own.where(table.c.changed > before.revision)


def _version(row: Any) -> Version:
    try:
        account = json.loads(row.account or "{}")
    except ValueError:
        account = None
    numbers = [value for value in (row.base, row.write) if value is not None]
    if not isinstance(account, dict) or not all(type(one) is int for one in [row.number, *numbers]):
        raise IntegrityError(
            f"version {row.number!r} is damaged in the ledger; put a backup in its place: tmem restore FOLDER"
        )
    return Version(**{**row._mapping, "account": account})


def _pair(row: Any) -> Pair:
    pair = Pair(row.id, row.question, row.answer, row.supersedes)
    if type(row.write) is not int or not all(isinstance(text, str) for text in (pair.question, pair.answer)):
        raise IntegrityError(f"pair {row.id} is damaged in the ledger; put a backup in its place: tmem restore FOLDER")
    return pair
