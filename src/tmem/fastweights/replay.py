"""The layers below the first adapted one never see Delta: run them once, and only the tail for every Delta.

Trunk layers are replaced, not sliced away: the tail is the same decoder, called with the original tokens, in
which the trunk's layers hand on what was stored. So layer indices, masks, positions and embedding scaling stay as the
model wrote them. Two more things are spared: the first adapted layer's attention does not see Delta either (its
feed-forward block does), and the last layer is needed only at the positions whose logits are asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from tmem.errors import ModelError
from tmem.fastweights.target_modules import decoder, decoder_name, view_with
from tmem.seeds import generator

WHERE = (
    "mlp",
    "self_attn.q_proj",
    "self_attn.o_proj",
    "self_attn.dense",
)  # of the last layer: works at each position on its own


NOTHING = "tmem_nothing"  # the name of an attention that gives zeros


@dataclass
class _Passing:
    """What is handed between a pass and its stand-ins; all None between passes."""

    hidden: Tensor | None = None  # (N, T, hidden), what enters the first adapted layer
    attended: Tensor | None = None  # (N, T, hidden), what its attention gave
    picked: Tensor | None = None  # (N, A), the positions that the last layer is needed at


class _Skip(nn.Module):
    """A layer that does nothing."""

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return hidden


class _Enter(nn.Module):
    """The first adapted layer at the end of the trunk: keeps what it is given, and runs what must run before Delta."""

    def __init__(self, passing: _Passing, layer: nn.Module | None) -> None:
        super().__init__()
        self.passing, self.layer = passing, layer

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.passing.hidden = hidden
        if self.layer is not None:
            self.layer(hidden, *args, **kwargs)
        return hidden


class _Leave(_Enter):
    """The first adapted layer at the start of the tail: takes what was stored."""

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        assert self.layer is not None
        result: Tensor = self.layer(self.passing.hidden, *args, **kwargs)
        return result


class _Attend(nn.Module):
    """An attention that keeps what it gives."""

    def __init__(self, passing: _Passing, attention: nn.Module) -> None:
        super().__init__()
        self.passing, self.attention = passing, attention

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        result = self.attention(*args, **kwargs)
        self.passing.attended = result[0]
        return result


class _Attended(nn.Module):
    """An attention that gives what was stored."""

    def __init__(self, passing: _Passing) -> None:
        super().__init__()
        self.passing = passing

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor | None, None]:
        return self.passing.attended, None


class _Where(nn.Module):
    """A module that works at each position on its own, run where it is needed; zeros elsewhere."""

    def __init__(self, passing: _Passing, module: nn.Module) -> None:
        super().__init__()
        self.passing, self.module = passing, module

    def forward(self, x: Tensor) -> Tensor:
        picked = self.passing.picked
        if picked is None:
            whole: Tensor = self.module(x)
            return whole
        y: Tensor = self.module(x.gather(1, picked[..., None].expand(-1, -1, x.shape[-1])))  # (N, A, out)
        places = picked[..., None].expand(-1, -1, y.shape[-1])
        return y.new_zeros(*x.shape[:2], y.shape[-1]).scatter(1, places, y)


def _no_attention(module: nn.Module, query: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, None]:
    """An attention function of transformers that gives zeros, (N, T, heads, D)."""
    return torch.zeros_like(query.transpose(1, 2)), None


AttentionInterface.register(NOTHING, _no_attention)


class TailReplay:
    """Trunk once, tail many times. Shares the model's weights; what :meth:`trunk` gives is valid until these change.

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
        self.exact = False
        # The most that can be spared, else less: families differ in what their layers consist of.
        for attention, where in ((True, True), (True, False), (False, False)):
            self._passing = _Passing()
            self._picks = where
            if first_layer > 0 and self._build(layers, attention, where) and self.check():
                self.exact = True
                break

    def _build(self, layers: nn.ModuleList, attention: bool, where: bool) -> bool:
        """Make both views; False if this model has no such parts."""
        before: nn.Module | None = None
        after, last = layers[self.first_layer], layers[-1]
        if attention:
            if not isinstance(getattr(after, "self_attn", None), nn.Module):
                return False
            before = view_with(after, ["self_attn"], _Attend(self._passing, after.self_attn))  # type: ignore[arg-type]
            before = view_with(before, ["mlp"], _Skip())
        if where:
            for path in WHERE:
                part = _part(last, path)
                if part is not None:
                    last = view_with(last, path.split("."), _Where(self._passing, part))
        if after is layers[-1]:
            after = last
        if attention:
            after = view_with(after, ["self_attn"], _Attended(self._passing))
        below, above = layers[: self.first_layer], list(layers[self.first_layer + 1 :])
        if above:
            above[-1] = last
        skips = [_Skip()] * len(above)
        trunk = nn.ModuleList([*below, _Enter(self._passing, before), *skips])
        tail = nn.ModuleList([*[_Skip()] * len(below), _Leave(self._passing, after), *above])
        self._trunk = view_with(decoder(self.model), ["layers"], trunk)
        self._tail = view_with(self.model, [*decoder_name(self.model).split("."), "layers"], tail)
        self._filler = decoder(self._tail)
        if where and last is not after and hasattr(last.self_attn, "config"):
            # Of the last layer only keys and values are wanted.
            quiet: Any = copy.copy(last.self_attn)
            quiet.config = copy.deepcopy(quiet.config)
            quiet.config._attn_implementation = NOTHING
            self._filler = view_with(self._filler, ["layers", str(len(layers) - 1), "self_attn"], quiet)
        return True

    @torch.no_grad()
    def trunk(self, input_ids: Tensor, attention_mask: Tensor | None, cache: Any = None) -> Tensor:
        """What enters the tail, (N, T, some multiple of hidden), without gradients.

        A ``cache`` gets the keys and values of every layer whose attention does not see Delta.
        """
        try:
            self._trunk(
                input_ids=input_ids,
                attention_mask=attention_mask,
                use_cache=cache is not None,
                past_key_values=cache,
            )
            hidden, attended = self._passing.hidden, self._passing.attended
            assert hidden is not None
            return hidden if attended is None else torch.cat([hidden, attended], -1)
        finally:
            self._passing.hidden = self._passing.attended = None

    @torch.no_grad()
    def entering(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The hidden states that enter the tail, (N, T, hidden); by the whole model where it cannot be cut.

        Without any layer below the tail, those in the model's middle: embeddings know nothing of their neighbours.
        """
        if self.exact:
            return self.trunk(input_ids, attention_mask)[..., : self.width]
        layer = self.first_layer or len(decoder(self.model).layers) // 2  # type: ignore[arg-type]
        how: dict[str, Any] = {"use_cache": False, "output_hidden_states": True}
        states: Tensor = decoder(self.model)(input_ids=input_ids, attention_mask=attention_mask, **how).hidden_states[
            layer
        ]
        return states

    def logits(self, stored: Tensor | None, input_ids: Tensor, attention_mask: Tensor, keep: Tensor) -> Tensor:
        """Logits (K, V) at the K true positions of ``keep`` (N, T), from what :meth:`trunk` gave for them.

        ``stored`` None (or a model that failed the check) means the whole model.
        """
        if stored is None or not self.exact:
            return plain_logits(self.model, input_ids, attention_mask, keep)
        with self._passes(stored, picked(keep) if self._picks and not keep.all(1).any() else None):
            return plain_logits(self._tail, input_ids, attention_mask, keep)

    @torch.no_grad()
    def fill(self, stored: Tensor, input_ids: Tensor, cache: Any) -> None:
        """Put the keys and values of the layers that :meth:`trunk` left out into ``cache``, for unpadded rows."""
        nothing = input_ids.new_zeros(len(input_ids), 1) if self._picks else None
        with self._passes(stored, nothing):
            self._filler(input_ids=input_ids, past_key_values=cache, use_cache=True)

    def check(self) -> bool:
        """True if trunk and tail give what the plain forward gives, padded left or right.

        Bit for bit; where the last layer runs at fewer positions, to rounding: its products have other shapes then.
        """
        device = next(self.model.parameters()).device
        vocabulary = decoder(self.model).get_input_embeddings().weight.shape[0]  # type: ignore[operator]
        ids = torch.randint(vocabulary, (3, 12), generator=generator("replay check")).to(device)
        mask = torch.ones_like(ids)
        mask[0, :4], mask[1, -4:] = 0, 0
        few = mask.bool() & (torch.arange(12, device=device) % 3 == 1)
        with evaluating(self.model), torch.no_grad():
            plain = plain_logits(self.model, ids, mask, mask.bool())
            try:
                stored = self.trunk(ids, mask)
                with self._passes(stored, None):
                    same = torch.equal(plain_logits(self._tail, ids, mask, mask.bool()), plain)
                with self._passes(stored, picked(few)):
                    part = plain_logits(self._tail, ids, mask, few)
            except torch.OutOfMemoryError:
                raise
            except Exception:  # whatever a foreign architecture makes of stand-ins: not like this
                return False
        return same and float((part - plain[few[mask.bool()]]).abs().max()) <= rounding(plain)

    @contextmanager
    def _passes(self, stored: Tensor, where: Tensor | None) -> Iterator[None]:
        passing, width = self._passing, self.width
        passing.hidden, passing.picked = stored[..., :width], where
        passing.attended = stored[..., width:] if stored.shape[-1] > width else None
        try:
            yield
        finally:
            passing.hidden = passing.attended = passing.picked = None

    @property
    def width(self) -> int:
        """Of a hidden state."""
        width: int = decoder(self.model).get_input_embeddings().weight.shape[1]  # type: ignore[operator]
        return width


def picked(keep: Tensor) -> Tensor:
    """The positions of ``keep`` (N, T), in order: (N, A) for the largest count A; other positions make up the rest."""
    most = int(keep.sum(1).max())
    return keep.int().argsort(dim=1, descending=True, stable=True)[:, :most]


def first_places(keep: Tensor) -> Tensor:
    """Which of the positions that :func:`picked` gives for ``keep`` are its own: (N, A) bool."""
    counts = keep.sum(1, keepdim=True)
    return torch.arange(int(counts.max()), device=keep.device) < counts


def _part(layer: nn.Module, path: str) -> nn.Module | None:
    part: Any = layer
    for name in path.split("."):
        part = getattr(part, name, None)
    return part if isinstance(part, nn.Module) else None


def plain_logits(model: nn.Module, input_ids: Tensor, attention_mask: Tensor, keep: Tensor) -> Tensor:
    """Logits (K, V) at the K true positions of ``keep`` (N, T): only these go through the head."""
    logits: Tensor = model(
        input_ids=input_ids, attention_mask=attention_mask, use_cache=False, logits_to_keep=keep
    ).logits
    return logits


def rounding(logits: Tensor) -> float:
    """How far other logits may be from these where only the shapes of products differ."""
    # 64 eps are a hundred thousandth of the largest logit in float32, but half of it in bfloat16.
    units = 64 if logits.dtype == torch.float32 else 8
    return units * torch.finfo(logits.dtype).eps * float(logits.abs().max())


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


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No base parameter asks for gradients inside; their flags come back afterwards."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
