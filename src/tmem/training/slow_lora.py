"""Training theta_0 through a slow LoRA of its own, by peft: few numbers to train, the base weights untouched.

It lies beside the fast weights: their hooks stay on the base layers that peft wraps, and A is that of the base.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tmem.errors import ModelError, UsageError
from tmem.fastweights.target_modules import linear_names
from tmem.model.adapter import read_adapter, save_adapter
from tmem.seeds import derive


def trainable(model: PreTrainedModel, rank: int, seed: int, start: Path | None = None) -> dict[str, Tensor]:
    """The parameters that are trained, by name: a slow LoRA of this rank, or for rank 0 all weights.

    ``start``: an adapter in PEFT's format that the slow LoRA begins as. Raises :class:`UsageError` for weights in
    which small steps are lost, :class:`ModelError` for an adapter of another model or rank.
    """
    if rank:
        model.requires_grad_(False)
        add_slow_lora(model, rank, seed)
        if start is not None:
            _begin_as(model, start, rank)
    else:
        model.requires_grad_(True)
    trained: dict[str, Tensor] = {name: value for name, value in model.named_parameters() if value.requires_grad}
    if any(value.dtype != torch.float32 for value in trained.values()):
        raise UsageError("small steps are lost in bf16: load the model as float32, or train a slow LoRA")
    return trained


def add_slow_lora(model: PreTrainedModel, rank: int, seed: int) -> None:
    """Give every linear layer of the decoder a LoRA of this rank, that starts as nothing and is all that is trained.

    Its scale is 1 (alpha = rank). Fast weights have to be made before. Raises :class:`UsageError` without the extra.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UsageError("--slow-lora needs the extra rl: pip install 'tmem[rl]'") from None
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=linear_names(model))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "slow lora"))
        inject_adapter_in_model(config, model)
    for name, value in model.named_parameters():
        if ".lora_" in name:
            value.data = value.data.float()  # small steps would be lost in bf16
    model.eval()


def _wrapped(model: PreTrainedModel) -> dict[str, Any]:
    """The layers that have a slow LoRA, by name."""
    return {name: layer for name, layer in model.named_modules() if hasattr(layer, "base_layer")}


@torch.no_grad()
def _begin_as(model: PreTrainedModel, folder: Path, rank: int) -> None:
    own, scale, matrices = read_adapter(folder)
    layers = _wrapped(model)
    if own != rank or set(matrices) != set(layers):
        raise ModelError(
            f"{folder}: rank {own} for {len(matrices)} layers; this training has rank {rank} for {len(layers)}"
        )
    for name, (a, b) in matrices.items():
        ours = layers[name].lora_A["default"].weight, layers[name].lora_B["default"].weight
        if (a.shape, b.shape) != tuple(one.shape for one in ours):
            raise ModelError(f"{folder}: {name} is of another model")
        ours[0].copy_(a.float())
        ours[1].copy_(scale * b.float())


def save_slow_lora(model: PreTrainedModel, folder: Path, base: str, rank: int) -> None:
    """Write the slow LoRA alone, in PEFT's format and in float16."""
    matrices = {
        name: (layer.lora_A["default"].weight.half(), layer.lora_B["default"].weight.half())
        for name, layer in _wrapped(model).items()
    }
    save_adapter(folder, base, matrices, rank)


@contextmanager
def acting(model: PreTrainedModel) -> Iterator[None]:
    """Let a model act with its slow LoRA merged into copies of its matrices: quicker than through peft's layers.

    Only in float32, since bf16 rounds most of a small change away. Afterwards all is as it was, bit for bit.
    """
    layers = _wrapped(model) if model.dtype == torch.float32 else {}
    before = {name: layer.base_layer.weight.data for name, layer in layers.items()}
    try:
        for name, layer in layers.items():
            layer.base_layer.weight.data = before[name] + layer.get_delta_weight("default")
            model.set_submodule(name, layer.base_layer)
        yield
    finally:
        for name, layer in layers.items():
            layer.base_layer.weight.data = before[name]
            model.set_submodule(name, layer)


def merged_state(model: PreTrainedModel) -> dict[str, Tensor]:
    """The weights as a plain checkpoint has them: a slow LoRA is added to copies of the matrices it belongs to.

    In float32 then, all of them: bf16 rounds most of a small change away, and a checkpoint has one type.
    """
    state = dict(model.state_dict())
    wrapped = _wrapped(model)
    if wrapped:
        state = _in_float32(state)
    for name, layer in wrapped.items():
        change = layer.get_delta_weight("default")
        own = {key: state.pop(key) for key in list(state) if key.startswith(name + ".")}
        for key, value in own.items():
            if key.startswith(f"{name}.base_layer."):
                plain = key.replace(".base_layer.", ".", 1)
                state[plain] = value + change.to(value) if key.endswith(".weight") else value
    return state


def _in_float32(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of what is in another type, on the CPU; tensors that share their numbers still do."""
    copies: dict[tuple[int, torch.Size], Tensor] = {}
    found = {}
    for name, value in state.items():
        if value.is_floating_point() and value.dtype != torch.float32:
            place = (value.data_ptr(), value.shape)
            if place not in copies:
                copies[place] = value.to("cpu", torch.float32)
            value = copies[place]
        found[name] = value
    return found
