"""Changing what was written: going back, naming, and forgetting, each under the scope's lock and in one transaction."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, select, update

from tmem.errors import IntegrityError, NotFound
from tmem.store.home import TO_WIPE, Home
from tmem.store.ledger import queries
from tmem.store.ledger import schema as db
from tmem.store.ledger.history import History, Pair, digest, version_digests, view
from tmem.store.ledger.queries import Version
from tmem.store.weights.states import Tensors, processor, state_digest


def rollback(home: Home, scope: str, number: int) -> Version:
    """Make the view of an earlier version the head again, as a new version; what was forgotten since stays so."""
    with home.lock(scope):
        state, ledger = home.state(scope, number), home.ledger(scope)
        before, history = ledger.current(), ledger.history(number)
        name, weights = home.files.save(scope, history.digests[-1], state)
        fields = {"number": ledger.next, "base": number, "kind": "rollback", "weights": weights, "snapshot": name}
        account = {"steps": len(history), "processor": _made_on(ledger.version(number))}
        with home.writing(scope) as connection:
            queries.add_version(connection, scope, ledger.head, before, history, account, **fields)
        home.thin_out(scope)
        return home.version(scope, ledger.next)


def tag(home: Home, scope: str, number: int, name: str) -> None:
    """Name a version; its weights are then kept as a file. A name that another version has moves to this one."""
    with home.lock(scope):
        state = home.state(scope, number)
        version = home.version(scope, number)
        file, weights = home.files.save(scope, version.ledger, state)
        account = json.dumps(version.account | {"processor": _made_on(version)})
        columns = db.versions.c
        with home.writing(scope) as connection:
            queries.change_versions(connection, scope, columns.tag == name, tag=None)
            this = columns.number == number
            changed = {"tag": name, "snapshot": file, "weights": weights, "account": account}
            queries.change_versions(connection, scope, this, **changed)


def _made_on(version: Version) -> str | None:
    """The kind of processor that made a version's weights: this one, if they were made when they were asked for."""
    return processor() if version.weights is None else version.account.get("processor")


@dataclass
class Change:
    """What a forgetting makes of a ledger. ``left``: what every write tells from now on.

    ``gone``: rows of pairs that are forgotten with the texts they are from; ``lost``: of pairs that are no longer told,
    whose texts stay; ``added``: new rows; ``links``: what pairs that stay take the place of now.
    """

    gone: dict[str, Any]
    left: dict[int, list[Pair]]
    lost: dict[str, Any] = field(default_factory=dict)
    added: list[dict[str, Any]] = field(default_factory=list)
    links: dict[str, str | None] = field(default_factory=dict)


def forget(home: Home, scope: str, ids: Sequence[str]) -> dict[str, Any]:
    """Train without these pairs and take them out of everything: ledger, source texts, weights, log.

    What was only put right with one of them goes, too. The weights are those of a memory that was never told them, bit
    for bit. The limit: later pairs were extracted by a policy that had them. Returns the receipt. Raises
    :class:`NotFound` for a pair that is not there.
    """
    with home.lock(scope):
        gone = told(home, scope, ids)
        if not home.known(scope):  # reading and forgetting make no memory
            weights = state_digest(home.trainer.zeros())
            nothing: dict[str, Any] = {"ids": [], "followers": [], "restored": []}
            return {"version": None, "weights": weights, "mode": "replay", "replayed": 0, **nothing}
        home.clean(scope)
        ledger = home.ledger(scope)
        left, links = without(ledger.new, gone)
        history = History(ledger.start, view(ledger.versions, ledger.head), left)
        changed = {write for write, own in ledger.new.items() if any(pair.id in links for pair in own)}
        tainted = tainted_by(ledger.versions, changed | {row.write for row in gone.values()})
        if home.elsewhere(ledger) is not None:  # from nothing: what is in force would be a mixture that nobody can make
            state, start = home.trainer.zeros(), len(history) - 1 if home.trainer.by_pairs and len(history) else 0
        else:
            # What no longer contains a forgotten pair is still good to start from.
            state, start = home.nearest(scope, history, ledger, tainted)
            if home.trainer.by_pairs and start < len(history):
                # The blocks that none of them was in stay; the others are trained anew.
                state, start = home.state(scope), len(history) - 1
        files = {}
        for done, step in history.steps(start):
            state = home.trainer.train(state, step, look=False).state
            if done % home.snapshot_every == 0:
                files[history.digests[done]] = home.files.save(scope, history.digests[done], state)
        facts = {"mode": "replay", "replayed": len(history) - start}
        return put_in_force(home, scope, Change(gone, left, links=links), tainted, history, state, files, facts)


