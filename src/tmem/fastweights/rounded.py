"""A model's own products in bfloat16 while a write trains: a quarter of their time where a CPU multiplies it itself.

The weights, what meets them and what comes out are rounded to bfloat16; sums, everything between two products, B and
its gradients stay float32. So it is defined by its rounding, not by the processor: one without bfloat16 rounds likewise
and multiplies in float32, in the time that float32 takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

LARGE = 2**16  # numbers in a weight from which on it is worth it
NATIVE = (
    torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported")
    and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
)


class RoundedProducts(TorchFunctionMode):
    """Inside, this thread multiplies by these weights in bfloat16, by copies that it keeps of those that train B.

    Weights that are trained, small, not float32 or not on a CPU are left as they are.
    """

    def __init__(self, weights: Iterable[Tensor], native: bool = NATIVE) -> None:
        super().__init__()
        self.native = native
        self._own = {id(weight) for weight in weights if _fits(weight)}
        self._copies: dict[int, Tensor] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is linear and not kwargs and id(args[1]) in self._own:
            y = _Product.apply(args[0], self._copy(args[1]))
            return y if len(args) < 3 or args[2] is None else y + args[2]
        return func(*args, **kwargs or {})

    def _copy(self, weight: Tensor) -> Tensor:
        copy = self._copies.get(id(weight))
        if copy is None:
            rounded = weight.detach().bfloat16()
            copy = rounded if self.native else rounded.float()
            if torch.is_grad_enabled():  # layers below the first adapted one are run once
                self._copies[id(weight)] = copy
        return copy


def _fits(weight: Tensor) -> bool:
    plain = weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.dim() == 2
    return plain and not weight.requires_grad and weight.numel() >= LARGE


class _Product(torch.autograd.Function):
    """x W^T for a W that is not trained; of x and of gradients only what bfloat16 keeps enters."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.weight = weight
        return _times(x, weight.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _times(gradient, ctx.weight), None


def _times(x: Tensor, weight: Tensor) -> Tensor:
    """x (..., k) times weight (k, n), rounded to bfloat16 and given as float32."""
    y: Tensor = x.bfloat16().to(weight.dtype) @ weight
    return y.bfloat16().float()
