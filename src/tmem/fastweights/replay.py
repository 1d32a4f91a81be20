"""The layers below the first adapted one never see Delta: run them once, and only the tail for every Delta.

Trunk layers are replaced, not sliced away: the tail is the same decoder, called with the original tokens, in
which the trunk's layers hand on the stored hidden state. So layer indices, masks, positions and embedding
scaling stay as the model wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tmem.errors import ModelError
from tmem.fastweights.sites import decoder, decoder_name, view_with
from tmem.seeds import generator


class _Skip(nn.Module):
    """A layer that does nothing."""

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return hidden


class _Keep(nn.Module):
    """A layer that keeps what it was given (hidden set to None before) or hands on what was put into it."""

    hidden: Tensor | None = None

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.hidden is None:
            self.hidden = hidden
        return self.hidden


class TailReplay:
    """Trunk once, tail many times. Shares the model's weights; hidden states are valid until these change.

    ``exact`` is the result of :meth:`check`, made at once; where it is False, :meth:`logits` runs the whole
    model. ``first_layer``: the lowest layer of the tail. Raises :class:`ModelError` if there is no such
    layer.
    """

    def __init__(self, model: nn.Module, first_layer: int):
        layers = decoder(model).layers
        assert isinstance(layers, nn.ModuleList)
        if not 0 <= first_layer < len(layers):
            raise ModelError(
                f"the tail cannot start at layer {first_layer}: the model has layers 0 to {len(layers) - 1}"
            )
        self.model = model
        self.first_layer = first_layer
        self._kept, skip = _Keep(), _Skip()
        above = len(layers) - first_layer
        path = decoder_name(model).split(".")
        self._trunk = view_with(
            decoder(model), ["layers"], nn.ModuleList([*layers[:first_layer], self._kept, *[skip] * (above - 1)])
        )
        self._tail = view_with(
            model, [*path, "layers"], nn.ModuleList([*[skip] * (first_layer - 1), self._kept, *layers[first_layer:]])
        )
        self.exact = first_layer > 0 and self.check()  # no layer below the tail: nothing to save

    @torch.no_grad()
    def trunk(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states that enter the tail, (N, T, hidden), without gradients."""
        try:
            self._trunk(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
            assert self._kept.hidden is not None
            return self._kept.hidden
        finally:
            self._kept.hidden = None

    def logits(self, hidden: Tensor | None, input_ids: Tensor, attention_mask: Tensor, keep: Tensor) -> Tensor:
        """Logits (K, V) at the K true positions of ``keep`` (N, T), from what :meth:`trunk` gave for them.

        ``hidden`` None (or a model that failed the check) means the whole model.
        """
        if hidden is None or not self.exact:
            return plain_logits(self.model, input_ids, attention_mask, keep)
        return self._tail_logits(hidden, input_ids, attention_mask, keep)

    def check(self) -> bool:
        """True if trunk and tail give bit for bit what the plain forward gives, padded left or right."""
        device = next(self.model.parameters()).device
        vocabulary = decoder(self.model).get_input_embeddings().weight.shape[0]  # type: ignore[operator]
        ids = torch.randint(vocabulary, (3, 12), generator=generator("replay check")).to(device)
        mask = torch.ones_like(ids)
        mask[0, :4], mask[1, -4:] = 0, 0
        with evaluating(self.model), torch.no_grad():
            plain = plain_logits(self.model, ids, mask, mask.bool())
            try:
                hidden = self.trunk(ids, mask)
                return torch.equal(self._tail_logits(hidden, ids, mask, mask.bool()), plain)
            except Exception:  # whatever a foreign architecture makes of stand-ins: not like this
                return False

    def _tail_logits(self, hidden: Tensor, input_ids: Tensor, attention_mask: Tensor, keep: Tensor) -> Tensor:
        self._kept.hidden = hidden
        try:
            return plain_logits(self._tail, input_ids, attention_mask, keep)
        finally:
            self._kept.hidden = None


def plain_logits(model: nn.Module, input_ids: Tensor, attention_mask: Tensor, keep: Tensor) -> Tensor:
    """Logits (K, V) at the K true positions of ``keep`` (N, T): only these go through the head."""
    logits: Tensor = model(
        input_ids=input_ids, attention_mask=attention_mask, use_cache=False, logits_to_keep=keep
    ).logits
    return logits


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every module's own mode comes back afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
