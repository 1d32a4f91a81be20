"""Choosing tokens: voices mixed, and draws that depend on nothing but a row's own logits and random number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mix(text: Tensor, memory: Tensor, bare: Tensor, weights: Tensor) -> Tensor:
    """Log-probabilities (N, V) from the logits of each voice: their logarithms by ``weights`` (N, 3), normalised."""
    voices = torch.stack([logits.log_softmax(-1) for logits in (text, memory, bare)], 1)  # (N, 3, V)
    return (voices * weights[:, :, None]).sum(1).log_softmax(-1)


def sample(
    logits: Tensor,
    temperature: Sequence[float],
    top_k: Sequence[int],
    top_p: Sequence[float],
    uniform: Sequence[float],
) -> Tensor:
    """One token per row, (N,), from logits (N, V) float32 on the CPU.

    The inverse of the cumulative distribution at ``uniform`` in [0, 1), in the order of the vocabulary.
    Filters per row: ``top_k`` most probable tokens (0: all), then the fewest of them that hold ``top_p`` of
    what is left (1: all).
    """
    probs = (logits / torch.tensor(temperature)[:, None]).softmax(dim=-1)
    filtered = [i for i in range(len(probs)) if top_k[i] or top_p[i] < 1]
    if filtered:
        probs[filtered] = _filter(probs[filtered], [top_k[i] for i in filtered], [top_p[i] for i in filtered])
    cumulative = probs.double().cumsum(dim=-1)
    target = torch.tensor(uniform, dtype=torch.float64)[:, None] * cumulative[:, -1:]
    # The first token whose cumulative probability exceeds the target: never a forbidden one, which adds
    # nothing.
    tokens = torch.searchsorted(cumulative, target, right=True)[:, 0]
    return tokens.clamp_max(probs.shape[1] - 1)


def _filter(probs: Tensor, top_k: Sequence[int], top_p: Sequence[float]) -> Tensor:
    """Probabilities (N, V) with those outside top-k and then top-p set to zero; not renormalised."""
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    ranks = torch.arange(probs.shape[1])
    k = torch.tensor([k or probs.shape[1] for k in top_k])[:, None]
    ordered = ordered.masked_fill(ranks >= k, 0.0)
    before = ordered.double().cumsum(dim=-1) - ordered  # probability of the more likely tokens
    ordered = ordered.masked_fill(before >= torch.tensor(top_p)[:, None] * ordered.sum(-1, keepdim=True), 0.0)
    return torch.zeros_like(probs).scatter(1, order, ordered)
