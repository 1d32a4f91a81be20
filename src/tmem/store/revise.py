"""Changing what was written: going back, naming, and forgetting, each under the scope's lock and in one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update

from tmem.errors import NotFound
from tmem.store import queries
from tmem.store import schema as db
from tmem.store.home import TO_WIPE, Home
from tmem.store.ledger import History, Node, Pair, view
from tmem.store.queries import Version
from tmem.store.trainer import state_digest


def rollback(home: Home, scope: str, number: int) -> Version:
    """Make the view of an earlier version the head again, as a new version; what was forgotten since stays so."""
    with home.lock(scope):
        state = home.state(scope, number)
        with home.db.read() as connection:
            found = queries.versions(connection, scope)
            history = History(home.start, view(queries.nodes(found), number), queries.new_pairs(connection, scope))
        name, weights = home.save(scope, history.digests[-1], state)
        own = found[-1].number + 1
        fields = {"number": own, "base": number, "kind": "rollback", "weights": weights, "snapshot": name}
        with home.db.write() as connection:
            queries.add_version(connection, scope, history, {"steps": len(history)}, **fields)
        home.thin_out(scope)
        return home.version(scope, own)


def tag(home: Home, scope: str, number: int, name: str) -> None:
    """Name a version; its weights are then kept as a file. A name that another version has moves to this one."""
    with home.lock(scope):
        state = home.state(scope, number)
        file, weights = home.save(scope, home.version(scope, number).ledger, state)
        own = update(db.versions).where(db.versions.c.scope == scope)
        with home.db.write() as connection:
            connection.execute(own.where(db.versions.c.tag == name).values(tag=None))
            this = own.where(db.versions.c.number == number)
            connection.execute(this.values(tag=name, snapshot=file, weights=weights))


def forget(home: Home, scope: str, ids: Sequence[str]) -> dict[str, Any]:
    """Train without these pairs and take them out of everything: ledger, source texts, weights, log.

    The weights are those of a memory that was never told them, bit for bit. The limit: later pairs were extracted by a
    policy that had them. Returns the receipt. Raises :class:`NotFound` for a pair that is not there.
    """
    with home.lock(scope):
        home.clean(scope)
        with home.db.read() as connection:
            found, head = queries.versions(connection, scope), queries.head(connection, scope)
            known = {row.id: row for row in connection.execute(select(db.pairs).where(db.pairs.c.scope == scope))}
            new = queries.new_pairs(connection, scope)
        for pair_id in ids:
            if pair_id not in known or known[pair_id].status == "forgotten":
                raise NotFound(f"there is no pair {pair_id} in this memory")
        gone, nodes = [known[pair_id] for pair_id in ids], queries.nodes(found)
        left = {write: [pair for pair in own if pair.id not in ids] for write, own in new.items()}
        history = History(home.start, view(nodes, head), left)
        tainted = _tainted(nodes, {row.write for row in gone})
        before = state_digest(home.state(scope))
        # What no longer contains a forgotten pair is still good to start from.
        state, start = home.nearest(scope, history, [v for v in found if v.number not in tainted])
        files: dict[str, tuple[str, str]] = {}  # by ledger digest: file and digest of the weights
        for done, step in history.steps(start):
            state = home.trainer.train(state, step).state
            if done % home.snapshot_every == 0:
                files[history.digests[done]] = home.save(scope, history.digests[done], state)
        name, weights = files[history.digests[-1]] = home.save(scope, history.digests[-1], state)
        receipt = {
            "ids": list(ids),
            "version_before": head,
            "weights_before": before,
            "version": None if head is None else found[-1].number + 1,
            "ledger": history.digests[-1],
            "weights": weights,
            "replayed": len(history) - start,
        }
        own = update(db.versions).where(db.versions.c.scope == scope)
        with home.db.write() as connection:
            texts = {row.episode for row in gone if row.episode}
            pairs = update(db.pairs).where(db.pairs.c.scope == scope, db.pairs.c.id.in_(ids))
            connection.execute(pairs.values(status="forgotten", question=None, answer=None))
            episodes = update(db.episodes).where(db.episodes.c.id.in_(texts))
            connection.execute(episodes.values(text=None, meta=None, told=None))
            for number, ledger in _ledgers(home.start, nodes, head, tainted, history, left).items():
                file, digest = files.get(ledger, (None, None))
                changed = {"ledger": ledger, "weights": digest, "snapshot": file, "account": None}
                connection.execute(own.where(db.versions.c.number == number).values(changed))
            if head is not None:
                fields = {"number": receipt["version"], "base": head, "kind": "forget"}
                account = {"steps": len(history), "replayed": receipt["replayed"]}
                queries.add_version(connection, scope, history, account, weights=weights, snapshot=name, **fields)
            receipt["id"] = queries.add_receipt(connection, scope, "forget", receipt)
            # Whoever is killed from here on has forgotten, but not yet wiped: the next to open the home does.
            queries.add_receipt(connection, scope, TO_WIPE, {})
        home.wipe(scope)
    return receipt


def adopt(home: Home, scope: str) -> int:
    """Make a memory that was made with another model, recipe or torch one of this home's engine; returns the steps.

    The ledger stays as it is; its head's weights are trained anew, those of older versions when they are asked for.
    """
    with home.lock(scope, any_engine=True):
        home.drop_states(scope)
        with home.db.read() as connection:
            found, head = queries.versions(connection, scope), queries.head(connection, scope)
            new = queries.new_pairs(connection, scope)
        nodes = queries.nodes(found)
        history = History(home.start, view(nodes, head), new)
        state = home.replay(history)
        file, weights = home.save(scope, history.digests[-1], state)
        own = update(db.versions).where(db.versions.c.scope == scope)
        with home.db.write() as connection:
            engine = json.dumps(home.trainer.engine)
            connection.execute(update(db.scopes).where(db.scopes.c.id == scope).values(engine=engine))
            for number in nodes:
                ledger = History(home.start, view(nodes, number), new).digests[-1]
                changed = {"ledger": ledger, "weights": None, "snapshot": None}
                if ledger == history.digests[-1]:
                    changed |= {"weights": weights, "snapshot": file}
                connection.execute(own.where(db.versions.c.number == number).values(changed))
        home.clean(scope)
        return len(history)


def _tainted(nodes: Mapping[int, Node], writes: set[int]) -> set[int]:
    """The versions whose view has one of these writes."""
    found: set[int] = set()
    for number in sorted(nodes):
        node = nodes[number]
        if node.write in writes or node.base in found:
            found.add(number)
    return found


def _ledgers(
    start: str,
    nodes: Mapping[int, Node],
    head: int | None,
    tainted: set[int],
    history: History,
    left: Mapping[int, Sequence[Pair]],
) -> dict[int, str]:
    """What the tainted versions follow from now; those that the head is built on are read off its ``history``."""
    chain, number = [], head
    while number is not None:
        chain.append(number)
        number = nodes[number].base
    found: dict[int, str] = {}
    length = 0
    for number in reversed(chain):
        write = nodes[number].write
        length = length if write is None else history.lengths[write]
        found[number] = history.digests[length]
    for number in tainted - found.keys():
        found[number] = History(start, view(nodes, number), left).digests[-1]
    return {number: found[number] for number in sorted(tainted)}
