"""Memories of something else than extracted pairs: what extraction and pairs are worth (paper, ablations)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tmem.agent.extraction import Extraction, parse
from tmem.agent.prompts import NO_MEMORY
from tmem.agent.rollout import Rollout, Steps
from tmem.agent.trajectory import Action, Write
from tmem.errors import UsageError
from tmem.fastweights import Example
from tmem.policies.weights import Pairs, Weights, WeightsAndFull, WeightsAndPairs, WeightsAndRag
from tmem.texts import said

PIECE = 256  # tokens of one example of running text


class _Gold(Weights):
    """A memory of the pairs that the benchmark knows to be told, unit by unit: its extraction never errs."""

    question_aware = False

    def extract(self, context: str, units: Sequence[int]) -> Steps[Extraction]:
        yield from ()
        rollout, read = self.rollout, set(units)
        pairs = [{"instruction": q, "output": a} for q, a, unit in rollout.episode.gold if unit in read]
        text = json.dumps(pairs, ensure_ascii=False)
        rollout.trajectory.actions.append(Action("extract", (), (), (), text, "json", len(rollout.trajectory.writes)))
        return parse(text)


class GoldPairs(_Gold):
    """In the weights alone."""

    name = "gold"


class GoldText(_Gold, Pairs):
    """As text alone: the control."""

    name = "gold:pairs"


class GoldExplicit(_Gold, WeightsAndPairs):
    """In the weights, with those that fit the question as text."""

    name = "gold+explicit"


class GoldRag(_Gold, WeightsAndRag):
    """In the weights, with the notes that fit the question as text."""

    name = "gold+rag"


class GoldFull(_Gold, WeightsAndFull):
    """In the weights, with the whole history as text."""

    name = "gold+full"


class RawText(Weights):
    """The raw text itself, by next-token prediction."""

    name = "tmem:text"
    question_aware = False

    def __init__(self, rollout: Rollout) -> None:
        if rollout.agent.recipe.fresh is not None:
            raise UsageError(f"{self.name} is trained on running text, not on pairs: choose the recipe sgd or paper")
        super().__init__(rollout)
        self.written: list[Example] = []

    def observe(self, units: Sequence[int]) -> Steps[None]:
        yield from self._train(self.rollout.text(units), units)

    def _train(self, text: str, units: Sequence[int]) -> Steps[None]:
        """Write a text in pieces, each after a bare prompt; earlier pieces are rehearsed as the recipe says."""
        rollout = self.rollout
        whole = rollout.model.example("", text)
        ids = whole.answer_ids[:-1]  # the end of a turn comes after the last piece only
        new = [
            Example(whole.prompt_ids, ids[start : start + PIECE], label=f"piece {start // PIECE}")
            for start in range(0, len(ids), PIECE)
        ]
        account = yield from rollout.write(new, self.written)
        rollout.trajectory.writes.append(
            Write(len(rollout.trajectory.actions) - 1, tuple(units), len(ids), "ok", [], [], account)
        )
        if account.applied:
            self.written += new

    def size(self) -> dict[str, int]:
        return {"tokens": sum(len(example.answer_ids) for example in self.written)}


class SummaryText(RawText):
    """A free summary of each trigger context, by next-token prediction."""

    name = "tmem:summary"
    question_aware = True

    def observe(self, units: Sequence[int]) -> Steps[None]:
        rollout = self.rollout
        prompt = rollout.prompt(rollout.agent.prompts.update(NO_MEMORY, rollout.text(units), rollout.question))
        name = len(rollout.trajectory.writes)
        [done] = yield from rollout.say("update", [prompt], [name], rollout.model.settings.max_new_tokens_memory)
        yield from self._train(said(done.text), units)
