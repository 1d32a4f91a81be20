"""A head start: the first two layers begin as an induction circuit, so that copying need not be discovered.

A small model takes millions of tokens to find out how to copy from its context (docs/log.md); until then nothing
else is learned. Here layer 0 begins with heads that look one token back and note what stood there, and layer 1
with heads that look for the place whose noted token is the current one, and bring along what follows. Everything
stays trainable, and the architecture is untouched.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from tmem.seeds import generator

SCALE = 0.06  # of the embedding entries
CONSTANT = 0.5  # the first entry of every embedding: something for position heads to hold on to
LOOK_BACK_GAIN, MATCH_GAIN, COPY_GAIN = 4.0, 3.0, 3.0


@torch.no_grad()
def induction_start(model: Qwen3ForCausalLM, seed: int) -> None:
    """Overwrite the attention of layers 0 and 1 and the embeddings of a freshly initialised model, in place.

    The hidden state is laid out as [1 constant | content | note of the token before]. Needs two or more
    key-value heads and a rope base of about 1e6, which leaves half of each head's dimensions all but unrotated.
    """
    config: Any = model.config  # its numbers are typed as optional
    hidden, dim, kv_heads = config.hidden_size, config.head_dim, config.num_key_value_heads
    group = config.num_attention_heads // kv_heads
    noted = 2 * dim  # two look-back heads
    content = slice(1, hidden - noted)
    width = content.stop - content.start
    rng = generator(seed, "induction")

    embedding = model.model.embed_tokens.weight  # (V, hidden)
    embedding.normal_(0, SCALE, generator=rng)
    embedding[:, 0] = CONSTANT
    embedding[:, content.stop :] = 0
    directions: Tensor = torch.linalg.qr(torch.randn(width, width, generator=rng))[0]  # orthonormal rows

    # Layer 0: query and key are constants whose rotations agree best one token back.
    frequencies = config.rope_parameters["rope_theta"] ** (-torch.arange(3) * 2 / dim)  # (3,)
    strength = torch.tensor([0.45, 0.35, 0.2]).sqrt()
    look = [0, 1, 2, dim // 2, dim // 2 + 1, dim // 2 + 2]  # a rotated pair is (i, i + dim / 2)
    attention = model.model.layers[0].self_attn
    attention.q_norm.weight[look] = LOOK_BACK_GAIN
    attention.o_proj.weight.zero_()  # heads that share a rewritten value would add noise
    for kv in range(2):
        query, key, value, output = _head(attention, kv * group, kv, dim)
        query.zero_(), key.zero_(), output.zero_()
        query[look, 0] = torch.cat([strength * frequencies.cos(), -strength * frequencies.sin()])
        key[look[:3], 0] = strength
        value.zero_()
        value[:, content] = directions[kv * dim : (kv + 1) * dim]
        note = slice(content.stop + kv * dim, content.stop + (kv + 1) * dim)
        output[note] = SCALE * torch.eye(dim)

    # Layer 1: the current token, projected as the notes are, asks; notes answer; the content found is added.
    still = [*range(dim // 4, dim // 2), *range(3 * dim // 4, dim)]  # the slowly rotating half
    attention = model.model.layers[1].self_attn
    attention.q_norm.weight.fill_(MATCH_GAIN)
    attention.o_proj.weight.zero_()
    for kv in range(kv_heads):
        query, key, value, output = _head(attention, kv * group, kv, dim)
        query.zero_(), key.zero_(), value.zero_(), output.zero_()
        first = kv * len(still) % noted
        query[still, content] = directions[first : first + len(still)]
        for place, row in enumerate(still):
            key[row, content.stop + first + place] = 1
        carried = directions[(torch.arange(dim) + kv * dim) % width]  # (dim, width)
        value[:, content] = carried
        output[content] = COPY_GAIN * SCALE * carried.T


def _head(attention: Any, head: int, kv: int, dim: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Views of one head's query, key and value rows and of its output columns."""
    rows, kv_rows = slice(head * dim, (head + 1) * dim), slice(kv * dim, (kv + 1) * dim)
    query, key = attention.q_proj.weight[rows], attention.k_proj.weight[kv_rows]
    value, output = attention.v_proj.weight[kv_rows], attention.o_proj.weight[:, rows]
    return query, key, value, output
