"""The frozen half of the fast weights: A, taken once from the pretrained weights and shared by every memory.

Delta W = B A, and A (rank, in) is the top of W's singular value decomposition: A = Sigma_r V_r^T (paper, fast
weights). Only B is ever trained, so A is an artefact of the base model: computed once, stored beside it,
checked when loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from tmem.errors import DataError, ModelError
from tmem.fastweights.target_modules import TargetModule, find_target_modules
from tmem.files import save_safetensors
from tmem.seeds import generator

Init = Literal["svd", "svd_orthonormal", "random"]

# Up to this width the Gram matrix is decomposed in float64: cheap, and squaring loses no precision.
FLOAT64_WIDTH = 1024


@dataclass(frozen=True, eq=False)
class Basis:
    """A for every target module, and what it was made from.

    ``a``: name -> (rank, in) float32 on the CPU. ``sigma``: name -> (rank,) largest singular values of W,
    whatever ``init``. ``weights_hash``: of the target modules' weights that it is declared for. A checkpoint whose
    weights were trained further keeps its A with ``dataclasses.replace(basis, weights_hash=weights_hash(targets))``.
    """

    a: Mapping[str, Tensor]
    sigma: Mapping[str, Tensor]
    rank: int
    layers: int
    init: Init
    seed: int
    weights_hash: str

    @cached_property
    def digest(self) -> str:
        """sha256 over the target modules' names and A: two bases with one digest read the same B in the same way."""
        return tensors_hash(self.a.items())

    @property
    def filename(self) -> str:
        """The file's name inside a cache folder."""
        return _filename(self.layers, self.rank, self.init, self.seed, self.weights_hash)

    @classmethod
    def from_model(cls, model: nn.Module, layers: int = 4, rank: int = 6, init: Init = "svd", seed: int = 0) -> Basis:
        """Compute A from the model's weights.

        ``svd``: Sigma_r V_r^T (paper). ``svd_orthonormal``: V_r^T. ``random``: gaussian with the norm of
        svd's A; ``seed`` matters for it alone. Raises :class:`ModelError` if the model cannot be adapted.
        """
        if init not in get_args(Init):
            raise ModelError(f"unknown basis {init!r}: choose one of {', '.join(get_args(Init))}")
        targets = find_target_modules(model, layers)
        a: dict[str, Tensor] = {}
        sigma: dict[str, Tensor] = {}
        for target in targets:
            if not 0 < rank <= min(target.in_features, target.out_features):
                raise ModelError(
                    f"rank {rank} does not fit {target.name} ({target.out_features} x {target.in_features}): "
                    f"choose 1 to {min(target.in_features, target.out_features)}"
                )
            if not target.weight.isfinite().all():
                raise ModelError(f"{target.name} has weights that are not finite: the checkpoint is broken")
            rows, values = _top_singular(target.weight, rank)
            if init == "svd_orthonormal":
                rows = rows / values.clamp_min(torch.finfo(rows.dtype).tiny)[:, None]
            elif init == "random":
                # In float64: in float32 the same seed gives other numbers on processors without AVX2.
                noise = torch.randn(rows.shape, generator=generator(seed, target.name, "basis"), dtype=torch.float64)
                rows = noise * (rows.double().norm() / noise.norm())
            a[target.name], sigma[target.name] = rows.float().contiguous(), values.float()
        return cls(a, sigma, rank, layers, init, seed, weights_hash(targets))

    @classmethod
    def cached(
        cls,
        model: nn.Module,
        directory: str | Path | None,
        layers: int = 4,
        rank: int = 6,
        init: Init = "svd",
        seed: int = 0,
    ) -> Basis:
        """The basis stored in ``directory``; computed (and stored, unless None) if no good one is there."""
        if directory is None:
            return cls.from_model(model, layers, rank, init, seed)
        expected = weights_hash(find_target_modules(model, layers))
        path = Path(directory) / _filename(layers, rank, init, seed, expected)
        with suppress(DataError):  # missing or damaged: only a cache, so made anew
            basis = cls._read(path)
            if basis.weights_hash == expected:
                return basis
        basis = cls.from_model(model, layers, rank, init, seed)
        with suppress(DataError):  # a read-only model folder costs time at the next start, nothing else
            basis.save(path)
        return basis

    def save(self, path: str | Path) -> None:
        """Write the basis as one safetensors file."""
        tensors = {f"a.{name}": value for name, value in self.a.items()}
        tensors |= {f"sigma.{name}": value for name, value in self.sigma.items()}
        facts = {key: str(getattr(self, key)) for key in ("rank", "layers", "init", "seed", "weights_hash")}
        facts["checksum"] = tensors_hash(tensors.items())
        save_safetensors(path, tensors, facts)

    @classmethod
    def load(cls, path: str | Path, model: nn.Module) -> Basis:
        """Read a basis.

        Raises :class:`DataError` for a damaged file and :class:`ModelError` for a basis of other weights.
        """
        basis = cls._read(path)
        if basis.weights_hash != weights_hash(find_target_modules(model, basis.layers)):
            raise ModelError(f"{path}: made from other weights than this model's; delete it or load its model")
        return basis

    @classmethod
    def _read(cls, path: str | Path) -> Basis:
        """Read a basis of whatever weights. Raises :class:`DataError` for a damaged file."""
        tensors, facts = read_safetensors(path)
        try:
            a = {name[2:]: value for name, value in tensors.items() if name.startswith("a.")}
            sigma = {name[6:]: value for name, value in tensors.items() if name.startswith("sigma.")}
            init: Init = facts["init"]  # type: ignore[assignment]  # an unknown one changes nothing below
            rank, layers, seed = (int(facts[key]) for key in ("rank", "layers", "seed"))
            basis = cls(a, sigma, rank, layers, init, seed, facts["weights_hash"])
            intact = tensors_hash(tensors.items()) == facts["checksum"]
        except (KeyError, ValueError):
            intact = False
        if not intact:
            raise DataError(f"{path}: not a basis, or damaged; delete the file and it is computed again")
        return basis


