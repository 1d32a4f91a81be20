"""Killed at any moment: nothing acknowledged is lost, and weights are those that the ledger says."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from sqlalchemy import select
from store.fakes import FakeTrainer
from store.volumes import figure, volume

from tmem.store import schema
from tmem.store.home import Home
from tmem.store.queries import NewPair
from tmem.store.revise import forget, rollback
from tmem.store.trainer import state_digest

KILLS = volume(25, 2000)
ANA = ("ana", None, None)


def live(path: Path, seed: int, acknowledged: int) -> None:
    """Add, forget and go back for ever, writing down what is acknowledged; never returns."""
    rng, home = random.Random(seed), Home(path, FakeTrainer(), snapshot_every=3)
    scope = home.scope(ANA)

    def acknowledge(word: str, pair_id: str) -> None:
        os.write(acknowledged, f"{word} {pair_id}\n".encode())

    mine: list[str] = []
    while True:
        done = rng.random()
        if done < 0.7 or len(mine) < 3:
            _, ids = home.tell(scope, [NewPair(f"q{rng.random()}", "a") for _ in range(rng.randint(1, 2))], "text")
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


def check(path: Path, events: list[str]) -> None:
    """What has to hold after a kill, and after the next writer has taken in what was pending."""
    words = [event.split() for event in events]
    told, going, gone = ({pair_id for word, pair_id in words if word == kind} for kind in ("told", "going", "gone"))
    home = Home(path, FakeTrainer(), snapshot_every=3)
    scope = home.scope(ANA)
    home.absorb(scope)
    with home.db.read() as connection:
        status = {row.id: row.status for row in connection.execute(select(schema.pairs.c.id, schema.pairs.c.status))}
    assert told <= status.keys()
    assert all(status[pair_id] == "forgotten" for pair_id in gone)
    assert all(status[pair_id] in ("active", "superseded") for pair_id in told - going)
    versions = {version.number: version.weights for version in home.versions(scope)}
    for number, weights in versions.items():  # from its file, or from the nearest one
        assert weights in (None, state_digest(home.state(scope, number)))
    state = home.trainer.zeros()
    for _, step in home.history(scope, home.head(scope)).steps():
        state = home.trainer.train(state, step).state
    assert state_digest(state) == state_digest(home.state(scope))
    kept = {version.snapshot for version in home.versions(scope)}
    files = list((path / "scopes").rglob("*.*"))
    assert {file.name for file in files} == kept - {None}
    home.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, to start a process in a moment")
def test_killed_at_any_moment(tmp_path: Path) -> None:
    rng, path, events, lost = random.Random(1), tmp_path / "home", list[str](), 0
    for number in range(KILLS):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                live(path, number, writing)
            finally:
                os._exit(1)
        os.close(writing)
        time.sleep(rng.uniform(0.02, 0.5))
        os.kill(child, signal.SIGKILL)
        _, ended = os.waitpid(child, 0)
        assert os.WIFSIGNALED(ended), "the child ended by itself: an operation failed"
        with os.fdopen(reading) as pipe:
            events += [line for line in pipe.read().split("\n")[:-1] if line]
        check(path, events)
        if number % 50 == 49:  # a home that has seen enough; the next one is new
            path, lost, events = tmp_path / f"home-{number}", lost + len(events), []
    assert lost + len(events) > KILLS
    kept = lost + len(events)
    figure(
        f"killed at a random moment of add, absorb, publish, forget, rollback: {KILLS}; {kept} acknowledged, all kept"
    )
