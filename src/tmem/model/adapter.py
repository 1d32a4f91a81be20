"""LoRA adapters in PEFT's format: written, and added to the weights that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from tmem.errors import ModelError
from tmem.fastweights import FastWeights
from tmem.fastweights.basis import read_safetensors, tensors_hash
from tmem.files import read_json, save_safetensors, write_json

READER = "reader"  # in a model's folder: the adapter with which it reads for the gate
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
OTHER = ("rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "fan_in_fan_out")  # other ranks, other scales
BEFORE = "base_model.model."  # what PEFT puts before every name
Matrices = Mapping[str, tuple[Tensor, Tensor]]  # A (r, in) and B (out, r) by the name of the linear layer


def matrices_of(fast: FastWeights, b: Mapping[str, Tensor], row: int = 0) -> Matrices:
    """One memory as the change of whole layers; ``row`` of every B (sessions, out, rank).

    Where a family fuses gate and up into one matrix, its A's are stacked and its B's stand in a diagonal of blocks.
    """
    matrices = {}
    for linear, group in groupby(fast.target_modules, key=lambda target: target.module):
        targets = list(group)
        a = torch.cat([fast.basis.a[target.name] for target in targets])
        change = torch.block_diag(*(b[target.name][row] for target in targets))
        assert linear.out_features == change.shape[0]
        matrices[targets[0].name.partition("[")[0]] = a, change
    return matrices


def save_adapter(folder: Path, base: str, matrices: Matrices, rank: int) -> None:
    """Write an adapter whose change is B A, unscaled; ``rank``: of most of the matrices."""
    tensors = {}
    for name, (a, b) in matrices.items():
        tensors[f"{BEFORE}{name}.lora_A.weight"] = a
        tensors[f"{BEFORE}{name}.lora_B.weight"] = b
    other = {name: len(a) for name, (a, _) in matrices.items() if len(a) != rank}
    folder.mkdir(parents=True, exist_ok=True)
    save_safetensors(folder / WEIGHTS, tensors, {"format": "pt"})
    about: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": other,
        "alpha_pattern": other,
        "target_modules": sorted(matrices),
        "bias": "none",
        "lora_dropout": 0.0,
        "inference_mode": True,
    }
    write_json(folder / CONFIG, about)


def read_adapter(folder: Path) -> tuple[int, float, dict[str, tuple[Tensor, Tensor]]]:
    """Rank, scale, and A (r, in) and B (out, r) by the name of their linear layer.

    Raises :class:`ModelError` for an adapter of another kind.
    """
    about = read_json(folder / CONFIG)
    tensors, _ = read_safetensors(folder / WEIGHTS)
    odd = [key for key in OTHER if isinstance(about, dict) and about.get(key)]
    if not isinstance(about, dict) or about.get("peft_type") != "LORA" or odd:
        raise ModelError(
            f"{folder}: not a plain LoRA adapter of one rank and scale{' (' + odd[0] + ')' if odd else ''}"
        )
    alpha, rank = about.get("lora_alpha"), about.get("r")
    if not isinstance(alpha, int | float) or type(rank) is not int or rank < 1:
        raise ModelError(f"{folder}: its {CONFIG} gives no rank and scale (r and lora_alpha)")
    found = {}
    for key, a in tensors.items():
        if not key.endswith(".lora_A.weight"):
            continue
        name, partner = key.removeprefix(BEFORE).removesuffix(".lora_A.weight"), key.replace("lora_A", "lora_B")
        if partner not in tensors:
            raise ModelError(f"{folder}: the B of {key} is not there")
        b = tensors[partner]
        if a.ndim != 2 or b.ndim != 2:
            raise ModelError(f"{folder}: {key} or its B is no matrix")
        for own, its in ((key, a.shape[0]), (partner, b.shape[1])):
            if its != rank:
                raise ModelError(f"{folder}: {own} has the rank {its}, its {CONFIG} says {rank}")
        found[name] = a, b
    if 2 * len(found) != len(tensors):
        raise ModelError(f"{folder}: holds tensors that are no LoRA's")
    return rank, alpha / rank, found


@torch.no_grad()
def add_adapter(hf: PreTrainedModel, folder: Path) -> None:
    """Add an adapter's B A to the weights of its layers, in place.

    Raises :class:`ModelError` for one of another kind or another model, before any weight is changed.
    """
    for layer, a, b in _of_layers(hf, folder).values():
        # In double precision, so that every processor rounds to the same weights: a memory belongs to exactly these.
        layer.weight.copy_(layer.weight.double() + b @ a.double())


class Adapted(nn.Linear):
    """A linear layer with an adapter beside its weights, which stay those of the layer that it takes the place of."""

    def __init__(self, layer: nn.Linear, a: Tensor, b: Tensor) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self.a, self.b = a.to(layer.weight), b.to(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + F.linear(F.linear(x, self.a), self.b)


def lay_beside(hf: PreTrainedModel, folder: Path) -> None:
    """Let an adapter take part in its layers' products; weights that others share stay as they are.

    Raises as :func:`add_adapter`.
    """
    for name, found in _of_layers(hf, folder).items():
        hf.set_submodule(name, Adapted(*found))


def adapters_hash(hf: PreTrainedModel) -> str:
    """The identity of the adapters that lie beside a model's weights."""
    layers = [(name, layer) for name, layer in hf.named_modules() if isinstance(layer, Adapted)]
    return tensors_hash((f"{name}.{own}", getattr(layer, own)) for name, layer in layers for own in ("a", "b"))


def _of_layers(hf: PreTrainedModel, folder: Path) -> dict[str, tuple[nn.Linear, Tensor, Tensor]]:
    """An adapter's layers with their A and B, whose product is the change."""
    _, scale, matrices = read_adapter(folder)
    linears = {name: module for name, module in hf.named_modules() if isinstance(module, nn.Linear)}
    found = {}
    for name, (a, b) in matrices.items():
        if name not in linears:
            raise ModelError(f"{folder}: {name} is no linear layer of this model")
        change = b.shape[0], a.shape[1]
        if change != linears[name].weight.shape:
            raise ModelError(f"{folder}: {name} is of another model: it changes {change} numbers")
        found[name] = linears[name], a, scale * b.double()
    return found
