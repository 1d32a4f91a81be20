"""Reading prompts into a cache. What many prompts begin with is read once, and by the layers below Delta once for all.

Prompts with a common beginning are a group. The layers that never see Delta read the beginning once for the group, the
tail reads it once per memory, and the whole model reads what is left of each prompt.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from tmem.fastweights import Delta, FastWeights, TailReplay
from tmem.fastweights.dataset import ExampleDataset
from tmem.fastweights.delta import Addition, active
from tmem.fastweights.replay import rounding
from tmem.model.attention import NAME as CPU_ATTENTION
from tmem.model.attention import SCORES
from tmem.model.cache import ROOM, KeysValues, begun, begun_cache, cache_of, contents, empty_cache, keeps_everything
from tmem.model.load import Model

ALIKE = 0.75  # prompts of one pass are at least this part of the longest: the rest would be padding
SHARING = 8  # times as much as else is read in one pass by those that share a beginning
LEAST = 64  # tokens that a common beginning needs
WORTH = 1024  # tokens that reading it once must spare: three forward passes take the place of one

Prompt = tuple[int, ...]


@dataclass(frozen=True)
class Memories:
    """The memories that a call works with; ``rows`` below are numbered as in ``fast.active``, -1 is none."""

    delta: Delta | None
    fast: FastWeights | None

    def active(self, rows: Sequence[int]) -> AbstractContextManager[None]:
        """Inside, row i of every batch uses the memory ``rows[i]``."""
        return active(self.fast, self.delta, rows)

    def additions(self, rows: Sequence[int]) -> dict[nn.Module, Addition]:
        """The same for who calls the adapted layers otherwise."""
        return {} if self.fast is None else self.fast.additions(self.delta, rows)


@dataclass
class Filled:
    """Prompts that were read: a cache of N rows with padding on the left, and what the model says next."""

    cache: DynamicCache
    logits: Tensor  # (N, V)


@dataclass(frozen=True)
class _Read:
    """A text as read by the layers that do not see Delta: all layers if there are no memories."""

    ids: Prompt
    keys: list[KeysValues]  # by layer, (1, heads, P, D) each
    stored: Tensor | None  # (1, P, ...), what enters the tail

    def cut(self, length: int) -> _Read:
        keys = [(k[:, :, :length], v[:, :, :length]) for k, v in self.keys]
        return _Read(self.ids[:length], keys, None if self.stored is None else self.stored[:, :length])

    def copy(self) -> _Read:
        """The same in memory of its own: a part keeps the whole that it was cut from."""
        keys = [(k.clone(), v.clone()) for k, v in self.keys]
        return _Read(self.ids, keys, None if self.stored is None else self.stored.clone())


class Prefill:
    """Reads prompts for one model. ``remember``: tokens of beginnings that :meth:`trim` leaves for later calls.

    What is remembered does not depend on Delta: after a write, only the tail reads the same context again.
    """

    def __init__(self, model: Model, remember: int = 0) -> None:
        self.model, self.remember = model, remember
        self._kept: OrderedDict[tuple[int | None, Prompt], _Read] = OrderedDict()  # the newest last
        self._versions: list[tuple[int, int]] = []
        self.joins = keeps_everything(empty_cache(model.hf.config))  # caches can be cut and joined

    def groups(self, prompts: Sequence[Prompt], fast: FastWeights | None) -> list[int]:
        """How many tokens of each prompt are to be read as a common beginning with others; 0: none."""
        lengths = [0] * len(prompts)
        if self.joins and (fast is None or self._tail(fast).exact):
            for rows, length in _common(prompts):
                if length >= LEAST and (self.remember or (len(rows) - 1) * length >= WORTH):
                    for row in rows:
                        lengths[row] = length
        return lengths

    @torch.no_grad()
    def fill(
        self, prompts: Sequence[Prompt], common: Sequence[int], rows: Sequence[int], memories: Memories
    ) -> list[Filled]:
        """Read prompts, the first ``common[i]`` tokens of each as a beginning; equal ones must lie together.

        What was read comes in parts, the rows of all in order; in one part where caches cannot be joined.
        """
        parts: list[Filled] = []
        start = 0
        while start < len(prompts):
            beginning = prompts[start][: common[start]]
            end = start + 1
            while end < len(prompts) and prompts[end][: common[end]] == beginning:
                end += 1
            if self.joins:
                end = start + self._in_a_pass(prompts[start:end], len(beginning))
            own = slice(start, end)
            if beginning:
                parts.append(self._shared(prompts[own], beginning, rows[own], memories))
            else:
                parts.append(self._plain(prompts[own], rows[own], memories))
            start = end
        return parts

    def _in_a_pass(self, prompts: Sequence[Prompt], common: int) -> int:
        """How many of these prompts, from the first, are about as long and not too much for one pass.

        Those with a beginning in ``common`` are cut only for want of room: each pass reads it by the tail again.
        """
        most = ExampleDataset.tokens_in_a_pass(self.model.device) * (SHARING if common else 1)
        short = long = len(prompts[0]) - common
        for count, prompt in enumerate(prompts):
            short, long = min(short, len(prompt) - common), max(long, len(prompt) - common)
            if (not common and short < ALIKE * long) or (count and (count + 1) * long > most):
                return count
        return len(prompts)

    def _plain(self, prompts: Sequence[Prompt], rows: Sequence[int], memories: Memories) -> Filled:
        """Every prompt for itself."""
        cache = empty_cache(self.model.hf.config)
        return self._finish(prompts, [0] * len(prompts), cache, 0, rows, memories)

    def _shared(self, prompts: Sequence[Prompt], beginning: Prompt, rows: Sequence[int], memories: Memories) -> Filled:
        """A common beginning once, then the rest of every prompt.

        Where its keys and values cannot be held once for all rows, they are copied into each. The rests are one block
        then, as long as the longest of them: a prompt with a shorter one reads some of its beginning again, so that
        padding stands on the left alone.
        """
        read = self._read(beginning, memories.fast)
        different = sorted(set(rows))
        tails = self._read_tails(read, different, memories)
        width = len(beginning)
        block = max(len(prompt) for prompt in prompts) - width
        if self._hold_once(width, block):
            cache = begun_cache([*read.keys, *_stacked_by_row(tails, [different.index(row) for row in rows])])
            return self._finish(prompts, [width] * len(prompts), cache, width, rows, memories)
        taken = [max(0, len(prompt) - block) for prompt in prompts]
        own = [[*read.keys, *tails[different.index(row)]] for row in rows]  # by row and layer

        def spread(layer: int, which: int) -> list[Tensor]:
            return [layers[layer][which][:, :, :count] for layers, count in zip(own, taken, strict=True)]

        layers = ((spread(layer, 0), spread(layer, 1)) for layer in range(len(own[0])))
        cache = cache_of(self.model.hf.config, layers, width, more=block + ROOM)
        return self._finish(prompts, taken, cache, width, rows, memories)

    def _hold_once(self, width: int, block: int) -> bool:
        """True if rests of up to ``block`` tokens are read beside their beginning of ``width``, which is not copied.

        The attention for that keeps all scores of a row: short rests are quicker so, long ones are not.
        """
        config = self.model.hf.config
        on_cpu = config._attn_implementation == CPU_ATTENTION and self.model.device.type == "cpu"
        if not on_cpu or block > width:
            return False
        scores = config.get_text_config().num_attention_heads * block * (width + block)
        return bool(scores <= SCORES) and self._can_hold

    @cached_property
    def _can_hold(self) -> bool:
        """True if rows beside a beginning give what they give alone: the model's layers use their caches as usual."""
        ids = torch.arange(8)[:, None] % 3 + torch.arange(2)[None]  # (8, 2)
        prompts = [tuple(ids[:4, 0].tolist() + ids[4:, row].tolist())[: 8 - row] for row in range(2)]
        memories = Memories(None, None)
        plain = self._finish(prompts, [0, 0], empty_cache(self.model.hf.config), 0, [-1, -1], memories).logits
        cache = empty_cache(self.model.hf.config)
        self._finish([prompts[0][:4]], [0], cache, 0, [-1], memories)
        layers = [own for own in contents(cache) if own is not None]
        try:
            held = self._finish(prompts, [4, 4], begun_cache(layers), 4, [-1, -1], memories).logits
        except Exception:  # whatever a foreign layer that looks into its cache makes of it: not like this
            return False
        # A beginning that is not seen changes much more than this, and how a deep model rounds much less.
        return float((held - plain).abs().max()) <= max(1e-3 * float(plain.abs().max()), rounding(plain))

    def _finish(
        self,
        prompts: Sequence[Prompt],
        taken: Sequence[int],
        cache: DynamicCache,
        width: int,
        rows: Sequence[int],
        memories: Memories,
    ) -> Filled:
        """Read what is left of prompts after ``taken[i]`` tokens, for which the cache has ``width`` positions."""
        device = self.model.device
        rests = [prompt[count:] for prompt, count in zip(prompts, taken, strict=True)]
        block = max(map(len, rests))
        pads = [block - len(rest) for rest in rests]
        ids = torch.tensor([[0] * pad + list(rest) for pad, rest in zip(pads, rests, strict=True)], device=device)
        total = torch.tensor([len(prompt) for prompt in prompts], device=device)[:, None]
        columns, padding = torch.arange(width + block, device=device)[None], width + block - total
        mask = shown(columns, begun(cache), padding)  # (N, T)
        with memories.active(rows):
            output = self.model.hf(
                input_ids=ids,
                attention_mask=None if bool(mask.all()) else mask,
                position_ids=(columns - padding)[:, width:].clamp_min(0),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        return Filled(cache, output.logits[:, -1])

    def trim(self) -> None:
        """Drop what is not to be remembered, the oldest first."""
        self._drop(0)

    def _drop(self, least: int) -> None:
        while len(self._kept) > least and sum(len(ids) for _, ids in self._kept) > self.remember:
            self._kept.popitem(last=False)

    def _read(self, beginning: Prompt, fast: FastWeights | None) -> _Read:
        """Read a beginning by all layers that do not see Delta, going on from what is remembered."""
        first = None if fast is None else fast.target_modules[0].layer
        versions = [(parameter.data_ptr(), parameter._version) for parameter in self.model.hf.parameters()]
        if versions != self._versions:  # theta_0 was trained further, moved or turned into another type
            self._kept.clear()
            self._versions = versions
        if (first, beginning) in self._kept:
            self._kept.move_to_end((first, beginning))
            return self._kept[first, beginning]
        known = _Read((), [], None)
        for key in [key for key in self._kept if key[0] == first]:
            length = _shared_length(key[1], beginning)
            if length >= LEAST and length > len(known.ids):
                self._kept.move_to_end(key)
                known = self._kept[key].cut(length)
        read = known.copy() if len(known.ids) == len(beginning) else self._read_on(known, beginning, fast)
        self._kept[first, beginning] = read
        self._drop(1)
        return read

    def _read_on(self, known: _Read, text: Prompt, fast: FastWeights | None) -> _Read:
        """Read ``text``, of which the beginning is known."""
        ids = torch.tensor([text[len(known.ids) :]], device=self.model.device)
        layers = (([keys], [values]) for keys, values in known.keys)
        cache = cache_of(self.model.hf.config, layers, len(known.ids), more=ids.shape[1])
        stored = None
        if fast is None:
            self.model.hf(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        else:
            stored = self._tail(fast).trunk(ids, None, cache)
            if known.stored is not None:
                stored = torch.cat([known.stored, stored], 1)
        return _Read(text, [own for own in contents(cache) if own is not None], stored)

    def _read_tails(self, read: _Read, rows: Sequence[int], memories: Memories) -> list[list[KeysValues]]:
        """By memory: keys and values of the layers that see Delta, (1, heads, P, D) each."""
        if read.stored is None or memories.fast is None:
            return [[] for _ in rows]
        tails: list[list[KeysValues]] = []
        ids = torch.tensor([read.ids], device=self.model.device)
        most = max(1, ExampleDataset.tokens_in_a_pass(self.model.device) // len(read.ids))
        for start in range(0, len(rows), most):
            part = rows[start : start + most]
            cache = empty_cache(self.model.hf.config)
            with memories.active(part):
                self._tail(memories.fast).fill(read.stored.expand(len(part), -1, -1), ids.expand(len(part), -1), cache)
            layers = [own for own in contents(cache) if own is not None]
            tails += [[(keys[i : i + 1], values[i : i + 1]) for keys, values in layers] for i in range(len(part))]
        return tails

    def _tail(self, fast: FastWeights) -> TailReplay:
        return self.model.replay_from(fast.target_modules[0].layer)


def shown(columns: Tensor, begun: int, padding: Tensor) -> Tensor:
    """The mask of a cache's ``columns`` (1, T) for rows with ``padding`` (N, 1) after their first ``begun``: (N, T)."""
    return ((columns < begun) | (columns >= begun + padding)).long()


def _stacked_by_row(tails: Sequence[Sequence[KeysValues]], which: Sequence[int]) -> list[KeysValues]:
    """From (1, heads, P, D) by memory and layer to (N, heads, P, D) by layer; of one memory as they are."""
    if len(tails) == 1:
        return list(tails[0])
    return [
        (torch.cat([layer[i][0] for i in which]), torch.cat([layer[i][1] for i in which]))
        for layer in zip(*tails, strict=True)
    ]


def _common(prompts: Sequence[Prompt]) -> list[tuple[list[int], int]]:
    """Cut prompts into groups (rows, length of their common beginning) where that spares most.

    The last token of a prompt is never part of it: something must be left to read.
    """
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    alike = [_shared_length(prompts[a], prompts[b]) for a, b in pairwise(order)]
    groups: list[tuple[list[int], int]] = []
    for place, row in enumerate(order):
        most = len(prompts[row]) - 1
        if groups:
            rows, length = groups[-1]
            shorter = min(length, most, alike[place - 1])
            nearer_to_next = place < len(alike) and alike[place] > 2 * shorter
            if len(rows) * shorter > (len(rows) - 1) * length and shorter >= LEAST and not nearer_to_next:
                groups[-1] = ([*rows, row], shorter)
                continue
        groups.append(([row], most))
    return groups


def _shared_length(a: Prompt, b: Prompt) -> int:
    """How many tokens two prompts begin with alike."""
    low, high = 0, min(len(a), len(b))
    while low < high:  # comparing slices is quick, comparing tokens one by one is not
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
