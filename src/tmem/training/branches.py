"""One text, many prompts about it: each in a branch of its own, so that one pass over the text supervises them all.

A row is a prefix and branches. Every branch sees the prefix and itself, at the positions it would have alone: it is
taught as it would be as a text of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AttentionInterface, PreTrainedModel


@dataclass
class Row:
    """Token ids of a prefix and of its branches; a branch is (prompt ids, answer ids)."""

    prefix: list[int]
    branches: list[tuple[list[int], list[int]]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.prefix) + sum(len(prompt) + len(answer) for prompt, answer in self.branches)


def window(hf: PreTrainedModel) -> int | None:
    """How many tokens the narrowest layer sees, None for all: the masks made here are for layers that see all."""
    config: Any = hf.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and set(kinds) <= {"full_attention"}:
        return None
    found = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((width for width in found if width), default=None)


@dataclass
class Batch:
    """Rows side by side. ``mask`` (N, 1, T, T) says who sees whom; ``targets`` belong to ``keep`` (N, T)."""

    input_ids: Tensor
    position_ids: Tensor
    mask: Tensor
    keep: Tensor
    targets: Tensor


def collate(rows: list[Row], pad: int) -> Batch:
    """Right-padded tensors of some rows."""
    n, t = len(rows), max(len(row) for row in rows)
    input_ids = torch.full((n, t), pad)
    position_ids = torch.zeros(n, t, dtype=torch.long)
    segment = torch.full((n, t), -1)
    keep = torch.zeros(n, t, dtype=torch.bool)
    targets: list[int] = []
    for i, row in enumerate(rows):
        ids, positions, segments = list(row.prefix), list(range(len(row.prefix))), [0] * len(row.prefix)
        for number, (prompt, answer) in enumerate(row.branches, start=1):
            # A position predicts the next token: from the prompt's last to the answer's last but one.
            keep[i, len(ids) + len(prompt) - 1 : len(ids) + len(prompt) + len(answer) - 1] = True
            targets += answer
            length = len(prompt) + len(answer)
            ids += prompt + answer
            positions += range(len(row.prefix), len(row.prefix) + length)
            segments += [number] * length
        input_ids[i, : len(ids)] = torch.tensor(ids)
        position_ids[i, : len(ids)] = torch.tensor(positions)
        segment[i, : len(ids)] = torch.tensor(segments)
    same = segment[:, :, None] == segment[:, None, :]
    mask = (same | (segment == 0)[:, None, :]) & torch.ones(t, t, dtype=torch.bool).tril()
    return Batch(input_ids, position_ids, mask[:, None], keep, torch.tensor(targets))


def plain_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **kwargs: Any
) -> tuple[Tensor, None]:
    """Attention written out, in the type of the products: for training in bf16 on a CPU, where torch's fused backward
    takes 2 to 4 times as long, and for scores that are capped, as Gemma 2's, which fused kernels cannot do.

    Shapes: query (N, H, T, D); key and value (N, H_kv, T, D); mask (N, 1, T, T), True where seen.
    """
    groups, device = query.shape[1] // key.shape[1], query.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else query.dtype
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    bias = torch.zeros_like(attention_mask, dtype=dtype).masked_fill_(~attention_mask, -1e4)
    with torch.autocast(device, enabled=False):  # which would compute the softmax in float32
        scores = (query * kwargs["scaling"]).to(dtype) @ key.to(dtype).transpose(-1, -2)  # (N, H, T, T)
        if cap := kwargs.get("softcap"):
            scores = (scores / cap).tanh() * cap
        weights = scores.add_(bias).softmax(-1)
        return (weights @ value.to(dtype)).transpose(1, 2), None


AttentionInterface.register("plain", plain_attention)


def states(decoder: Callable[..., Any], batch: Batch, device: str | torch.device) -> Tensor:
    """What the decoder makes of a batch where an answer's token comes next: (K, H)."""
    hidden: Tensor = decoder(
        input_ids=batch.input_ids.to(device),
        position_ids=batch.position_ids.to(device),
        attention_mask=batch.mask.to(device),
        use_cache=False,
    ).last_hidden_state  # (N, T, H)
    return hidden[batch.keep.to(device)]


def loss_of(
    decoder: Callable[..., Any], head: Callable[[Tensor], Tensor], batch: Batch, device: str, dtype: torch.dtype
) -> Tensor:
    """Mean cross entropy over the answer tokens, computed in ``dtype``; the weights may be in float32."""
    with torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        logits = head(states(decoder, batch, device))  # (K, V)
    return cross_entropy(logits.float(), batch.targets.to(device))


def fastest_dtype(device: str) -> torch.dtype:
    """bfloat16 on a GPU and on CPUs that multiply it in hardware, else float32 (there bfloat16 is 40 times slower)."""
    in_hardware = device == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if in_hardware else torch.float32
