"""Files that mean harm: none is taken in, and nothing outside the home is read, written or removed."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from sqlalchemy import text
from store.fakes import FakeTrainer
from store.volumes import figure

from tmem.errors import DataError, TmemError
from tmem.store.care.export import load_ledger
from tmem.store.home import Home
from tmem.store.ledger.queries import NewPair

GOOD: dict[str, Any] = {"write": 1, "question": "What?", "answer": "This.", "supersedes": None}


def line(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode() + b"\n"


LEDGERS: dict[str, bytes] = {
    "pickle": pickle.dumps({"write": 1}),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(40),
    "zip": b"PK\x03\x04" + bytes(40),
    "utf-16": json.dumps(GOOD).encode("utf-16"),
    "not utf-8": b'{"write": 1, "question": "\xff\xfe", "answer": "x"}\n',
    "half a line": line()[:-9],
    "an array": b"[1, 2]\n",
    "a number": b"7\n",
    "a text": b'"text"\n',
    "null": b"null\n",
    "an empty line": line() + b"\n" + line(write=2),
    "two objects": line()[:-1] + line(),
    "no write": json.dumps({"question": "a", "answer": "b"}).encode() + b"\n",
    "write is a float": line(write=1.5),
    "write is true": line(write=True),
    "write is a text": line(write="1"),
    "write goes backwards": line(write=2) + line(write=1),
    "write is negative": line(write=-1),
    "write is not finite": b'{"write": NaN, "question": "a", "answer": "b"}\n',
    "write of thousands of digits": b'{"write": ' + b"9" * 5000 + b', "question": "a", "answer": "b"}\n',
    "question is missing": json.dumps({"write": 1, "answer": "b"}).encode() + b"\n",
    "question is a number": line(question=7),
    "question is a list": line(question=["a"]),
    "question is empty": line(question=""),
    "question is white space": line(question=" \t "),
    "question is NUL": line(question="\0\0"),
    "answer is null": line(answer=None),
    "answer is an object": line(answer={"a": 1}),
    "answer is NUL": line(answer=" \0"),
    "supersedes a later line": line(supersedes=5),
    "supersedes itself": line(supersedes=0),
    "supersedes a negative line": line() + line(write=2, supersedes=-1),
    "supersedes a text": line() + line(write=2, supersedes="0"),
    "supersedes true": line() + line(write=2, supersedes=True),
    "supersedes a float": line() + line(write=2, supersedes=0.0),
    "a line of two megabytes": line(question="a" * 2_000_000),
    "ten thousand levels": b"[" * 10_000 + b"]" * 10_000 + b"\n",
    "ten thousand levels inside": b'{"write": 1, "question": ' + b"[" * 10_000 + b"]" * 10_000 + b"}\n",
}


@pytest.mark.parametrize("case", LEDGERS)
def test_ledgers_that_mean_harm(case: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(LEDGERS[case])
    with pytest.raises(DataError) as caught:
        load_ledger(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400 and str(path) in str(caught.value)
    figure(f"hostile ledger, {case}: refused")


def test_ledgers_that_are_no_files(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/zero"), tmp_path / "missing"):
        with pytest.raises(DataError):
            load_ledger(path)


def header(entries: Any, length: int | None = None, body: bytes = b"") -> bytes:
    raw = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + body


def tensor(**changes: Any) -> dict[str, Any]:
    return {"b": {"dtype": "F32", "shape": [1, 32], "data_offsets": [0, 128]} | changes}


NAN = torch.full((1, 32), torch.nan)
STATES: dict[str, Callable[[dict[str, str]], bytes]] = {
    "pickle": lambda facts: pickle.dumps({"b": 1}),
    "torch.save": lambda facts: b"PK\x03\x04" + bytes(200),
    "header of 2^63 bytes": lambda facts: header({}, 2**63),
    "header longer than the file": lambda facts: header(tensor(), 4096),
    "header is no JSON": lambda facts: header(b"{{{{"),
    "header is a list": lambda facts: header([]),
    "header of ten thousand levels": lambda facts: header(b"[" * 10_000 + b"]" * 10_000),
    "offsets beyond the file": lambda facts: header(tensor(data_offsets=[0, 10**9]), None, bytes(128)),
    "offsets that go backwards": lambda facts: header(tensor(data_offsets=[128, 0]), None, bytes(128)),
    "shape of 2^60 numbers": lambda facts: header(tensor(shape=[2**30, 2**30]), None, bytes(128)),
    "shape that is negative": lambda facts: header(tensor(shape=[-1, 32]), None, bytes(128)),
    "unknown dtype": lambda facts: header(tensor(dtype="PICKLE"), None, bytes(128)),
    "no facts": lambda facts: save({"b": torch.zeros(1, 32)}),
    "somebody else's": lambda facts: save({"b": torch.zeros(1, 32)}, facts | {"scope": "0" * 64}),
    "another engine's": lambda facts: save({"b": torch.zeros(1, 32)}, facts | {"engine": "0" * 64}),
    "other numbers": lambda facts: save({"b": torch.ones(1, 32)}, facts),
    "other type": lambda facts: save({"b": torch.zeros(1, 32, dtype=torch.int64)}, facts),
    "wrong shape": lambda facts: save({"b": torch.zeros(2, 32)}, facts),
    "NaN": lambda facts: save({"b": NAN}, facts),
    "no tensor": lambda facts: save({}, facts),
    "one more tensor": lambda facts: save({"b": torch.zeros(1, 32), "../../c": torch.zeros(1)}, facts),
}


def home_with_a_state(path: Path) -> tuple[Home, str, Path, dict[str, str]]:
    home = Home(path / "home", FakeTrainer())
    scope = home.scope(("ana", None, None))
    home.tell(scope, [NewPair("What?", "this")])
    [version] = home.absorb(scope)
    assert version.snapshot is not None and version.weights is not None
    return (
        home,
        scope,
        home.files.file(scope, version.snapshot),
        home.files.facts(scope, version.ledger, version.weights),
    )


@pytest.mark.parametrize("case", STATES)
def test_weights_that_mean_harm(case: str, tmp_path: Path) -> None:
    home, scope, path, facts = home_with_a_state(tmp_path)
    path.write_bytes(STATES[case](facts))
    home.drop_states(scope)
    with pytest.raises(TmemError) as caught:
        home.state(scope)
    assert "\n" not in str(caught.value)
    figure(f"hostile weights, {case}: refused")


@pytest.mark.parametrize("name", ["../../outside.safetensors", "/etc/hostname", "..", "a/b.safetensors"])
def test_names_that_lead_elsewhere(name: str, tmp_path: Path) -> None:
    home, scope, path, _ = home_with_a_state(tmp_path)
    (tmp_path / "outside.safetensors").write_bytes(path.read_bytes())
    with home.db.write() as connection:
        connection.execute(text("UPDATE versions SET snapshot = :name"), {"name": name})
    home.drop_states(scope)
    with pytest.raises(TmemError, match="leads out of the home"):
        home.state(scope)
    assert (tmp_path / "outside.safetensors").exists()
    figure(f"hostile name of a file, {name}: refused")


def test_links_that_lead_elsewhere(tmp_path: Path) -> None:
    home, scope, path, _ = home_with_a_state(tmp_path)
    outside = tmp_path / "outside"
    path.parent.rename(outside)
    (outside / "precious.txt").write_text("not ours")
    path.parent.symlink_to(outside)
    home.drop_states(scope)
    for call in (lambda: home.state(scope), lambda: home.clean(scope), lambda: home.absorb(scope)):
        with pytest.raises(TmemError, match="leads out of the home"):
            call()
    assert (outside / "precious.txt").read_text() == "not ours"
    figure("hostile link in the place of a scope's folder: refused")
