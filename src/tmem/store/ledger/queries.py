"""What is asked of the tables of a home, each inside a transaction of the caller."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from tmem.dates import Moment
from tmem.errors import StoreError
from tmem.store.ledger import schema as db
from tmem.store.ledger.history import History

NAMES = ("user_id", "agent_id", "run_id")
Names = tuple[str | None, str | None, str | None]


def now() -> str:
    """This moment in UTC, ISO 8601 with milliseconds."""
    return as_text(datetime.datetime.now(datetime.UTC))


def as_text(when: Moment) -> str:
    """A moment as tables have it."""
    return when.isoformat(timespec="milliseconds") if isinstance(when, datetime.datetime) else when.isoformat()


@dataclass(frozen=True)
class NewPair:
    """A pair that is told; ``supersedes`` is the id of an active pair whose place it takes.

    ``extracted``: by the model, from the text that it is told with. ``created``: when it was told first. ``follows``:
    the place, among those it is told with, of the pair that it was put right with.
    """

    question: str
    answer: str
    supersedes: str | None = None
    extracted: bool = False
    created: str = field(default_factory=now, compare=False)
    follows: int | None = None


@dataclass(frozen=True)
class Version:
    """A version of a scope's memory. ``weights`` is None until they are made anew after a forgetting."""

    number: int
    base: int | None
    write: int | None
    kind: str
    ledger: str
    weights: str | None
    snapshot: str | None
    tag: str | None
    account: dict[str, Any]
    created: str

    @property
    def id(self) -> str:
        """``v3-0a1b2c3d4e5f``: the number, and what the weights follow from."""
        return f"v{self.number}-{self.ledger[:12]}"


def parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The ids in parts for one statement each: SQLite takes only so many values at once."""
    for start in range(0, len(ids), 500):
        yield ids[start : start + 500]


def touch(connection: Connection, scope: str) -> int:
    """The revision of a change that is being made to a scope: what its rows have to say in ``changed``."""
    this = db.scopes.c.id == scope
    connection.execute(update(db.scopes).where(this).values(revision=db.scopes.c.revision + 1))
    return int(connection.execute(select(db.scopes.c.revision).where(this)).scalar_one())


def make(connection: Connection, scope: str, names: Names | None, engine: dict[str, Any]) -> None:
    """Make a scope if there is none of this id; one that was erased and not yet wiped has its names again."""
    if names is None:  # nobody asked for it by name: it is there
        return
    row = dict(zip(NAMES, names, strict=True)) | {"engine": json.dumps(engine)}
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_or  # every command that only looks would pay for it
    else:
        from sqlalchemy.dialects.sqlite import insert as insert_or  # type: ignore[assignment]
    made = insert_or(db.scopes).values(id=scope, created=now(), **row)
    kept = func.coalesce(db.scopes.c.engine, made.excluded.engine)
    connection.execute(made.on_conflict_do_update(index_elements=["id"], set_=row | {"engine": kept}))


def empty(connection: Connection, scope: str) -> None:
    """Take everything out of a scope, its names too; what is left of it says when it was emptied."""
    for table in (db.pairs, db.episodes, db.versions, db.receipts):
        connection.execute(delete(table).where(table.c.scope == scope))
    touch(connection, scope)
    nothing = dict.fromkeys((*NAMES, "head", "engine")) | {"created": now()}
    connection.execute(update(db.scopes).where(db.scopes.c.id == scope).values(nothing))


def set_engine(connection: Connection, scope: str, engine: dict[str, Any]) -> None:
    """Say what makes a scope's weights."""
    touch(connection, scope)
    connection.execute(update(db.scopes).where(db.scopes.c.id == scope).values(engine=json.dumps(engine)))


def tell(
    connection: Connection,
    scope: str,
    new: Sequence[NewPair],
    text: str | None = None,
    told: str | None = None,
    meta: dict[str, Any] | None = None,
    repeats: Sequence[str] = (),
) -> tuple[str | None, list[str]]:
    """Pending pairs of a new write, and the episode that they are from; returns the ids of both.

    ``repeats``: earlier pairs that the text says again; it goes when one of them is forgotten.
    """
    about = new and (told is not None or meta)
    episode = None if text is None and not about else uuid.uuid4().hex
    ids = [uuid.uuid4().hex for _ in new]
    if episode is not None:
        number = 1 + last(connection, db.episodes.c.number, scope)
        row = {"id": episode, "scope": scope, "number": number, "text": text, "told": told, "created": now()}
        row |= {"meta": json.dumps(meta) if meta else None, "repeats": json.dumps(repeats) if repeats else None}
        connection.execute(insert(db.episodes).values(row))
    write = 1 + last(connection, db.pairs.c.write, scope)
    rows = []
    for pair_id, pair in zip(ids, new, strict=True):
        follows = None if pair.follows is None else ids[pair.follows]
        row = asdict(pair) | {"id": pair_id, "write": write, "episode": episode, "follows": follows}
        rows.append(row | {"status": "pending"})
    add_pairs(connection, scope, rows)
    return episode, ids


