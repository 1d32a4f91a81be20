"""Products with large weights on CPUs, by oneDNN.

torch calls another library for products in float32. Where 4 to 48 rows meet a large matrix, oneDNN takes up to a third
less time, up to half for a vocabulary; with more rows as much, with fewer, on some processors, more
(benchmarks/onednn.py). It adds in another order, so writes, which are to give the same bits again, do without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

LARGE = 2**20  # numbers in a weight from which on it is worth it
ROWS = 4  # of the other factor, from which on it is


def large_products(weights: Iterable[Tensor]) -> AbstractContextManager[Any]:
    """Inside, this thread computes by oneDNN where that is sooner. Nothing happens if no weight is such that it is."""
    return _OneDNN() if AVAILABLE and any(map(_gains, weights)) else nullcontext()


class _OneDNN(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is linear and not kwargs and _sooner(*args):
            return _product(*args)
        return func(*args, **kwargs or {})


AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _gains(weight: Tensor) -> bool:
    plain = type(weight) in (Tensor, torch.nn.Parameter)  # not one that is quantised
    return plain and weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.numel() >= LARGE


def _sooner(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """True if the product is sooner by oneDNN, and the same: it knows neither gradients nor autocast."""
    special = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
    few = x.numel() < ROWS * weight.shape[-1]
    return not special and not few and x.device.type == "cpu" and x.dtype == torch.float32 and _gains(weight)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y
