"""Killed at any moment: nothing acknowledged is lost, and weights are those that the ledger says."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select
from store.fakes import FakeTrainer
from store.volumes import figure, volume

from tmem.model import Model
from tmem.store.home import Home
from tmem.store.ledger import schema
from tmem.store.ledger.opening import open_database
from tmem.store.ledger.queries import NewPair
from tmem.store.revise import forget, rollback
from tmem.store.weights.states import Trainer, state_digest
from tmem.store.weights.trainer import FastWeightTrainer

ANA = ("ana", None, None)
Words = Callable[[random.Random], NewPair]  # something to tell


def live(path: Path, trainer: Trainer, words: Words, seed: int, acknowledged: int) -> None:
    """Add, forget and go back for ever, writing down what is acknowledged; never returns."""
    rng, home = random.Random(seed), Home(path, trainer, snapshot_every=3)
    scope = home.scope(ANA)

    def acknowledge(word: str, pair_id: str) -> None:
        os.write(acknowledged, f"{word} {pair_id}\n".encode())

    mine: list[str] = []
    while True:
        done = rng.random()
        if done < 0.7 or len(mine) < 3:
            _, ids = home.tell(scope, [words(rng) for _ in range(rng.randint(1, 2))], "text")
            for pair_id in ids:
                acknowledge("told", pair_id)
            mine += ids
            home.absorb(scope)
        elif done < 0.85:
            gone = mine.pop(rng.randrange(len(mine)))
            acknowledge("going", gone)  # may be gone from now on
            forget(home, scope, [gone])
            acknowledge("gone", gone)
        elif (head := home.head(scope)) is not None:
            rollback(home, scope, rng.randint(1, head))


def check(path: Path, trainer: Trainer, events: list[str]) -> None:
    """What has to hold after a kill, and after the next writer has taken in what was pending."""
    words = [event.split() for event in events]
    told, going, gone = ({pair_id for word, pair_id in words if word == kind} for kind in ("told", "going", "gone"))
    home = Home(path, trainer, snapshot_every=3)
    scope = home.scope(ANA)
    home.absorb(scope)
    with home.db.read() as connection:
        status = {row.id: row.status for row in connection.execute(select(schema.pairs.c.id, schema.pairs.c.status))}
    assert told <= status.keys()
    assert all(status[pair_id] == "forgotten" for pair_id in gone)
    kept = {status[pair_id] for pair_id in told - going}
    # Of real weights some are refused; they are where their reason is.
    assert kept <= {"active", "superseded"} | ({"quarantined"} if isinstance(trainer, FastWeightTrainer) else set())
    versions = {version.number: version.weights for version in home.versions(scope)}
    for number, weights in versions.items():  # from its file, or from the nearest one
        assert weights in (None, state_digest(home.state(scope, number)))
    state = home.trainer.zeros()
    for _, step in home.history(scope, home.head(scope)).steps():
        state = home.trainer.train(state, step).state
    assert state_digest(state) == state_digest(home.state(scope))
    named = {version.snapshot for version in home.versions(scope)}
    files = list((path / "scopes").rglob("*.*"))
    assert {file.name for file in files} == named - {None}
    home.close()


def kill_many(
    tmp_path: Path,
    trainer: Trainer,
    words: Words,
    kills: int,
    per_home: int,
    longest: float,
    prepare: Callable[[Path], object] = lambda path: None,
) -> tuple[int, int]:
    """Kill a writer after up to ``longest`` seconds, many times; ``prepare`` is given every new home before.

    Returns how much was acknowledged, and how often something had been told by then and was not yet written.
    """
    rng, path, events, earlier, inside = random.Random(1), tmp_path / "home", list[str](), 0, 0
    prepare(path)
    for number in range(kills):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                live(path, trainer, words, number, writing)
            finally:
                os._exit(1)
        os.close(writing)
        time.sleep(rng.uniform(0.02, longest))
        os.kill(child, signal.SIGKILL)
        _, ended = os.waitpid(child, 0)
        assert os.WIFSIGNALED(ended), "the child ended by itself: an operation failed"
        with os.fdopen(reading) as pipe:
            events += [line for line in pipe.read().split("\n")[:-1] if line]
        inside += bool(pending(path))
        check(path, trainer, events)
        if number % per_home == per_home - 1:  # a home that has seen enough; the next one is new
            path, earlier, events = tmp_path / f"home-{number}", earlier + len(events), []
            prepare(path)
    return earlier + len(events), inside


def pending(path: Path) -> int:
    """How many pairs were told and not yet written."""
    if not (path / "tmem.db").exists():
        return 0
    waiting = select(func.count()).where(schema.pairs.c.status == "pending")
    with closing(open_database(path / "tmem.db")) as database, database.read() as connection:
        return int(connection.execute(waiting).scalar_one())


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, to start a process in a moment")


@needs_fork
def test_killed_at_any_moment(tmp_path: Path) -> None:
    kills = volume(25, 2000)
    kept, inside = kill_many(tmp_path, FakeTrainer(), lambda rng: NewPair(f"q{rng.random()}", "a"), kills, 25, 0.5)
    assert kept > kills
    figure(
        f"killed at a random moment of add, absorb, publish, forget, rollback: {kills}, {inside} of them between "
        f"telling and publishing; {kept} acknowledged, all kept"
    )


@needs_fork
def test_killed_while_it_really_trains(model: Model, tmp_path: Path) -> None:
    def words(rng: random.Random) -> NewPair:
        name, thing = rng.choice(["Maria", "Kevin", "Ana"]), rng.choice(["vehicle", "job", "pet", "sport"])
        return NewPair(f"What is {name}'s {thing}?", rng.choice(["camper", "baker", "cat", "tennis", "silver"]))

    kills = volume(3, 100)
    # A rate at which few writes are refused, whatever is told.
    trainer = FastWeightTrainer(model, model.recipe("sgd", epochs=2, rehearse=4, lr=0.02))
    kept, inside = kill_many(tmp_path, trainer, words, kills, 5, 2.0)
    assert kept > 0 and inside >= kills // 10
    figure(f"the same with real training: {kills}, {inside} of them while it trained; {kept} acknowledged, all kept")
