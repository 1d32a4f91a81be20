"""A home: everybody's ledgers in one database, their weights in files beside it, one writer per scope at a time.

The ledger is the database and the weights are a cache of it. A version is published in this order: its pairs are
committed as pending, weights are trained on a private copy, their file is written beside and renamed, and one
transaction moves the head. Whoever is killed in between leaves the old version in force, and pending pairs that the
next writer takes in.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Connection, delete, func, insert, select, update

from tmem.errors import DataError, DeltaError, IntegrityError, NotFound, ScopeRequired, StoreError
from tmem.files import check_folder
from tmem.store import queries, snapshots
from tmem.store import schema as db
from tmem.store.ledger import History, Node, Pair, digest, view
from tmem.store.queries import Version
from tmem.store.trainer import Tensors, Trained, Trainer, state_digest

Names = tuple[str | None, str | None, str | None]  # user_id, agent_id, run_id
LOCK_SECONDS = 600.0
TO_WIPE = "to wipe"  # the receipt of a forgetting that a crash may have kept from its end
STATES_KEPT = 64  # in memory, of all scopes together


@dataclass(frozen=True)
class NewPair:
    """A pair that is told; ``supersedes`` is the id of an active pair whose place it takes."""

    question: str
    answer: str
    supersedes: str | None = None


class Home:
    """One directory of memories. ``trainer`` makes their weights; every ``snapshot_every``-th state stays a file.

    Raises :class:`StoreError` for a home that cannot be used.
    """

    def __init__(self, path: str | Path, trainer: Trainer, snapshot_every: int = 16) -> None:
        self.path = Path(path).expanduser()
        self.trainer, self.snapshot_every = trainer, snapshot_every
        self.start = digest(trainer.engine)
        self._locks: dict[str, tuple[RLock, FileLock]] = {}
        self._guard = RLock()
        self._states: OrderedDict[tuple[str, str], Tensors] = OrderedDict()  # by scope and ledger digest
        try:
            check_folder(self.path)
            for folder in (self.path, self.path / "locks", self.path / "scopes"):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(self.path / "locks" / "open.lock", timeout=LOCK_SECONDS):
                self.db = db.Database(self.path / "tmem.db")
        except DataError as error:
            raise StoreError(str(error)) from None
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written ({error.strerror})") from None
        with self.db.read() as connection:
            unwiped = select(db.receipts.c.scope).where(db.receipts.c.kind == TO_WIPE)
            left = set(connection.execute(unwiped).scalars())
        for scope in left:
            self.wipe(scope)

    def close(self) -> None:
        """Close the database; what was acknowledged is on disk anyway."""
        self.db.close()

    # ---- scopes ----

    def scope(self, names: Names) -> str:
        """The id of a scope, made if it is new. Raises :class:`ScopeRequired` if no name is given."""
        if not any(names):
            raise ScopeRequired("whose memory? give at least one of user_id, agent_id and run_id")
        scope = scope_id(names)
        with self.db.read() as connection:
            known = connection.execute(select(db.scopes.c.id).where(db.scopes.c.id == scope)).first()
        if known is None:
            row = dict(zip(("user_id", "agent_id", "run_id"), names, strict=True))
            row |= {"id": scope, "created": queries.now(), "engine": json.dumps(self.trainer.engine)}
            with self.db.write() as connection:
                connection.execute(insert(db.scopes).prefix_with("OR IGNORE").values(row))
        return scope

    @contextmanager
    def lock(self, scope: str, any_engine: bool = False) -> Iterator[None]:
        """Be the only writer of a scope, among threads and processes.

        Raises :class:`DeltaError` if the scope's weights were made with another model or recipe, unless ``any_engine``.
        """
        with self._guard:
            if scope not in self._locks:
                file = FileLock(self.path / "locks" / f"{scope[:16]}.lock", timeout=LOCK_SECONDS, thread_local=False)
                self._locks[scope] = RLock(), file
            threads, processes = self._locks[scope]
        with threads:
            try:
                processes.acquire()
            except Timeout:
                raise StoreError(f"{self.path}: another process is writing this memory; try again") from None
            except OSError as error:
                raise StoreError(f"{self.path}: cannot be locked ({error.strerror})") from None
            try:
                if not any_engine:
                    self.check_engine(scope)
                yield
            finally:
                processes.release()

    def check_engine(self, scope: str) -> None:
        """Raise :class:`DeltaError` if the scope's weights were made with something else."""
        with self.db.read() as connection:
            made = json.loads(
                connection.execute(select(db.scopes.c.engine).where(db.scopes.c.id == scope)).scalar_one()
            )
        own = json.loads(json.dumps(self.trainer.engine))
        if made != own:
            different = next(key for key in [*made, *own] if made.get(key) != own.get(key))
            raise DeltaError(
                f"{self.path}: this memory was made with another {different}; open it with the model and recipe it was "
                "made with, or make its weights anew with these: tmem rebuild --adopt"
            )

    # ---- reading ----

    def versions(self, scope: str) -> list[Version]:
        """All versions, oldest first."""
        with self.db.read() as connection:
            return queries.versions(connection, scope)

    def version(self, scope: str, number: int) -> Version:
        """One version. Raises :class:`NotFound`."""
        return find(self.versions(scope), number)

    def head(self, scope: str) -> int | None:
        """The number of the version in force; None if nothing was written yet."""
        with self.db.read() as connection:
            return queries.head(connection, scope)

    def history(self, scope: str, number: int | None, extra: Node | None = None) -> History:
        """The training runs of a version; ``extra`` is one that is only about to be published."""
        with self.db.read() as connection:
            nodes = queries.nodes(queries.versions(connection, scope))
            if extra is not None:
                nodes[extra.number] = extra
            return History(self.start, view(nodes, number), queries.new_pairs(connection, scope))

    def state(self, scope: str, number: int | None = None) -> Tensors:
        """The weights of a version, the head's by default: from memory, from their file, or trained anew.

        Raises :class:`IntegrityError` if file, ledger and what was published do not agree: nothing is used then.
        """
        for last in (False, False, True):
            with self.db.read() as connection:  # one state of the ledger, whatever is published or forgotten meanwhile
                found, new = queries.versions(connection, scope), queries.new_pairs(connection, scope)
                wanted = queries.head(connection, scope) if number is None else number
            if wanted is None:
                return self.trainer.zeros()
            try:
                return self._state(scope, find(found, wanted), found, new)
            except IntegrityError:
                if last or self.versions(scope) == found:
                    raise  # else a file that was there has been removed since
        raise AssertionError

    def _state(
        self, scope: str, version: Version, found: Sequence[Version], new: Mapping[int, Sequence[Pair]]
    ) -> Tensors:
        if (scope, version.ledger) in self._states:
            return self._remember(scope, version.ledger, self._states[scope, version.ledger])
        history = History(self.start, view(queries.nodes(found), version.number), new)
        if history.digests[-1] != version.ledger:
            raise IntegrityError(f"{self.path}: the ledger is not the one that version {version.number} was made from")
        state, done = self.nearest(scope, history, found)
        state = self.replay(history, state, done)
        if version.weights is not None and state_digest(state) != version.weights:
            raise IntegrityError(f"{self.path}: version {version.number} made anew is not what was published")
        return self._remember(scope, version.ledger, state)

    def replay(self, history: History, state: Tensors | None = None, done: int = 0) -> Tensors:
        """The weights of a history, trained on from a state that has its first ``done`` steps; else from nothing."""
        state = self.trainer.zeros() if state is None else state
        for _, step in history.steps(done):
            state = self.trainer.train(state, step).state
        return state

    def nearest(self, scope: str, history: History, found: Sequence[Version]) -> tuple[Tensors, int]:
        """The latest state of a history that ``found`` versions or memory still have, and how many steps it has."""
        kept = {version.ledger: version for version in found if version.snapshot is not None}
        for done in range(len(history), 0, -1):
            ledger = history.digests[done]
            if (scope, ledger) in self._states:
                return self._states[scope, ledger], done
            if ledger in kept:
                version = kept[ledger]
                assert version.snapshot is not None and version.weights is not None
                facts = self.facts(scope, ledger, version.weights)
                state = snapshots.read(self.file(scope, version.snapshot), facts)
                self.trainer.check(state)
                return state, done
        return self.trainer.zeros(), 0

    def state_without(self, scope: str, ids: Collection[str]) -> Tensors:
        """The weights in force as they would be without some pairs; nothing is changed."""
        head, found = self.head(scope), self.versions(scope)
        with self.db.read() as connection:
            new = queries.new_pairs(connection, scope)
        left = {write: [pair for pair in own if pair.id not in ids] for write, own in new.items()}
        history = History(self.start, view(queries.nodes(found), head), left)
        state, done = self.nearest(scope, history, found)
        state = self.replay(history, state, done)
        return state

    def rebuild(self, scope: str) -> int:
        """Train the head anew from the first pair and write its file; returns the number of steps."""
        self.drop_states(scope)
        head = self.head(scope)
        if head is None:
            return 0
        version, history = self.version(scope, head), self.history(scope, head)
        state = self.replay(history)
        if (history.digests[-1], state_digest(state)) != (version.ledger, version.weights):
            raise IntegrityError(f"{self.path}: the ledger no longer makes what was published as version {head}")
        name, _ = self.save(scope, version.ledger, state)
        this = update(db.versions).where(db.versions.c.scope == scope, db.versions.c.number == head)
        with self.db.write() as connection:
            connection.execute(this.values(snapshot=name))
        return len(history)

    def _remember(self, scope: str, ledger: str, state: Tensors) -> Tensors:
        self._states[scope, ledger] = state
        self._states.move_to_end((scope, ledger))
        while len(self._states) > STATES_KEPT:
            self._states.popitem(last=False)
        return state

    def drop_states(self, scope: str) -> None:
        """Keep no state of this scope in memory."""
        for key in [key for key in self._states if key[0] == scope]:
            del self._states[key]

    # ---- writing ----

    def tell(
        self,
        scope: str,
        new: Sequence[NewPair],
        text: str | None = None,
        told: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> tuple[str | None, list[str]]:
        """Commit pairs as pending, with the text they are from: when this returns they cannot be lost.

        ``told``: when, as the caller says. Returns the episode's id and the pairs' ids.
        """
        with self.db.write() as connection:
            return self._tell(connection, scope, new, text, told, meta)

    def tell_writes(self, scope: str, writes: Sequence[Callable[[Sequence[str]], Sequence[NewPair]]]) -> list[str]:
        """Commit several writes together; each is made from the ids of all pairs before it."""
        ids: list[str] = []
        with self.db.write() as connection:
            for write in writes:
                ids += self._tell(connection, scope, write(ids))[1]
        return ids

    def _tell(
        self,
        connection: Connection,
        scope: str,
        new: Sequence[NewPair],
        text: str | None = None,
        told: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> tuple[str | None, list[str]]:
        episode, ids = None if text is None else uuid.uuid4().hex, [uuid.uuid4().hex for _ in new]
        common = {"scope": scope, "created": queries.now()}
        if episode is not None:
            number = 1 + queries.last(connection, db.episodes.c.number, scope)
            told_row = {"id": episode, "number": number, "text": text, "told": told}
            kept = json.dumps(meta) if meta else None
            connection.execute(insert(db.episodes).values(common | told_row | {"meta": kept}))
        write = 1 + queries.last(connection, db.pairs.c.write, scope)
        number = 1 + queries.last(connection, db.pairs.c.number, scope)
        for place, (pair_id, pair) in enumerate(zip(ids, new, strict=True)):
            row = {"id": pair_id, "number": number + place, "write": write, "episode": episode, "status": "pending"}
            row |= {"question": pair.question, "answer": pair.answer, "supersedes": pair.supersedes}
            connection.execute(insert(db.pairs).values(common | row))
        return episode, ids

    def absorb(self, scope: str, kind: str = "add") -> list[Version]:
        """Train on every pending write and publish it; returns the versions that were made, oldest first.

        A write whose weights are refused (not finite, too large, nothing learned) is quarantined: the head stays.
        """
        made = []
        with self.lock(scope):
            self.clean(scope)
            while (write := self._pending(scope)) is not None:
                version = self._publish(scope, write, kind)
                if version is not None:
                    made.append(version)
        return made

    def _pending(self, scope: str) -> int | None:
        pending = select(func.min(db.pairs.c.write)).where(db.pairs.c.scope == scope, db.pairs.c.status == "pending")
        with self.db.read() as connection:
            return connection.execute(pending).scalar_one()

    def _publish(self, scope: str, write: int, kind: str) -> Version | None:
        head, found = self.head(scope), self.versions(scope)
        number = found[-1].number + 1 if found else 1
        history = self.history(scope, number, Node(number, head, write))
        [(_, step)] = history.steps(len(history) - 1)
        trained: Trained = self.trainer.train(self.state(scope), step)
        if trained.refused is not None:
            mine = (db.pairs.c.scope == scope) & (db.pairs.c.write == write) & (db.pairs.c.status == "pending")
            with self.db.write() as connection:
                connection.execute(update(db.pairs).where(mine).values(status="quarantined"))
                queries.add_receipt(connection, scope, "quarantine", {"write": write, "reason": trained.refused})
            return None
        ledger = history.digests[-1]
        name, weights = self.save(scope, ledger, trained.state)
        account = {**trained.account, "steps": len(history)}
        fields = {"number": number, "base": head, "write": write, "kind": kind, "weights": weights, "snapshot": name}
        with self.db.write() as connection:
            queries.add_version(connection, scope, history, account, **fields)
        self._remember(scope, ledger, trained.state)
        self.thin_out(scope)
        return self.version(scope, number)

    # ---- files ----

    def save(self, scope: str, ledger: str, state: Tensors) -> tuple[str, str]:
        """Write a state's file; returns its name and the digest of the weights."""
        weights, name = state_digest(state), f"{ledger[:32]}.safetensors"
        snapshots.write(self.file(scope, name), state, self.facts(scope, ledger, weights))
        return name, weights

    def thin_out(self, scope: str) -> None:
        """Keep the files of the two newest versions, of tagged ones, and of every n-th state; remove the others."""
        found = [version for version in self.versions(scope) if version.snapshot is not None]
        spare = [
            version.number
            for version in found[:-2]
            if version.tag is None and version.account.get("steps", 0) % self.snapshot_every
        ]
        if spare:
            own = update(db.versions).where(db.versions.c.scope == scope, db.versions.c.number.in_(spare))
            with self.db.write() as connection:
                connection.execute(own.values(snapshot=None))
        self.clean(scope)

    def clean(self, scope: str, must: bool = False) -> None:
        """Remove files that no version names: left by a crash, thinned out, or forgotten.

        What cannot be removed now is when this is next called, unless it ``must``: :class:`StoreError` then.
        """
        folder = self.file(scope, "")
        kept = {version.snapshot for version in self.versions(scope)}
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.name not in kept:
                try:
                    entry.unlink(missing_ok=True)
                except OSError as error:
                    if must:
                        raise StoreError(f"{entry}: cannot be removed yet ({error.strerror}); open it again") from None

    def wipe(self, scope: str) -> None:
        """Remove what a forgetting left behind: states in memory, files, and pages of the database and its log."""
        self.drop_states(scope)
        self.clean(scope, must=True)
        self.db.scrub()
        done = delete(db.receipts).where(db.receipts.c.scope == scope, db.receipts.c.kind == TO_WIPE)
        with self.db.write() as connection:
            connection.execute(done)

    def facts(self, scope: str, ledger: str, weights: str) -> dict[str, str]:
        """What a file of weights says it is."""
        return {"scope": scope, "engine": self.start, "ledger": ledger, "weights": weights}

    def file(self, scope: str, name: str) -> Path:
        """Where a scope's file of this name is. Raises :class:`IntegrityError` if that is not in the home."""
        folder = self.path / "scopes" / scope[:16]
        if name not in ("", Path(name).name) or name == ".." or folder.is_symlink():
            raise IntegrityError(f"{folder}: {name or 'it'} leads out of the home; put a backup in its place")
        return folder / name


def scope_id(names: Names) -> str:
    """sha256 (hex) of the three names; a name itself is never part of a path."""
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def find(found: Sequence[Version], number: int) -> Version:
    """The version with a number. Raises :class:`NotFound`."""
    for version in found:
        if version.number == number:
            return version
    newest = f"the newest is {found[-1].number}" if found else "nothing was written yet"
    raise NotFound(f"there is no version {number}: {newest}")
