"""Many processes write what waits: each memory once, also when writers die."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from nodes import two_nodes
from store.cluster import Cluster, point

from tmem import Memory
from tmem.errors import StoreError, UsageError
from tmem.model import Model, load
from tmem.store import writers

USERS = 4
nano = partial(load, "persona-nano")


def told(memory: Memory, users: int = USERS) -> None:
    for user in range(users):
        memory.add(pairs=[(f"What is thing {user}?", f"w{user}")], absorb=False, user_id=f"u{user}")


def check(memory: Memory, users: int = USERS) -> None:
    """Everybody's memory was written once, and is sound."""
    assert memory.pending() == [] and memory.doctor() == []
    for user in range(users):
        assert [row["kind"] for row in memory.versions(user_id=f"u{user}")] == ["add"]
        assert memory.ask(f"What is thing {user}?", user_id=f"u{user}").text == f"w{user}"


def test_several_share_what_waits(model: Model, tmp_path: Path) -> None:
    with Memory(model, tmp_path) as memory, Memory(model, tmp_path) as other:
        told(memory)
        found: list[tuple[str, str | None]] = []
        threads = [threading.Thread(target=lambda own=own: found.extend(own.absorb_all())) for own in (memory, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == [(f"u{user}", None) for user in range(USERS)]
        check(memory)
        assert list(memory.absorb_all()) == []


def test_one_that_cannot_be_written_holds_up_nobody(model: Model, tmp_path: Path) -> None:
    with Memory(model, tmp_path) as memory:
        told(memory, 2)
        [own] = [own for own in memory.pending() if own.home.scopes()[own.id] == "u0"]
        with own.home.writing(own.id) as connection:
            connection.exec_driver_sql("UPDATE scopes SET engine = '{}' WHERE user_id = 'u0'")
        found = dict(memory.absorb_all())
        assert found["u1"] is None and "made with another" in str(found["u0"])


def test_processes_of_which_one_is_killed(model: Model, tmp_path: Path) -> None:
    with Memory(model, tmp_path) as memory:
        told(memory)
        names, children = list[str](), set[Any]()
        with pytest.raises(StoreError, match="1 of 2 writers died; nothing is lost"):
            for name, reason in writers.on_processes(partial(Memory, nano, tmp_path), 2):
                assert reason is None
                names.append(name)
                if not children:
                    children = {child.pid for child in writers.multiprocessing.active_children()}
                    os.kill(min(children), signal.SIGKILL)
        assert len(set(names)) == len(names) >= USERS - 1  # of one that was written it could not say so any more
        check(memory)


@pytest.mark.skipif(Cluster.why_not() is not None, reason=str(Cluster.why_not()))
def test_a_ray_cluster_of_two_nodes_of_which_one_goes(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, users = Cluster(), 12
    try:
        point(tmp_path / "home", server.database())
        with two_nodes(monkeypatch) as (address, take_away), Memory(model, tmp_path / "home") as memory:
            told(memory, users)

            def later() -> None:
                while len(memory.pending()) > users - 3:
                    time.sleep(0.05)
                take_away()

            thread = threading.Thread(target=later)
            thread.start()
            found = list(writers.on_ray(partial(Memory, nano, tmp_path / "home"), tmp_path / "home", 2, address))
            thread.join()
            assert all(reason is None for _, reason in found)
            check(memory, users)
    finally:
        server.close()


def test_a_cluster_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="need a ledger in Postgres: tmem migrate"):
        next(writers.on_ray(partial(Memory, nano), tmp_path, 1, "auto"))
    point(tmp_path / "home", "postgresql://tmem@127.0.0.1/x")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'tmem\[ray\]'"):
        next(writers.on_ray(partial(Memory, nano), tmp_path / "home", 1, "auto"))
