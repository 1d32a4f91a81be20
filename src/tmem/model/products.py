"""Products with large weights on CPUs, by oneDNN.

torch calls another library for products in float32. Where a few rows meet a large matrix oneDNN reads the weights once
and takes a fifth less time, half as long for a vocabulary, and no longer than torch elsewhere
(benchmarks/products.py). It adds in another order, so writes, which are to give the same bits again, do without.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

LARGE = 2**20  # numbers in a weight from which on it is worth it


def large_linears(module: nn.Module) -> list[nn.Linear]:
    """The linear maps in a model that oneDNN computes sooner: none on other devices, in other types, or without it."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return []
    return [part for part in module.modules() if type(part) is nn.Linear and _gains(part)]


def _gains(linear: nn.Linear) -> bool:
    weight = linear.weight
    plain = "forward" not in vars(linear)  # another library may have replaced it
    return plain and weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.numel() >= LARGE


@contextmanager
def by_onednn(linears: Sequence[nn.Linear]) -> Iterator[None]:
    """Compute these linear maps by oneDNN, without gradients."""
    for linear in linears:
        vars(linear)["forward"] = partial(_product, linear)
    try:
        yield
    finally:
        for linear in linears:
            del vars(linear)["forward"]


def _product(linear: nn.Linear, x: Tensor) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, linear.weight, linear.bias, "none", [], "")
    return y
