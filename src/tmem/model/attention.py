"""Attention on CPUs: transformers' ``sdpa`` without the copies it makes there, and beginnings that many rows share.

Where several heads of queries share keys and values, transformers repeats these wherever there is a mask, because some
GPUs need that. On a CPU the same kernel reads them as they are and gives the same bits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "tmem_cpu"
SCORES = 2**24  # of queries with keys that are held at a time where there is a beginning: 64 MB


def use_cpu_attention(hf: PreTrainedModel) -> None:
    """Let a model that lies on a CPU and works with ``sdpa`` work with the attention below."""
    if hf.device.type == "cpu" and hf.config._attn_implementation == "sdpa":
        hf.set_attn_implementation(NAME)


def cpu_attention(
    module: nn.Module,
    query: Tensor,  # (N, heads, T, D)
    key: Tensor,  # (N, groups, S, D), with what its cache calls its ``beginning``, if it has one
    value: Tensor,
    attention_mask: Tensor | None,  # (N, 1, T, S) with the beginning's positions first, True where it is seen
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers: (N, T, heads, D)."""
    beginning = getattr(key, "beginning", None)
    if beginning is not None:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        return after(beginning, query.float() * scale, key, value, attention_mask).transpose(1, 2).contiguous(), None
    elsewhere = query.device.type != "cpu"  # a model that was moved
    special = elsewhere or kwargs.get("dropout") or kwargs.get("softcap") or kwargs.get("position_bias") is not None
    # Gradients would be summed in another order: other bits in every memory that is rebuilt.
    if special or attention_mask is None or query.shape[2] == 1 or torch.is_grad_enabled():
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return result
    seen = scaled_dot_product_attention(query, key, value, attention_mask, scale=scaling, enable_gqa=True)
    return seen.transpose(1, 2).contiguous(), None


def after(beginning: tuple[Tensor, Tensor], query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """What scaled queries see of a beginning, (1 or N, groups, P, D) and float32 as they are, and of their own rows."""
    rows = max(1, SCORES * len(query) // (query[..., 0].numel() * (beginning[0].shape[2] + key.shape[2])))
    seen = []
    for start in range(0, len(query), rows):
        own = slice(start, start + rows)
        first = beginning if len(beginning[0]) == 1 else (beginning[0][own], beginning[1][own])
        seen.append(_few_after(first, query[own], key[own], value[own], None if mask is None else mask[own]))
    return torch.cat(seen)


def _few_after(
    beginning: tuple[Tensor, Tensor], query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> Tensor:
    (n, heads, t, dim), groups, width = query.shape, key.shape[1], beginning[0].shape[2]
    each = heads // groups * t
    shared = len(beginning[0]) == 1  # then the queries of all rows are one product
    q = query.reshape(n, groups, each, dim)

    def fold(x: Tensor) -> Tensor:  # (N, groups, each, .) to (1, groups, N * each, .)
        return x.transpose(0, 1).reshape(1, groups, n * each, -1) if shared else x

    def unfold(x: Tensor) -> Tensor:
        return x.view(groups, n, each, -1).transpose(0, 1) if shared else x

    before = unfold(fold(q) @ beginning[0].mT)  # (N, groups, each, P)
    after = q @ key.float().mT  # (N, groups, each, S)
    if mask is not None:
        hidden = ~mask[:, :, None, :, width:]  # (N, 1, 1, T, S)
        after = after.view(n, groups, -1, t, key.shape[2]).masked_fill(hidden, float("-inf")).view_as(after)
    share = torch.cat([before, after], -1).softmax(-1)
    result = unfold(fold(share[..., :width]) @ beginning[1]) + share[..., width:] @ value.float()
    return result.reshape(n, heads, t, dim).to(value.dtype)


AttentionInterface.register(NAME, cpu_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
