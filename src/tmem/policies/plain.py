"""Memories that keep nothing but raw text, or nothing at all: what every other memory is measured against."""

from __future__ import annotations

from collections.abc import Sequence

from tmem.agent.episode import Ask
from tmem.agent.rollout import Rollout, Route, Steps, TailUse


class Plain:
    """A memory that takes nothing in and recalls nothing; the others override what they do differently."""

    name = ""
    learns = False
    question_aware = False
    packs = True
    tail: TailUse = "shown"
    alone = False

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout

    def observe(self, units: Sequence[int]) -> Steps[None]:
        yield from ()

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        yield from ()
        return [""] * len(asks)

    def route(self, asks: Sequence[Ask]) -> Steps[list[Route]]:
        yield from ()
        return [Route(None)] * len(asks)

    def keep(self, turns: list[int]) -> list[int]:
        return turns

    def size(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        pass


class Nothing(Plain):
    """The question alone."""

    name = "none"
    packs = False
    tail: TailUse = "dropped"


class Full(Plain):
    """The whole history in the prompt; of one that does not fit, the newest part."""

    name = "full"
    packs = False

    def size(self) -> dict[str, int]:
        return {"tokens": self.rollout.trajectory.context_tokens}


class Tail(Plain):
    """The last working context; where fast weights may take that in as well, the one that was cleared a moment ago."""

    name = "tail"

    def __init__(self, rollout: Rollout) -> None:
        super().__init__(rollout)
        self.cleared: Sequence[int] = []

    def observe(self, units: Sequence[int]) -> Steps[None]:
        yield from ()
        self.cleared = units

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        yield from ()
        return [self.rollout.raw(self.cleared) if self.rollout.agent.write_tail and not tail else ""] * len(asks)

    def size(self) -> dict[str, int]:
        return {"tokens": self.rollout.trajectory.context_tokens}
