"""A copy of a home that is in use is a home."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import select
from store.fakes import FakeTrainer

from tmem.errors import StoreError
from tmem.store.care.backup import backup, restore
from tmem.store.care.doctor import examine
from tmem.store.home import Home
from tmem.store.ledger import schema as db
from tmem.store.ledger.queries import NewPair
from tmem.store.revise import forget
from tmem.store.weights.snapshots import Snapshots
from tmem.store.weights.states import state_digest

ANA, BEN = ("ana", None, None), ("ben", None, None)


def open_home(path: Path) -> Home:
    return Home(path, FakeTrainer(), snapshot_every=3)


def told(home: Home, scope: str, question: str) -> str:
    [pair_id] = home.tell(scope, [NewPair(question, "x")], f"text of {question}")[1]
    home.absorb(scope)
    return pair_id


def test_a_copy_is_a_home(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    scopes = [home.scope(names) for names in (ANA, BEN)]
    ids = [told(home, scope, f"q{number}") for number in range(7) for scope in scopes]
    home.tell(scopes[0], [NewPair("pending", "x")])
    files = len(list((tmp_path / "home" / "scopes").rglob("*.safetensors")))
    assert backup(tmp_path / "home", tmp_path / "copy") == files > 4
    weights = [version.weights for version in home.versions(scopes[0])]
    forget(home, scopes[0], [ids[0]])
    copy = open_home(tmp_path / "copy")
    assert [one.problem for one in examine(copy)] == ["1 pairs were told and never written"]
    assert [state_digest(copy.state(scopes[0], number)) for number in range(1, 8)] == weights
    assert copy.absorb(scopes[0])[0].number == 8 and copy.ledger(scopes[0]).current()[ids[0]].question == "q0"
    assert {path.name for path in tmp_path.iterdir()} == {"home", "copy"}


def test_copied_while_it_is_written(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    scope, done, errors = home.scope(ANA), threading.Event(), list[BaseException]()
    told(home, scope, "first")

    def live() -> None:
        try:
            number = 0
            while not done.is_set():
                number += 1
                pair_id = told(home, scope, f"q{number}")
                if number % 4 == 0:
                    forget(home, scope, [pair_id])
        except BaseException as error:
            errors.append(error)

    writer = threading.Thread(target=live)
    writer.start()
    try:
        for number in range(6):
            backup(tmp_path / "home", tmp_path / f"copy {number}")
            copied = len(home.versions(scope))
            while writer.is_alive() and len(home.versions(scope)) == copied:
                time.sleep(0.005)
    finally:
        done.set()
        writer.join()
    assert errors == []
    sizes = []
    for number in range(6):
        copy = open_home(tmp_path / f"copy {number}")
        copy.absorb(scope)  # it may have been told something that was not written yet
        for version in copy.versions(scope):
            assert version.weights in (None, state_digest(copy.state(scope, version.number)))
        assert examine(copy) == []
        sizes.append(len(copy.versions(scope)))
    assert sizes == sorted(sizes) and len(set(sizes)) > 2  # two may differ in nothing but what was not written yet


def test_weights_that_were_thinned_out_meanwhile_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = open_home(tmp_path / "home")
    scope = home.scope(ANA)
    for number in range(5):
        told(home, scope, f"q{number}")
    gone = home.files.file(scope, str(home.version(scope, 3).snapshot))
    real = Snapshots.get

    def get(files: Snapshots, scope: str, name: str) -> bytes:
        gone.unlink() if name == gone.name else None
        return real(files, scope, name)

    monkeypatch.setattr(Snapshots, "get", get)
    assert backup(tmp_path / "home", tmp_path / "copy") == 2
    copy = open_home(tmp_path / "copy")
    assert copy.version(scope, 3).snapshot is None and copy.version(scope, 3).weights is not None
    assert state_digest(copy.state(scope, 3)) == copy.version(scope, 3).weights and examine(copy) == []


def test_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = open_home(tmp_path / "home"), tmp_path / "here"
    told(home, home.scope(ANA), "q")
    here.mkdir()
    monkeypatch.chdir(here)
    assert backup(home.path, Path()) == 1
    assert examine(open_home(here)) == []
    monkeypatch.chdir(home.path)
    assert restore(here, Path()) == tmp_path / "home.before-1"
    assert examine(open_home(tmp_path / "home")) == []
    assert {path.name for path in tmp_path.iterdir()} == {"home", "here", "home.before-1"}


def test_where_no_copy_can_be(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for target in ("full", "file"):
        with pytest.raises(StoreError, match="is there already"):
            backup(home.path, tmp_path / target)
    with pytest.raises(StoreError, match="in the home itself"):
        backup(home.path, home.path / "copy")
    with pytest.raises(StoreError, match="not a folder that can be written"):
        backup(home.path, tmp_path / "file" / "copy")
    with pytest.raises(StoreError, match="cannot be copied"):
        backup(tmp_path / "nothing", tmp_path / "copy")
    assert {path.name for path in tmp_path.iterdir()} == {"home", "full", "file"}
    with home.db.read() as connection:
        assert connection.execute(select(db.pairs)).all() == []
