"""A base model in bfloat16: B stays float32, and what is computed differs from float32 by rounding alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tmem.fastweights import write
from tmem.model import HFEngine, Model, Request, cache, load


@pytest.fixture(scope="module")
def both(checkpoint: Callable[[str], Path]) -> tuple[Model, Model]:
    """The same weights in float32 and bfloat16; both have the rounded ones."""
    half = load(checkpoint("qwen3"), device="cpu", dtype="bfloat16")
    full = load(checkpoint("qwen3"), device="cpu", dtype="bfloat16")
    full.hf.float()
    return full, half


def test_a_write_on_bfloat16_weights(both: tuple[Model, Model]) -> None:
    full, half = both
    written = []
    for model in both:
        recipe = model.recipe("paper", lr=0.05)
        fast, told = model.fast(recipe), [model.example(f"what is {name} ?", "green tea") for name in "abc"]
        assert all(value.dtype == torch.float32 for value in fast.zeros(1).b.values())
        replayed, [account] = write(fast, fast.zeros(1), [told], recipe, [0], replay=model.replay(recipe))
        plain, _ = write(fast, fast.zeros(1), [told], recipe, [0])
        assert account.applied and account.new_loss[-1] < account.new_loss[0]
        assert all(value.dtype == torch.float32 and value.abs().max() > 0 for value in replayed.b.values())
        written.append((replayed, plain))
    assert half.replay(half.recipe("paper")).exact
    (exact, _), (replayed, plain) = written
    for name, value in exact.b.items():
        scale = float(value.norm())
        assert float((replayed.b[name] - value).norm()) < 0.1 * scale  # bfloat16 has three digits
        assert float((replayed.b[name] - plain.b[name]).norm()) < 0.1 * scale
    assert full.hf.dtype == torch.float32 and half.hf.dtype == torch.bfloat16


def test_generating_with_memories_on_bfloat16_weights(both: tuple[Model, Model]) -> None:
    """A shared beginning, joined batches and one request alone give the same texts as far as bfloat16 can tell."""
    _, half = both
    fast = half.fast(half.recipe("paper"))
    delta = fast.zeros(2)
    for value in delta.b.values():
        value[1] = 0.02
    text = tuple(5 + number % 40 for number in range(80))
    wanted = [Request((*text, 7 + row, 9), row % 2, 3) for row in range(4)]
    together = HFEngine(half, remember=200).generate(wanted, delta, fast)
    alone = [HFEngine(half).generate([request], delta, fast)[0] for request in wanted]
    for one, other in zip(together, alone, strict=True):
        assert one.logprobs[0] == pytest.approx(other.logprobs[0], abs=0.1)


def test_a_beginning_is_read_in_float32_and_copied_as_it_was(both: tuple[Model, Model]) -> None:
    _, half = both
    stream = HFEngine(half).stream()
    text = tuple(5 + number % 40 for number in range(80))
    stream.add([Request((*text, 7 + row), None, 3) for row in range(18)], [None] * 18)
    stream._let_in()
    assert stream._cache is not None
    layer = stream._cache.layers[0]
    assert isinstance(layer, cache.BegunLayer)
    assert layer.beginning[0].dtype == torch.float32 and layer.keys.dtype == torch.bfloat16
    for part, beginning, own in zip(layer.rows([81])[0], layer.beginning, (layer.keys, layer.values), strict=True):
        assert part.dtype == torch.bfloat16
        assert torch.equal(part[0, :, :80].float(), beginning[0]) and torch.equal(part[0, :, 80:], own[0, :, -1:])
