"""A model's head alone: from the last hidden states to logits, in the model's own way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from tmem.fastweights.sites import decoder_name, view_with


class _Given(nn.Module):
    """Stands for the decoder: hands on the hidden states that were put into it."""

    hidden: Tensor

    def forward(self, *args: Any, **kwargs: Any) -> BaseModelOutputWithPast:
        return BaseModelOutputWithPast(last_hidden_state=self.hidden)


class Head:
    """The model's own forward pass with its decoder left out, so that scaling and caps of logits stay as it has them.

    Shares the model's weights. ``head(hidden)``: (K, hidden) to logits (K, V).
    """

    def __init__(self, model: nn.Module) -> None:
        self._given = _Given()
        self._model = view_with(model, decoder_name(model).split("."), self._given)

    def __call__(self, hidden: Tensor) -> Tensor:
        self._given.hidden = hidden[None]
        try:
            tokens = torch.zeros((1, len(hidden)), dtype=torch.long, device=hidden.device)
            logits: Tensor = self._model(input_ids=tokens, use_cache=False).logits[0]
            return logits
        finally:
            del self._given.hidden
