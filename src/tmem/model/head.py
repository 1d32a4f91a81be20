"""A model's head alone: from the last hidden states to logits, in the model's own way."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from tmem.fastweights.target_modules import decoder, decoder_name, view_with


class _Alone(BaseModelOutputWithPast):
    """Hidden states, and None for whatever else a family's decoder gives."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class Head:
    """The model's own forward pass with its decoder left out, so that scaling and caps of logits stay as it has them.

    Shares the model's weights. ``head(hidden)``: (K, hidden) to logits (K, V).
    """

    def __init__(self, model: nn.Module) -> None:
        self._hidden: Tensor | None = None
        stack: Any = copy.copy(decoder(model))  # with its embeddings, which what is around it may ask for
        stack.forward = self._given
        self._model = view_with(model, decoder_name(model).split("."), stack)

    def _given(self, *args: Any, **kwargs: Any) -> BaseModelOutputWithPast:
        return _Alone(last_hidden_state=self._hidden)

    def __call__(self, hidden: Tensor) -> Tensor:
        self._hidden = hidden[None]
        try:
            tokens = torch.zeros((1, len(hidden)), dtype=torch.long, device=hidden.device)
            logits: Tensor = self._model(input_ids=tokens, use_cache=False).logits[0]
            return logits
        finally:
            self._hidden = None
