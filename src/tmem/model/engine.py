"""Generating for many memories at once, behind one small protocol.

A request names its own memory, seed and limits, so what it gets does not depend on what else is in the batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel

from tmem.fastweights import Delta, FastWeights
from tmem.model.grammar import Grammar
from tmem.model.load import Model
from tmem.model.prefill import Prefill
from tmem.model.reader import WithReader
from tmem.model.request import Completion, Request
from tmem.model.stream import Stream

TOKENS = 32_768  # of a batch: a CPU gains nothing by more, a GPU would lose by fewer
MEMORY = Path("/proc/meminfo")


def free_memory() -> int | None:
    """Bytes of memory that programs can still have; None where the system does not say."""
    if not MEMORY.is_file():
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", MEMORY.read_text(), re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


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
        """One completion per request, in their order. ``progress`` gets the number finished so far.

        What ``reads`` is asked of the model's reader.
        """
        ...


class HFEngine:
    """A decode loop over transformers' own models and caches.

    ``max_tokens_per_batch`` bounds rows x (longest prompt + longest answer), and so the size of the cache; None: as
    many as a quarter of the free memory holds (joining copies them), on a GPU at least and on a CPU at most 32,768.
    What prompts begin with alike is read once; ``remember``: so many tokens of it stay for later calls (after a write,
    only the layers that see Delta read them again), at the cost of their keys and values.
    """

    def __init__(self, model: Model, max_tokens_per_batch: int | None = None, remember: int = 0) -> None:
        self.model = model
        self.max_tokens_per_batch = max_tokens_per_batch
        self._prefill = Prefill(model, remember)
        self._reader = None if model.reader is model else HFEngine(model.reader, max_tokens_per_batch)

    def stream(self, fast: FastWeights | None = None, at_once: bool = False) -> Stream | WithReader:
        """A batch that requests may join at any time; their memories are all of ``fast``."""
        own = self._alone(fast, at_once)
        return own if self._reader is None else WithReader(own, self._reader._alone(None, at_once))

    def _alone(self, fast: FastWeights | None, at_once: bool) -> Stream:
        room = self.max_tokens_per_batch or self._fitting()
        return Stream(self.model, self._prefill, lambda: self._grammar, fast, room, at_once)

    def _fitting(self) -> int:
        """Tokens of a batch that there is room for now."""
        device, token = self.model.device, bytes_of_a_token(self.model.hf)
        if device.type == "cpu":
            free = free_memory()
            return TOKENS if free is None else min(TOKENS, free // 4 // token)
        if device.type != "cuda" or not self._prefill.joins:  # which is read in one pass
            return TOKENS
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, and not used
        return max(TOKENS, (torch.cuda.mem_get_info(device)[0] + held) // 4 // token)

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
