"""One batch for all threads: what any of them asks for is generated beside what the others ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Condition, Thread

from tmem.errors import TmemError, UsageError
from tmem.fastweights import Delta, FastWeights
from tmem.model.engine import HFEngine
from tmem.model.reader import WithReader
from tmem.model.request import Completion, Listener, Request
from tmem.model.stream import Stream

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """What this thread has generated inside is heard by ``listener``, if a :class:`Batch` generates it."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def unheard() -> Iterator[None]:
    """What this thread has generated inside is no part of what its listener is told."""
    token = _listener.set(None)
    try:
        yield
    finally:
        _listener.reset(token)


def current_listener() -> Listener | None:
    """Who hears what this thread has generated."""
    return _listener.get()


@dataclass(eq=False)
class _Job:
    """What one call asks for."""

    requests: Sequence[Request]
    delta: Delta | None
    listener: Listener | None
    progress: Callable[[int], None] | None
    done: Future[list[Completion]] = field(default_factory=Future)
    numbers: list[int] = field(default_factory=list)
    completions: dict[int, Completion] = field(default_factory=dict)

    def complete(self, number: int, completion: Completion) -> None:
        """Take in one; the last one ends the call."""
        self.completions[number] = completion
        if self.progress is not None:
            self.progress(len(self.completions))
        if len(self.completions) == len(self.numbers):
            self.done.set_result([self.completions[number] for number in self.numbers])


class Batch:
    """An :class:`~tmem.model.engine.Engine` for many threads: a thread of its own makes one token of all texts at a
    time, and takes in what is new before the next.

    ``fast``: of all memories. A text begins at once where caches can be joined, else when those before have ended.
    """

    def __init__(self, engine: HFEngine, fast: FastWeights | None) -> None:
        self.engine, self.model, self.fast = engine, engine.model, fast
        self.tokens = 0  # generated so far
        self._changed = Condition()
        self._new: list[_Job] = []
        self._jobs: dict[int, _Job] = {}  # by number of each of their texts
        self._stream: Stream | WithReader | None = None
        self._closed = False
        self._thread = Thread(target=self._run, name="tmem-batch", daemon=True)
        self._thread.start()

    @property
    def rows(self) -> int:
        """How many texts are being generated now."""
        stream = self._stream
        return 0 if stream is None else stream.rows

    def generate(
        self,
        requests: Sequence[Request],
        delta: Delta | None = None,
        fast: FastWeights | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """As :meth:`HFEngine.generate`. While it waits, others have the model's turn, if this thread had it."""
        if fast is not None and fast is not self.fast:
            raise UsageError("this batch is of other fast weights: give it texts of its own memories")
        if not requests:
            return []
        job = _Job(requests, delta, current_listener(), progress)
        with self._changed:
            if self._closed:
                raise UsageError("this batch is closed")
            self._new.append(job)
            self._changed.notify()
        with self.model.turn.away():
            return job.done.result()

    def close(self) -> None:
        """Finish what was asked for, then end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._new or self._jobs or self._closed):
                    self._changed.wait()
                if not (self._new or self._jobs):
                    return
                new, self._new = self._new, []
            with self.model.turn:
                try:
                    self._step(new)
                except BaseException as error:  # no text of this batch can go on, and whoever waits must be told
                    for job in {id(job): job for job in [*new, *self._jobs.values()]}.values():
                        if not job.done.done():
                            job.done.set_exception(error)
                    self._jobs, self._stream = {}, None

    def _step(self, new: Sequence[_Job]) -> None:
        if self._stream is None:
            self._stream = self.engine.stream(self.fast, at_once=True)
        for job in new:
            try:
                job.numbers = self._stream.add(job.requests, [job.delta] * len(job.requests), job.listener)
            except TmemError as error:  # of this one alone
                job.done.set_exception(error)
            else:
                self._jobs |= dict.fromkeys(job.numbers, job)
        for number, completion in self._stream.step(lambda: bool(self._new) or self.model.turn.wanted):
            self.tokens += len(completion.ids)
            self._jobs.pop(number).complete(number, completion)
