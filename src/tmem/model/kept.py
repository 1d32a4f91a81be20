"""What follows from a large model's weights and takes long to make, kept in files beside them.

Only caches: a file that is missing or damaged is made again, and a folder that cannot be written costs time at the next
start, nothing else.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from tmem.errors import DataError
from tmem.fastweights.basis import read_safetensors, tensors_hash
from tmem.files import save_safetensors
from tmem.model.load import LARGE, Model
from tmem.seeds import derive


def read(model: Model, kind: str, *what: Any) -> dict[str, Tensor] | None:
    """What was made of a model and ``what``, None if it is not there as it was written."""
    path = _path(model, kind, *what)
    if path is None:
        return None
    with suppress(DataError):
        found, facts = read_safetensors(path)
        if facts.get("checksum") == _checksum(found):
            return found
    return None


def keep(model: Model, made: dict[str, Tensor], kind: str, *what: Any) -> None:
    """Keep what was made of a large model and ``what``."""
    path = _path(model, kind, *what)
    if path is not None and model.hf.num_parameters() >= LARGE:
        with suppress(DataError):
            save_safetensors(path, made, {"checksum": _checksum(made)})


def _path(model: Model, kind: str, *what: Any) -> Path | None:
    """The file; None if a training changed the weights, which are no longer those of their folder."""
    if model.trained:
        return None
    return model.directory / f"{kind}-{derive(model.weights_hash, *what):016x}.safetensors"


def _checksum(tensors: dict[str, Tensor]) -> str:
    return tensors_hash((key, value.float()) for key, value in tensors.items())
