"""States as files: safetensors that say whose they are and what they follow from, and are refused as anything else.

Every scope has a folder of them, called by its hash; a file is called by what its weights follow from, and, where
writers may be on several machines, by its writer's number: who was away for too long overwrites nothing of those who
came after.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from tmem.errors import DataError, IntegrityError, StoreError
from tmem.files import save_safetensors
from tmem.store.weights.states import Tensors, beside_digest, state_digest

if TYPE_CHECKING:
    from torch import Tensor

ANEW = "tmem doctor --fix makes it anew"


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
    except FileNotFoundError:
        raise IntegrityError(f"{path}: is missing; {ANEW}") from None
    except (OSError, SafetensorError, ValueError, json.JSONDecodeError) as error:
        raise IntegrityError(f"{path}: cannot be read ({error}); {ANEW}") from None
    for name, value in facts.items():
        if said.get(name) != value:
            raise IntegrityError(f"{path}: is of another {name}; {ANEW}")
    if state_digest(state) != facts["weights"] or beside_digest(state) != said.get("beside", ""):
        raise IntegrityError(f"{path}: its numbers are not those that were written; {ANEW}")
    return state


class Snapshots:
    """The files of a home. ``engine`` gives the digest of what makes their weights, ``mark`` a scope's writer's number.

    See :meth:`tmem.store.ledger.database.Database.mark`.
    """

    def __init__(self, home: Path, engine: Callable[[], str], mark: Callable[[str], int]) -> None:
        self.home, self.engine, self.mark = home, engine, mark

    def file(self, scope: str, name: str) -> Path:
        """Where a scope's file of this name is. Raises :class:`IntegrityError` if that is not in the home."""
        folder = self.home / "scopes" / scope[:16]
        if name not in ("", Path(name).name) or name == ".." or folder.is_symlink():
            raise IntegrityError(f"{folder}: {name or 'it'} leads out of the home; put a backup in its place")
        return folder / name

    def facts(self, scope: str, ledger: str, weights: str) -> dict[str, str]:
        """What a file of weights says it is."""
        return {"scope": scope, "engine": self.engine(), "ledger": ledger, "weights": weights}

    def save(self, scope: str, ledger: str, state: Tensors) -> tuple[str, str]:
        """Write a state's file; returns its name and the digest of the weights."""
        mark = self.mark(scope)
        weights, name = state_digest(state), f"{ledger[:32]}{f'-{mark}' if mark else ''}.safetensors"
        facts = self.facts(scope, ledger, weights) | {"beside": beside_digest(state)}
        write(self.file(scope, name), state, facts)
        return name, weights

    def load(self, scope: str, name: str, ledger: str, weights: str) -> Tensors:
        """The state in a file, if it is the one that is meant. Raises :class:`IntegrityError` if not."""
        return read(self.file(scope, name), self.facts(scope, ledger, weights))

    def remove(self, scope: str) -> None:
        """Remove a scope's folder, which has to be empty."""
        with suppress(OSError):
            self.file(scope, "").rmdir()

    def keep_only(self, scope: str, names: Collection[str | None], must: bool = False) -> None:
        """Remove all other files of a scope: left by a crash, thinned out, or forgotten.

        What cannot be removed now is when this is next called, unless it ``must``: :class:`StoreError` then.
        """
        folder = self.file(scope, "")
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.name not in names:
                try:
                    entry.unlink(missing_ok=True)
                except OSError as error:
                    if must:
                        raise StoreError(f"{entry}: cannot be removed yet ({error.strerror}); open it again") from None
