"""Generating beside a model's reader, who reads for the gate: what it is asked goes there, all else to theta_0."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tmem.fastweights import Delta
from tmem.model.request import Completion, Listener, Request, check
from tmem.model.stream import Stream


class WithReader:
    """Two streams as one :class:`~tmem.model.stream.Stream`: that of a model and that of its reader."""

    def __init__(self, own: Stream, reader: Stream) -> None:
        self._own, self._reader = own, reader
        self._numbers: dict[tuple[Stream, int], int] = {}  # ours, by stream and its own
        self._count = 0

    @property
    def rows(self) -> int:
        """How many texts are being generated."""
        return self._own.rows + self._reader.rows

    def add(
        self, requests: Sequence[Request], deltas: Sequence[Delta | None], listener: Listener | None = None
    ) -> list[int]:
        """As :meth:`Stream.add`; nothing is taken in if one of them cannot work."""
        reads, others = ([place for place, one in enumerate(requests) if one.reads is own] for own in (True, False))
        for place in reads:
            check(requests[place], self._reader.model, None, None)
        for stream, places in ((self._own, others), (self._reader, reads)):
            numbers = stream.add([requests[place] for place in places], [deltas[place] for place in places], listener)
            for place, number in zip(places, numbers, strict=True):
                self._numbers[stream, number] = self._count + place
        first, self._count = self._count, self._count + len(requests)
        return list(range(first, self._count))

    def step(self, pause: Callable[[], bool] | None = None) -> list[tuple[int, Completion]]:
        """As :meth:`Stream.step`. What the reader is asked is short and others wait for it: it has its turn first,
        and where a text of its own ended the others make one token before that is told."""
        read = self._reader.step(pause)
        told = self._own.step((lambda: True) if read else pause)
        return [
            (self._numbers.pop((stream, number)), done)
            for stream, ended in ((self._reader, read), (self._own, told))
            for number, done in ended
        ]
