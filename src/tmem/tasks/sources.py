"""Data files and their identity, which traces a number to the very bytes that it was measured on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tmem.errors import DataError, first_line
from tmem.files import sha256


def identity(path: str | Path, published: Mapping[str, str] | None = None) -> dict[str, Any]:
    """File name, size and checksum.

    ``known`` is the name in ``published`` (by sha256), None for any other file; without ``published`` there is none.
    """
    digest = sha256(path)
    found = {"file": Path(path).name, "bytes": Path(path).stat().st_size, "sha256": digest}
    return found if published is None else {**found, "known": published.get(digest)}


def fetched(path: str | Path, file: str) -> Path:
    """``path`` if it is there; of a data set OWNER/NAME of the hub its ``file``, fetched if it is not here yet.

    Raises :class:`DataError` if neither can be had.
    """
    here = Path(path)
    if here.exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)) or here.suffix in (".json", ".jsonl"):
        return here
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(str(path), file, repo_type="dataset"))
    except Exception as error:  # no network, no such set, no such file: each with its own type
        raise DataError(f"{path}: no such file, and {file} cannot be had from the hub ({first_line(error)})") from None
