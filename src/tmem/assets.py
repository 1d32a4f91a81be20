"""The models that are shipped inside the package, each a directory of its own in model/assets."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent / "model" / "assets"


def names() -> list[str]:
    """The names of the embedded models, sorted."""
    return sorted(weights.parent.name for weights in _HERE.glob("*/model.safetensors"))


def taught(name: str) -> Path | None:
    """The directory with what the model called ``name`` was taught: an adapter and settings; None if there is none."""
    return _HERE / name if (_HERE / name / "adapter_model.safetensors").exists() else None


def path(name: str) -> Path | None:
    """The directory of the embedded model called ``name``, or None if there is none."""
    return _HERE / name if name in names() else None
