"""The identity of a data file: so that a number can be traced to the very bytes it was measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tmem.errors import DataError


def sha256(path: str | Path) -> str:
    """The sha256 of a file in hex, read in small pieces. Raises :class:`DataError` if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def identity(path: str | Path, published: Mapping[str, str]) -> dict[str, Any]:
    """File name, size and checksum; ``known`` is the name in ``published`` (by sha256), None for any other file."""
    digest = sha256(path)
    return {
        "file": Path(path).name,
        "bytes": Path(path).stat().st_size,
        "sha256": digest,
        "known": published.get(digest),
    }
