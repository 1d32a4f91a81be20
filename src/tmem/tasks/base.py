"""What every benchmark is to the rest: episodes to run, and questions with their golds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tmem.agent.episode import Episode

__all__ = ["Benchmark", "Gold", "Item", "Task"]

Gold = tuple[str, ...] | tuple[tuple[str, ...], ...]  # accepted answers; of several sub-questions, those of each


@dataclass(frozen=True)
class Item:
    """One question of a benchmark, with what scoring it needs.

    ``category`` groups the report. ``evidence``: units of the stream that hold the answer, () if unknown. ``judging``:
    what a judge is told beside question, gold and prediction (JSON values).
    """

    id: str
    question: str  # as the file has it; the episode's ask may add options or hints
    gold: Gold
    category: str
    evidence: tuple[int, ...] = ()
    judging: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One episode with its questions; ``items`` in the order of ``episode.asks``, with the same ids."""

    episode: Episode
    items: tuple[Item, ...]
    facts: tuple[dict[str, Any], ...] = ()  # gold facts that generated conversations carry along


class Benchmark(Protocol):
    """A data set and its rules. Results of all methods are a function of (seed, item) and the settings."""

    name: str
    scorers: tuple[str, ...]  # names in tmem.tasks.scoring; the first one is the headline

    def identity(self) -> dict[str, Any]:
        """What the data is: ``file``, ``sha256`` and options.

        ``known`` is the name of the published file that it is, None if it is none, and left out where no published
        file is known.
        """
        ...

    def count(self, seed: int, limit: int | None = None) -> int:
        """Number of questions of the first ``limit`` episodes, of all for None."""
        ...

    def tasks(self, seed: int) -> Iterator[Task]:
        """The episodes in their fixed order, read as they are needed; ``seed`` for what is random in a prompt."""
        ...

    def prediction(self, item: Item, reply: str, seed: int) -> str:
        """The reply, without the thoughts before it, as it is scored."""
        ...
