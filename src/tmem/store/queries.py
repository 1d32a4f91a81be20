"""What is asked of the tables of a home, each inside a transaction of the caller."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from tmem.store import schema as db
from tmem.store.ledger import History, Node, Pair


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


def now() -> str:
    """This moment in UTC, ISO 8601 with milliseconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def head(connection: Connection, scope: str) -> int | None:
    """The number of the version in force."""
    return connection.execute(select(db.scopes.c.head).where(db.scopes.c.id == scope)).scalar_one_or_none()


def versions(connection: Connection, scope: str) -> list[Version]:
    """All versions of a scope, oldest first."""
    columns = [column for column in db.versions.c if column.name != "scope"]
    rows = connection.execute(select(*columns).where(db.versions.c.scope == scope).order_by(db.versions.c.number))
    return [Version(**{**row._mapping, "account": json.loads(row.account or "{}")}) for row in rows]


def nodes(found: Sequence[Version]) -> dict[int, Node]:
    """What versions consist of, by number."""
    return {version.number: Node(version.number, version.base, version.write) for version in found}


def new_pairs(connection: Connection, scope: str) -> dict[int, list[Pair]]:
    """The pairs that are left, by the write in which they are new."""
    columns = db.pairs.c
    rows = connection.execute(
        select(columns.write, columns.id, columns.question, columns.answer, columns.supersedes)
        .where(columns.scope == scope, columns.status.not_in(("quarantined", "forgotten")))
        .order_by(columns.number)
    )
    found: dict[int, list[Pair]] = {}
    for write, *fields in rows:
        found.setdefault(write, []).append(Pair(*fields))
    return found


def last(connection: Connection, column: Any, scope: str) -> int:
    """The largest value of a column in a scope, 0 if there is none."""
    found = select(func.max(column)).where(column.table.c.scope == scope)
    return connection.execute(found).scalar_one() or 0


def add_version(connection: Connection, scope: str, history: History, account: dict[str, Any], **fields: Any) -> None:
    """A new version, put in force: every pair gets the status that it has in ``history``, which is the version's."""
    row = {"scope": scope, "ledger": history.digests[-1], "account": json.dumps(account), "created": now(), **fields}
    connection.execute(insert(db.versions).values(row))
    connection.execute(update(db.scopes).where(db.scopes.c.id == scope).values(head=fields["number"]))
    own = update(db.pairs).where(db.pairs.c.scope == scope)
    connection.execute(own.where(db.pairs.c.status == "active").values(status="superseded"))
    active = list(history.current)
    for start in range(0, len(active), 500):  # SQLite takes only so many values at once
        connection.execute(own.where(db.pairs.c.id.in_(active[start : start + 500])).values(status="active"))


def add_receipt(connection: Connection, scope: str, kind: str, body: dict[str, Any]) -> str:
    """Keep a receipt; returns its id. It never holds a text: what is forgotten must not stay in it."""
    name = uuid.uuid4().hex
    row = {"id": name, "scope": scope, "kind": kind, "body": json.dumps(body), "created": now()}
    connection.execute(insert(db.receipts).values(row))
    return name


def newest_receipt(connection: Connection, scope: str, kind: str) -> dict[str, Any]:
    """The body of the last receipt of a kind."""
    own = select(db.receipts.c.body).where(db.receipts.c.scope == scope, db.receipts.c.kind == kind)
    body = connection.execute(own.order_by(db.receipts.c.created.desc())).scalars().first()
    found: dict[str, Any] = json.loads(body or "{}")
    return found
