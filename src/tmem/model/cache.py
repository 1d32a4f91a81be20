"""Keys and values of a batch that grows by a token a step and loses rows as they finish."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
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

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, in ascending order: those that stay move up, and nothing new is allocated."""
        seen, count = self.get_seq_length(), len(indices)
        for place, row in enumerate(indices.tolist()):
            if place != row:
                for store in self._stores:
                    store[place, :, :seen] = store[row, :, :seen]
        self._stores = [store[:count] for store in self._stores]
        self.keys, self.values = (store[:, :, :seen] for store in self._stores)


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


def cache_of(config: PretrainedConfig, layers: Iterable[KeysValues]) -> DynamicCache:
    """A cache that holds these keys and values, by layer."""
    cache = empty_cache(config)
    for number, (keys, values) in enumerate(layers):
        cache.update(keys, values, number)
    return cache


def joined(parts: Sequence[DynamicCache], lengths: Sequence[int], config: PretrainedConfig) -> DynamicCache:
    """The rows of several caches as one, in their order: the last ``lengths[i]`` positions of part i, padded left."""
    width = max(lengths)
    layers = zip(*(filter(None, contents(part)) for part in parts), strict=True)  # by layer: its part of every cache

    def stacked(rows: Sequence[Tensor]) -> Tensor:
        ends = [x[:, :, x.shape[2] - length :] for x, length in zip(rows, lengths, strict=True)]
        return torch.cat([F.pad(x, (0, 0, width - x.shape[2], 0)) for x in ends])

    return cache_of(config, ((stacked(k), stacked(v)) for k, v in (zip(*own, strict=True) for own in layers)))
