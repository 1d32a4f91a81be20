"""The working context: raw text of the stream, held until it outgrows its budget.

Append-then-check, as in the paper: a whole unit (a session, a turn, a tool result) is appended; if the
joined text then *exceeds* the budget, everything held is handed out as one trigger context and the
context is cleared. A trigger context is therefore always longer than the budget: its last unit is what
took it beyond.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tmem.errors import UsageError


class WorkingContext:
    """Holds units of text until they exceed ``budget`` tokens.

    ``count`` gives the number of tokens of a text; ``joiner`` stands between two units and is counted too.
    """

    def __init__(self, budget: int, count: Callable[[str], int], joiner: str = "\n\n") -> None:
        if budget < 1:
            raise UsageError(f"a working context needs a budget of at least 1 token, not {budget}")
        self.budget = budget
        self.count = count
        self.joiner = joiner
        self.units: list[str] = []

    @property
    def text(self) -> str:
        """The joined text of the units held now ("" when there are none)."""
        return self.joiner.join(self.units)

    def append(self, unit: str) -> list[str] | None:
        """Take in one whole unit. Returns the trigger context's units if the budget is now exceeded."""
        self.units.append(unit)
        # The joined text is counted as a whole: the sum of the units' counts is not the count of their sum.
        if self.count(self.text) <= self.budget:
            return None
        full, self.units = self.units, []
        return full


@dataclass(frozen=True)
class Packed:
    """A stream cut into trigger contexts: every unit's index stands once, in a trigger or in the tail."""

    triggers: list[list[int]]
    tail: list[int]  # what is left at the end, perhaps nothing: the last working context


def pack(units: Sequence[str], budget: int, count: Callable[[str], int], joiner: str = "\n\n") -> Packed:
    """Cut a whole stream as :class:`WorkingContext` does while reading. Returns indices into ``units``."""
    context = WorkingContext(budget, count, joiner)
    triggers: list[list[int]] = []
    start = 0
    for index, unit in enumerate(units):
        if context.append(unit) is not None:
            triggers.append(list(range(start, index + 1)))
            start = index + 1
    return Packed(triggers, list(range(start, len(units))))
