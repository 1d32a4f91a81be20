"""Rotations by length: models that rotate queries and keys by other angles where texts are long.

transformers chooses by the longest text of a batch, at every step (findings/transformers_longrope_batch.sh): a short
one would get something else beside a long one, and one that grows past the switch would read keys of other angles.
Here the model's window chooses, once and for all texts, as ``--max-model-len`` does in vLLM.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

BY_LENGTH = ("longrope", "dynamic")


def window_of(hf: PreTrainedModel) -> int:
    """The longest text for which a model was published, in tokens; with ``longrope`` up to where its angles switch.

    So far, which is also vLLM's default, texts are rotated as transformers does it, and a memory can be asked there.
    The angles for long texts are not those that short ones, most of what a memory is made of, were learned with.
    """
    config: Any = hf.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    longest = int(config.max_position_embeddings)
    if rope.get("rope_type") == "longrope":
        longest = min(longest, int(rope["original_max_position_embeddings"]))
    return longest


@torch.no_grad()
def rotate_as_longest(hf: PreTrainedModel, window: int) -> None:
    """Let every text be rotated as the longest that the window holds; what is saved of the model stays as it was."""
    module: Any
    for module in hf.modules():
        if getattr(module, "rope_type", None) in BY_LENGTH:
            last = torch.tensor([[window - 1]], device=hf.device)
            module(torch.zeros(1, device=hf.device), position_ids=last)  # chooses the angles for that length
            module.rope_type = "default"  # it chooses no others
