"""States as files: safetensors that say whose they are and what they follow from, and are refused as anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from tmem.errors import DataError, IntegrityError, StoreError
from tmem.files import save_safetensors
from tmem.store.trainer import Tensors, state_digest


def write(path: Path, state: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write a state beside its place and rename it. Raises :class:`StoreError`; nothing is half-written then."""
    try:
        save_safetensors(path, state, dict(facts))
    except DataError as error:
        raise StoreError(str(error)) from None


def read(path: Path, facts: Mapping[str, str]) -> Tensors:
    """The state in a file that says exactly ``facts``; its numbers are checked against ``facts["weights"]``.

    Raises :class:`IntegrityError` for anything else: nothing of the file is used then.
    """
    try:
        with safe_open(path, framework="pt") as file:
            said = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, json.JSONDecodeError) as error:
        raise IntegrityError(f"{path}: cannot be read ({error}); tmem doctor --fix makes it anew") from None
    for name, value in facts.items():
        if said.get(name) != value:
            raise IntegrityError(f"{path}: is of another {name}; tmem doctor --fix makes it anew")
    if state_digest(state) != facts["weights"]:
        raise IntegrityError(f"{path}: its numbers are not those that were written; tmem doctor --fix makes it anew")
    return state
