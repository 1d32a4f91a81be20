"""What a memory shows of itself: pairs, versions, what was when. All of it is in the ledger: no model is needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from tmem.errors import NotFound, UsageError
from tmem.store.care.export import save_ledger
from tmem.store.home import Home
from tmem.store.ledger import queries
from tmem.store.ledger import schema as db
from tmem.store.ledger.history import History, Pair, view
from tmem.store.ledger.ledger import read_on
from tmem.store.results import Difference, GrowthRecord, PairRecord, Stats, VersionRecord

STATUSES = ("active", "pending", "superseded", "quarantined", "forgotten")
PAIR_COLUMNS = ("id", "question", "answer", "status", "supersedes", "episode", "created")


class View:
    """The ledger of one scope, looked at."""

    def __init__(self, home: Home, scope: str) -> None:
        self.home, self.id = home, scope

    @property
    def known(self) -> bool:
        """True if something was ever told to it."""
        return self.home.known(self.id)

    @property
    def version(self) -> str | None:
        """The id of the version in force, None if nothing was written yet."""
        return self._version()

    def search(self, query: str, *, top_k: int = 10) -> list[PairRecord]:
        """The active pairs that fit the query best, by BM25; none fits a blank one. Needs the extra ``eval``."""
        return self._rows([pair.id for pair in fitting(query, self._active(), top_k)])

    def get(self, pair_id: str) -> PairRecord:
        """One pair. Raises :class:`~tmem.errors.NotFound`."""
        for row in self._rows([pair_id]):
            return row
        raise NotFound(f"there is no pair {pair_id} in this memory")

    def get_all(self, *, status: str | None = "active") -> list[PairRecord]:
        """All pairs with a status (None: with any), in the order in which they were told.

        Raises :class:`~tmem.errors.UsageError` for a status that there is not.
        """
        if status is not None and status not in STATUSES:
            raise UsageError(f"there is no status {status!r}: choose one of {', '.join(STATUSES)}, or None for any")
        chosen = select(db.pairs.c.id).where(db.pairs.c.scope == self.id).order_by(db.pairs.c.number)
        if status is not None:
            chosen = chosen.where(db.pairs.c.status == status)
        with self.home.db.read() as connection:
            ids = list(connection.execute(chosen).scalars())
        return self._rows(ids)

    def history(self, pair_id: str) -> list[PairRecord]:
        """A pair and those whose place it took, newest first."""
        found = [self.get(pair_id)]
        while found[-1]["supersedes"] is not None:
            found.append(self.get(found[-1]["supersedes"]))
        return found

    def versions(self) -> list[VersionRecord]:
        """All versions, oldest first; the last one is in force."""
        return [
            VersionRecord(
                id=own.id, kind=own.kind, tag=own.tag, created=own.created, weights=own.weights, account=own.account
            )
            for own in self.home.versions(self.id)
        ]

    def diff(self, first: str | int, second: str | int) -> Difference:
        """The pairs that hold in the second version and not in the first, and the other way round."""
        one, other = (self.home.history(self.id, self._number(version)).current for version in (first, second))
        return {
            "added": self._rows([pair_id for pair_id in other if pair_id not in one]),
            "removed": self._rows([pair_id for pair_id in one if pair_id not in other]),
        }

    def growth(self) -> list[GrowthRecord]:
        """How many pairs held in each version, oldest first: ``id``, ``kind``, ``created``, ``pairs``."""
        ledger, found = self.home.ledger(self.id), list[GrowthRecord]()
        history, last = History(ledger.start, (), ledger.new), None
        for number, version in ledger.versions.items():
            if version.base != last:
                history = History(ledger.start, view(ledger.versions, version.base), ledger.new)
            if version.write is not None:
                history.take(ledger.new.get(version.write, ()))
            pairs = len(history.current)
            found.append(GrowthRecord(id=version.id, kind=version.kind, created=version.created, pairs=pairs))
            last = number
        return found

    def stats(self) -> Stats:
        """Pairs by status, versions, files of weights and their bytes."""
        counted = select(db.pairs.c.status, func.count()).where(db.pairs.c.scope == self.id)
        with self.home.db.read() as connection:
            pairs = {status: count for status, count in connection.execute(counted.group_by(db.pairs.c.status))}
        found = self.home.versions(self.id)
        files, sizes = {version.snapshot for version in found} - {None}, self.home.files.sizes(self.id)
        return {
            "pairs": pairs,
            "versions": len(found),
            "snapshots": len(files),
            "bytes": sum(size for name, size in sizes.items() if name in files),
        }

    def export(self, path: str | Path, *, version: str | int | None = None) -> int:
        """Write the ledger of a version as JSON lines, for :meth:`import_`; returns the number of steps.

        Without ``version``, of the one in force, with what was told and is not trained on yet.
        """
        number = None if version is None else self._number(version)
        with self.home.db.read() as connection:
            ledger, sources = read_on(connection, self.id, None), queries.sources(connection, self.id)
        history = ledger.history(ledger.head if number is None else number)
        waiting = [[pair for pair in own if sources[pair.id].status == "pending"] for own in ledger.new.values()]
        save_ledger(Path(path), history, waiting if number is None else [], sources)
        return len(history)

    def _active(self) -> list[Pair]:
        return list(self.home.ledger(self.id).current().values())

    def _rows(self, ids: Sequence[str]) -> list[PairRecord]:
        columns: list[Any] = [db.pairs.c[name] for name in PAIR_COLUMNS]
        columns += [db.episodes.c.told.label("timestamp"), db.episodes.c.meta.label("metadata")]
        source = db.pairs.outerjoin(db.episodes, db.pairs.c.episode == db.episodes.c.id)
        rows: dict[str, PairRecord] = {}
        with self.home.db.read() as connection:
            for part in queries.parts(ids):
                own = (db.pairs.c.scope == self.id) & db.pairs.c.id.in_(part)
                for row in connection.execute(select(*columns).select_from(source).where(own)):
                    rows[row.id] = {**row._mapping, "metadata": row.metadata and json.loads(row.metadata)}  # type: ignore[typeddict-item]
        return [rows[pair_id] for pair_id in ids if pair_id in rows]

    def _version(self) -> str | None:
        ledger = self.home.ledger(self.id)
        return None if ledger.head is None else ledger.version(ledger.head).id

    def _number(self, version: str | int) -> int:
        """The number of a version that is named by number, id or tag."""
        for known in self.home.versions(self.id):
            if version in (known.number, str(known.number), known.id, known.tag):
                return known.number
        raise NotFound(f"there is no version {version!r} in this memory")

    def _why_quarantined(self, ids: Sequence[str]) -> str:
        with self.home.db.read() as connection:
            return "quarantined: " + "; ".join(queries.quarantine_reasons(connection, self.id, ids))


def fitting(query: str, pairs: Sequence[Pair], most: int) -> list[Pair]:
    """The pairs that fit a query best, by BM25."""
    from tmem.retrieval import BM25

    if not (pairs and most and query.strip()):
        return []
    return [pairs[place] for place in BM25([f"{pair.question} {pair.answer}" for pair in pairs]).top(query, most)]
