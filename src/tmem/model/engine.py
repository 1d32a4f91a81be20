"""Generating for many memories at once, behind one small protocol.

A request names its own memory, seed and limits, so what it gets does not depend on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Protocol

from tmem.fastweights import Delta, FastWeights
from tmem.model.grammar import PairsGrammar
from tmem.model.load import Model
from tmem.model.prefill import Prefill
from tmem.model.request import Completion, Request
from tmem.model.stream import Stream


class Engine(Protocol):
    """Anything that can generate: the loop below, or a server that takes one adapter per request."""

    def generate(
        self,
        requests: Sequence[Request],
        delta: Delta | None = None,
        fast: FastWeights | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """One completion per request, in their order. ``progress`` gets the number finished so far."""
        ...


class HFEngine:
    """A decode loop over transformers' own models and caches.

    ``max_tokens_per_batch`` bounds rows x (longest prompt + longest answer), and so the size of the cache.
    What prompts begin with alike is read once; ``remember``: so many tokens of it stay for later calls (after a write,
    only the layers that see Delta read them again), at the cost of their keys and values.
    """

    def __init__(self, model: Model, max_tokens_per_batch: int = 32_768, remember: int = 0) -> None:
        self.model = model
        self.max_tokens_per_batch = max_tokens_per_batch
        self._prefill = Prefill(model, remember)

    def stream(self, fast: FastWeights | None = None) -> Stream:
        """A batch that requests may join at any time; their memories are all of ``fast``."""
        return Stream(self.model, self._prefill, lambda: self._grammar, fast, self.max_tokens_per_batch)

    @cached_property
    def _grammar(self) -> PairsGrammar:
        vocab = self.model.hf.get_output_embeddings().weight.shape[0]
        return PairsGrammar(self.model.tokenizer, vocab, self.model.stop_ids)

    def generate(
        self,
        requests: Sequence[Request],
        delta: Delta | None = None,
        fast: FastWeights | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """See :class:`Engine`. ``fast`` is the fast weights that ``delta`` belongs to.

        Raises :class:`UsageError` for a request that cannot work, such as one longer than the model's window,
        and :class:`DeltaError` for a memory that is not there.
        """
        stream = self.stream(fast)
        stream.add(requests, [delta] * len(requests))
        completions: dict[int, Completion] = {}
        while ended := stream.step():
            for number, completion in ended:
                completions[number] = completion
                if progress is not None:
                    progress(len(completions))
        return [completions[number] for number in range(len(requests))]