def without(
    new: Mapping[int, Sequence[Pair]], gone: Collection[str]
) -> tuple[dict[int, list[Pair]], dict[str, str | None]]:
    """What every write tells without the pairs that go, and what those that stay take the place of in place of them."""
    links = _links(new, gone)
    return {write: [_linked(pair, links) for pair in own if pair.id not in gone] for write, own in new.items()}, links


def _links(new: Mapping[int, Sequence[Pair]], gone: Collection[str]) -> dict[str, str | None]:
    """What pairs that stay take the place of, where that was of a pair that goes: of what this had taken the place."""
    before, found = {pair.id: pair.supersedes for own in new.values() for pair in own}, dict[str, str | None]()
    for pair_id, old in before.items():
        if pair_id not in gone and old in gone:
            while old in gone:
                old = before.get(old or "")
            if old is not None:
                found[pair_id] = old
    return found


def _linked(pair: Pair, links: Mapping[str, str | None]) -> Pair:
    return replace(pair, supersedes=links[pair.id]) if pair.id in links else pair


def put_in_force(
    home: Home,
    scope: str,
    change: Change,
    tainted: Sequence[int],
    history: History,
    state: Tensors,
    files: dict[str, tuple[str, str]],
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Change the ledger and all versions that are ``tainted``, put ``history`` and its ``state`` in force, and wipe.

    ``files``: those that were written on the way, by ledger digest: name and digest of the weights. Returns the
    receipt, which has ``facts``.
    """
    ledger, before = home.ledger(scope), state_digest(home.state(scope))
    name, weights = files[history.digests[-1]] = home.files.save(scope, history.digests[-1], state)
    receipt = {
        "ids": list(change.gone),
        "followers": [one for one, row in change.gone.items() if row.follows in change.gone],
        "version_before": ledger.head,
        "weights_before": before,
        "version": None if ledger.head is None else ledger.next,
        "ledger": history.digests[-1],
        "weights": weights,
        **facts,
    }
    gone = {**change.gone, **change.lost}
    current = ledger.current()
    known = {pair.id for own in ledger.new.values() for pair in own}
    receipt["restored"] = [one for one in history.current if one in known and one not in current]
    with home.writing(scope) as connection:
        _erase(connection, scope, change)
        now = version_digests(ledger.start, ledger.versions, change.left)
        for number in tainted:
            file, made = files.get(now[number], (None, None))
            account = None if made is None else json.dumps({"processor": processor()})
            changed = {"ledger": now[number], "weights": made, "snapshot": file, "account": account}
            queries.change_versions(connection, scope, db.versions.c.number == number, **changed)
        if ledger.head is not None:
            fields = {"number": receipt["version"], "base": ledger.head, "kind": "forget"}
            done, held = {"steps": len(history), "processor": processor()} | facts, current.keys() - gone
            fields |= {"weights": weights, "snapshot": name}
            queries.add_version(connection, scope, ledger.head, held, history, done, **fields)
        receipt["id"] = queries.add_receipt(connection, scope, "forget", receipt)
        # Whoever is killed from here on has forgotten, but not yet wiped: the next to open the home does.
        queries.add_receipt(connection, scope, TO_WIPE, {})
    home.wipe(scope)
    return receipt


def rebuild(home: Home, scope: str) -> int:
    """Train the head anew from the first pair and write its file; returns the number of steps."""
    with home.lock(scope):
        home.drop_states(scope)
        ledger = home.ledger(scope)
        if ledger.head is None:
            return 0
        version, history = ledger.version(ledger.head), ledger.history(ledger.head)
        state = home.replay(history)
        if (history.digests[-1], state_digest(state)) != (version.ledger, version.weights):
            raise IntegrityError(home.not_as_published(version))
        name, _ = home.files.save(scope, version.ledger, state)
        with home.writing(scope) as connection:
            queries.change_versions(connection, scope, db.versions.c.number == version.number, snapshot=name)
        return len(history)


def adopt(home: Home, scope: str) -> int:
    """Make a memory that was made with another model, recipe or torch one of this home's engine; returns the steps.

    The ledger stays as it is; its head's weights are trained anew, those of older versions when they are asked for.
    """
    with home.lock(scope, any_engine=True):
        if not home.known(scope):
            return 0
        home.drop_states(scope)
        ledger, start = home.ledger(scope), digest(home.trainer.engine)
        history = History(start, view(ledger.versions, ledger.head), ledger.new)
        state = home.replay(history)
        file, weights = home.files.save(scope, history.digests[-1], state)
        with home.writing(scope) as connection:
            queries.set_engine(connection, scope, home.trainer.engine)
            for number, own in version_digests(start, ledger.versions, ledger.new).items():
                changed = {"ledger": own, "weights": None, "snapshot": None}
                if own == history.digests[-1]:
                    account = ledger.version(number).account | {"processor": processor()}
                    changed |= {"weights": weights, "snapshot": file, "account": json.dumps(account)}
                queries.change_versions(connection, scope, db.versions.c.number == number, **changed)
        home.clean(scope)
        return len(history)


def adopt_all(home: Home, turn: AbstractContextManager[Any]) -> Iterator[tuple[str, int, int]]:
    """:func:`adopt` every memory of a home that was made with something else or on another processor.

    Gives the names of each when it is done, how many are, and how many there are in all. Stopped at any moment, what is
    done stays done, and the next call goes on. ``turn`` is entered for every scope, after its lock.
    """
    names, own = home.scopes(), home.own_engine
    left = [scope for scope in names if home.made_with(scope) not in (None, own) or home.elsewhere(home.ledger(scope))]
    for done, scope in enumerate(left, 1):
        with home.lock(scope, any_engine=True), turn:
            adopt(home, scope)
        yield names[scope], done, len(left)


def told(home: Home, scope: str, ids: Sequence[str]) -> dict[str, Any]:
    """The rows of pairs that are not forgotten yet, by id, and of those that follow them.

    Raises :class:`NotFound` for others.
    """
    columns = db.pairs.c.id, db.pairs.c.write, db.pairs.c.episode, db.pairs.c.follows
    mine = (db.pairs.c.scope == scope) & (db.pairs.c.status != "forgotten")
    found: dict[str, Any] = {}
    with home.db.read() as connection:
        for of in (db.pairs.c.id, db.pairs.c.follows):
            for part in queries.parts(ids):
                chosen = select(*columns).where(mine, of.in_(part)).order_by(db.pairs.c.number)
                found |= {row.id: row for row in connection.execute(chosen)}
    for pair_id in ids:
        if pair_id not in found:
            raise NotFound(f"there is no pair {pair_id} in this memory")
    return found


def tainted_by(versions: Mapping[int, Version], writes: Collection[int]) -> list[int]:
    """The versions whose view has one of these writes."""
    found: dict[int, None] = {}
    for number, version in sorted(versions.items()):
        if version.write in writes or version.base in found:
            found[number] = None
    return list(found)


def _erase(connection: Connection, scope: str, change: Change) -> None:
    """Leave nothing of pairs, and of the texts that they are from, but their places; add those that are told now."""
    changed = queries.touch(connection, scope)
    nothing = {"status": "forgotten", "question": None, "answer": None, "changed": changed}
    queries.change_pairs(connection, scope, [*change.gone, *change.lost], **nothing)
    for part in queries.parts(_all_texts(connection, scope, change)):
        episodes = update(db.episodes).where(db.episodes.c.id.in_(part))
        connection.execute(episodes.values(text=None, meta=None, told=None))
    for pair_id, supersedes in change.links.items():
        queries.change_pairs(connection, scope, [pair_id], supersedes=supersedes, changed=changed)
    queries.add_pairs(connection, scope, change.added)


def _all_texts(connection: Connection, scope: str, change: Change) -> list[str]:
    """The texts that go with a change: those of its pairs; all if no pair is left."""
    left = select(db.pairs.c.id).where(db.pairs.c.scope == scope, db.pairs.c.status != "forgotten")
    if not change.added and connection.execute(left).first() is None:
        return list(connection.execute(select(db.episodes.c.id).where(db.episodes.c.scope == scope)).scalars())
    return list(texts_of(connection, scope, change.gone))


def texts_of(connection: Connection, scope: str, gone: Mapping[str, Any]) -> set[str]:
    """The texts that pairs which go are from, and those that say them again."""
    found = {row.episode for row in gone.values() if row.episode}
    repeating = select(db.episodes.c.id, db.episodes.c.repeats).where(db.episodes.c.scope == scope)
    for row in connection.execute(repeating.where(db.episodes.c.repeats.is_not(None))):
        if gone.keys() & set(json.loads(row.repeats)):
            found.add(row.id)
    return found
