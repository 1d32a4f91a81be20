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
from torch.overrides import TorchFunctionMode

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


def product(linears: Sequence[nn.Linear], weights: Weights, rounded: Rounded | None = None) -> Product:
    """The product with linear layers that read the same input, (N, in), their results side by side.

    ``float16``: by a copy in that type, if the weights are large enough to gain by it. ``bfloat16``: many rows as
    ``rounded`` has them, few by the copy in float16.
    """
    if weights != "float32" and sum(own.weight.numel() for own in linears) >= SMALL:
        bias = None
        if any(own.bias is not None for own in linears):
            bias = torch.cat(
                [own.weight.new_zeros(len(own.weight)) if own.bias is None else own.bias for own in linears]
            )
        few = _packed(torch.cat([own.weight for own in linears]), bias)
        if weights == "float16" or rounded is None:
            return few
        matrices = [own.weight for own in linears]
        return lambda x: few(x) if len(x) < MANY else rounded.times(x, matrices, bias)
    each = [_plain(own.weight, own.bias) for own in linears]
    return each[0] if len(each) == 1 else lambda x: torch.cat([own(x) for own in each], 1)


class Rounded:
    """Products of many rows in bfloat16, by copies of weights that the first of them makes."""

    def __init__(self) -> None:
        self._copies: dict[tuple[int, ...], Tensor] = {}

    def times(self, x: Tensor, weights: Sequence[Tensor], bias: Tensor | None) -> Tensor:
        """x (..., in) with weights (out, in), side by side, and their bias in float32: (..., out) in float32."""
        key = tuple(map(id, weights))
        if key not in self._copies:
            rounded = torch.cat([weight.detach().bfloat16() for weight in weights])
            self._copies[key] = torch.ops.mkldnn._reorder_linear_weight(rounded, 2 * MANY)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x.bfloat16(), self._copies[key], None, "none", [], "").float()
        return y if bias is None else y.add_(bias)


class RoundedReading(TorchFunctionMode):
    """Inside, this thread multiplies many rows with the weights of these layers by ``rounded``: for reading prompts."""

    def __init__(self, rounded: Rounded, linears: Sequence[nn.Linear]) -> None:
        super().__init__()
        self._rounded, self._own = rounded, {id(own.weight) for own in linears if own.weight.numel() >= SMALL}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is linear and not kwargs and id(args[1]) in self._own:
            x, weight, *bias = args
            if x.numel() >= MANY * x.shape[-1]:
                return self._rounded.times(x, [weight], bias[0] if bias else None)
        return func(*args, **kwargs or {})


def _plain(weight: Tensor, bias: Tensor | None) -> Product:
    if not onednn.AVAILABLE or weight.numel() < LARGE:
        return lambda x: linear(x, weight, bias)
    by_onednn: Any = torch.ops.mkldnn._linear_pointwise.default
    return lambda x: by_onednn(x, weight, bias, "none", [], "")


def _packed(weight: Tensor, bias: Tensor | None) -> Product:
    copy = torch.ops.quantized.linear_prepack_fp16(weight, bias)
    by_fbgemm: Any = torch.ops.quantized.linear_dynamic_fp16.default
    return lambda x: by_fbgemm(x, copy)
