"""Many episodes at once: texts of all are generated side by side, writes that are waited for are one training run.

Each rollout has its own Delta, its own seeds and its own memory, so its result is the one it would have alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tmem.agent.context import Packed, pack
from tmem.agent.episode import JOINER, Episode
from tmem.agent.rollout import AgentConfig, Call, Rollout, Steps, WriteJob
from tmem.agent.search import play
from tmem.agent.trajectory import Trajectory
from tmem.errors import DataError
from tmem.fastweights import Delta, FastWeights, write
from tmem.fastweights.delta import together
from tmem.model import Completion, Engine, HFEngine, Request
from tmem.model.contents import Job, nothing, write_pairs


@dataclass
class Progress:
    """How far a run is: what is done since it began, and the episodes that are running."""

    episodes: int = 0
    triggers: int = 0
    tokens: int = 0  # read in prompts and written
    running: int = 0


class Agent(AgentConfig):
    """Runs episodes as it is configured."""

    def run(
        self,
        episodes: Sequence[Episode],
        progress: Callable[[Progress], None] | None = None,
        on_write: Callable[[Trajectory], None] | None = None,
    ) -> list[Trajectory]:
        """Run episodes; trajectories in their order, one per question where questions are known.

        Raises :class:`DataError` for a unit that does not fit the model's window.
        """
        done = dict(self.stream(episodes, progress, on_write))
        return [done[number] for number in range(len(done))]

    def stream(
        self,
        episodes: Iterable[Episode],
        progress: Callable[[Progress], None] | None = None,
        on_write: Callable[[Trajectory], None] | None = None,
    ) -> Iterator[tuple[int, Trajectory]]:
        """The same as they end, numbered in order; the next episode is taken in when one ends.

        ``progress`` is told after every batch, ``on_write`` gets a trajectory right after each of its writes.
        """
        yield from _Scheduler(self, on_write).run(self._rollouts(episodes), progress)

    def _rollouts(self, episodes: Iterable[Episode]) -> Iterator[Rollout]:
        units: tuple[str, ...] | None = None
        packed = Packed([], [])
        for episode in episodes:
            if episode.units is not units:  # questions about one stream come one after the other
                units = episode.units
                packed = Packed([], list(range(len(units))))
                if self.policy.packs:
                    packed = pack(units, self.budget, self.model.count, JOINER)
            if not self.split:
                yield Rollout(self, episode, packed, episode.id)
                continue
            for ask in episode.asks:
                yield Rollout(self, replace(episode, asks=(ask,)), packed, f"{episode.id}/{ask.id}")


def _steps(rollout: Rollout) -> Steps[None]:
    """The whole episode, after which its memory is closed however it ends."""
    try:
        yield from rollout.read() if rollout.episode.search is None else play(rollout)
    finally:
        rollout.policy.close()


@dataclass(eq=False)
class _Running:
    """A rollout, its steps, and what it waits for."""

    number: int
    rollout: Rollout
    steps: Any
    waits: Call | WriteJob | None = None
    found: list[Completion | None] = field(default_factory=list)  # of the texts that it waits for, those that ended
    seconds: dict[str, float] = field(default_factory=dict)

    def go_on(self, result: Any) -> bool:
        """Hand over a result and run to the next step; False at the end of the rollout."""
        try:
            self.waits = self.steps.send(result)
        except StopIteration:
            return False
        return True

    def took(self, kind: str, seconds: float) -> None:
        self.seconds[kind] = self.seconds.get(kind, 0.0) + seconds

    @property
    def texts(self) -> list[Completion] | None:
        """All that it waits for, once the last has ended."""
        found = [text for text in self.found if text is not None]
        return found if len(found) == len(self.found) else None


@dataclass(eq=False)
class _Asked:
    """A text that is generated: who waits for it, its place among those, and the seconds that it took until now."""

    one: _Running
    place: int
    seconds: float = 0.0

    @property
    def call(self) -> Call:
        assert isinstance(self.one.waits, Call)
        return self.one.waits


class _WholeBatches:
    """A stream for engines that take a batch and give it back whole."""

    def __init__(self, engine: Engine, fast: FastWeights | None) -> None:
        self.engine, self.fast = engine, fast
        self._waiting: list[tuple[Request, Delta | None]] = []
        self._count = 0

    def add(self, requests: Sequence[Request], deltas: Sequence[Delta | None]) -> list[int]:
        first = self._count + len(self._waiting)
        self._waiting += zip(requests, deltas, strict=True)
        return list(range(first, first + len(requests)))

    def step(self) -> list[tuple[int, Completion]]:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        used = [None if request.memory is None else delta for request, delta in waiting]
        delta, firsts = together(used)
        requests = [
            request if request.memory is None else replace(request, memory=first + request.memory)
            for (request, _), first in zip(waiting, firsts, strict=True)
        ]
        done = self.engine.generate(requests, delta, self.fast)
        first, self._count = self._count, self._count + len(done)
        return list(enumerate(done, start=first))


class _Scheduler:
    """Drives many rollouts. Texts of all are generated side by side, and each goes on as soon as it has its own."""

    def __init__(self, agent: Agent, on_write: Callable[[Trajectory], None] | None) -> None:
        self.agent, self.model, self.on_write = agent, agent.model, on_write
        self.fast = agent.model.fast(agent.recipe) if agent.policy.learns else None
        engine = agent.engine or HFEngine(agent.model)
        self.texts = engine.stream(self.fast) if isinstance(engine, HFEngine) else _WholeBatches(engine, self.fast)
        self.shared = None if agent.policy.alone else agent.shared
        self.asked: dict[int, _Asked] = {}  # by number of the text
        self.running: list[_Running] = []
        self.progress = Progress()
        self.ended = 0  # triggers of the rollouts that are over

    def run(
        self, rollouts: Iterator[Rollout], progress: Callable[[Progress], None] | None
    ) -> Iterator[tuple[int, Trajectory]]:
        try:
            yield from self._run(rollouts, progress)
        finally:
            for one in self.running:  # broken off
                one.steps.close()

    def _run(
        self, rollouts: Iterator[Rollout], progress: Callable[[Progress], None] | None
    ) -> Iterator[tuple[int, Trajectory]]:
        taken, most = 0, 1 if self.agent.policy.alone else self.agent.at_once
        while True:
            new: list[_Running] = []
            while len(self.running) < most and (rollout := next(rollouts, None)) is not None:
                one = self._begin(taken, rollout)
                taken += 1
                if self._step(one, None):
                    self.running.append(one)
                    new.append(one)
                else:
                    yield self._end(one)
            self._ask(new)
            if not self.running:
                return
            self.progress.running = len(self.running)
            went_on: list[_Running] = []
            for one, result in self._work():
                writes = len(one.rollout.trajectory.writes)
                goes_on = self._step(one, result)
                if self.on_write is not None and len(one.rollout.trajectory.writes) > writes:
                    self.on_write(one.rollout.trajectory)
                if goes_on:
                    went_on.append(one)
                else:
                    self.running.remove(one)
                    yield self._end(one)
            self._ask(went_on)
            if progress is not None:
                self.progress.triggers = self.ended + sum(one.rollout.trajectory.triggers for one in self.running)
                progress(self.progress)

    def _begin(self, number: int, rollout: Rollout) -> _Running:
        if self.fast is not None:
            if self.agent.recipe.fresh is not None:
                rollout.contents = nothing(self.model, self.agent.recipe)
            rollout.delta = self.fast.zeros(1) if rollout.contents is None else rollout.contents.delta
            self._keep(rollout)
        return _Running(number, rollout, _steps(rollout))

    def _step(self, one: _Running, result: Any) -> bool:
        """Run a rollout to its next step; False at its end."""
        try:
            return one.go_on(result)
        except DataError as error:
            if self.agent.strict:
                raise
            one.rollout.trajectory.failed = str(error)
            one.rollout.trajectory.answers = {ask.id: "" for ask in one.rollout.episode.asks}
            return False

    def _end(self, one: _Running) -> tuple[int, Trajectory]:
        trajectory = one.rollout.trajectory
        trajectory.memory_size = one.rollout.policy.size()
        del one.rollout.policy  # they point at each other: so its texts are freed now, not when the collector comes by
        trajectory.seconds = one.seconds | one.rollout.seconds
        self.progress.episodes += 1
        self.ended += trajectory.triggers
        return one.number, trajectory

    def _work(self) -> list[tuple[_Running, Any]]:
        """Do what is waited for: writes if half of the rollouts wait for one or no text is, else texts until one ends.

        Returns the rollouts that have what they waited for, with it.
        """
        idle = [one for one in self.running if isinstance(one.waits, Call)]
        ready = [(one, one.texts) for one in idle if one.texts is not None]
        if ready:  # nothing was asked, or all of it before
            return ready
        writers = [one for one in self.running if isinstance(one.waits, WriteJob)]
        if writers and (2 * len(writers) >= len(self.running) or not self.asked):
            return self._write(writers)
        return self._generate()

    def _ask(self, ones: Sequence[_Running]) -> None:
        """Hand in the texts that these rollouts wait for."""
        calls = [(one, one.waits) for one in ones if isinstance(one.waits, Call)]
        asked = list[_Asked]()
        for one, call in calls:
            one.found = [None] * len(call.requests)
            for place, request in enumerate(call.requests):
                known = None if self.shared is None else self.shared.said(request)
                if known is None:
                    asked.append(_Asked(one, place))
                else:
                    one.found[place], seconds = known
                    one.took(call.kind, seconds)
        if asked:
            requests = [own.call.requests[own.place] for own in asked]
            numbers = self.texts.add(requests, [own.one.rollout.delta for own in asked])
            self.asked |= dict(zip(numbers, asked, strict=True))

    def _generate(self) -> list[tuple[_Running, list[Completion]]]:
        """Generate until a text ends; the rollouts of which no text is left."""
        started = time.perf_counter()
        done = self.texts.step()
        share = (time.perf_counter() - started) / max(len(self.asked), 1)
        for own in self.asked.values():
            own.seconds += share
            own.one.took(own.call.kind, share)
        complete = []
        for number, completion in done:
            own = self.asked.pop(number)
            request = own.call.requests[own.place]
            own.one.found[own.place] = completion
            if self.shared is not None:
                self.shared.say(request, completion, own.seconds)
            self.progress.tokens += len(request.prompt_ids) + len(completion.ids)
            if own.one.texts is not None:
                complete.append((own.one, own.one.texts))
        return complete

    def _write(self, waiting: list[_Running]) -> list[tuple[_Running, Any]]:
        """All writes that are waited for, as one training run."""
        assert self.fast is not None
        if self.agent.recipe.fresh is not None:
            return self._write_from_zero(waiting)
        jobs = [one.waits for one in waiting if isinstance(one.waits, WriteJob)]
        deltas = [one.rollout.delta for one in waiting if one.rollout.delta is not None]
        started = time.perf_counter()
        written, accounts = write(
            self.fast,
            Delta.cat(deltas),
            [job.new for job in jobs],
            self.agent.recipe,
            [job.seed for job in jobs],
            [job.old for job in jobs],
            self.model.replay(self.agent.recipe),
        )
        share = (time.perf_counter() - started) / len(waiting)
        for row, one in enumerate(waiting):
            one.rollout.delta = written.select([row])
            one.took("write", share)
            self._keep(one.rollout)
        return list(zip(waiting, accounts, strict=True))

    def _write_from_zero(self, waiting: list[_Running]) -> list[tuple[_Running, Any]]:
        """The same under a recipe whose writes begin at B = 0."""
        jobs = [
            Job(one.rollout.contents, one.waits.pairs, len(one.waits.new))
            for one in waiting
            if isinstance(one.waits, WriteJob) and one.rollout.contents is not None
        ]
        known = [None if self.shared is None else self.shared.written(job.pairs) for job in jobs]
        new = [job for job, there in zip(jobs, known, strict=True) if there is None]
        started = time.perf_counter()
        fresh = iter(write_pairs(self.model, self.agent.recipe, new) if new else [])
        share = (time.perf_counter() - started) / max(len(new), 1)
        found = []
        for one, job, there in zip(waiting, jobs, known, strict=True):
            (contents, account), seconds = there or (next(fresh), share)
            if self.shared is not None and there is None:
                self.shared.write(job.pairs, (contents, account), seconds)
            one.rollout.contents, one.rollout.delta = contents, contents.delta
            one.took("write", seconds)
            self._keep(one.rollout)
            found.append((one, account))
        return found

    def _keep(self, rollout: Rollout) -> None:
        if self.agent.keep_deltas and rollout.delta is not None:
            rollout.trajectory.deltas.append(rollout.delta.to("cpu"))
