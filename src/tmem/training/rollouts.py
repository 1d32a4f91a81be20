"""Rollouts: the tasks of a training step, each run n times by the same code that evaluation runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch

from tmem.agent.agent import Agent, Progress
from tmem.agent.trajectory import Trajectory
from tmem.errors import DataError
from tmem.evaluation.records.spec import Spec
from tmem.fastweights import Delta
from tmem.model import Model
from tmem.seeds import derive, generator
from tmem.tasks.base import Benchmark, Task
from tmem.tasks.scoring import normalize
from tmem.training.advantages import ScoredTrajectory
from tmem.training.measure import finite
from tmem.training.rewards import Reward, RewardError


class Curriculum:
    """Which tasks a step trains on, and which are held out; a function of the seed and the step alone.

    Persona conversations are made up anew for every step; those that are held out may be of other people. A data set is
    gone through in an order that is shuffled for each pass, without its last ``held_out`` episodes. Where the memory
    knows the question (paper), every question is a task of its own.
    """

    def __init__(
        self,
        spec: Spec,
        model: Model,
        seed: int,
        per_step: int,
        held_out: int,
        split: bool,
        held_out_people: str | None = None,
    ) -> None:
        self.seed, self.per_step, self.split = seed, per_step, split
        self.world = derive(seed, "world")  # decides what is random in prompts
        self._made = spec.bench == "persona"
        if self._made:
            self.bench: Benchmark = replace(spec, options=spec.options | {"episodes": per_step}).benchmark(model)
            other = {} if held_out_people is None else {"people": held_out_people}
            self._held = replace(spec, options=spec.options | {"episodes": held_out} | other).benchmark(model)
            return
        self.bench = self._held = spec.benchmark(model)
        tasks = list(self.bench.tasks(self.world))
        trained = max(len(tasks) - held_out, 0)
        self._kept, self._tasks = tasks[trained:], self._parts(tasks[:trained])
        if not self._tasks:
            raise DataError(
                f"{spec.bench}: nothing is left to train on when {held_out} of {len(tasks)} episodes are held out; "
                "give more data or a smaller --held-out"
            )

    def at(self, step: int) -> tuple[list[Task], int]:
        """The tasks of a step, and the seed that their prompts were made with."""
        if self._made:
            world = derive(self.seed, step, "world")
            return self._parts(list(self.bench.tasks(world)))[: self.per_step], world
        first = step * self.per_step
        return [self._tasks[self._place(number)] for number in range(first, first + self.per_step)], self.world

    def held_out(self) -> tuple[Benchmark, list[Task], int]:
        """The benchmark, the episodes that are never trained on, and the seed of their prompts."""
        if self._made:
            world = derive(self.seed, "held out")
            return self._held, list(self._held.tasks(world)), world
        return self._held, self._kept, self.world

    def _place(self, number: int) -> int:
        """Where the task that comes as this number of the whole training stands in the data."""
        turn, place = divmod(number, len(self._tasks))
        return int(torch.randperm(len(self._tasks), generator=generator(self.seed, turn, "order"))[place])

    def _parts(self, tasks: Sequence[Task]) -> list[Task]:
        if not self.split:
            return list(tasks)
        return [
            replace(task, episode=replace(task.episode, asks=(ask,)), items=(item,))
            for task in tasks
            for ask, item in zip(task.episode.asks, task.items, strict=True)
        ]


def shares(tasks: int, parts: int, world: int) -> list[list[int]]:
    """The places of a step's tasks that each process rollouts: of every part some, as far as there are enough.

    Task i belongs to part i modulo ``parts``, however many processes there are.
    """
    by_part = [place for part in range(parts) for place in range(part, tasks, parts)]
    return [sorted(by_part[process::world]) for process in range(world)]


def in_turn(agents: Sequence[Agent], places: Sequence[int], parts: int) -> list[tuple[Agent, list[int]]]:
    """Who does the tasks at these places: all agents in turn, within each part of a step; who has none is left out."""
    turns = [[place for place in places if place // parts % len(agents) == turn] for turn in range(len(agents))]
    return [(agent, own) for agent, own in zip(agents, turns, strict=True) if own]


@dataclass
class Rollouts:
    """What a step's rollouts gave: by the task's place in the step its group, and what was dropped, in words.

    ``finite``: the policy's log-probabilities are numbers.
    """

    groups: dict[int, list[ScoredTrajectory]]
    dropped: list[str]
    finite: bool


def collect(
    agents: Sequence[tuple[Agent, Sequence[int]]],
    bench: Benchmark,
    tasks: Sequence[Task],
    times: int,
    name: str,
    world: int,
    reward: Reward,
    progress: Callable[[Progress], None] | None = None,
    spill: Path | None = None,
) -> Rollouts:
    """Run tasks ``times`` times each. ``name`` makes the seeds of these rollouts their own.

    ``agents``: who acts, and on the tasks at which places; what nobody has is other processes' own.
    An episode that could not be run, or has no usable reward, is dropped, and a group of which fewer than two episodes
    are left. With ``spill`` every Delta lies in a file of that folder instead of memory, one per episode and trigger.
    """
    names = names_of(tasks, name)
    files = count()  # one row of names for all agents
    trajectories: list[Trajectory] = []
    for agent, places in agents:
        episodes = [
            replace(tasks[place].episode, id=f"{names[place]}/{number}") for place in places for number in range(times)
        ]
        kept = _spiller(agent, spill, files) if spill is not None and agent.policy.learns else None
        trajectories += agent.run(episodes, progress, kept)
    found = Rollouts({}, [], finite(trajectories))
    for number, place in enumerate(place for _, places in agents for place in places):
        task, group = tasks[place], []
        for trajectory in trajectories[number * times : (number + 1) * times]:
            if trajectory.failed is not None:
                found.dropped.append(trajectory.failed)
                continue
            try:
                outcome = reward(bench, task, trajectory, world)
            except RewardError as error:
                found.dropped.append(str(error))
                continue
            said = {
                item.id: normalize(bench.prediction(item, trajectory.answers[item.id], world))
                for item in task.items
                if item.id in trajectory.answers
            }
            group.append(
                ScoredTrajectory(trajectory, outcome.reward, outcome.by_question, task.facts, golds_of(task), said)
            )
        if len(group) > 1:
            found.groups[place] = group
        else:
            found.dropped.append(f"{names[place]}: of {times} episodes {len(group)} had a reward")
    return found


def golds_of(task: Task) -> dict[str, frozenset[str]]:
    """The accepted answers to every question, normalized; of several questions at once those of all."""
    parts = {item.id: [(part,) if isinstance(part, str) else part for part in item.gold] for item in task.items}
    return {name: frozenset(normalize(one) for part in own for one in part) for name, own in parts.items()}


def names_of(tasks: Sequence[Task], before: str) -> list[str]:
    """What the tasks of a step are called in seeds: one that comes again after a pass is numbered."""
    seen: Counter[tuple[str, ...]] = Counter()
    names = []
    for task in tasks:
        key = (task.episode.id, *(ask.id for ask in task.episode.asks))
        seen[key] += 1
        names.append(f"{before}/{task.episode.id}" + (f" ({seen[key]})" if seen[key] > 1 else ""))
    return names


def _spiller(agent: Agent, folder: Path, names: Iterator[int]) -> Callable[[Trajectory], Any]:
    """Puts the Delta of each write into a file; what stays is mapped from it and read when it is used."""
    basis = agent.model.fast(agent.recipe).basis

    def spill(trajectory: Trajectory) -> None:
        path = folder / f"{next(names)}.safetensors"
        trajectory.deltas[-1].save(path)
        trajectory.deltas[-1] = Delta.load(path, basis)

    return spill
