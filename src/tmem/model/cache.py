"""Keys and values of a batch that grows by a token a step and loses rows as they finish."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

KeysValues = tuple[Tensor, Tensor]
ROOM = 128  # positions by which a layer's store grows


class RoomyLayer(DynamicLayer):
    """A layer's keys and values with room for more, so that a step writes its own token and copies nothing else."""

    _stores: list[Any]  # keys and values, (N, heads, room, D) each

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        seen = self.get_seq_length()
        now = seen + key_states.shape[-2]
        if not self.is_initialized or now > self._stores[0].shape[-2]:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            grown: list[Any] = [x.new_empty(*x.shape[:2], now + ROOM, x.shape[-1]) for x in (key_states, value_states)]
            if seen:
                grown[0][:, :, :seen], grown[1][:, :, :seen] = self.keys, self.values
            self._stores = grown
        keys, values = self._stores
        keys[:, :, seen:now], values[:, :, seen:now] = key_states, value_states
        self.keys, self.values = keys[:, :, :now], values[:, :, :now]
        return self.keys, self.values

    def take(self, keys: Tensor, values: Tensor, seen: int) -> None:
        """Make these stores its own, (N, heads, room, D) each, of which ``seen`` positions are filled."""
        self.lazy_initialization(keys, values)
        self._stores = [keys, values]
        self.keys, self.values = keys[:, :, :seen], values[:, :, :seen]

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, each at its place or from one behind all of them: nothing new is allocated."""
        seen, count = self.get_seq_length(), len(indices)
        for place, row in enumerate(indices.tolist()):
            if place != row:
                for store in self._stores:
                    store[place, :, :seen] = store[row, :, :seen]
        self._stores = [store[:count] for store in self._stores]
        self.keys, self.values = (store[:, :, :seen] for store in self._stores)

    def narrow(self, width: int) -> None:
        """Keep the last ``width`` positions."""
        drop = self.get_seq_length() - width
        self._stores = [store[:, :, drop:] for store in self._stores]
        self.keys, self.values = (store[:, :, :width] for store in self._stores)


def empty_cache(config: PretrainedConfig) -> DynamicCache:
    """A cache for this model, with roomy layers where its layers keep everything (not a window or a state)."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def keeps_everything(cache: DynamicCache) -> bool:
    """True if all layers hold keys and values of every position: such caches can be cut and joined."""
    return all(type(layer) is RoomyLayer for layer in cache.layers)


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


def joined(parts: Sequence[DynamicCache], config: PretrainedConfig) -> DynamicCache:
    """The rows of several caches as one, in their order; shorter ones are padded on the left."""
    if len(parts) == 1:
        return parts[0]
    layers = zip(*(filter(None, contents(part)) for part in parts), strict=True)  # by layer: its part of every cache
    pairs = (([keys for keys, _ in own], [values for _, values in own]) for own in layers)
    return cache_of(config, pairs, max(part.get_seq_length() for part in parts))
