"""The records of a run on disk: appended at once, shared by several processes, whole after any crash.

Every process appends to a file of its own. What is done is what is recorded: there is no other state. A rollout that is
running is claimed by a lock on a file, which ends with its process, however that ends.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tmem.errors import DataError
from tmem.files import append_bytes

Key = tuple[str, int, str]  # memory, seed, question id
Claim = tuple[object, ...]


def read_records(folder: Path) -> Iterator[dict[str, Any]]:
    """Every record of a run, also while it is being written. Raises :class:`DataError` for a damaged line."""
    return (record for _, record in read_lines(folder, "records-*.jsonl"))


def read_lines(folder: Path, pattern: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and object of every finished line; a last line without its end is being written, or was cut off."""
    for path in sorted(folder.glob(pattern)):
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                where = f"{path}: line {number}"
                yield where, _object(line, where)


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DataError(f"{where} is damaged; delete the line (a run makes up for it when its command is given again)")
    return value


def repair(folder: Path) -> int:
    """Cut off unfinished last lines; returns how many there were. Only while nobody writes."""
    cut = 0
    for path in folder.glob("records-*.jsonl"):
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)
            cut += 1
    return cut


class Records:
    """The records of one run, as one process reads and writes them."""

    def __init__(self, folder: Path, worker: int) -> None:
        self.folder, self.path = folder, folder / f"records-{worker}.jsonl"
        self.done: set[Key] = set()
        self.episodes: set[Key] = set()  # the same of episodes' records, see _episode
        self.wanted: set[tuple[str, int]] | None = None
        self.triggers = self.tokens = 0
        self._read: dict[Path, tuple[int, int]] = {}  # bytes and lines known so far
        self.refresh()

    def refresh(self) -> None:
        """Take note of what all processes have recorded meanwhile."""
        for path in sorted(self.folder.glob("records-*.jsonl")):
            start, lines = self._read.get(path, (0, 0))
            if path.stat().st_size == start:
                continue
            with open(path, "rb") as file:
                file.seek(start)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    start, lines = start + len(line), lines + 1
                    where = f"{path}: line {lines}"
                    self._note(_object(line, where), where)
            self._read[path] = start, lines

    def _note(self, record: dict[str, Any], where: str) -> None:
        try:
            if record["type"] == "question":
                self.done.add((record["memory"], record["seed"], record["id"]))
                cost = record["answer"]
            else:
                self.episodes.add(_episode(record["memory"], record["seed"], record["questions"]))
                cost = record["build"]
                self.triggers += cost["triggers"]
            self.tokens += cost["prompt_tokens"] + cost["new_tokens"]
        except (LookupError, TypeError, ValueError):
            raise DataError(f"{where} is no record of this version of tmem; give another --out") from None

    def progress(self) -> tuple[int, int]:
        """Questions and rollouts that are done, of ``wanted`` (memory, seed) if that is set."""

        def count(keys: set[Key]) -> int:
            return sum(self.wanted is None or key[:2] in self.wanted for key in keys)

        return count(self.done), count(self.episodes)

    def has(self, memory: str, seed: int, questions: list[str]) -> bool:
        """True if a rollout that answers these questions is recorded whole."""
        keys = [(memory, seed, question) for question in questions]
        return _episode(memory, seed, questions) in self.episodes and self.done.issuperset(keys)

    def add(self, records: list[dict[str, Any]]) -> None:
        """Append what is new of these records in one write, on disk when it returns.

        Raises :class:`DataError` if that fails, for example on a full disk; nothing is half-written then.
        """
        self.refresh()
        new = [record for record in records if self._is_new(record)]
        append_bytes(self.path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in new).encode())
        self.refresh()

    def _is_new(self, record: dict[str, Any]) -> bool:
        if record["type"] == "question":
            return (record["memory"], record["seed"], record["id"]) not in self.done
        return _episode(record["memory"], record["seed"], record["questions"]) not in self.episodes


def _episode(memory: str, seed: int, questions: list[str]) -> Key:
    """What an episode is known by: not by the question that comes first, for those that are refused at once do."""
    return memory, seed, min(questions)


class Claims:
    """Which process runs which episode: a lock each, free again as soon as its process is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "claims"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.folder}: cannot be written ({error.strerror})") from None
        self.held: dict[Claim, FileLock] = {}

    def take(self, claim: Claim) -> bool:
        """Claim a rollout; False if another process has it."""
        name = hashlib.sha256(repr(claim).encode()).hexdigest()[:24]
        lock = FileLock(self.folder / f"{name}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:
            raise DataError(f"{self.folder}: cannot be written ({error.strerror})") from None
        self.held[claim] = lock
        return True

    def drop(self, claim: Claim) -> None:
        """Give a claim back."""
        lock = self.held.pop(claim)
        Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: nobody else can be told it is free
        lock.release()

    def close(self) -> None:
        """Give all claims back."""
        for claim in list(self.held):
            self.drop(claim)
