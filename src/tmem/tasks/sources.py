"""Data files: their lines, and their identity, which traces a number to the very bytes that it was measured on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tmem.errors import DataError, first_line


def sha256(path: str | Path) -> str:
    """The sha256 of a file in hex, read in small pieces. Raises :class:`DataError` if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from None


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


def read_jsonl(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file that has one a line, read as they are needed, each with its place for an error's text.

    Blank lines do not count. Raises :class:`DataError` in one line for a file or line that cannot be read.
    """
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    where = f"{path}: line {number}"
                    yield where, _object(line, where)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"), parse_constant=_not_a_number)
    except UnicodeDecodeError:
        raise DataError(f"{where}: not valid UTF-8; save the file in that encoding") from None
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", error)
        raise DataError(f"{where}: not valid JSON ({reason}); write one object per line") from None
    if not isinstance(record, dict):
        raise DataError(f"{where}: not a JSON object; write one per line")
    return record


def _not_a_number(constant: str) -> Any:
    """Some libraries write a missing value as NaN; as text it would be taken for an answer."""
    raise ValueError(f"{constant} is no value of JSON")
