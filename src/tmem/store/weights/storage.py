"""Files of weights in object storage, or wherever else fsspec reaches: same names, under an address.

An object is written whole or not at all, and a version names it only once it is there; what comes back is checked by
its digest like a file of the home. Keys and endpoints are the storage's own affair: its environment variables and
files, never the address.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tmem.errors import UsageError, first_line
from tmem.store.weights.snapshots import Snapshots, Unreachable
from tmem.store.weights.states import Tensors


class Storage(Snapshots):
    """Under ``address``, as ``s3://bucket/folder``: what comes before ``://`` is a file system that fsspec knows.

    Raises :class:`UsageError` for an address that is none, holds a password, or needs a package that is missing.
    """

    def __init__(
        self,
        address: str,
        home: Path,
        engine: Callable[[], str] = str,
        mark: Callable[[str], int] = lambda _: 0,
    ) -> None:
        super().__init__(home, engine, mark)
        import fsspec

        if urlsplit(address).password is not None:  # it would be in a file, and in errors
            raise UsageError("the address of the weights holds a password; the storage's own settings are for that")
        kind, _, place = address.partition("://")
        # Listings are asked for anew: others write, too. Folders of a file system are made where they are needed.
        options: dict[str, Any] = {"use_listings_cache": False} | ({"auto_mkdir": True} if kind == "file" else {})
        try:
            self.system, self.root = fsspec.url_to_fs(address.rstrip("/"), **options)
        except (ImportError, ValueError) as error:
            cure = "a ledger goes to postgresql://, weights to what fsspec knows (s3://: pip install 'tmem[s3]')"
            raise UsageError(f"{kind}://: {first_line(error)}; {cure}") from None
        if not place.strip("/"):
            raise UsageError("give where the weights are to be, as s3://bucket/folder")
        self.address = address.rstrip("/")

    def path(self, scope: str, name: str) -> str:
        return f"{self.address}/{scope[:16]}/{name}"

    def put(self, scope: str, name: str, data: bytes) -> None:
        try:
            with self._asked(scope, name) as place:
                self.system.pipe_file(place, data)
        except FileNotFoundError as error:  # of what should hold it
            raise self._unreachable(scope, name, error) from None

    def get(self, scope: str, name: str) -> bytes:
        with self._asked(scope, name) as place:
            return bytes(self.system.cat_file(place))

    def sizes(self, scope: str) -> dict[str, int]:
        return {Path(one["name"]).name: one["size"] for one in self._list(scope) if one["type"] == "file"}

    def unlink(self, scope: str, name: str) -> None:
        with suppress(FileNotFoundError), self._asked(scope, name) as place:
            self.system.rm_file(place)

    def folders(self) -> list[str]:
        return [Path(one["name"].rstrip("/")).name for one in self._list("")]

    def remove(self, scope: str) -> None:
        with suppress(Exception):  # where there are folders at all
            self.system.rmdir(self._place(scope, ""))

    def _list(self, scope: str) -> list[dict[str, Any]]:
        try:
            with self._asked(scope, "") as place:
                return list(self.system.ls(place, detail=True))
        except FileNotFoundError:  # nothing was written there yet
            return []

    def _place(self, scope: str, name: str) -> str:
        self.file(scope, name)  # is one of ours
        return "/".join(part for part in (self.root, scope[:16], name) if part)

    @contextmanager
    def _asked(self, scope: str, name: str) -> Iterator[str]:
        """Where a file is, while it is asked for; every library has errors of its own."""
        place = self._place(scope, name)
        try:
            yield place
        except FileNotFoundError:
            raise
        except Exception as error:
            raise self._unreachable(scope, name, error) from None

    def _unreachable(self, scope: str, name: str, error: Exception) -> Unreachable:
        where = self.path(scope, name).rstrip("/")
        return Unreachable(f"{where}: cannot be reached ({first_line(error)}); the ledger has all: try again")

    def _read(self, scope: str, name: str) -> tuple[Tensors, Mapping[str, str]]:
        from safetensors.torch import load

        data = self.get(scope, name)
        state = load(data)  # says so if it is no such file
        size = int.from_bytes(data[:8], "little")
        return state, json.loads(data[8 : 8 + size]).get("__metadata__") or {}
