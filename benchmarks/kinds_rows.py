"""Rows of a table of what was tried: each with what it wants, and a function that does it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tmem import Memory
from tmem.errors import TmemError
from tmem.model import Model, load

PAIR = ("What is Ana's city?", "Rome")
Got = tuple[str, bool | None]  # what came, and whether it is as wanted; None: it cannot be tried here
Row = tuple[str, str, str, str, Callable[["Place"], Got]]
ROWS: list[Row] = []


class Place:
    """A folder of a row's own, with a memory in it; the model is shared."""

    def __init__(self, model: Model, folder: Path) -> None:
        self.model, self.folder, self._files = model, folder, 0

    @cached_property
    def memory(self) -> Memory:
        return Memory(self.model, self.folder / "home")

    def written(self, content: Any) -> Path:
        """A file with this text, these bytes or this as JSON."""
        self._files += 1
        path = self.folder / f"{self._files}.json"
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path


def row(group: str, kind: str, tried: str, wanted: str) -> Callable[[Callable[[Place], Got]], Callable[[Place], Got]]:
    """Make a function a row of the table."""

    def keep(function: Callable[[Place], Got]) -> Callable[[Place], Got]:
        ROWS.append((group, kind, tried, wanted, function))
        return function

    return keep


def refused(*calls: Callable[[], Any]) -> Got:
    """Whether each of these calls is refused in one line; the first line is shown."""
    lines = list[str]()
    for call in calls:
        try:
            lines.append(f"TAKEN: {call()!r:.60}")
        except TmemError as error:
            lines.append(str(error))
        except Exception as error:
            lines.append(f"RAISED: {type(error).__name__}: {error}")
    bad = [line for line in lines if "\n" in line or line.startswith(("TAKEN", "RAISED"))]
    return bad[0] if bad else f"{len(lines)} lines, as: {lines[0]}", not bad


def run(words: Sequence[str] = ()) -> int:
    """Print the table; 1 if a row is not as wanted."""
    model, failed, last = load("persona-nano"), False, ""
    for group, kind, tried, wanted, function in sorted(ROWS, key=lambda one: one[0]):
        if words and not any(word in f"{group} {kind}" for word in words):
            continue
        if group != last:
            print(f"\n**{group}**\n\n| kind | tried | wanted | got | ok |\n|---|---|---|---|---|")
            last = group
        with tempfile.TemporaryDirectory() as folder:
            place = Place(model, Path(folder))
            try:
                got, ok = function(place)
            except Exception as error:
                got, ok = f"{type(error).__name__}: {error}", False
            if "memory" in place.__dict__:
                place.memory.close()
        failed |= ok is False
        shown = " ".join(got.replace(folder, "...").split()).replace("|", "\\|")[:200]
        print(f"| {kind} | {tried} | {wanted} | {shown} | {'-' if ok is None else 'yes' if ok else 'NO'} |", flush=True)
    return int(failed)
