"""The stronger forgetting: what was told later is extracted again, by a model that never had the forgotten pair.

A pair that was extracted may owe something to what the model knew by then. So all later texts are read again in their
order, each under the clean weights of what comes before it, and what they give now takes the place of what they gave.
Pairs that were told as they are stay; a text that was removed, or now is, since what is forgotten is in it, too, is not
read again, and its pairs stay too.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import select

from tmem.agent.extraction import QAPair
from tmem.store.actions import Actions
from tmem.store.contradiction import contradicted
from tmem.store.home import Home
from tmem.store.ledger import schema as db
from tmem.store.ledger.history import History, Pair, view
from tmem.store.ledger.queries import NewPair
from tmem.store.revise import Change, put_in_force, tainted_by, texts_of, told, without
from tmem.store.weights.states import Tensors


@dataclass
class Reading:
    """What reading again has come to so far."""

    history: History
    state: Tensors
    change: Change
    new: list[str] = field(default_factory=list)  # ids of pairs that were not there before
    rejected: list[dict[str, str]] = field(default_factory=list)
    same: int = 0
    texts: int = 0
    tokens: int = 0


def reextract(home: Home, actions: Actions, scope: str, ids: Sequence[str]) -> tuple[dict[str, Any], Reading]:
    """Forget pairs, and extract anew what was told after them; returns the receipt and what became of it.

    Nothing is changed before all of it is done, and then all at once. Later pairs that are not in force any more, nor
    behind anything that is, are forgotten. Raises :class:`~tmem.errors.NotFound` for a pair that is not there.
    """
    with home.lock(scope):
        home.absorb(scope)
        ledger, gone = home.ledger(scope), told(home, scope, ids)
        writes = view(ledger.versions, ledger.head)
        start, first = min(_place(writes, row.write) for row in gone.values()), min(row.write for row in gone.values())
        before, after = writes[:start], writes[start:]
        extracted = {pair_id: row for pair_id, row in _extracted(home, scope).items() if pair_id not in gone}
        later = [row for row in extracted.values() if row.write in after]
        with home.db.read() as connection:  # they would tell what is forgotten again
            removed = texts_of(connection, scope, gone)
        again = {row.id: row for row in later if row.text is not None and row.episode not in removed}
        aside = {row.id: row for row in extracted.values() if row.write > first and row.write not in writes}
        left, links = without(ledger.new, {**gone, **aside})
        changed = {row.write for row in (*gone.values(), *again.values(), *aside.values())}
        history = History(ledger.start, before, left)
        if home.elsewhere(ledger) is None:
            state, done = home.nearest(scope, history, ledger, tainted_by(ledger.versions, changed))
        else:  # as forgetting does
            state, done = home.trainer.zeros(), 0
        replayed = len(history) - done
        reading = Reading(history, home.replay(history, state, done), Change(gone, left, dict(aside), links=links))
        files = {}
        for write in after:
            known = len(reading.history)
            _read(home, actions, reading, write, {k: row for k, row in again.items() if row.write == write})
            steps = len(reading.history)
            if steps > known and steps % home.snapshot_every == 0:
                files[reading.history.digests[-1]] = home.files.save(scope, reading.history.digests[-1], reading.state)
        facts = {
            "mode": "reextract",
            "replayed": replayed + len(reading.history) - len(history),
            "texts": reading.texts,
            "same": reading.same,
            "new": len(reading.new),
            "lost": len(reading.change.lost) - len(aside),
            "aside": len(aside),
            "unread": len(later) - len(again),
        }
        links = reading.change.links
        changed |= {write for write, own in ledger.new.items() if any(pair.id in links for pair in own)}
        tainted = tainted_by(ledger.versions, changed)
        receipt = put_in_force(home, scope, reading.change, tainted, reading.history, reading.state, files, facts)
        return receipt, reading


def _place(writes: Sequence[int], write: int) -> int:
    """Where in a view that begins which was told after a write."""
    if write in writes:
        return writes.index(write) + 1
    return next((place for place, other in enumerate(writes) if other > write), len(writes))


def _extracted(home: Home, scope: str) -> dict[str, Any]:
    """What was extracted and is not forgotten, by id, with its text."""
    columns = db.pairs.c.id, db.pairs.c.write, db.pairs.c.episode, db.episodes.c.text
    joined = db.pairs.join(db.episodes, db.pairs.c.episode == db.episodes.c.id)
    mine = (db.pairs.c.scope == scope) & (db.pairs.c.status != "forgotten") & db.pairs.c.extracted
    with home.db.read() as connection:
        return {row.id: row for row in connection.execute(select(*columns).select_from(joined).where(mine))}


def _read(home: Home, actions: Actions, reading: Reading, write: int, old: dict[str, Any]) -> None:
    """Go on by one write: its text read again, if ``old`` pairs were extracted from one, else as it was told."""
    current, own = list(reading.history.current.values()), reading.change.left.get(write, [])
    same = actions.model.wordings.same
    told = [_linked(pair, current, reading.change, same) for pair in own if pair.id not in old]
    found = _found(actions, reading, next(iter(old.values())).text, current, told) if old else []
    before = {(pair.question, pair.answer): pair.id for pair in own if pair.id in old}
    # What is found again keeps its id.
    pairs = [
        Pair(before.get((p.question, p.answer)) or uuid.uuid4().hex, p.question, p.answer, p.supersedes) for p in found
    ]
    follows = {
        pair.id: pairs[new.follows].id for pair, new in zip(pairs, found, strict=True) if new.follows is not None
    }
    place = {pair.id: number for number, pair in enumerate(own)}
    for kept in (pairs, []):  # none of them where what they make is refused
        own_now = sorted([*told, *kept], key=lambda pair: place.get(pair.id, len(own)))  # as the ledger numbers them
        (_, history), step = reading.history.onwards([own_now])
        trained = home.trainer.train(reading.state, step) if own_now else None
        if trained is None or trained.refused is None or not kept:
            break
        reading.rejected.append({"reason": trained.refused, "text": f"the {len(kept)} pairs of a text read again"})
    reading.history, reading.change.left[write] = history, own_now
    reading.state = reading.state if trained is None else trained.state
    there = {pair.id: pair.supersedes for pair in own}
    for pair in kept:
        if pair.id not in there:
            fields = {"write": write, "episode": next(iter(old.values())).episode, "extracted": True}
            fields["follows"] = follows.get(pair.id)
            fields["status"] = "superseded"  # who holds in the end is marked as active then
            reading.change.added.append(asdict(pair) | fields)
        elif there[pair.id] != pair.supersedes:
            reading.change.links[pair.id] = pair.supersedes
    reading.new += [pair.id for pair in kept if pair.id not in there]
    reading.same += sum(pair.id in there for pair in kept)
    reading.change.lost |= {pair_id: row for pair_id, row in old.items() if pair_id not in {pair.id for pair in kept}}


def _found(
    actions: Actions, reading: Reading, text: str, current: Sequence[Pair], told: Sequence[Pair]
) -> list[NewPair]:
    """What a text gives now; ``told``: pairs that were told with it as they are."""
    given = [QAPair(pair.question, pair.answer) for pair in told]
    extracted, dropped, tokens = actions.extract(reading.state, text, current)
    extracted = [pair for pair in extracted if pair not in given]
    found, refused = actions.filter_pairs(reading.state, extracted, [*current, *told])
    reading.rejected += dropped + refused
    reading.texts, reading.tokens = reading.texts + 1, reading.tokens + tokens
    return found


def _linked(pair: Pair, current: Sequence[Pair], change: Change, same: Callable[[str, str], bool | None]) -> Pair:
    """A pair that stays; what it takes the place of may have another id now."""
    if pair.supersedes is None or pair.supersedes in {known.id for known in current}:
        return pair
    now = contradicted(QAPair(pair.question, pair.answer), "", current, same)
    if now is None:
        return pair
    change.links[pair.id] = now
    return Pair(pair.id, pair.question, pair.answer, now)
