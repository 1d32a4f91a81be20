"""What weights follow from: an ordered list of writes, and for each the pairs that are new in it.

Everything here is a pure function of the pairs that are left. No seed and no digest knows of a pair that was forgotten,
so weights trained anew without it are those of a memory that was never told it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from tmem.seeds import derive


@dataclass(frozen=True)
class Pair:
    """A pair of the ledger as training needs it; ``supersedes`` is the id of the pair whose place it takes."""

    id: str
    question: str
    answer: str
    supersedes: str | None = None

    @cached_property
    def key(self) -> str:
        """What the pair is for seeds and digests: its text, not its id."""
        return digest(self.question, self.answer)


@dataclass(frozen=True)
class Step:
    """One training run: its new pairs, and those that still hold from before, in the order in which they were told."""

    new: tuple[Pair, ...]
    old: tuple[Pair, ...]
    seed: int


class Node(Protocol):
    """A version: the version ``base`` and one more ``write``, or none."""

    @property
    def base(self) -> int | None: ...

    @property
    def write(self) -> int | None: ...


def view(nodes: Mapping[int, Node], number: int | None) -> list[int]:
    """The writes that version ``number`` consists of, in order."""
    writes = []
    while number is not None:
        node = nodes[number]
        if node.write is not None:
            writes.append(node.write)
        number = node.base
    return writes[::-1]


def version_digests(start: str, nodes: Mapping[int, Node], new: Mapping[int, Sequence[Pair]]) -> dict[int, str]:
    """What every version follows from: its digest, by number.

    One walk over all of them: a version begins with what its base consists of, and most are built on the one before.
    """
    found: dict[int, str] = {}
    history, last = History(start, (), new), None
    for number in sorted(nodes):
        node = nodes[number]
        if node.base != last:
            history = History(start, view(nodes, node.base), new)
        if node.write is not None:
            history.take(new.get(node.write, ()))
        found[number], last = history.digests[-1], number
    return found


class History:
    """A view of the ledger as training runs. ``start`` is the digest of what it begins with: base, basis, recipe.

    ``digests[i]`` stands for all that the state after ``i`` steps follows from. A write none of whose pairs is left
    takes no part.
    """

    def __init__(self, start: str, writes: Iterable[int], new: Mapping[int, Sequence[Pair]]) -> None:
        self.digests = [start]
        self.current: dict[str, Pair] = {}  # the pairs that hold in the end, by id
        self._new: list[tuple[Pair, ...]] = []
        for write in writes:
            self.take(new.get(write, ()))

    def __len__(self) -> int:
        return len(self._new)

    def take(self, new: Sequence[Pair]) -> None:
        """Go on by one write, which tells the ``new`` pairs."""
        if new:
            # Which pairs are replaced is part of what follows: later steps no longer rehearse them.
            replaced = [self.current[pair.supersedes].key for pair in new if pair.supersedes in self.current]
            self.digests.append(digest(self.digests[-1], [pair.key for pair in new], replaced))
            self._new.append(tuple(new))
            _take_in(self.current, new)

    def then(self, new: Sequence[Pair]) -> History:
        """This history and one more write; this one stays as it is."""
        longer = copy(self)
        longer.digests, longer.current, longer._new = list(self.digests), dict(self.current), list(self._new)
        longer.take(new)
        return longer

    def onwards(self, writes: Sequence[Sequence[Pair]]) -> tuple[list[History], Step]:
        """This history and, write by write, those that follow; and one training run for all of the writes."""
        found = [self]
        for new in writes:
            found.append(found[-1].then(new))
        last = found[-1]
        old = tuple(pair for pair in self.current.values() if pair.id in last.current)
        new = tuple(pair for pair in last.current.values() if pair.id not in self.current)
        return found, Step(new, old, derive(last.digests[-1], "write"))

    def steps(self, since: int = 0) -> Iterator[tuple[int, Step]]:
        """The steps after the first ``since`` of them, with the number of steps that are done then."""
        current: dict[str, Pair] = {}
        for done, fresh in enumerate(self._new, start=1):
            before = list(current.values()) if done > since else []
            _take_in(current, fresh)
            if done > since:
                old = tuple(pair for pair in before if pair.id in current)
                yield done, Step(fresh, old, derive(self.digests[done], "write"))


def _take_in(current: dict[str, Pair], fresh: Iterable[Pair]) -> None:
    for pair in fresh:
        current.pop(pair.supersedes or "", None)
        current[pair.id] = pair


def digest(*parts: object) -> str:
    """sha256 (hex) of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
