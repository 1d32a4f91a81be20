"""Generating for many memories at once, behind one small protocol.

A request names its own memory, seed and limits, so what it gets does not depend on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel

from tmem.fastweights import Delta, FastWeights
from tmem.model.grammar import Grammar
from tmem.model.load import Model
from tmem.model.prefill import Prefill
from tmem.model.request import Completion, Request
from tmem.model.stream import Stream

AT_LEAST = 32_768  # tokens of a batch where nothing is known about the room


def bytes_of_a_token(hf: PreTrainedModel) -> int:
    """What the keys and values of one token take in all layers."""
    config: Any = hf.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * int(config.num_hidden_layers * heads * width) * hf.dtype.itemsize


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

    ``max_tokens_per_batch`` bounds rows x (longest prompt + longest answer), and so the size of the cache; None: as
    many as a quarter of a GPU's free memory holds (joining copies them), and 32,768 on a CPU.
    What prompts begin with alike is read once; ``remember``: so many tokens of it stay for later calls (after a write,
    only the layers that see Delta read them again), at the cost of their keys and values.
    """

    def __init__(self, model: Model, max_tokens_per_batch: int | None = None, remember: int = 0) -> None:
        self.model = model
        self.max_tokens_per_batch = max_tokens_per_batch
        self._prefill = Prefill(model, remember)

    def stream(self, fast: FastWeights | None = None, at_once: bool = False) -> Stream:
        """A batch that requests may join at any time; their memories are all of ``fast``."""
        room = self.max_tokens_per_batch or self._fitting()
        return Stream(self.model, self._prefill, lambda: self._grammar, fast, room, at_once)

    def _fitting(self) -> int:
        """Tokens of a batch that there is room for now."""
        device = self.model.device
        if device.type != "cuda" or not self._prefill.joins:  # which is read in one pass
            return AT_LEAST
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, and not used
        return max(AT_LEAST, (torch.cuda.mem_get_info(device)[0] + held) // 4 // bytes_of_a_token(self.model.hf))

    @cached_property
    def _grammar(self) -> Grammar:
        vocab = self.model.hf.get_output_embeddings().weight.shape[0]
        return Grammar(self.model.tokenizer, vocab, self.model.stop_ids)

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
