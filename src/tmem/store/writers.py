"""What everybody was told and nobody has written yet, written by many processes, on one machine or on several.

A job is a memory with pairs that wait. Its lock says who has it and ends with who holds it, so that a job whose writer
dies is somebody else's; what a write makes follows from the ledger alone, so that it is the same again.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from tmem.errors import StoreError, TmemError, UsageError
from tmem.nodes import cluster, share
from tmem.store.ledger.locks import Busy
from tmem.store.ledger.opening import elsewhere
from tmem.store.loaded import Shared
from tmem.store.scoped import ScopedMemory

LOOK = 0.2  # seconds until it is looked again whether others have done what they were at
Written = tuple[str, str | None]  # whose memory, and why it was not written, None if it was


class Everybody(Protocol):
    """What a process writes with: :class:`tmem.Memory`."""

    def absorb_all(self) -> Iterator[Written]: ...


Open = Callable[[], AbstractContextManager[Everybody]]  # what can be sent to other processes, as partial(Memory, ...)


def absorb_all(shared: Shared) -> Iterator[Written]:
    """Write what waits in every memory that nobody else is writing, until nothing waits.

    Several processes begin at different ones. A memory that cannot be written is given once, with the reason.
    """
    home, draw, failed = shared.home, random.Random(os.getpid()), set[str]()
    while left := [scope for scope in home.pending() if scope not in failed]:
        done, names = 0, home.scopes()
        draw.shuffle(left)
        for scope in left:
            own = ScopedMemory(shared, scope)
            try:
                with home.lock(scope, wait=False):
                    if not own.get_all(status="pending"):  # somebody else was sooner
                        continue
                    reason = own.absorb().reason
            except Busy:
                continue
            except TmemError as error:
                reason = str(error)
                failed.add(scope)
            done += 1
            yield names.get(scope, scope[:16]), reason
        if not done:  # the others are at the rest; it is theirs unless they die
            time.sleep(LOOK)


def on_processes(open_memory: Open, count: int) -> Iterator[Written]:
    """The same by so many processes of this machine, each with a model of its own.

    Raises :class:`StoreError` in the end if one of them died; what it was at the others have written.
    """
    context = multiprocessing.get_context("spawn")
    running: dict[Connection, Any] = {}
    for _ in range(count):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_process, args=(theirs, open_memory), daemon=True)
        process.start()
        theirs.close()
        running[ours] = process
    died = 0
    try:
        while running:
            for pipe in (own for own in wait(list(running)) if isinstance(own, Connection)):
                try:
                    yield pipe.recv()
                except EOFError:
                    process = running.pop(pipe)
                    process.join()
                    died += process.exitcode != 0
    finally:
        for process in running.values():  # whoever asked for it has gone
            process.terminate()
    if died:
        raise StoreError(f"{died} of {count} writers died; nothing is lost: give the same command again")


def _process(pipe: Connection, open_memory: Open) -> None:
    with closing(pipe), open_memory() as memory:
        for one in memory.absorb_all():
            pipe.send(one)


def on_ray(open_memory: Open, home: Path, count: int, address: str) -> Iterator[Written]:
    """The same by so many processes of a Ray cluster; one whose node goes begins again on another.

    Every node has to have the folder ``home``, of which the memory is. Raises :class:`UsageError` without Ray, for a
    cluster that cannot be reached, and for a ledger in SQLite, whose locks are one machine's.
    """
    if elsewhere(home / "tmem.db") is None:
        raise UsageError(
            f"{home}: writers on several machines need a ledger in Postgres: tmem migrate postgresql://..."
        )
    with cluster(address) as ray:
        writer = ray.remote(**share(ray), max_retries=-1, scheduling_strategy="SPREAD")(_written)
        left = [writer.remote(open_memory) for _ in range(count)]
        while left:
            [done], left = ray.wait(left)
            yield from ray.get(done)


def _written(open_memory: Open) -> list[Written]:
    with open_memory() as memory:
        return list(memory.absorb_all())
