"""A larger model that starts as a trained smaller one: what the small one learned is not learned twice.

The smaller model's weights become the leading block of the larger one's. What is new reads like any fresh
parameter but writes nothing yet, so both models begin with the same function (Net2Net, arXiv 1511.05641).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from tmem.errors import UsageError

# New layers go behind these: the induction circuit stays first, the adapted layers stay last.
INSERT_AFTER = 2


@torch.no_grad()
def grow_from(small: Qwen3ForCausalLM, large: Qwen3ForCausalLM) -> None:
    """Overwrite a freshly initialised ``large`` so that it computes what ``small`` computes.

    Both need the same vocabulary, head size and query heads per key-value head. Raises :class:`UsageError`
    if they do not have them, or if ``large`` is not at least as large everywhere.
    """
    a: Any = small.config
    b: Any = large.config
    same = ("vocab_size", "head_dim", "rope_parameters")
    grown = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    groups = [c.num_attention_heads // c.num_key_value_heads for c in (a, b)]
    if groups[0] != groups[1] or any(getattr(a, n) != getattr(b, n) for n in same):
        raise UsageError("a model grows only with the same vocabulary, head size, rotation and heads per group")
    if any(getattr(a, name) > getattr(b, name) for name in grown):
        raise UsageError("a model grows only into one that is at least as large everywhere")

    # With new hidden entries at zero, a root mean square over all of them is smaller by this.
    shrink = (a.hidden_size / b.hidden_size) ** 0.5
    _paste(large.model.embed_tokens.weight, small.model.embed_tokens.weight, keep_rest=False)
    _paste(large.model.norm.weight, small.model.norm.weight * shrink)
    new = b.num_hidden_layers - a.num_hidden_layers
    for index, target in enumerate(large.model.layers):
        if INSERT_AFTER <= index < INSERT_AFTER + new:
            target.self_attn.o_proj.weight.zero_()
            target.mlp.down_proj.weight.zero_()
            continue
        source = small.model.layers[index if index < INSERT_AFTER else index - new]
        for name, value in source.named_parameters():
            wide = target.get_parameter(name)
            if name.endswith("layernorm.weight"):
                _paste(wide, value * shrink)
            else:  # o_proj and down_proj write: no new rows, no new columns
                _paste(wide, value, keep_rest=not name.startswith(("self_attn.o_proj", "mlp.down_proj")))


def _paste(target: Tensor, block: Tensor, keep_rest: bool = True) -> None:
    """Put ``block`` into the leading corner of ``target``; the rest stays or becomes zero."""
    if not keep_rest:
        target.zero_()
    target[tuple(slice(0, size) for size in block.shape)] = block
