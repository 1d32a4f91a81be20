"""Products in bfloat16 while a write trains: rounded as they say, on any processor, and for this thread alone."""

from __future__ import annotations

import pytest
import torch
from helpers import examples, tiny
from torch import nn
from torch.nn.functional import linear

from tmem.fastweights import Basis, FastWeights, Fresh, Lesson, Recipe, TailReplay, get_recipe, rounded, write_fresh
from tmem.fastweights.rounded import NATIVE, RoundedProducts

RECIPE = Recipe(name="test", lr=0.02, rank=3, fresh=Fresh(steps=12, steps_per_pair=0, noise=0.0, held=0))


def kept(x: torch.Tensor) -> torch.Tensor:
    return x.bfloat16().float()


@pytest.mark.parametrize(
    "native", [False, pytest.param(True, marks=pytest.mark.skipif(not NATIVE, reason="no bfloat16 here"))]
)
def test_what_meets_and_what_comes_out_is_rounded_and_nothing_else(native: bool) -> None:
    layer, x = nn.Linear(256, 300).requires_grad_(False), torch.randn(2, 5, 256, requires_grad=True)
    with RoundedProducts(layer.parameters(), native):
        y = linear(x, layer.weight, layer.bias)
        other = linear(x, layer.weight + 0)  # another tensor: left alone
    gradient = torch.randn_like(y)
    [own] = torch.autograd.grad(y, x, gradient)
    exact = kept(x) @ kept(layer.weight).T
    assert y.dtype == own.dtype == torch.float32
    torch.testing.assert_close(y, kept(exact) + layer.bias, rtol=2**-7, atol=1e-3)
    torch.testing.assert_close(own, kept(kept(gradient) @ kept(layer.weight)), rtol=2**-7, atol=1e-3)
    assert not torch.equal(y, linear(x, layer.weight, layer.bias)), "outside nothing is rounded"
    assert torch.equal(other, linear(x, layer.weight))


def test_copies_are_kept_of_what_trains_and_of_nothing_else() -> None:
    layer, x = nn.Linear(256, 300).requires_grad_(False), torch.randn(5, 256)
    products = RoundedProducts(layer.parameters())
    with products, torch.no_grad():
        once = linear(x, layer.weight)
    assert not products._copies
    with products:
        again = linear(x.requires_grad_(), layer.weight)
    assert len(products._copies) == 1 and torch.equal(once, again)


def test_small_and_trained_weights_are_left_alone() -> None:
    small, trained = nn.Linear(64, 64).requires_grad_(False), nn.Linear(256, 300)
    x = torch.randn(3, 256)
    with RoundedProducts([*small.parameters(), *trained.parameters()]):
        assert torch.equal(linear(x[:, :64], small.weight), x[:, :64] @ small.weight.T)
        y = linear(x, trained.weight)
    assert torch.equal(y, linear(x, trained.weight)) and y.requires_grad


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_a_write_teaches_as_much_and_is_the_same_bits_again(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounded, "LARGE", 1)
    model = tiny(family)
    fast = FastWeights(model, Basis.from_model(model, rank=3))
    replay, pairs = TailReplay(model, fast.target_modules[0].layer), examples(4)
    assert RECIPE.fresh is not None
    rounding = RECIPE.model_copy(update={"fresh": RECIPE.fresh.model_copy(update={"products": "bfloat16"})})
    plain, [exact] = write_fresh(fast, [Lesson(pairs)], RECIPE, [7], replay)
    once, [course] = write_fresh(fast, [Lesson(pairs)], rounding, [7], replay)
    again, _ = write_fresh(fast, [Lesson(pairs)], rounding, [7], replay)
    assert once.digest(0) == again.digest(0) != plain.digest(0)
    assert course.loss[0] > 1.5 * course.loss[-1] and abs(course.loss[-1] - exact.loss[-1]) < 0.1 * exact.loss[0]


def test_a_recipe_names_it_only_where_it_rounds() -> None:
    """Memories and records of before say what they said."""
    assert get_recipe("tmem").model_dump()["fresh"]["products"] == "bfloat16"
    plain = get_recipe("tmem", **{"fresh.products": "float32"}).model_dump()
    assert "products" not in plain["fresh"]
    assert Recipe.model_validate(plain).fresh.products == "float32"  # type: ignore[union-attr]
