"""Keys and values of a batch that grows by a token a step and loses rows as they finish."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

KeysValues = tuple[Tensor, Tensor]
ROOM = 128  # positions by which a layer's store grows


class RoomyLayer(DynamicLayer):
    """A layer's keys and values with room for more, so that a step writes its own token and copies nothing else."""

    _stores: list[Any]  # keys and values, (N, heads, room, D) each

    @property
    def _filled(self) -> int:
        return 0 if self.keys is None else self.keys.shape[-2]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        seen = self._filled
        now = seen + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._stores = [x.new_empty(*x.shape[:2], now + ROOM, x.shape[-1]) for x in (key_states, value_states)]
        keys, values = self.room(now)
        keys[:, :, seen:now], values[:, :, seen:now] = key_states, value_states
        return self.fill(now)

    def room(self, now: int) -> tuple[Tensor, Tensor]:
        """Its stores, (N, heads, room, D) each, with room for at least ``now`` positions."""
        old: list[Tensor] = self._stores
        if now > old[0].shape[-2]:
            self._stores = [x.new_empty(*x.shape[:2], now + ROOM, x.shape[-1]) for x in old]
            for own, x in zip(self._stores, old, strict=True):
                own[:, :, : x.shape[-2]] = x
        keys, values = self._stores
        return keys, values

    def fill(self, now: int) -> tuple[Tensor, Tensor]:
        """Let the first ``now`` positions of its stores be its keys and values."""
        keys, values = (store[:, :, :now] for store in self._stores)
        self.keys, self.values = keys, values
        return keys, values

    def take(self, keys: Tensor, values: Tensor, seen: int) -> None:
        """Make these stores its own, (N, heads, room, D) each, of which ``seen`` positions are filled."""
        self.lazy_initialization(keys, values)
        self._stores = [keys, values]
        self.fill(seen)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, each at its place or from one behind all of them: nothing new is allocated."""
        seen = self._filled
        _move(indices, [store[:, :, :seen] for store in self._stores])
        self._stores = [store[: len(indices)] for store in self._stores]
        self.fill(seen)

    def narrow(self, width: int) -> None:
        """Keep the last ``width`` positions."""
        drop = self._filled - width
        self._stores = [store[:, :, drop:] for store in self._stores]
        self.fill(width)


class BegunLayer(RoomyLayer):
    """A layer whose rows go on from a beginning that lies beside their stores: (1 or N, heads, P, D) keys and values.

    One for all rows is held once, in float32, in which every step reads it. Rows are padded between the beginning and
    what is their own. Only :func:`tmem.model.attention.cpu_attention` can read it.
    """

    def __init__(self, beginning: KeysValues) -> None:
        super().__init__()
        self.beginning = beginning[0].float(), beginning[1].float()

    @property
    def begun(self) -> int:
        """P, the positions of the beginning."""
        return self.beginning[0].shape[2]

    def get_seq_length(self) -> int:
        return self.begun + self._filled

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        keys, values = super().update(key_states, value_states)
        keys.beginning = self.beginning  # type: ignore[attr-defined]  # the attention is given nothing else of ours
        return keys, values

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        if len(self.beginning[0]) > 1:
            _move(indices, self.beginning)
            keys, values = self.beginning
            self.beginning = keys[: len(indices)], values[: len(indices)]

    def narrow(self, width: int) -> None:
        super().narrow(width - self.begun)

    def rows(self, lengths: Sequence[int]) -> list[KeysValues]:
        """Keys and values of every row without its padding, (1, heads, length, D) each."""
        both = []
        for row, length in enumerate(lengths):
            first, own = min(row, len(self.beginning[0]) - 1), self._filled - (length - self.begun)
            keys, values = (
                torch.cat([beginning[first : first + 1].to(store), store[row : row + 1, :, own : self._filled]], 2)
                for beginning, store in zip(self.beginning, self._stores, strict=True)
            )
            both.append((keys, values))
        return both


def _move(indices: Tensor, stores: Sequence[Tensor]) -> None:
    """Put row ``indices[i]`` into the place of row i."""
    for place, row in enumerate(indices.tolist()):
        if place != row:
            for store in stores:
                store[place] = store[row]


def empty_cache(config: PretrainedConfig) -> DynamicCache:
    """A cache for this model, with roomy layers where its layers keep everything (not a window or a state)."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def keeps_everything(cache: DynamicCache) -> bool:
    """True if all layers hold keys and values of every position: such caches can be cut and joined."""
    return all(type(layer) is RoomyLayer for layer in cache.layers)


def begun_cache(layers: Sequence[KeysValues]) -> DynamicCache:
    """A cache for rows that go on from a beginning, (1 or N, heads, P, D) by layer. N of its own: may be changed."""
    cache = DynamicCache()
    cache.layers = [BegunLayer(layer) for layer in layers]
    return cache


def begun(cache: DynamicCache) -> int:
    """How many positions all rows begin with, without padding."""
    first = cache.layers[0]
    return first.begun if isinstance(first, BegunLayer) else 0


def contents(cache: DynamicCache) -> list[KeysValues | None]:
    """Keys and values by layer, (N, heads, T, D) each; None for a layer that was given nothing."""
    layers: list[Any] = cache.layers
    return [(layer.keys, layer.values) if layer.is_initialized else None for layer in layers]


def cache_of(
    config: PretrainedConfig, layers: Iterable[tuple[Sequence[Tensor], Sequence[Tensor]]], width: int, more: int = ROOM
) -> DynamicCache:
    """A cache of roomy layers that holds copies of keys and values, by layer, with room for ``more`` positions.

    They come in parts (N, heads, P, D) for the rows one after the other; a P below ``width`` is padded on the left.
    """
    cache = empty_cache(config)
    for layer, (keys, values) in zip(cache.layers, layers, strict=False):
        assert isinstance(layer, RoomyLayer)
        layer.take(_stacked(keys, width, more), _stacked(values, width, more), width)
    return cache


def _stacked(parts: Sequence[Tensor], width: int, more: int) -> Tensor:
    _, heads, _, dim = parts[0].shape
    store = parts[0].new_empty(sum(map(len, parts)), heads, width + more, dim)
    for own, part in zip(store.split([len(part) for part in parts]), parts, strict=True):
        start = width - part.shape[2]
        own[:, :, :start] = 0
        own[:, :, start:width] = part
    return store


def narrow(cache: DynamicCache, width: int) -> None:
    """Keep the last ``width`` positions: what stands before them is padding of all rows."""
    for layer in cache.layers:
        if isinstance(layer, RoomyLayer) and layer.is_initialized and layer.get_seq_length() > width:
            layer.narrow(width)


def joined(parts: Sequence[tuple[DynamicCache, Sequence[int]]], config: PretrainedConfig) -> DynamicCache:
    """The rows of several caches as one, in their order; shorter ones are padded on the left.

    With each cache come its rows' lengths in tokens. Beginnings are copied into their rows.
    """
    caches = [cache for cache, _ in parts]
    if len(caches) == 1:
        return caches[0]

    def by_layer() -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        for layers in zip(*(cache.layers for cache in caches), strict=True):
            own: list[KeysValues] = []
            for layer, (_, lengths) in zip(layers, parts, strict=True):
                own += layer.rows(lengths) if isinstance(layer, BegunLayer) else [(layer.keys, layer.values)]
            yield [keys for keys, _ in own], [values for _, values in own]

    width = max(max(lengths) if begun(cache) else cache.get_seq_length() for cache, lengths in parts)
    return cache_of(config, by_layer(), width)
