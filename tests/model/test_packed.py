"""Products with packed weights: float16's numbers, float32's sums, and the same bits in any batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tmem.model import packed

pytestmark = pytest.mark.skipif(not packed.available(), reason="this torch has no FBGEMM")
WIDE = 300  # numbers of an input


def layers(bias: bool, *sizes: int) -> list[nn.Linear]:
    torch.manual_seed(len(sizes))
    return [nn.Linear(WIDE, size, bias=bias and number != 1) for number, size in enumerate(sizes)]


@torch.no_grad()
@pytest.mark.parametrize("as_copy", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_layers_that_read_the_same_input(bias: bool, as_copy: bool) -> None:
    own, x = layers(bias, 400, 64, 130), torch.randn(5, WIDE)
    found = packed.product(own, as_copy)(x)
    for linear in own:
        if as_copy:
            linear.weight.copy_(linear.weight.half())
    torch.testing.assert_close(found, torch.cat([linear(x) for linear in own], 1), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_copy_holds_float16_and_is_left_alone_by_what_comes_after() -> None:
    [own] = layers(True, 400)
    own.weight[0, :4] = torch.tensor([3e-6, -3e-6, 2.0**-24, 1 + 2.0**-12])
    multiply, numbers = packed.product([own], True), own.weight.half().float()
    assert not torch.equal(numbers, own.weight)
    bias = own.bias.clone()
    own.weight.zero_(), own.bias.zero_()
    torch.testing.assert_close(multiply(torch.eye(WIDE)), numbers.mT + bias, rtol=0, atol=0)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 70), first=st.integers(0, 69), bias=st.booleans())
@torch.no_grad()
def test_a_row_has_the_same_bits_whatever_is_beside_it(rows: int, first: int, bias: bool) -> None:
    multiply, x = packed.product(layers(bias, 400), True), torch.randn(70, WIDE)
    some = x[min(first, 70 - rows) :][:rows]
    whole = multiply(x)[min(first, 70 - rows) :][:rows]
    assert torch.equal(multiply(some), whole)


@torch.no_grad()
def test_small_weights_stay_in_float32() -> None:
    own, x = layers(False, 100), torch.randn(3, WIDE)
    assert torch.equal(packed.product(own, True)(x), own[0](x))
