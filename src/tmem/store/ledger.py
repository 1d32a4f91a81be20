"""What weights follow from: an ordered list of writes, and for each the pairs that are new in it.

Everything here is a pure function of the pairs that are left. No seed and no digest knows of a pair that was forgotten,
so weights trained anew without it are those of a memory that was never told it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tmem.seeds import derive


@dataclass(frozen=True)
class Pair:
    """A pair of the ledger as training needs it; ``supersedes`` is the id of the pair whose place it takes."""

    id: str
    question: str
    answer: str
    supersedes: str | None = None

    @property
    def key(self) -> str:
        """What the pair is for seeds and digests: its text, not its id."""
        return digest(self.question, self.answer)


@dataclass(frozen=True)
class Step:
    """One training run: its new pairs, and those that still hold from before, in the order in which they were told."""

    new: tuple[Pair, ...]
    old: tuple[Pair, ...]
    seed: int


@dataclass(frozen=True)
class Node:
    """A version: the version ``base`` and one more ``write``, or none."""

    number: int
    base: int | None
    write: int | None


def view(nodes: Mapping[int, Node], number: int | None) -> list[int]:
    """The writes that version ``number`` consists of, in order."""
    writes = []
    while number is not None:
        node = nodes[number]
        if node.write is not None:
            writes.append(node.write)
        number = node.base
    return writes[::-1]


class History:
    """A view of the ledger as training runs. ``start`` is the digest of what it begins with: base, basis, recipe.

    ``digests[i]`` stands for all that the state after ``i`` steps follows from. A write none of whose pairs is left
    takes no part; ``lengths[write]`` is the number of steps up to it.
    """

    def __init__(self, start: str, writes: Iterable[int], new: Mapping[int, Sequence[Pair]]) -> None:
        self.digests = [start]
        self.lengths: dict[int, int] = {}
        self._new: list[tuple[Pair, ...]] = []
        current: dict[str, Pair] = {}
        for write in writes:
            fresh = tuple(new.get(write, ()))
            if fresh:
                # Which pairs are replaced is part of what follows: later steps no longer rehearse them.
                replaced = [current[p.supersedes].key for p in fresh if p.supersedes in current]
                self.digests.append(digest(self.digests[-1], [pair.key for pair in fresh], replaced))
                self._new.append(fresh)
                _take_in(current, fresh)
            self.lengths[write] = len(self._new)
        self.current = current  # the pairs that hold in the end, by id

    def __len__(self) -> int:
        return len(self._new)

    def steps(self, since: int = 0) -> Iterator[tuple[int, Step]]:
        """The steps after the first ``since`` of them, with the number of steps that are done then."""
        current: dict[str, Pair] = {}
        for done, fresh in enumerate(self._new, start=1):
            before = dict(current) if done > since else {}
            _take_in(current, fresh)
            if done > since:
                old = tuple(pair for pair_id, pair in before.items() if pair_id in current)
                yield done, Step(fresh, old, derive(self.digests[done], "write"))


def _take_in(current: dict[str, Pair], fresh: Iterable[Pair]) -> None:
    for pair in fresh:
        current.pop(pair.supersedes or "", None)
        current[pair.id] = pair


def digest(*parts: object) -> str:
    """sha256 (hex) of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
