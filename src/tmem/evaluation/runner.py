"""Running an evaluation: every memory and seed over every episode, resumable, on one process or several.

A rollout is done when its records are on disk; a run that is interrupted at any moment goes on with the same command,
and its records are those of a run without interruption.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from threading import Thread

from filelock import FileLock, Timeout

from tmem.agent.agent import Agent, Progress
from tmem.agent.episode import Episode
from tmem.agent.sharing import Shared
from tmem.errors import DataError, TmemError, UsageError
from tmem.evaluation.records.episode import episode_records
from tmem.evaluation.records.files import Claim, Claims, Records, repair
from tmem.evaluation.records.spec import Spec, open_run
from tmem.evaluation.spread import lives, on_ray, parts, stamp
from tmem.files import alone
from tmem.model import Model
from tmem.tasks.base import Benchmark, Task

Tell = Callable[[int, int, int, int, int], None]  # questions and episodes done, questions in all, triggers, tokens


def run(
    spec: Spec,
    model: Model,
    memories: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    limit: int | None = None,
    workers: int = 1,
    progress: Tell | None = None,
    command: str = "",
    notice: Callable[[str], None] | None = None,
    ray: str | None = None,
) -> int:
    """Run what is not recorded yet in ``folder``; returns how many questions had been done before.

    ``limit``: only the first episodes of the benchmark. ``workers``: processes of this machine, or of the Ray cluster
    at the address ``ray``. ``notice`` is told what to know before the work. Raises :class:`DataError` if the folder
    holds another run or cannot be written to, and :class:`UsageError` for what cannot work.
    """
    bench = spec.benchmark(model)
    for memory in memories:
        spec.agent(model, memory, 0)  # what cannot work is noticed before the work
    with _alone(folder):
        description = spec.describe(model, bench)
        open_run(folder, description, command)
        data = description["data"]
        if notice is not None and "known" in data and data["known"] is None:
            notice(
                f"{data['file']} is not a published file (sha256 {data['sha256'][:16]}): compare its scores with care"
            )
        repair(folder)
        records = Records(folder, 0)
        total = len(memories) * sum(bench.count(seed, limit) for seed in seeds)
        if not total:
            raise DataError(f"{spec.bench}: there is no question in this data; give other data or another --limit")
        records.wanted = {(memory, seed) for memory in memories for seed in seeds}
        before = records.progress()[0]
        if ray is not None:
            todo = parts(spec, model, bench, memories, seeds, limit, records, workers)
            for _ in on_ray(spec, todo, stamp(spec, model, bench), workers, ray, records):
                if progress is not None:
                    progress(*records.progress(), total, records.triggers, records.tokens)
        elif workers == 1:
            _work(spec, model, bench, memories, seeds, limit, records, total, progress)
        else:
            _spawn(spec, memories, seeds, limit, workers, records, total, progress)
    return before


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only run that writes to a folder. Workers whose run was killed end within a moment; wait for them."""
    with alone(folder, "tmem eval"):
        for worker in folder.glob(".worker-*.lock"):
            try:
                with FileLock(worker, timeout=20):
                    pass
            except Timeout:
                raise UsageError(f"{folder}: a worker of an earlier tmem eval still writes there; stop it") from None
        yield


def _work(
    spec: Spec,
    model: Model,
    bench: Benchmark,
    memories: Sequence[str],
    seeds: Sequence[int],
    limit: int | None,
    records: Records,
    total: int = 0,
    progress: Tell | None = None,
) -> None:
    """One process's share: whatever nobody else has claimed."""
    said = stamp(spec, model, bench)
    claims, shared = Claims(records.folder), Shared()
    try:
        for seed, memory in product(seeds, memories):
            agent = replace(spec.agent(model, memory, seed), shared=shared)
            open_: dict[int, tuple[Task, Claim]] = {}  # those that are running
            episodes = _open_episodes(agent, bench, memory, seed, limit, records, claims, open_)
            tell = progress and _told(progress, records, total)
            for number, trajectory in agent.stream(episodes, tell):
                task, claim = open_.pop(number)
                records.add([record | said for record in episode_records(bench, task, trajectory, agent)])
                claims.drop(claim)
    finally:
        claims.close()


def _told(progress: Tell, records: Records, total: int) -> Callable[[Progress], None]:
    """Progress from that of one agent: what was recorded before it began, and what it has done since."""
    triggers, tokens = records.triggers, records.tokens

    def tell(now: Progress) -> None:
        progress(*records.progress(), total, triggers + now.triggers, tokens + now.tokens)

    return tell


def _open_episodes(
    agent: Agent,
    bench: Benchmark,
    memory: str,
    seed: int,
    limit: int | None,
    records: Records,
    claims: Claims,
    open_: dict[int, tuple[Task, Claim]],
) -> Iterator[Episode]:
    """The episodes that are neither recorded nor claimed, numbered, claimed as they are taken."""
    number = 0
    for task, own in lives(bench, seed, limit, agent.split):
        questions = [ask.id for ask in own]
        if records.has(memory, seed, questions):
            continue
        claim = (memory, seed, *questions)
        if not claims.take(claim):
            continue
        records.refresh()  # another process may have ended it since
        if records.has(memory, seed, questions):
            claims.drop(claim)
            continue
        open_[number] = (task, claim)
        number += 1
        yield replace(task.episode, asks=own)


def _spawn(
    spec: Spec,
    memories: Sequence[str],
    seeds: Sequence[int],
    limit: int | None,
    workers: int,
    records: Records,
    total: int,
    progress: Tell | None,
) -> None:
    """Several processes, one torch thread each; the first that fails ends them all."""
    context = multiprocessing.get_context("spawn")
    errors = context.SimpleQueue()
    processes = [
        context.Process(
            target=_worker, args=(spec, memories, seeds, limit, records.folder, number, errors), daemon=True
        )
        for number in range(workers)
    ]
    # Held back meanwhile: an interrupt that meets a child in its first imports ends in a traceback.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for process in processes:
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        while any(process.is_alive() for process in processes):
            time.sleep(0.3)
            records.refresh()
            if progress is not None:
                progress(*records.progress(), total, records.triggers, records.tokens)
            if any(process.exitcode not in (None, 0) for process in processes):
                break
    finally:
        for process in processes:
            process.terminate()
            process.join()
    records.refresh()
    if not errors.empty():
        raise errors.get()
    failed = [process.exitcode for process in processes if process.exitcode not in (0, None, -signal.SIGTERM)]
    if failed:
        why = "was killed, perhaps for want of memory" if (failed[0] or 0) < 0 else "failed, as said above"
        raise TmemError(
            f"a worker {why} (code {failed[0]}); what it recorded is kept: "
            "give the same command again, perhaps with fewer --workers"
        )


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """Wait for a process to end, and end this one at once."""
    parent.join()
    os._exit(1)


def _worker(
    spec: Spec,
    memories: Sequence[str],
    seeds: Sequence[int],
    limit: int | None,
    folder: Path,
    number: int,
    errors: multiprocessing.SimpleQueue[TmemError],
) -> None:
    """One of several processes. An interrupt is the parent's to report; without a parent nothing is left to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    Thread(target=_end_with, args=(parent,), daemon=True).start()
    alive = FileLock(folder / f".worker-{number}.lock")
    alive.acquire()  # for as long as this process is there
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import torch
    import transformers

    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    try:
        model = spec.load()
        _work(spec, model, spec.benchmark(model), memories, seeds, limit, Records(folder, number))
    except TmemError as error:
        errors.put(error)
        raise SystemExit(1) from None
