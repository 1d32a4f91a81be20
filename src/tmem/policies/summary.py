"""Memories of text that is rewritten as the agent reads on: MemAgent (arXiv 2507.02259) and MEM1 (arXiv 2506.15841)."""

from __future__ import annotations

from collections.abc import Sequence

from tmem.agent.episode import Ask
from tmem.agent.prompts import NO_MEMORY
from tmem.agent.rollout import Rollout, Steps, TailUse
from tmem.policies.plain import Plain
from tmem.texts import said


class MemAgent(Plain):
    """One text, overwritten with every section; answers see the text alone.

    As published, a call is a fresh conversation of the problem, the memory and the section, and the whole reply becomes
    the memory. The sections are the agent's working contexts instead of slices of 5,000 tokens, so that all memories
    read the same pieces.
    """

    name = "memagent"
    question_aware = True
    tail: TailUse = "observed"

    def __init__(self, rollout: Rollout) -> None:
        super().__init__(rollout)
        self.memory = NO_MEMORY

    def observe(self, units: Sequence[int]) -> Steps[None]:
        rollout = self.rollout
        prompt = rollout.prompt(rollout.agent.prompts.update(self.memory, rollout.text(units), rollout.question))
        name = rollout.trajectory.triggers
        [done] = yield from rollout.say("update", [prompt], [name], rollout.model.settings.max_new_tokens_memory)
        self.memory = said(done.text)

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        yield from ()
        return [self.memory] * len(asks)

    def size(self) -> dict[str, int]:
        return {"tokens": self.rollout.model.count(self.memory)}


class Mem1(Plain):
    """For searching only: what the model thinks in a turn is its memory, since only the last turn is kept."""

    name = "mem1"
    packs = False

    def keep(self, turns: list[int]) -> list[int]:
        return turns[-1:]

    def size(self) -> dict[str, int]:
        return {"tokens": self.rollout.model.count(self.rollout.text(self.rollout.trajectory.tail))}
