"""A model's head alone: from the last hidden states to logits, in the model's own way."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from tmem.fastweights.sites import decoder_name


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
        self._model = _with(model, decoder_name(model).split("."), self._given)

    def __call__(self, hidden: Tensor) -> Tensor:
        self._given.hidden = hidden[None]
        try:
            tokens = torch.zeros((1, len(hidden)), dtype=torch.long, device=hidden.device)
            logits: Tensor = self._model(input_ids=tokens, use_cache=False).logits[0]
            return logits
        finally:
            del self._given.hidden


def _with(module: nn.Module, path: list[str], stub: nn.Module) -> nn.Module:
    """A shallow copy of ``module`` that has ``stub`` at ``path``; all else is shared."""
    view = copy.copy(module)
    view.__dict__["_modules"] = dict(module._modules)
    child = module._modules[path[0]]
    assert child is not None
    view._modules[path[0]] = stub if len(path) == 1 else _with(child, path[1:], stub)
    return view
