"""States as files: safetensors that say whose they are and what they follow from, and are refused as anything else.

Every scope has a folder of them, called by its hash; a file is called by what its weights follow from, and, where
writers may be on several machines, by its writer's number: who was away for too long overwrites nothing of those who
came after. The folders are in the home, or where its file ``storage`` says (:mod:`tmem.store.weights.storage`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from tmem.errors import DataError, IntegrityError, StoreError, first_line
from tmem.files import write_bytes
from tmem.store.ledger.database import which
from tmem.store.weights.states import Tensors, beside_digest, state_digest

if TYPE_CHECKING:
    from torch import Tensor

ANEW = "tmem doctor --fix makes it anew"


class Unreachable(StoreError):
    """Weights that are elsewhere and cannot be reached just now; what was told is in the ledger."""


class Snapshots:
    """The files of a home. ``engine`` gives the digest of what makes their weights, ``mark`` a scope's writer's number.

    See :meth:`tmem.store.ledger.database.Database.mark`. This class has them in the home's folder ``scopes``.
    """

    def __init__(self, home: Path, engine: Callable[[], str] = str, mark: Callable[[str], int] = lambda _: 0) -> None:
        self.home, self.engine, self.mark = home, engine, mark
        self.said = which(said_in(home))

    def file(self, scope: str, name: str) -> Path:
        """Where a scope's file of this name is. Raises :class:`IntegrityError` if that is not in the home."""
        folder = self.home / "scopes" / scope[:16]
        if name not in ("", Path(name).name) or name == ".." or folder.is_symlink():
            raise IntegrityError(f"{folder}: {name or 'it'} leads out of the home; put a backup in its place")
        if which(said_in(self.home)) != self.said:
            raise StoreError(
                f"{self.home}: its weights were moved while it was open; nothing was written: open it again"
            )
        return folder / name

    def facts(self, scope: str, ledger: str, weights: str) -> dict[str, str]:
        """What a file of weights says it is."""
        return {"scope": scope, "engine": self.engine(), "ledger": ledger, "weights": weights}

    def save(self, scope: str, ledger: str, state: Tensors) -> tuple[str, str]:
        """Write a state's file; returns its name and the digest of the weights. Raises :class:`StoreError`."""
        mark = self.mark(scope)
        weights, name = state_digest(state), f"{ledger[:32]}{f'-{mark}' if mark else ''}.safetensors"
        self.put(scope, name, as_bytes(state, self.facts(scope, ledger, weights) | {"beside": beside_digest(state)}))
        return name, weights

    def load(self, scope: str, name: str, ledger: str, weights: str) -> Tensors:
        """The state in a file that says exactly what it is meant to be, and whose numbers have the digest ``weights``.

        Raises :class:`IntegrityError` for anything else: nothing of the file is used then.
        """
        path = self.path(scope, name)
        try:
            state, said = self._read(scope, name)
        except FileNotFoundError:
            raise IntegrityError(f"{path}: is missing; {ANEW}") from None
        except (OSError, SafetensorError, ValueError, json.JSONDecodeError) as error:
            raise IntegrityError(f"{path}: cannot be read ({error}); {ANEW}") from None
        for fact, value in self.facts(scope, ledger, weights).items():
            if said.get(fact) != value:
                raise IntegrityError(f"{path}: is of another {fact}; {ANEW}")
        if state_digest(state) != weights or beside_digest(state) != said.get("beside", ""):
            raise IntegrityError(f"{path}: its numbers are not those that were written; {ANEW}")
        return state

    def keep_only(self, scope: str, names: Collection[str | None], must: bool = False) -> None:
        """Remove all other files of a scope: left by a crash, thinned out, or forgotten.

        What cannot be removed now is when this is next called, unless it ``must``: :class:`StoreError` then.
        """
        try:
            there = self.sizes(scope)
        except Unreachable:
            if must:
                raise
            return
        for name in there.keys() - set(names):
            try:
                self.unlink(scope, name)
            except Unreachable:
                if must:
                    raise
            except OSError as error:
                if must:
                    where = self.path(scope, name)
                    raise StoreError(f"{where}: cannot be removed yet ({error.strerror}); open it again") from None

    # ---- where they are ----

    def path(self, scope: str, name: str) -> str:
        """What errors call a file."""
        return str(self.file(scope, name))

    def put(self, scope: str, name: str, data: bytes) -> None:
        """Make a file, in one step. Raises :class:`StoreError`; nothing is half-written then."""
        try:
            write_bytes(self.file(scope, name), data)
        except DataError as error:
            raise StoreError(str(error)) from None

    def get(self, scope: str, name: str) -> bytes:
        """What is in a file. Raises :class:`FileNotFoundError` if there is none."""
        return self.file(scope, name).read_bytes()

    def sizes(self, scope: str) -> dict[str, int]:
        """The names of a scope's files and their bytes."""
        folder, found = self.file(scope, ""), dict[str, int]()
        for entry in folder.iterdir() if folder.is_dir() else ():
            with suppress(FileNotFoundError):  # removed meanwhile
                found[entry.name] = entry.stat().st_size
        return found

    def unlink(self, scope: str, name: str) -> None:
        """Remove a file, which may be gone already. Raises :class:`OSError` or :class:`Unreachable`."""
        self.file(scope, name).unlink(missing_ok=True)

    def folders(self) -> list[str]:
        """The folders that there are, of whomever."""
        return [entry.name for entry in (self.home / "scopes").iterdir()]

    def remove(self, scope: str) -> None:
        """Remove a scope's folder, which has to be empty."""
        with suppress(OSError):
            self.file(scope, "").rmdir()

    def _read(self, scope: str, name: str) -> tuple[Tensors, Mapping[str, str]]:
        """The tensors in a file, and what it says they are."""
        with safe_open(self.file(scope, name), framework="pt") as file:
            return {one: file.get_tensor(one) for one in file.keys()}, file.metadata() or {}  # noqa: SIM118


def said_in(home: Path) -> Path:
    """The file of a home that says in one line where its weights are if they are not in it."""
    return home / "storage"


def elsewhere(home: Path) -> str | None:
    """The address that this file holds, None if there is no such file."""
    try:
        return said_in(home).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{said_in(home)}: cannot be read ({first_line(error)})") from None


def as_bytes(state: Mapping[str, Tensor], facts: Mapping[str, str]) -> bytes:
    """A state as a file."""
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, dict(facts))
