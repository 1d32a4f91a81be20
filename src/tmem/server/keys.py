"""Keys of a server, in a file of the home that holds none of them: only what each hashes to.

A key belongs to one user, or to an application that says with every request whose memory it is about.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hmac import compare_digest
from pathlib import Path
from threading import Lock
from typing import Any

from tmem.errors import DataError, NotFound, StoreError, UsageError
from tmem.files import read_json, write_bytes
from tmem.store import validation
from tmem.store.ledger.locks import Locks

FILE_NAME = "keys.json"
LONGEST_NAME = 200  # characters
BEGINS = "tmem-"


@dataclass(frozen=True)
class Key:
    """What is kept of a key. ``user`` None: an application's, which names its users; ``revoked``: since when.

    ``per_minute``: how many requests it may make, None: as many as the server lets others.
    """

    name: str
    sha256: str
    user: str | None
    made: str
    revoked: str | None = None
    per_minute: int | None = None


class Keys:
    """The keys of a home. Every call sees what any process has changed before it.

    Raises :class:`StoreError` for a file that cannot be used: who cannot tell a key lets nobody in.
    """

    def __init__(self, home: str | Path) -> None:
        self.home = Path(home).expanduser()
        self.path = self.home / FILE_NAME
        self._guard = Lock()
        self._read: tuple[tuple[int, ...], list[Key]] | None = None

    def all(self) -> list[Key]:
        """Every key that was made, oldest first, revoked ones too."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be read ({error.strerror})") from None
        # A file is only ever replaced: another one has another number.
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        with self._guard:
            if self._read is None or self._read[0] != seen:
                self._read = seen, self._load()
            return self._read[1]

    @property
    def needed(self) -> bool:
        """True from the first key on, also when all are revoked: only removing the file opens the home again."""
        return bool(self.all())

    @property
    def usable(self) -> bool:
        """True if there is a key that is not revoked."""
        return any(key.revoked is None for key in self.all())

    def make(self, name: str, user: str | None, per_minute: int | None = None) -> str:
        """A new key, which is nowhere kept; ``user`` None: for an application. Raises :class:`UsageError`."""
        validation.key(name, "the name of a key")
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise UsageError(f"the name of a key has 1 to {LONGEST_NAME} printable characters")
        if user is not None:
            check_user(user)
        secret = BEGINS + secrets.token_urlsafe(32)  # 256 random bits: a plain hash is enough
        with self._changing() as keys:
            if any(key.name == name for key in keys):
                raise UsageError(f"there is a key {name!r} already: choose another name, revoked ones count too")
            keys.append(Key(name, digest(secret), user, _now(), per_minute=per_minute))
        return secret

    def revoke(self, name: str) -> Key:
        """Let a key in no more, from the next request on. Raises :class:`NotFound`."""
        with self._changing() as keys:
            for place, key in enumerate(keys):
                if key.name == name:
                    keys[place] = key if key.revoked else replace(key, revoked=_now())
                    return keys[place]
            raise NotFound(f"there is no key {name!r}: tmem keys list shows them")

    def find(self, secret: str) -> Key | None:
        """The key that was given, None if there is none or it was revoked; in the same time whichever it is."""
        own, found = digest(secret), None
        for key in self.all():
            if compare_digest(key.sha256, own) and key.revoked is None:
                found = key
        return found

    @contextmanager
    def _changing(self) -> Iterator[list[Key]]:
        """The keys to change, by one process at a time; written when the block ends without an error."""
        try:
            for folder in (self.home, self.home / "locks"):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"{self.home}: cannot be written ({error.strerror})") from None
        with Locks(self.home).hold("keys"):
            keys = list(self.all())
            yield keys
            text = json.dumps({"keys": [asdict(key) for key in keys]}, indent=2, ensure_ascii=False) + "\n"
            try:
                write_bytes(self.path, text.encode(), mode=0o600)
            except DataError as error:
                raise StoreError(str(error)) from None

    def _load(self) -> list[Key]:
        try:
            kept: Any = read_json(self.path)
            keys = [Key(**row) for row in kept["keys"]]
        except DataError as error:
            raise StoreError(str(error)) from None
        except (KeyError, TypeError):
            keys = None
        if keys is None or not all(isinstance(key.sha256, str) and key.sha256.isascii() for key in keys):
            raise StoreError(f"{self.path}: not a file of keys; remove it and make keys anew (tmem keys make)")
        return keys


def check_user(name: Any, what: str = "the name of a user") -> str:
    """A name as it may be kept. Raises :class:`UsageError`, which calls it ``what``."""
    validation.key(name, what)
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(f"{what} has 1 to {LONGEST_NAME} printable characters")
    return str(name)


def digest(secret: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
