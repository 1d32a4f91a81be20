"""One step of decoding written out for models of the Llama family on a CPU: the same sums without what is around them.

For one row, transformers' forward pass takes as long outside of its products as within packed ones. Here a step is
plain functions over the weights, with Delta added at its target modules. Models are known by their class and modules;
every other one takes the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, rms_norm, scaled_dot_product_attention, silu
from transformers import (
    DynamicCache,
    LlamaForCausalLM,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
)

from tmem.model.attention import after
from tmem.model.cache import BegunLayer, RoomyLayer, begun, empty_cache, keeps_everything
from tmem.model.onednn import large_products
from tmem.model.packed import Product, Rounded, RoundedReading, Weights, native, product

FAMILY = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)
ROPES = {"default", "linear", "llama3", "yarn"}  # rotations that depend on a token's position alone
Step = Callable[[Tensor], Tensor]  # the newest token of every row (N, 1) to what comes next, logits (N, V)
Additions = dict[nn.Module, Callable[[Tensor, Tensor], Tensor]]  # by linear layer: (x, y) to y with Delta's part


def linears(hf: PreTrainedModel) -> list[nn.Linear]:
    """All linear layers of a model that is known, the head among them, and none of another."""
    model: Any = hf
    if type(model) not in FAMILY or model.device.type != "cpu" or model.dtype != torch.float32:
        return []
    config = model.config
    if config.hidden_act not in ("silu", "swish") or config.rope_parameters["rope_type"] not in ROPES:
        return []
    if not keeps_everything(empty_cache(config)):  # layers with windows
        return []
    blocks = [block for layer in model.model.layers for block in (layer.self_attn, layer.mlp)]
    found = [own for block in blocks for name, own in block.named_children() if name.endswith("_proj")]
    found.append(model.lm_head)
    return found if all(type(own) is nn.Linear for own in found) else []  # not one that somebody wrapped


@dataclass(frozen=True)
class _Layer:
    enter: tuple[Tensor, float]  # norms: weight and epsilon
    qkv: Product
    norms: tuple[Tensor, float] | None  # of queries and keys, (heads + groups, D)
    o: Product
    between: tuple[Tensor, float]
    gate: Product
    up: Product
    down: Product
    adapted: tuple[nn.Module, nn.Module, nn.Module]  # the linear layers of the last three


class Written:
    """The step of one model, with its weights as they are now. Made for a model whose :func:`linears` are not none.

    ``weights``: what its products read, if not these themselves a copy. ``done`` counts its steps.
    """

    def __init__(self, hf: PreTrainedModel, weights: Weights) -> None:
        model: Any = hf
        self.weights, self.done = weights, 0
        self._rounded = Rounded() if weights == "bfloat16" and native() else None
        self.hf, self.config, self.rotations = hf, model.config, model.model.rotary_emb
        self.table: Tensor = model.model.embed_tokens.weight
        self.layers = [self._layer(layer, weights) for layer in model.model.layers]
        # Logits rounded to bfloat16 would be a sixteenth apart.
        exact: Weights = "float16" if weights == "bfloat16" else weights
        self.last, self.head = _norm(model.model.norm), product([model.lm_head], exact)
        first = model.model.layers[0].self_attn
        self.dim = int(first.head_dim)
        self.heads, self.groups = (len(own.weight) // self.dim for own in (first.q_proj, first.k_proj))
        self.scale = float(first.scaling)

    def _layer(self, layer: Any, weights: Weights) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        norms = None
        if hasattr(attention, "q_norm"):
            dim = attention.head_dim
            both = ((attention.q_norm, attention.q_proj), (attention.k_norm, attention.k_proj))
            each = [norm.weight.expand(len(linear.weight) // dim, dim) for norm, linear in both]
            norms = torch.cat(each), attention.q_norm.variance_epsilon
        return _Layer(
            _norm(layer.input_layernorm),
            product([attention.q_proj, attention.k_proj, attention.v_proj], weights, self._rounded),
            norms,
            product([attention.o_proj], weights, self._rounded),
            _norm(layer.post_attention_layernorm),
            product([mlp.gate_proj], weights, self._rounded),
            product([mlp.up_proj], weights, self._rounded),
            product([mlp.down_proj], weights, self._rounded),
            (mlp.gate_proj, mlp.up_proj, mlp.down_proj),
        )

    def reading(self) -> AbstractContextManager[Any]:
        """Inside, the model's own forward pass makes its large products as suits its weights; all but the head's."""
        if self._rounded is None:
            return large_products(self.hf.parameters())
        return RoundedReading(self._rounded, linears(self.hf)[:-1])

    @contextmanager
    def steps(self, cache: DynamicCache, read: Sequence[int], additions: Additions) -> Iterator[Step]:
        """Steps of rows of which the cache holds ``read[i]`` tokens each; it may be used again after them."""
        seen = cache.get_seq_length()
        stores: list[Any] = cache.layers
        hidden = _Hidden(begun(cache), [seen - own for own in read])
        positions = torch.tensor(read)[:, None]  # (N, 1)
        done = 0

        def step(ids: Tensor) -> Tensor:
            nonlocal done
            x = embedding(ids[:, 0], self.table)  # (N, hidden)
            rotation = self._rotation(x, positions + done)
            done, self.done = done + 1, self.done + 1
            return self._step(x, rotation, stores, seen + done, hidden, additions)

        try:
            yield step
        finally:
            for layer in stores:
                layer.fill(seen + done - begun(cache))

    def _rotation(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """By which halves of queries and keys are multiplied, (N, 1, 1, D / 2), and their others, (N, 1, 2, D / 2)."""
        cos, sin = self.rotations(x, position_ids=positions)  # (N, 1, D), both halves alike
        half = self.dim // 2
        return cos[:, :, None, :half], torch.stack([-sin[..., :half], sin[..., :half]], 2)

    def _step(
        self,
        x: Tensor,
        rotation: tuple[Tensor, Tensor],
        stores: Sequence[RoomyLayer],
        now: int,
        hidden: _Hidden,
        additions: Additions,
    ) -> Tensor:
        n, width, dim, heads, groups = len(x), x.shape[1:], self.dim, self.heads, self.groups
        cos, sin = rotation
        first = hidden.begun
        place = now - first - 1
        bias = hidden.bias(now)
        for layer, store in zip(self.layers, stores, strict=True):
            y = layer.qkv(rms_norm(x, width, *layer.enter))  # (N, (heads + 2 groups) D)
            turned = y.narrow(1, 0, (heads + groups) * dim).view(n, heads + groups, 2, dim // 2)
            if layer.norms is not None:
                weight, epsilon = layer.norms
                turned = rms_norm(turned.view(n, -1, dim), (dim,), None, epsilon).mul_(weight).view_as(turned)
            others = turned.flip(2)
            turned = turned.mul_(cos).addcmul_(others, sin).view(n, heads + groups, dim)
            keys, values = store.room(place + 1)
            keys.select(2, place).copy_(turned.narrow(1, heads, groups))
            values.select(2, place).copy_(y.narrow(1, (heads + groups) * dim, groups * dim).view(n, groups, dim))
            keys, values = keys.narrow(2, 0, place + 1), values.narrow(2, 0, place + 1)
            query = turned.narrow(1, 0, heads)
            if isinstance(store, BegunLayer):
                query = query[:, :, None] * self.scale  # (N, heads, 1, D)
                attended = after(store.beginning, query, keys, values, hidden.shown(now))
            else:
                # The heads of a group stand where positions do, so that its keys and values are read once.
                query = query.reshape(n, groups, heads // groups, dim)
                attended = scaled_dot_product_attention(query, keys, values, bias, scale=self.scale)
            x.add_(layer.o(attended.reshape(n, heads * dim)))
            z = rms_norm(x, width, *layer.between)
            gate, up = layer.gate(z), layer.up(z)
            if layer.adapted[0] in additions:
                gate, up = additions[layer.adapted[0]](z, gate), additions[layer.adapted[1]](z, up)
            z = silu(gate, inplace=True).mul_(up)
            down = layer.down(z)
            if layer.adapted[2] in additions:
                down = additions[layer.adapted[2]](z, down)
            x.add_(down)
        return self.head(rms_norm(x, width, *self.last))

    @torch.no_grad()
    def agrees(self) -> bool:
        """True if two rows, one of them padded, get what the model's own forward pass gives."""
        ids = torch.tensor([[0, 1, 2, 1, 2], [2, 1, 1, 0, 1]])
        mask = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]])
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        model: Any = self.hf
        cache = empty_cache(self.config)
        for part in (slice(0, 4), slice(4, 5)):
            theirs = model(
                input_ids=ids[:, part],
                attention_mask=mask[:, : part.stop],
                position_ids=positions[:, part],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
        layers: list[Any] = cache.layers
        for layer in layers:
            layer.fill(4)
        with self.steps(cache, [4, 3], {}) as step:
            ours = step(ids[:, 4:])
        return float((ours - theirs).abs().max()) <= 1e-3 * float(theirs.abs().max())


class _Hidden:
    """Padding that rows have after their first ``begun`` positions; new positions are seen by all."""

    def __init__(self, begun: int, padding: Sequence[int]) -> None:
        self.begun, self._padding = begun, torch.tensor(padding)[:, None]
        self._padded = any(padding)
        self._shown = torch.empty(0, 0)

    def shown(self, width: int) -> Tensor | None:
        """What each row sees of the first ``width`` positions, (N, 1, 1, width); None: all of them."""
        if not self._padded:
            return None
        if self._shown.shape[-1] < width:
            columns = torch.arange(2 * width)[None]
            shown = (columns < self.begun) | (columns >= self.begun + self._padding)
            self._shown = shown[:, None, None]
            self._bias = torch.zeros(self._shown.shape).masked_fill_(~self._shown, float("-inf"))
        return self._shown[..., :width]

    def bias(self, width: int) -> Tensor | None:
        """The same to be added to scores."""
        return None if self.shown(width) is None else self._bias[..., :width]


def _norm(norm: Any) -> tuple[Tensor, float]:
    return norm.weight, float(norm.variance_epsilon)
