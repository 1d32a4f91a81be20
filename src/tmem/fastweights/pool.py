"""The examples of a write, laid end to end: cut into right-padded batches, with every trunk computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from tmem.fastweights.replay import TailReplay


@dataclass(frozen=True)
class Example:
    """One question-answer pair as tokens.

    The answer includes its end-of-turn token; ``label`` (the question) names the pair in accounts.
    """

    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    label: str = ""

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.answer_ids)


class Batch(NamedTuple):
    """Right-padded rows; ``keep`` marks the K positions whose next token is an answer token."""

    input_ids: Tensor  # (N, T)
    attention_mask: Tensor  # (N, T)
    keep: Tensor  # (N, T) bool
    targets: Tensor  # (K,) these next tokens, row by row
    hidden: Tensor | None  # (N, T, hidden), what enters the tail


class Pool:
    """Examples on a device, numbered as rows; with an exact ``replay``, also what enters its tail."""

    # Rows x padded length of one forward pass. A GPU wants large batches, bounded by its memory; a CPU is
    # faster while the activations stay in its cache.
    gpu_tokens: ClassVar[int] = 16_384
    cpu_tokens: ClassVar[int] = 2_048

    def __init__(self, examples: Sequence[Example], device: torch.device, replay: TailReplay | None):
        self.tokens_per_forward = self.cpu_tokens if device.type == "cpu" else self.gpu_tokens
        self.lengths = [len(example) for example in examples]
        self.answers = [len(example.answer_ids) for example in examples]
        self._offsets = torch.tensor([0, *self.lengths]).cumsum(0)[:-1]
        self._prompts = torch.tensor([len(example.prompt_ids) for example in examples])
        self._ids = torch.tensor([token for e in examples for token in (*e.prompt_ids, *e.answer_ids)], device=device)
        self._hidden: Tensor | None = None
        if replay is not None and replay.exact:
            self._hidden = self._run_trunk(replay)

    def batch(self, rows: Sequence[int]) -> Batch:
        """The given examples as one batch, in this order."""
        index, mask, keep = self._layout(rows)
        ids = self._ids[index]
        targets = ids[:, 1:][keep[:, :-1]]
        return Batch(ids, mask.long(), keep, targets, None if self._hidden is None else self._hidden[index])

    def _layout(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """For each position (N, T): its place in the flat store, is it real, does it predict the answer."""
        chosen = torch.tensor(rows)
        lengths = torch.tensor([self.lengths[row] for row in rows])[:, None]
        positions = torch.arange(int(lengths.max()))[None]
        mask = positions < lengths
        keep = (positions >= self._prompts[chosen][:, None] - 1) & (positions < lengths - 1)
        index = torch.where(mask, self._offsets[chosen][:, None] + positions, 0)  # padding: any token
        device = self._ids.device
        return index.to(device), mask.to(device), keep.to(device)

    def _run_trunk(self, replay: TailReplay) -> Tensor:
        """Hidden states of all examples, (all tokens, hidden), in batches of similar length."""
        by_length = sorted(range(len(self.lengths)), key=lambda row: self.lengths[row])
        store: Tensor | None = None
        while by_length:
            fitting = max(1, self.tokens_per_forward // self.lengths[by_length[-1]])
            rows, by_length = by_length[-fitting:], by_length[:-fitting]  # the longest first
            index, mask, _ = self._layout(rows)
            hidden = replay.trunk(self._ids[index], mask.long())  # (N, T, hidden)
            if store is None:
                store = hidden.new_empty(len(self._ids), hidden.shape[-1])
            store[index[mask]] = hidden[mask]
        assert store is not None
        return store
