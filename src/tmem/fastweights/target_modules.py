"""Where fast weights attach: the feed-forward matrices of the last decoder layers (paper: 12 of 4 layers)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tmem.errors import ModelError

# The feed-forward linears of the families, in the order in which a layer uses them.
GATED = ("gate_proj", "up_proj", "down_proj")  # Qwen3, Llama, Mistral, Gemma, SmolLM3
FUSED = ("gate_up_proj", "down_proj")  # Phi-3: gate above up in one matrix
PLAIN = (("fc1", "fc2"), ("up_proj", "down_proj"), ("c_fc", "c_proj"))  # Phi; Arcee, Nemotron; StarCoder2


@dataclass(frozen=True)
class TargetModule:
    """One adapted matrix: a linear layer, or a block of its output rows where a family fuses two matrices."""

    name: str
    layer: int
    module: nn.Linear
    rows: tuple[int, int] | None
    in_features: int
    out_features: int

    @property
    def weight(self) -> Tensor:
        """The adapted matrix W, (out_features, in_features): a view of the model's own weight."""
        return self.module.weight if self.rows is None else self.module.weight[self.rows[0] : self.rows[1]]


def decoder(model: nn.Module) -> nn.Module:
    """The stack that owns ``.layers``. Raises :class:`ModelError` if the model has none below a head."""
    get_decoder = getattr(model, "get_decoder", None)
    stack = get_decoder() if callable(get_decoder) else None
    layers = getattr(stack, "layers", None)
    if not isinstance(stack, nn.Module) or stack is model or not isinstance(layers, nn.ModuleList):
        raise ModelError(f"{type(model).__name__} has no stack of decoder layers: use a causal language model")
    return stack


def decoder_name(model: nn.Module) -> str:
    """The dotted name of :func:`decoder` inside ``model``, e.g. ``model``."""
    stack = decoder(model)
    name: str = next(name for name, module in model.named_modules() if module is stack)
    return name


def linear_names(model: nn.Module) -> list[str]:
    """What the decoder's linear layers are called within a layer, each name once: as a LoRA on all of them takes it."""
    modules = decoder(model).named_modules()
    return sorted({name.split(".")[-1] for name, module in modules if isinstance(module, nn.Linear)})


def view_with(module: nn.Module, path: Sequence[str], part: nn.Module) -> nn.Module:
    """A shallow copy of ``module``, in evaluation mode, that has ``part`` at ``path``; all else is shared."""
    view = copy.copy(module)
    view.__dict__["_modules"] = dict(module._modules)
    child = module._modules[path[0]]
    assert child is not None
    view._modules[path[0]] = part if len(path) == 1 else view_with(child, path[1:], part)
    view.training = False
    return view


def find_target_modules(model: nn.Module, layers: int = 4) -> list[TargetModule]:
    """The target modules of the last ``layers`` decoder layers, from the lowest layer up.

    Raises :class:`ModelError` if the model has fewer layers or a layer has no dense feed-forward block
    (mixture-of-experts models fuse their experts and have no such matrices).
    """
    stack = decoder(model).layers
    assert isinstance(stack, nn.ModuleList)
    if hasattr(decoder(model), "altup_projections"):
        raise ModelError(f"{type(model).__name__}: several streams of hidden states (AltUp) are not supported")
    if not 0 < layers <= len(stack):
        raise ModelError(f"cannot adapt the last {layers} layers of {type(model).__name__}: choose 1 to {len(stack)}")
    prefix = decoder_name(model)
    targets: list[TargetModule] = []
    for layer in range(len(stack) - layers, len(stack)):
        mlp = getattr(stack[layer], "mlp", None)
        for names in (GATED, FUSED, *PLAIN):
            linears = [getattr(mlp, name, None) for name in names]
            if all(_adaptable(linear) for linear in linears):
                break
        else:
            raise ModelError(
                f"{type(model).__name__}: layer {layer} has no dense feed-forward matrices to adapt "
                f"({type(mlp).__name__}): mixtures of experts, quantised models and others of another layout are not "
                "supported"
            )
        for name, linear in zip(names, linears, strict=True):
            assert isinstance(linear, nn.Linear)
            full, width = f"{prefix}.layers.{layer}.mlp.{name}", linear.in_features
            if name == "gate_up_proj":
                half = linear.out_features // 2
                targets.append(TargetModule(f"{full}[gate]", layer, linear, (0, half), width, half))
                targets.append(TargetModule(f"{full}[up]", layer, linear, (half, 2 * half), width, half))
            else:
                targets.append(TargetModule(full, layer, linear, None, width, linear.out_features))
    return targets


def _adaptable(module: object) -> bool:
    """True for a linear layer with a plain (out, in) float weight; quantised ones pack theirs."""
    plain = (torch.float32, torch.float16, torch.bfloat16)
    return isinstance(module, nn.Linear) and module.weight.dtype in plain
