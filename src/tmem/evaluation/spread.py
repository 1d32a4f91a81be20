"""The lives of an evaluation in their order, and spread over the processes of a Ray cluster.

Each life has its own memory and its own seeds, so its records are the same wherever it is lived; only the process that
was given the command writes them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from itertools import islice, product
from typing import Any

from tmem.agent.episode import Ask
from tmem.errors import DataError
from tmem.evaluation.records.episode import episode_records
from tmem.evaluation.records.files import Records
from tmem.evaluation.records.spec import Spec
from tmem.model import Model
from tmem.nodes import cluster, share
from tmem.tasks.base import Benchmark, Task

TURNS = 4  # parts that a process has to live, at least, so that none is long at work when the others are done


def lives(bench: Benchmark, seed: int, limit: int | None, split: bool) -> Iterator[tuple[Task, tuple[Ask, ...]]]:
    """A task with the questions of one life; ``split``: each question has a life of its own."""
    for task in islice(bench.tasks(seed), limit):
        for own in [(ask,) for ask in task.episode.asks] if split else [task.episode.asks]:
            yield task, own


def stamp(spec: Spec, model: Model, bench: Benchmark) -> dict[str, Any]:
    """What every record says of the run that it is of."""
    return {
        "bench": spec.bench,
        "recipe": spec.recipe,
        "recipe_sha256": spec.recipe_sha256(model),
        "model": model.name,
        "model_hash": model.identity,
        "data_sha256": bench.identity().get("sha256"),
        "tmem": version("tmem"),
    }


@dataclass(frozen=True)
class Part:
    """Some lives of one memory and seed, by their numbers in :func:`lives`."""

    memory: str
    seed: int
    limit: int | None
    numbers: tuple[int, ...]


def parts(
    spec: Spec,
    model: Model,
    bench: Benchmark,
    memories: Sequence[str],
    seeds: Sequence[int],
    limit: int | None,
    records: Records,
    workers: int,
) -> list[Part]:
    """All lives that are not recorded, in parts of at most as many as run in one batch."""
    left, most = dict[tuple[str, int], list[int]](), 1
    for seed, memory in product(seeds, memories):
        agent = spec.agent(model, memory, seed)
        most = max(most, agent.at_once)
        left[memory, seed] = [
            number
            for number, (_, own) in enumerate(lives(bench, seed, limit, agent.split))
            if not records.has(memory, seed, [ask.id for ask in own])
        ]
    size = max(1, min(most, sum(map(len, left.values())) // (TURNS * workers)))
    return [
        Part(memory, seed, limit, tuple(numbers[start : start + size]))
        for (memory, seed), numbers in left.items()
        for start in range(0, len(numbers), size)
    ]


def _live(spec: Spec, part: Part) -> list[dict[str, Any]]:
    """The records of these lives, in a process of the cluster."""
    model, bench = _loaded(json.dumps(asdict(spec), sort_keys=True, default=str))  # paths as texts
    agent = spec.agent(model, part.memory, part.seed)
    numbered = enumerate(lives(bench, part.seed, part.limit, agent.split))
    chosen = [life for number, life in numbered if number in part.numbers]
    said, found = stamp(spec, model, bench), list[dict[str, Any]]()
    for number, trajectory in agent.stream(replace(task.episode, asks=own) for task, own in chosen):
        found += [record | said for record in episode_records(bench, chosen[number][0], trajectory, agent)]
    return found


@lru_cache(maxsize=1)
def _loaded(spec: str) -> tuple[Model, Benchmark]:
    """The model of a spec (JSON) and its data, read once by a process that lives several parts."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import torch

    torch.set_num_threads(1)
    found = Spec(**json.loads(spec))
    model = found.load()
    return model, found.benchmark(model)


def on_ray(
    spec: Spec, todo: Sequence[Part], said: dict[str, Any], count: int, address: str, records: Records
) -> Iterator[None]:
    """Live these parts on ``count`` processes of the cluster at ``address``; ``said``: what this process stamps.

    A part whose node goes is begun again on another. Every node has to have the model and the data where they are here.
    Raises :class:`DataError` if they are others there, and as :func:`tmem.nodes.cluster`.
    """
    with cluster(address) as ray:
        live, left = ray.remote(**share(ray), max_retries=-1, scheduling_strategy="SPREAD")(_live), iter(todo)
        running = [live.remote(spec, part) for part in islice(left, count)]
        while running:
            [done], running = ray.wait(running)
            running += [live.remote(spec, part) for part in islice(left, 1)]
            found = ray.get(done)
            for key, own in said.items():
                if any(record[key] != own for record in found):
                    there = next(record[key] for record in found if record[key] != own)
                    raise DataError(f"a node of {address} has another {key} ({there}, here {own}): make them alike")
            records.add(found)
            yield
