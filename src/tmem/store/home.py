"""A home: everybody's ledgers in one database, their weights in files beside it, one writer per scope at a time.

The ledger is the database and the weights are a cache of it. A version is published in this order: its pairs are
committed as pending, weights are trained on a private copy, their file is written beside and renamed, and one
transaction moves the head. Whoever is killed in between leaves the old version in force, and pending pairs that the
next writer takes in.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, select

from tmem.errors import IntegrityError
from tmem.store.ledger import queries
from tmem.store.ledger import schema as db
from tmem.store.ledger.history import History, Pair, digest, view
from tmem.store.ledger.ledger import Ledger, read_on
from tmem.store.ledger.queries import NewPair, Version
from tmem.store.scopes import NAMED, Scopes, names_of
from tmem.store.weights.opening import open_snapshots
from tmem.store.weights.snapshots import ANEW, Unreachable
from tmem.store.weights.states import Tensors, Trained, Trainer, processor, state_digest

TO_WIPE = "to wipe"  # the receipt of a forgetting that a crash may have kept from its end
STATES_KEPT = 64  # in memory, of all scopes together
LEDGERS_KEPT = 64
TOGETHER = 64  # pending writes that one training takes in


@dataclass(frozen=True, eq=False)
class AsOf:
    """A version (None: nothing was written yet), the pairs that hold in it and its weights, all of one moment."""

    version: Version | None
    pairs: list[Pair]
    state: Tensors

    @property
    def version_id(self) -> str | None:
        return None if self.version is None else self.version.id


class Home(Scopes):
    """One directory of memories. ``trainer`` makes their weights; every ``snapshot_every``-th state stays a file.

    Raises :class:`StoreError` for a home that cannot be used.
    """

    def __init__(self, path: str | Path, trainer: Trainer, snapshot_every: int = 16) -> None:
        super().__init__(path, trainer)
        self.snapshot_every = snapshot_every
        self.files = open_snapshots(self.path, lambda: digest(trainer.engine), self.db.mark)
        self._ledgers: OrderedDict[str, Ledger] = OrderedDict()
        self._states: OrderedDict[tuple[str, str], Tensors] = OrderedDict()  # by scope and ledger digest
        self.found: Counter[str] = Counter()  # states: in memory, read or made, and those that made room
        if self.db.read_only:
            return
        with self.db.read() as connection:
            unwiped = select(db.receipts.c.scope).where(db.receipts.c.kind == TO_WIPE)
            left = set(connection.execute(unwiped).scalars())
        for scope in left:
            # Another process may be at it, or forgetting again; weights that cannot be reached now are the next one's.
            with self._locks.hold(scope), suppress(Unreachable):
                self.wipe(scope)

    def erase(self, scope: str) -> bool:
        """Remove a scope whole, its names too; False if there is none."""
        with self.lock(scope, any_engine=True):
            if not self.known(scope):
                return False
            with self.writing(scope) as connection:
                queries.empty(connection, scope)
                # Whoever is killed from here on has erased, but not yet wiped: the next to open the home does.
                queries.add_receipt(connection, scope, TO_WIPE, {})
            self.wipe(scope)
            return True

    # ---- reading ----

    def ledger(self, scope: str) -> Ledger:
        """What the ledger says now, all of it of one moment."""
        with self._guard:
            before = self._ledgers.get(scope)
            with self.db.read() as connection:
                ledger = read_on(connection, scope, before)
            if before is not None and before.made != ledger.made:
                self._drop_weights(scope)  # erased meanwhile
            self._remember(self._ledgers, scope, ledger, LEDGERS_KEPT)
            return ledger

    def versions(self, scope: str) -> list[Version]:
        """All versions, oldest first."""
        return list(self.ledger(scope).versions.values())

    def version(self, scope: str, number: int) -> Version:
        """One version. Raises :class:`NotFound`."""
        return self.ledger(scope).version(number)

    def head(self, scope: str) -> int | None:
        """The number of the version in force; None if nothing was written yet."""
        return self.ledger(scope).head

    def history(self, scope: str, number: int | None) -> History:
        """The training runs of a version. Raises :class:`NotFound`."""
        return self.ledger(scope).history(number)

    def state(self, scope: str, number: int | None = None) -> Tensors:
        """The weights of a version, as :meth:`as_of`."""
        return self.as_of(scope, number).state

    def as_of(self, scope: str, number: int | None = None) -> AsOf:
        """A version, the head by default. Its weights are from memory, from their file, or trained anew.

        Raises :class:`IntegrityError` if file, ledger and what was published do not agree: nothing is used then.
        """
        for last in (False, False, True):
            ledger = self.ledger(scope)  # one state of the ledger, whatever is published or forgotten meanwhile
            wanted = ledger.head if number is None else number
            version = None if wanted is None else ledger.version(wanted)
            pairs = list(ledger.history(wanted).current.values())
            if version is None:
                return AsOf(None, pairs, self.trainer.zeros())
            try:
                return AsOf(version, pairs, self._state(scope, ledger, version))
            except IntegrityError:
                if last or self.ledger(scope).versions == ledger.versions:
                    raise  # else a file that was there has been removed since
        raise AssertionError

    def _state(self, scope: str, ledger: Ledger, version: Version) -> Tensors:
        state = self._states.get((scope, version.ledger))
        self.found["missed" if state is None else "in memory"] += 1
        if state is None:
            history = ledger.history(version.number)
            if history.digests[-1] != version.ledger:
                raise IntegrityError(
                    f"{self.path}: the ledger is not the one that version {version.number} was made from"
                )
            state, done = self.nearest(scope, history, ledger)
            state = self.replay(history, state, done)
            if version.weights is not None and state_digest(state) != version.weights:
                raise IntegrityError(self.not_as_published(version))
        self._remember(self._states, (scope, version.ledger), state, STATES_KEPT)
        return state

    def not_as_published(self, version: Version) -> str:
        """Why a version that was made anew has other weights: another processor, or damage."""
        made = self.made_on(version)
        if made is None:
            return f"{self.path}: version {version.number} made anew is not what was published"
        return (
            f"{self.path}: version {version.number} was made on a processor with {made}, and this one with "
            f"{processor()} rounds otherwise: tmem rebuild --all takes the home over"
        )

    def made_on(self, version: Version) -> str | None:
        """The kind of processor that made a version, if it was another than this one; None if not, or not known."""
        made = version.account.get("processor")
        return None if made in (None, processor()) else str(made)

    def elsewhere(self, ledger: Ledger) -> str | None:
        """The kind of processor that made the weights in force, or some of them, if it was another than this one."""
        return None if ledger.head is None else self.made_on(ledger.version(ledger.head))

    def replay(self, history: History, state: Tensors | None = None, done: int = 0) -> Tensors:
        """The weights of a history, trained on from a state that has its first ``done`` steps; else from nothing."""
        state = self.trainer.zeros() if state is None else state
        if self.trainer.by_pairs:  # what came before the last step is in it
            done = max(done, len(history) - 1)
        for _, step in history.steps(done):
            state = self.trainer.train(state, step, look=False).state
        return state

    def nearest(
        self, scope: str, history: History, ledger: Ledger, except_for: Container[int] = ()
    ) -> tuple[Tensors, int]:
        """The latest state of a history that memory or the files of versions still have, and how many steps it has.

        ``except_for``: versions whose files are not to be used.
        """
        kept = {
            version.ledger: version
            for version in ledger.versions.values()
            if version.snapshot is not None and version.number not in except_for
        }
        for done in range(len(history), 0, -1):
            made_from = history.digests[done]
            known = self._states.get((scope, made_from))
            if known is not None:
                return known, done
            if made_from in kept:
                version = kept[made_from]
                assert version.snapshot is not None and version.weights is not None
                try:
                    state = self.files.load(scope, version.snapshot, made_from, version.weights)
                except IntegrityError as error:
                    made = self.made_on(version)
                    if made is None:
                        raise
                    anew = f"it was made on a processor with {made}: tmem rebuild --all makes all of the home anew here"
                    raise IntegrityError(str(error).replace(ANEW, anew)) from None
                self.trainer.check(state)
                return state, done
        return self.trainer.zeros(), 0

    def state_without(self, scope: str, ids: Collection[str]) -> Tensors:
        """The weights in force as they would be without some pairs; nothing is changed."""
        ledger = self.ledger(scope)
        left = {write: [pair for pair in own if pair.id not in ids] for write, own in ledger.new.items()}
        history = History(ledger.start, view(ledger.versions, ledger.head), left)
        return self.replay(history, *self.nearest(scope, history, ledger))

    def drop_states(self, scope: str) -> None:
        """Keep nothing of this scope in memory: its ledger and its weights are read again."""
        with self._guard:
            self._ledgers.pop(scope, None)
            self._drop_weights(scope)

    def _drop_weights(self, scope: str) -> None:
        with self._guard:
            for key in [key for key in self._states if key[0] == scope]:
                del self._states[key]

    def _remember(self, kept: OrderedDict[Any, Any], key: Any, value: Any, most: int) -> None:
        with self._guard:
            kept[key] = value
            kept.move_to_end(key)
            while len(kept) > most:
                kept.popitem(last=False)
                self.found["evicted"] += kept is self._states

    # ---- writing ----

    def tell(
        self,
        scope: str,
        new: Sequence[NewPair],
        text: str | None = None,
        told: str | None = None,
        meta: dict[str, Any] | None = None,
        repeats: Sequence[str] = (),
    ) -> tuple[str | None, list[str]]:
        """Commit pairs as pending, with the text they are from: when this returns they cannot be lost.

        A scope is made by the first pairs that it is told. ``told``: when, as the caller says. ``repeats``: ids of
        earlier pairs that the text says again. Returns the episode's id and the pairs' ids.
        """

        def tell(connection: Connection) -> tuple[str | None, list[str]]:
            queries.make(connection, scope, names_of(scope), self.own_engine)
            return queries.tell(connection, scope, new, text, told, meta, repeats)

        return self.change(scope, tell) if new else (None, [])

    def tell_writes(self, scope: str, writes: Sequence[Callable[[Sequence[str]], dict[str, Any]]]) -> list[str]:
        """Commit several writes together, as arguments of :meth:`tell` made from the ids of all pairs before each."""

        def tell(connection: Connection) -> list[str]:
            ids: list[str] = []
            queries.make(connection, scope, names_of(scope), self.own_engine)
            for write in writes:
                ids += queries.tell(connection, scope, **write(ids))[1]
            return ids

        return self.change(scope, tell) if writes else []

    def absorb(self, scope: str, kind: str = "add", most: int | None = None) -> list[Version]:
        """Train on every pending write (``most``: on so many) and publish it; returns the versions made, oldest first.

        Where weights follow from the pairs that hold alone, writes are trained on together; the versions between are
        made anew when they are asked for. A write whose weights are refused (not finite, too large, nothing learned,
        earlier pairs lost) is quarantined: the head stays. Several together are then tried one by one.
        """
        made: list[Version] = []
        with self.lock(scope):
            self.clean(scope)
            writes, count = self._pending(scope, most), TOGETHER if self.trainer.by_pairs else 1
            for part in (writes[start : start + count] for start in range(0, len(writes), count)):
                done = self._publish(scope, part, kind)
                if not done and len(part) > 1:
                    done = [version for write in part for version in self._publish(scope, [write], kind)]
                made += done
        return made

    def _pending(self, scope: str, most: int | None) -> list[int]:
        of = db.pairs.c
        pending = select(of.write).where(of.scope == scope, of.status == "pending").distinct().order_by(of.write)
        with self.db.read() as connection:
            return list(connection.execute(pending.limit(most)).scalars())

    def _publish(self, scope: str, writes: Sequence[int], kind: str) -> list[Version]:
        """The versions of these writes, trained on together; none if their weights are refused."""
        ledger = self.ledger(scope)
        histories, step = ledger.history(ledger.head).onwards([ledger.new[write] for write in writes])
        trained: Trained = self.trainer.train(self.state(scope), step)
        if trained.refused is not None:
            if len(writes) == 1:
                with self.writing(scope) as connection:
                    changed = queries.touch(connection, scope)
                    ids = [pair.id for pair in step.new]
                    queries.change_pairs(connection, scope, ids, status="quarantined", changed=changed)
                    facts = {"write": writes[0], "reason": trained.refused}
                    queries.add_receipt(connection, scope, "quarantine", facts)
            return []
        made_from = histories[-1].digests[-1]
        name, weights = self.files.save(scope, made_from, trained.state)
        numbers = range(ledger.next, ledger.next + len(writes))
        before, made = self.elsewhere(ledger), processor()
        if before is not None:  # of several blocks only those that changed are of this one
            made = before if before.endswith(made) else f"{before}, then {made}"

        def publish(connection: Connection) -> None:
            base = ledger.head
            for number, write, held, history in zip(numbers, writes, histories, histories[1:], strict=False):
                account: dict[str, Any] = {"steps": len(history)}
                fields = {"number": number, "base": base, "write": write, "kind": kind}
                if number == numbers[-1]:
                    account |= {**trained.account, "processor": made}
                    fields |= {"weights": weights, "snapshot": name}
                queries.add_version(connection, scope, base, held.current, history, account, **fields)
                base = number

        self.change(scope, publish)
        self._remember(self._states, (scope, made_from), trained.state, STATES_KEPT)
        self.thin_out(scope)
        return [self.version(scope, number) for number in numbers]

    # ---- files ----

    def thin_out(self, scope: str) -> None:
        """Keep the files of the two newest versions, of tagged ones, and of every n-th state; remove the others."""
        found = [version for version in self.versions(scope) if version.snapshot is not None]
        spare = [
            version.number
            for version in found[:-2]
            if version.tag is None and version.account.get("steps", 0) % self.snapshot_every
        ]
        if spare:
            with self.writing(scope) as connection:
                queries.change_versions(connection, scope, db.versions.c.number.in_(spare), snapshot=None)
        self.clean(scope)

    def clean(self, scope: str, must: bool = False) -> None:
        """Remove files that no version names; see :meth:`~tmem.store.weights.snapshots.Snapshots.keep_only`."""
        named = select(db.versions.c.snapshot).where(db.versions.c.scope == scope).distinct()
        with self.writing(scope) as connection:  # nobody else becomes its writer meanwhile, with files not named yet
            self.files.keep_only(scope, set(connection.execute(named).scalars()), must)

    def wipe(self, scope: str) -> None:
        """Remove what a forgetting left behind: states in memory, files, and pages of the database and its log.

        Of an erased scope nothing is left then.
        """
        self._drop_weights(scope)
        self.clean(scope, must=True)
        self.db.scrub()
        done = delete(db.receipts).where(db.receipts.c.scope == scope, db.receipts.c.kind == TO_WIPE)
        with self.writing(scope) as connection:
            connection.execute(done)
            erased = connection.execute(delete(db.scopes).where(db.scopes.c.id == scope, ~NAMED)).rowcount
        if erased:
            self.files.remove(scope)
            self._locks.remove(scope)
