"""What benchmarks have in common in which people tell something and are asked about it: all tasks are there at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tmem.tasks.base import Item, Task
from tmem.tasks.scoring import normalize
from tmem.texts import NO_INFORMATION, first_line


class Told:
    """Questions with short answers; an item without evidence is about what nobody said. ``all``: the tasks."""

    all: Sequence[Task]
    scorers: tuple[str, ...] = ("tmem_token",)

    def count(self, seed: int, limit: int | None = None) -> int:
        return sum(len(task.items) for task in self.all[:limit])

    def tasks(self, seed: int) -> Iterator[Task]:
        yield from self.all

    def prediction(self, item: Item, reply: str, seed: int) -> str:
        """The reply's first line that is not empty; "" if it refuses what was said, which beside "No" would score."""
        line = first_line(reply)
        refuses = normalize(line) == normalize(NO_INFORMATION)
        return "" if refuses and item.evidence else line