def weights_hash(targets: Iterable[TargetModule]) -> str:
    """sha256 over the target modules' names and weights, as float32: the dtype in memory does not matter."""
    return tensors_hash((target.name, target.weight) for target in targets)


def tensors_hash(named: Iterable[tuple[str, Tensor]]) -> str:
    """sha256 (hex) over names, shapes and float32 values, in the order of the names."""
    hasher = hashlib.sha256()
    for name, value in sorted(named, key=lambda item: item[0]):
        hasher.update(f"{name} {tuple(value.shape)}\n".encode())
        hasher.update(value.detach().to("cpu", torch.float32).contiguous().numpy().data)
    return hasher.hexdigest()


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file. Raises :class:`DataError` in one line."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read as safetensors ({error})") from None


def _filename(layers: int, rank: int, init: str, seed: int, weights: str) -> str:
    return f"basis-{init}-{layers}x{rank}-{seed}-{weights[:12]}.safetensors"


def _top_singular(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Sigma_r V_r^T (rank, in) and sigma (rank,) of W (out, in), from the smaller Gram matrix.

    On the CPU, so that having a GPU does not change A; each row's sign is fixed by its largest entry being
    positive.
    """
    w = weight.detach().to("cpu", torch.float64 if min(weight.shape) <= FLOAT64_WIDTH else torch.float32)
    if w.shape[0] < w.shape[1]:
        vectors = torch.linalg.eigh(w @ w.mT).eigenvectors  # U, by rising eigenvalue
        rows = vectors[:, -rank:].flip(1).mT @ w  # U_r^T W = Sigma_r V_r^T
        sigma = rows.norm(dim=1)
    else:
        vectors = torch.linalg.eigh(w.mT @ w).eigenvectors[:, -rank:].flip(1)  # V_r
        sigma = (w @ vectors).norm(dim=0)
        rows = sigma[:, None] * vectors.mT
    largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))  # (rank, 1)
    return torch.where(largest < 0, -rows, rows), sigma
