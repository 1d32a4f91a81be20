"""Memory policies behind one protocol (:class:`tmem.agent.rollout.MemoryPolicy`), and agents that have them.

All get the same pieces of the same stream, the same model and decoding, and the same answer prompt; they differ in
what they keep and in what an answer sees of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from tmem.agent.agent import Agent
from tmem.agent.prompts import PROMPTS, PromptSet
from tmem.agent.rollout import MemoryPolicy
from tmem.errors import UsageError
from tmem.fastweights import Recipe
from tmem.model import Engine, Model, Sampling
from tmem.policies.ablations import GoldExplicit, GoldFull, GoldPairs, GoldRag, GoldText, RawText, SummaryText
from tmem.policies.amem import AMem
from tmem.policies.lora import Lora
from tmem.policies.plain import Full, Nothing, Tail
from tmem.policies.rag import Rag
from tmem.policies.summary import Mem1, MemAgent
from tmem.policies.weights import Lookup, Pairs, Weights, WeightsAndFull, WeightsAndPairs, WeightsAndRag

_ALL: tuple[type[MemoryPolicy], ...] = (
    *(Nothing, Tail, Full, MemAgent, Mem1, AMem, Rag),
    *(Pairs, Lookup, Weights, WeightsAndPairs, WeightsAndRag, WeightsAndFull, Lora),
)
_ABLATIONS: tuple[type[MemoryPolicy], ...] = (
    *(GoldPairs, GoldText, GoldExplicit, GoldRag, GoldFull),
    *(RawText, SummaryText),
)
MEMORIES = {policy.name: policy for policy in _ALL}
ABLATIONS = {policy.name: policy for policy in _ABLATIONS}


class Changes(TypedDict, total=False):
    """What :func:`make_agent` may be told; each as in :class:`~tmem.agent.rollout.AgentConfig`."""

    prompts: PromptSet
    policy: type[MemoryPolicy]
    budget: int
    question_known: bool
    write_tail: bool
    seed: int
    building: Sampling
    answering: Sampling
    grammar: bool
    extractions: int
    top_k: int
    whole_units: bool
    write_once: bool
    retriever: Callable[[Sequence[str]], Any] | None
    keep_deltas: bool
    at_once: int
    engine: Engine | None
    strict: bool


def make_agent(model: Model, recipe: Recipe | None = None, memory: str = "tmem", **changes: Unpack[Changes]) -> Agent:
    """The agent that a model's own settings describe, with the named memory and ``changes`` to it.

    Raises :class:`UsageError` for an unknown memory.
    """
    policy = MEMORIES.get(memory) or ABLATIONS.get(memory)
    if policy is None:
        raise UsageError(f"unknown memory '{memory}': there are {', '.join([*MEMORIES, *ABLATIONS])}")
    settings = model.settings
    prompts = PROMPTS[settings.prompts]
    known = prompts.question_known if settings.question_known is None else settings.question_known
    agent = Agent(model, recipe or model.recipe(), prompts, policy, settings.budget, known)
    return replace(agent, **changes)


__all__ = ["ABLATIONS", "MEMORIES", "make_agent"]
