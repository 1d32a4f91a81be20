"""Memories are made by what they are told, and erased for every process, also by one that is killed meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from store.fakes import FakeTrainer

from tmem import Memory
from tmem.errors import NotFound
from tmem.store.care.doctor import examine
from tmem.store.home import Home
from tmem.store.ledger.database import SQLite
from tmem.store.ledger.queries import Names, NewPair, Version

ANA, BEN = ("ana@example.org", None, None), ("ben", None, None)


def open_home(path: Path) -> Home:
    return Home(path, FakeTrainer())


def told(home: Home, question: str, names: Names = ANA) -> str:
    scope = home.scope(names)
    home.tell(scope, [NewPair(question, "x")], f"text of {question}")
    home.absorb(scope)
    return scope


UNKNOWN: list[Callable[[Any], Any]] = [
    lambda mine: mine.get_all(),
    lambda mine: mine.stats(),
    lambda mine: mine.ask("Who?"),
    lambda mine: mine.chat("Who is it?"),
    lambda mine: mine.why("Who?"),
    lambda mine: mine.verify(deep=True),
    lambda mine: mine.rebuild(),
    lambda mine: mine.rebuild(adopt=True),
    lambda mine: mine.absorb(),
    lambda mine: mine.delete_all(),
    lambda mine: mine.erase(),
    lambda mine: mine.add(""),
    lambda mine: mine.forget([]),
    lambda mine: mine.forget(["1234"], mode="reextract"),
    lambda mine: mine.delete("1234"),
    lambda mine: mine.update("1234", "x"),
    lambda mine: mine.history("1234"),
    lambda mine: mine.rollback(1),
    lambda mine: mine.tag(1, "first"),
    lambda mine: mine.diff(1, 2),
]


@pytest.mark.parametrize("call", UNKNOWN)
def test_no_memory_is_made_by_a_call_that_tells_it_nothing(memory: Memory, call: Callable[[Any], Any]) -> None:
    with suppress(NotFound):
        call(memory.scope("u"))
    assert memory.users() == [] and memory.doctor() == []
    locks = memory._shared.home.path / "locks"
    assert [path.name for path in locks.iterdir()] == ["open.lock"]


def test_the_lock_of_a_memory_that_was_never_told_anything_goes_with_the_last_who_holds_it(tmp_path: Path) -> None:
    home, other = open_home(tmp_path / "home"), open_home(tmp_path / "home")
    scope = home.scope(BEN)
    file = tmp_path / "home" / "locks" / f"{scope[:16]}.lock"
    with ThreadPoolExecutor(1) as pool:
        with home.lock(scope):
            with home.lock(scope):
                pass
            waits = pool.submit(absorbed, other, BEN)
            assert file.exists() and not wait([waits], timeout=0.2).done  # held, though it was let go of within
        assert waits.result(30) == []
    assert not file.exists() and told(other, "q", BEN) == scope and file.exists()


def absorbed(home: Home, names: Names) -> list[Version]:
    return home.absorb(home.scope(names))


def test_what_one_process_erased_is_gone_for_another_that_knew_it(tmp_path: Path) -> None:
    home, other = open_home(tmp_path), open_home(tmp_path)
    scope = told(home, "old")
    assert other.scope(ANA) == scope and other.state(scope)["b"].any()
    home.erase(scope)
    assert not other.ledger(scope).versions and not other.state(scope)["b"].any()
    told(other, "new")
    assert [pair.question for pair in other.ledger(scope).current().values()] == ["new"] and other.head(scope) == 1
    assert examine(home) == examine(other) == []


@pytest.mark.parametrize("again", [False, True])
def test_who_is_killed_while_erasing_has_erased_when_the_home_is_next_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    home, other = open_home(tmp_path), open_home(tmp_path)
    scope = told(home, "q")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SQLite, "scrub", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        home.erase(scope)
    assert other.users() == [] and other.scopes() == {} and not other.known(scope)
    if again:  # told anew by who has it open
        told(other, "r")
    home.close()
    other.close()
    home = open_home(tmp_path)
    assert [row["user_id"] for row in home.users()] == ["ana@example.org"] * again and examine(home) == []
    assert home.scope(ANA) == scope and len(home.ledger(scope).versions) == again
    home.close()
    data = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"text of q" not in data and (b"example.org" in data) == again


def test_an_erased_memory_leaves_not_even_its_name(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    scope, other = told(home, "secret"), told(home, "r", BEN)
    assert home.erase(scope) and not home.erase(scope)
    assert list(home.scopes().values()) == ["ben"] and home.head(other) == 1
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(word in path.read_bytes() for path in files for word in (b"example.org", b"secret"))
    assert not [path for path in tmp_path.rglob("*") if scope[:16] in path.name]
    told(home, "anew")
    assert [pair.question for pair in home.ledger(scope).current().values()] == ["anew"]