def last(connection: Connection, column: Any, scope: str) -> int:
    """The largest value of a column in a scope, 0 if there is none."""
    found = select(func.max(column)).where(column.table.c.scope == scope)
    return connection.execute(found).scalar_one() or 0


def add_pairs(connection: Connection, scope: str, rows: Sequence[dict[str, Any]]) -> None:
    """New rows of the ledger, numbered on."""
    number, changed = 1 + last(connection, db.pairs.c.number, scope), touch(connection, scope)
    for place, row in enumerate(rows):
        own = {"scope": scope, "number": number + place, "created": now(), "changed": changed}
        connection.execute(insert(db.pairs).values(own | row))


def sources(connection: Connection, scope: str) -> dict[str, Any]:
    """What is known of every pair of a scope beside question and answer, and the text that it is from; by id."""
    of, text = db.pairs.c, db.episodes.c
    told = text.text, text.told, text.meta, text.repeats
    chosen = select(of.id, of.status, of.follows, of.extracted, of.created, *told)
    joined = chosen.select_from(db.pairs.outerjoin(db.episodes, of.episode == text.id))
    return {row.id: row for row in connection.execute(joined.where(of.scope == scope).order_by(of.number))}


def add_version(
    connection: Connection,
    scope: str,
    head: int | None,
    before: Collection[str],
    history: History,
    account: dict[str, Any],
    **fields: Any,
) -> None:
    """A new version, put in force. ``history`` is its own.

    ``head``: the version that was in force until now, and ``before`` the ids of the pairs that held in it. Raises
    :class:`StoreError` if another is in force.
    """
    row = {"scope": scope, "ledger": history.digests[-1], "account": json.dumps(account), "created": now(), **fields}
    connection.execute(insert(db.versions).values(row | {"changed": touch(connection, scope)}))
    in_force = update(db.scopes).where(db.scopes.c.id == scope, db.scopes.c.head.is_not_distinct_from(head))
    if connection.execute(in_force.values(head=fields["number"])).rowcount != 1:
        raise StoreError("another process has changed this memory meanwhile; nothing was changed: try again")
    change_pairs(connection, scope, [one for one in before if one not in history.current], status="superseded")
    change_pairs(connection, scope, [one for one in history.current if one not in before], status="active")


def change_pairs(connection: Connection, scope: str, ids: Sequence[str], **values: Any) -> None:
    """Give pairs that are not forgotten new values."""
    own = update(db.pairs).where(db.pairs.c.scope == scope, db.pairs.c.status != "forgotten")
    for part in parts(ids):
        connection.execute(own.where(db.pairs.c.id.in_(part)).values(**values))


def change_versions(connection: Connection, scope: str, which: ColumnElement[bool], **values: Any) -> None:
    """Give versions new values."""
    own = update(db.versions).where(db.versions.c.scope == scope, which)
    connection.execute(own.values(changed=touch(connection, scope), **values))


def add_receipt(connection: Connection, scope: str, kind: str, body: dict[str, Any]) -> str:
    """Keep a receipt; returns its id. It never holds a text: what is forgotten must not stay in it."""
    name = uuid.uuid4().hex
    row = {"id": name, "scope": scope, "kind": kind, "body": json.dumps(body), "created": now()}
    connection.execute(insert(db.receipts).values(row))
    return name


def quarantine_reasons(connection: Connection, scope: str, ids: Sequence[str]) -> list[str]:
    """Why the writes of these pairs were quarantined, in the order in which they were told, each reason once."""
    writes: set[int] = set()
    for part in parts(ids):
        chosen = select(db.pairs.c.write).where(db.pairs.c.scope == scope, db.pairs.c.id.in_(part))
        writes |= set(connection.execute(chosen).scalars())
    kept = select(db.receipts.c.body).where(db.receipts.c.scope == scope, db.receipts.c.kind == "quarantine")
    bodies = [json.loads(body) for body in connection.execute(kept).scalars()]
    found = {body["write"]: body["reason"] for body in bodies if body["write"] in writes}
    return list(dict.fromkeys(reason for _, reason in sorted(found.items())))
