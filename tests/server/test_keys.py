"""Keys: shown once, kept as hashes in a file that nobody else reads, revoked at once."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest

from tmem.errors import NotFound, StoreError, UsageError
from tmem.server.keys import Keys


def test_only_the_hash_is_kept_in_a_private_file(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "home")
    assert not keys.needed and not keys.usable
    secret = keys.make("phone", "ana")
    kept = keys.path.read_text()
    assert secret not in kept and secret.removeprefix("tmem-") not in kept
    [row] = json.loads(kept)["keys"]
    assert row["sha256"] == hashlib.sha256(secret.encode()).hexdigest() and row["user"] == "ana"
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    assert not list(keys.path.parent.glob("*.part")) and not list(keys.path.parent.glob(".*.part"))
    assert len(secret) > 40 and keys.make("other", "ana") != secret


def test_they_are_found_and_revoked_by_whoever_else_has_the_file_open(tmp_path: Path) -> None:
    one, other = Keys(tmp_path), Keys(tmp_path)
    secret = one.make("phone", "ana")
    service = one.make("app", None)
    assert other.find(secret) is not None and other.find(service).user is None  # type: ignore[union-attr]
    assert other.find(secret + "x") is None and other.find("") is None
    one.revoke("phone")
    assert other.find(secret) is None and other.find(service) is not None and other.usable
    one.revoke("app")
    assert other.needed and not other.usable  # revoking the last key lets nobody in
    with pytest.raises(NotFound):
        one.revoke("nobody")


@pytest.mark.parametrize(("name", "user"), [("", "ana"), ("a" * 201, "ana"), ("k", ""), ("k", "a\nb"), ("k", "\ud800")])
def test_names_that_cannot_be(tmp_path: Path, name: str, user: str) -> None:
    with pytest.raises(UsageError):
        Keys(tmp_path).make(name, user)
    assert not Keys(tmp_path).needed


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    Keys(tmp_path).make("phone", "ana")
    with pytest.raises(UsageError, match="already"):
        Keys(tmp_path).make("phone", "ben")


@pytest.mark.parametrize("text", ["{", "[]", '{"keys": [1]}', '{"keys": [{"name": "a"}]}', '{"keys": null}'])
def test_a_broken_file_lets_nobody_in(tmp_path: Path, text: str) -> None:
    keys = Keys(tmp_path)
    keys.path.write_text(text)
    with pytest.raises(StoreError):
        keys.find("tmem-x")
