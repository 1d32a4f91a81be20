"""Products of a few rows with a model's weights on a CPU, as decoding makes them: what a step costs is reading weights.

Weights that float16 holds can be read from a packed copy, half of the bytes, by FBGEMM (https://github.com/pytorch/FBGEMM),
which torch brings along on x86. Inputs, sums and results stay float32. A row's product has the same bits there whatever
rows are beside it.

Where many rows share a step, products bound it. ``bfloat16`` lets processors that multiply it do so then, by oneDNN, at
twice the rate: inputs and results are rounded to its eight bits, sums inside are float32. The head's are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from tmem.model import onednn

Product = Callable[[Tensor], Tensor]  # (N, in) to (N, out), both float32; what it gives belongs to the caller
Weights = Literal["float32", "float16", "bfloat16"]  # what decoding reads
SMALL = 2**16  # numbers in a weight from which on the packed copy is sooner
LARGE = 2**18  # from which on oneDNN is sooner than what torch chooses, with any few rows
MANY = 8  # rows from which on products in bfloat16 are sooner than by the copy in float16
MOST = torch.finfo(torch.float16).max
# A checkpoint in bfloat16 keeps every number from 2^-17 to this one; smaller ones are moved by at most 2^-25.
HELD = (torch.float16, torch.bfloat16)


@cache
def available() -> bool:
    """True if this torch multiplies packed weights on this processor."""
    try:
        _packed(torch.eye(4), None)(torch.ones(1, 4))
    except (RuntimeError, AttributeError):  # a build for another processor, or a torch that dropped it
        return False
    return True


def native() -> bool:
    """True if this processor multiplies bfloat16 itself, and torch lets it."""
    return onednn.AVAILABLE and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def product(linears: Sequence[nn.Linear], weights: Weights) -> Product:
    """The product with linear layers that read the same input, (N, in), their results side by side.

    ``float16``: by a copy in that type, if the weights are large enough to gain by it. ``bfloat16``: many rows in that
    type where the processor has it, few rows by the copy in float16.
    """
    if weights != "float32" and sum(own.weight.numel() for own in linears) >= SMALL:
        bias = None
        if any(own.bias is not None for own in linears):
            bias = torch.cat(
                [own.weight.new_zeros(len(own.weight)) if own.bias is None else own.bias for own in linears]
            )
        few = _packed(torch.cat([own.weight for own in linears]), bias)
        return _rounded(linears, bias, few) if weights == "bfloat16" and native() else few
    each = [_plain(own.weight, own.bias) for own in linears]
    return each[0] if len(each) == 1 else lambda x: torch.cat([own(x) for own in each], 1)


def _plain(weight: Tensor, bias: Tensor | None) -> Product:
    if not onednn.AVAILABLE or weight.numel() < LARGE:
        return lambda x: linear(x, weight, bias)
    by_onednn: Any = torch.ops.mkldnn._linear_pointwise.default
    return lambda x: by_onednn(x, weight, bias, "none", [], "")


def _packed(weight: Tensor, bias: Tensor | None) -> Product:
    copy = torch.ops.quantized.linear_prepack_fp16(weight, bias)
    by_fbgemm: Any = torch.ops.quantized.linear_dynamic_fp16.default
    return lambda x: by_fbgemm(x, copy)


def _rounded(linears: Sequence[nn.Linear], bias: Tensor | None, few: Product) -> Product:
    """Products in bfloat16 of many rows, by a copy that the first of them makes; ``few`` has the others."""
    by_onednn: Any = torch.ops.mkldnn._linear_pointwise.default
    copy: Tensor | None = None

    def times(x: Tensor) -> Tensor:
        nonlocal copy
        if len(x) < MANY:
            return few(x)
        if copy is None:
            rounded = torch.cat([own.weight.detach().bfloat16() for own in linears])
            copy = torch.ops.mkldnn._reorder_linear_weight(rounded, 2 * MANY)
        y: Tensor = by_onednn(x.bfloat16(), copy, None, "none", [], "").float()
        return y if bias is None else y.add_(bias)

    return times
