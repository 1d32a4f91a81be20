"""The examples of a write, laid end to end: cut into right-padded batches, with every trunk computed once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from tmem.fastweights.recipe import Recipe
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
    stored: Tensor | None  # (N, T, ...), what enters the tail


class ExampleDataset:
    """Examples on a device, numbered as rows; with an exact ``replay``, also what enters its tail."""

    # Rows x padded length of one forward pass. A GPU wants large batches, bounded by its memory; a CPU is
    # faster while the activations stay in its cache.
    gpu_tokens: ClassVar[int] = 16_384
    cpu_tokens: ClassVar[int] = 2_048
    # Tokens of padding that cost as much as another pass: on a GPU, starting a pass takes longer than filling it.
    gpu_padding: ClassVar[int] = 4_096
    cpu_padding: ClassVar[int] = 64
    logits: ClassVar[int] = 2**28  # numbers: answer tokens x vocabulary of a pass, which exist several times over

    def __init__(
        self,
        examples: Sequence[Example],
        device: torch.device,
        replay: TailReplay | None,
        stored: Tensor | None = None,
    ):
        """``stored``: what enters the tail of all examples, if that is known."""
        self.tokens_per_forward = self.tokens_in_a_pass(device)
        self.padding = self.cpu_padding if device.type == "cpu" else self.gpu_padding
        # An example's last token is only ever predicted, never read.
        self.lengths = [len(example) - 1 for example in examples]
        self.answers = [len(example.answer_ids) for example in examples]
        self._offsets = torch.tensor([0, *map(len, examples)]).cumsum(0)[:-1]
        self._prompts = torch.tensor([len(example.prompt_ids) for example in examples])
        self._ids = torch.tensor([token for e in examples for token in (*e.prompt_ids, *e.answer_ids)], device=device)
        self.stored = stored
        if replay is not None and replay.exact and stored is None:
            self.stored = self._run_trunk(replay)

    @classmethod
    def tokens_in_a_pass(cls, device: torch.device) -> int:
        """Rows x padded length that one forward pass is to have at most."""
        return cls.cpu_tokens if device.type == "cpu" else cls.gpu_tokens

    def answers_in_a_pass(self, model: nn.Module) -> int:
        """Answer tokens that one pass is to have at most."""
        head: Any = model.get_output_embeddings()  # type: ignore[operator]
        return int(self.logits // head.weight.shape[0])

    def batch(self, rows: Sequence[int]) -> Batch:
        """The given examples as one batch, in this order."""
        index, mask, keep = self._layout(rows)
        stored = None if self.stored is None else self.stored[index]
        return Batch(self._ids[index], mask.long(), keep, self._ids[index[keep] + 1], stored)

    def passes(self, rows: Sequence[int], answers: float = math.inf) -> list[list[int]]:
        """Cut rows into forward passes of like lengths, the longest first, of at most so many answer tokens each."""
        return [[rows[place] for place in places] for places in self.cut(rows, answers)]

    def cut(self, rows: Sequence[int], answers: float = math.inf) -> list[list[int]]:
        """The same as places in ``rows``, in which a row may come more than once."""
        found: list[list[int]] = []
        longest = padding = count = 0
        for place in sorted(range(len(rows)), key=lambda place: self.lengths[rows[place]], reverse=True):
            length, own = self.lengths[rows[place]], self.answers[rows[place]]
            padding += longest - length
            count += own
            full = (found and (len(found[-1]) + 1) * longest > self.tokens_per_forward) or count > answers
            if not found or full or padding > self.padding:
                found.append([])
                longest, padding, count = length, 0, own
            found[-1].append(place)
        return found

    def _layout(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """For each position (N, T): its place in the flat store, is it real, does it predict a token of the answer."""
        chosen = torch.tensor(rows)
        lengths = torch.tensor([self.lengths[row] for row in rows])[:, None]
        positions = torch.arange(int(lengths.max()))[None]
        mask = positions < lengths
        keep = mask & (positions >= self._prompts[chosen][:, None] - 1)
        index = torch.where(mask, self._offsets[chosen][:, None] + positions, 0)  # padding: any token
        device = self._ids.device
        return index.to(device), mask.to(device), keep.to(device)

    def _run_trunk(self, replay: TailReplay) -> Tensor:
        """What enters the tail of all examples, (all tokens, ...)."""
        store: Tensor | None = None
        for rows in self.passes(range(len(self.lengths))):
            index, mask, _ = self._layout(rows)
            stored = replay.trunk(self._ids[index], mask.long())  # (N, T, ...)
            if store is None:
                store = stored.new_zeros(len(self._ids), stored.shape[-1])  # last tokens stay so
            store[index[mask]] = stored[mask]
        assert store is not None
        return store


def unusable(example: Example, recipe: Recipe) -> str | None:
    """Why ``recipe`` does not train on this pair; ``None`` if it does."""
    if len(example) > recipe.max_tokens:
        return f"{len(example)} tokens are more than the recipe's {recipe.max_tokens}"
    if not example.prompt_ids or not example.answer_ids:
        return "the prompt or the answer has no tokens"
    return None
