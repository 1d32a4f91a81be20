"""Files are written beside their target and renamed, so that a reader never sees half of one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tmem.errors import DataError, UsageError, first_line

if TYPE_CHECKING:
    from torch import Tensor


def write_bytes(path: str | Path, data: bytes, mode: int = 0o666) -> None:
    """Write ``data`` to ``path`` in one step; parent folders are made. Raises :class:`DataError` if that fails.

    ``mode``: who may read it, less what the process's umask takes away.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; give a file")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        on_disk(path.parent)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """The sha256 of a file in hex, read in small pieces. Raises :class:`DataError` if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def on_disk(path: Path) -> None:
    """Have a file, or the names in a folder, on disk when this returns."""
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def append_line(path: str | Path, line: str) -> None:
    """Append one line in one write, on disk when this returns; half a line that a crash left is cut off first.

    Raises :class:`DataError` if that fails; the file is as it was then.
    """
    append_bytes(path, line.encode() + b"\n")


def append_bytes(path: str | Path, data: bytes) -> None:
    """Append whole lines, as :func:`append_line` does."""
    path = Path(path)
    try:
        with open(path, "a+b", buffering=0) as file:
            size = _whole_lines(file)
            file.truncate(size)
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); all before it is kept: make room and give the same command "
            "again"
        ) from None


def _whole_lines(file: IO[bytes]) -> int:
    """The size of a file up to the end of its last whole line."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 65536)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def check_folder(path: str | Path) -> None:
    """Raise :class:`DataError` if the folder ``path`` neither is there to write to nor can be made; makes nothing."""
    there = Path(path).absolute()
    while not there.exists() and there != there.parent and not there.is_symlink():
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise DataError(f"{path}: cannot be written ({there} is not a folder that can be written to)")


@contextmanager
def alone(folder: Path, command: str) -> Iterator[None]:
    """Be the only run that writes to a folder, which is made, and is gone again if nothing was written to it.

    Raises :class:`UsageError` that names ``command`` if another one is, and :class:`DataError`.
    """
    from filelock import FileLock, Timeout  # not needed for most of what reads files

    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise UsageError(f"{folder}: another {command} is writing there; wait for it, or give another --out") from None
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror})") from None
    try:
        yield
    finally:
        empty = [path.name for path in folder.glob("*")] == [".lock"]  # none if somebody took the folder away
        if empty:
            (folder / ".lock").unlink()
        lock.release()
        if empty:
            folder.rmdir()


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text in one step."""
    write_bytes(path, text.encode())


def read_text(path: str | Path) -> str:
    """Read UTF-8 text. Raises :class:`DataError` in one line if that fails."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read as text ({error.strerror}): give a text file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read as text ({first_line(error)}): save it as UTF-8") from None


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON in one step."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file. Raises :class:`DataError` in one line if it is missing or malformed."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: cannot be read, it is not UTF-8; save the file in that encoding") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: not valid JSON (line {error.lineno}, column {error.colno}: {error.msg}); correct it, or get the "
            "file again"
        ) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or thousands of levels
        raise DataError(f"{path}: not JSON that can be used ({error})") from None


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


def without_surrogates(text: str) -> str:
    """Join surrogate pairs; a lone half, which can neither be tokenized nor stored, becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def save_safetensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors as safetensors in one step."""
    from safetensors.torch import save

    write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata))
