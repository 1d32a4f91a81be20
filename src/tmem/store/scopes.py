"""Whose memories a home has: names, the engine that made each, and one writer of each at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

from sqlalchemy import Connection, func, or_, select

from tmem.errors import DataError, DeltaError, ScopeRequired, StoreError
from tmem.files import check_folder
from tmem.store.ledger import database
from tmem.store.ledger import schema as db
from tmem.store.ledger.ledger import engine_of
from tmem.store.ledger.locks import Locks
from tmem.store.ledger.opening import open_database
from tmem.store.ledger.queries import NAMES, Names
from tmem.store.weights.states import Trainer

NAMED = or_(*(db.scopes.c[name].is_not(None) for name in NAMES))  # an erased scope is not, until it is wiped

Made = TypeVar("Made")


class ScopeId(str):
    """The id of a scope, with the ``names`` that it was asked for by."""

    names: Names


def names_of(scope: str) -> Names | None:
    """The names that a scope was asked for by; None if it was not."""
    return scope.names if isinstance(scope, ScopeId) else None


class Scopes:
    """Whose memories there are in the database of a home, and who writes to which.

    Raises :class:`StoreError` for a home that cannot be used.
    """

    def __init__(self, path: str | Path, trainer: Trainer) -> None:
        self.path, self.trainer = Path(path).expanduser(), trainer
        self._guard = RLock()
        if database.only_read(self.path / "tmem.db"):
            self.db = open_database(self.path / "tmem.db")
            self._locks = Locks(self.path)
            return
        try:
            check_folder(self.path)
            for folder in (self.path, self.path / "locks", self.path / "scopes"):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with Locks(self.path).hold("open"):
                (self.path / "tmem.db").touch(mode=0o600)  # nobody else's to read, wherever the home is
                self.db = open_database(self.path / "tmem.db")
            self._locks = Locks(self.path, self.db.lease)
        except DataError as error:
            raise StoreError(str(error)) from None
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written ({error.strerror})") from None

    def close(self) -> None:
        """Close the database; what was acknowledged is on disk anyway."""
        self.db.close()

    def scope(self, names: Names) -> str:
        """The id of a scope; whoever writes to it first makes it. Raises :class:`ScopeRequired` if no name is given."""
        if not any(names):
            raise ScopeRequired("whose memory? give at least one of user_id, agent_id and run_id")
        scope = ScopeId(scope_id(names))
        scope.names = names
        return scope

    def name(self, scope: str) -> str:
        """The names that a scope is asked for by, "/" between them."""
        return joined(names_of(scope) or ())

    def known(self, scope: str) -> bool:
        """True if something was ever told to it."""
        with self.db.read() as connection:
            return connection.execute(select(db.scopes.c.id).where(db.scopes.c.id == scope, NAMED)).first() is not None

    def scopes(self) -> dict[str, str]:
        """All scopes of the home: id -> the names that it was made with, "/" between them."""
        with self.db.read() as connection:
            rows = connection.execute(select(db.scopes.c.id, *(db.scopes.c[name] for name in NAMES)).where(NAMED))
            return {row[0]: joined(row[1:]) for row in rows}

    def users(self) -> list[dict[str, Any]]:
        """Whose memories there are, oldest first: names, when they were made, and how many pairs hold."""
        of = db.scopes.c
        active = (db.pairs.c.scope == of.id) & (db.pairs.c.status == "active")
        counted = select(func.count()).select_from(db.pairs).where(active).scalar_subquery().label("pairs")
        chosen = select(*(of[name] for name in NAMES), of.created, counted).where(NAMED).order_by(of.created, of.id)
        with self.db.read() as connection:
            return [dict(row._mapping) for row in connection.execute(chosen)]

    def pending(self) -> list[str]:
        """The ids of scopes with pairs that are not yet trained on."""
        told = select(db.pairs.c.scope).where(db.pairs.c.status == "pending").distinct()
        with self.db.read() as connection:
            return list(connection.execute(told).scalars())

    @contextmanager
    def writing(self, scope: str) -> Iterator[Connection]:
        """A transaction that changes a scope. Raises :class:`StoreError` if this process is no longer its writer."""
        with self.db.write() as connection:
            self.db.fence(connection, scope)
            yield connection

    def change(self, scope: str, make: Callable[[Connection], Made]) -> Made:
        """What ``make`` gives in such a transaction; made once more if the connection is lost, as nothing was done."""
        try:
            with self.writing(scope) as connection:
                return make(connection)
        except database.Lost:
            with self.writing(scope) as connection:
                return make(connection)

    @contextmanager
    def lock(self, scope: str, any_engine: bool = False, looks: bool = False, wait: bool = True) -> Iterator[None]:
        """Be the only writer of a scope, among threads and processes; ``wait`` as of :meth:`Locks.hold`.

        Raises :class:`DeltaError` if the scope's weights were made with another model or recipe, unless ``any_engine``.
        A home that can only be read is not locked, and raises :class:`StoreError` for all but who only ``looks``.
        """
        self.db.check()
        if not looks:
            self.db.check_writable()
        with nullcontext(False) if self.db.read_only else self._locks.hold(scope, wait) as first:
            try:
                if not any_engine:
                    self.check_engine(scope)
                yield
            finally:
                # Of whom nothing was ever told, nothing is left.
                if first and self.db.lease is None and not self.known(scope):
                    self._locks.remove(scope)

    def check_engine(self, scope: str) -> None:
        """Raise :class:`DeltaError` if the scope's weights were made with something else."""
        made, own = self.made_with(scope), self.own_engine
        if made is not None and made != own:
            raise DeltaError(
                f"{self.path}: this memory was made with another {difference(made, own)}; open it with what made it "
                "(--model), or write all memories of the home anew with this: tmem rebuild --all"
            )

    def made_with(self, scope: str) -> dict[str, Any] | None:
        """The engine that made a scope's weights; None: nothing did yet."""
        kept = select(db.scopes.c.engine).where(db.scopes.c.id == scope)
        with self.db.read() as connection:
            return engine_of(connection.execute(kept).scalar_one_or_none())

    @property
    def own_engine(self) -> dict[str, Any]:
        """This home's engine, as it is kept."""
        return dict(json.loads(json.dumps(self.trainer.engine)))


def joined(names: Iterable[str | None]) -> str:
    """The names that there are, as people read them."""
    return "/".join(name for name in names if name)


def scope_id(names: Names) -> str:
    """sha256 (hex) of the three names; a name itself is never part of a path."""
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def difference(made: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """In what two engines differ, in words: the base first, then the recipe, since the basis is theirs."""
    if made.get("base") != own.get("base"):
        return f"model (weights {str(made.get('base'))[:12]}, now {str(own.get('base'))[:12]})"
    before, now = (engine.get("recipe") or {} for engine in (made, own))
    if before != now:
        names = [f"{one.get('name')} ({'from zero' if 'fresh' in one else 'SGD'})" for one in (before, now)]
        if names[0] == names[1]:
            key = next(key for key in [*before, *now] if before.get(key) != now.get(key))
            return f"{key} of the recipe ({before.get(key)}, now {now.get(key)})"
        return f"recipe ({names[0]}, now {names[1]})"
    key = next(key for key in [*made, *own] if made.get(key) != own.get(key))
    return f"{key} ({made.get(key)}, now {own.get(key)})"
