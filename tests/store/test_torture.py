"""Faults, damage, many processes, and any sequence of calls: every one ends in a state that the ledger explains."""

from __future__ import annotations

import builtins
import errno
import multiprocessing
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import event, select
from store.fakes import FakeTrainer
from store.volumes import figure, volume

from tmem.errors import TmemError
from tmem.store import revise
from tmem.store.care.doctor import examine
from tmem.store.home import Home
from tmem.store.ledger import schema as db
from tmem.store.ledger.history import History, view
from tmem.store.ledger.ledger import read_on
from tmem.store.ledger.queries import NewPair
from tmem.store.weights.states import state_digest

ANA = ("ana", None, None)


def open_home(path: Path) -> Home:
    return Home(path, FakeTrainer(), snapshot_every=3)


def ledger(home: Home, scope: str) -> dict[str, tuple[Any, ...]]:
    """All pairs as they stand in the database."""
    columns = db.pairs.c.id, db.pairs.c.question, db.pairs.c.answer, db.pairs.c.status
    with home.db.read() as connection:
        rows = connection.execute(select(*columns).where(db.pairs.c.scope == scope)).all()
    return {row[0]: tuple(row[1:]) for row in rows}


def check(home: Home, scope: str) -> None:
    """Every version that still says what its weights are has them, and the head is what its ledger makes."""
    for version in home.versions(scope):
        assert version.weights in (None, state_digest(home.state(scope, version.number)))
    state = home.trainer.zeros()
    for _, step in home.history(scope, home.head(scope)).steps():
        state = home.trainer.train(state, step).state
    assert state_digest(state) == state_digest(home.state(scope))


# ---- the N-th operation fails ----


def told(home: Home, scope: str) -> list[str]:
    return home.tell(scope, [NewPair("c", "3")], "text of c")[1]


OPERATIONS: dict[str, Callable[[Home, str, list[str]], Any]] = {
    "add": lambda home, scope, ids: (told(home, scope), home.absorb(scope)),
    "forget": lambda home, scope, ids: revise.forget(home, scope, ids[:1]),
    "rollback": lambda home, scope, ids: revise.rollback(home, scope, 2),
    "tag": lambda home, scope, ids: revise.tag(home, scope, 2, "good"),
    "update": lambda home, scope, ids: (
        home.tell(scope, [NewPair("q1", "new", ids[1])]),
        home.absorb(scope, "update"),
    ),
}


class Faults:
    """Counts operations on files and lets the N-th one fail in some way."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int, kind: str) -> None:
        self.at, self.kind, self.count = at, kind, 0
        for name in ("fsync", "replace", "unlink", "mkdir"):
            patch.setattr(os, name, self._failing(getattr(os, name)))
        patch.setattr(builtins, "open", self._open(builtins.open))

    def due(self) -> bool:
        self.count += 1
        return self.count == self.at

    def fail(self) -> None:
        number = errno.ENOSPC if self.kind == "ENOSPC" else errno.EIO
        raise OSError(number, os.strerror(number))

    def _failing(self, real: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            if self.due():
                self.fail()
            return real(*args, **more)

        return call

    def _open(self, real: Any) -> Any:
        def call(file: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
            found = real(file, mode, *args, **more)
            if "w" not in mode:
                return found
            write = found.write

            def failing(data: bytes) -> int:
                if self.due():
                    if self.kind == "short write":
                        write(data[: len(data) // 2])
                        found.flush()
                    self.fail()
                return int(write(data))

            return _File(found, failing)

        return call


class _File:
    """A file with another ``write``."""

    def __init__(self, file: Any, write: Any) -> None:
        self.file, self.write = file, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def prepared(path: Path) -> None:
    home = open_home(path)
    scope = home.scope(ANA)
    for number in range(5):
        home.tell(scope, [NewPair(f"q{number}", str(number))], f"text of {number}")
        home.absorb(scope)
    home.close()


def sql_faults(home: Home, at: int, kind: str, count: list[int]) -> None:
    """Let the N-th statement fail as SQLite does it."""

    @event.listens_for(home.db.engine, "before_cursor_execute")
    def before(*_: Any) -> None:
        count[0] += 1
        if count[0] == at:
            raise sqlite3.OperationalError("database or disk is full" if kind == "ENOSPC" else "disk I/O error")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", ["EIO", "ENOSPC", "short write", "SQL EIO", "SQL ENOSPC"])
def test_whichever_operation_fails(operation: str, kind: str, tmp_path: Path) -> None:
    prepared(tmp_path / "start")
    at, failed = 0, 0
    while True:
        at += 1
        path = tmp_path / "home"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(tmp_path / "start", path)
        home = open_home(path)
        scope = home.scope(ANA)
        before = ledger(home, scope)
        counted, problem = [0], None
        with pytest.MonkeyPatch.context() as patch:
            if kind.startswith("SQL"):
                sql_faults(home, at, kind[4:], counted)
            else:
                faults = Faults(patch, at, kind)
            try:
                OPERATIONS[operation](home, scope, list(before))
            except TmemError as error:
                problem = error
        count = counted[0] if kind.startswith("SQL") else faults.count
        home.close()
        again = open_home(path)
        again.absorb(scope)
        check(again, scope)
        after = ledger(again, scope)
        for pair_id, row in before.items():  # nothing is lost but what was to be forgotten
            assert row[:2] == after[pair_id][:2] or (operation == "forget" and pair_id == next(iter(before)))
        assert [found for found in examine(again, fix=True) if not found.fixed] == []
        again.close()
        if problem is not None:
            failed += 1
            assert "\n" not in str(problem)
        if count < at:
            break
        if at > volume(12, 10_000):
            break
    assert failed > 0 or operation == "tag"
    figure(f"the N-th operation fails, {operation}, {kind}: {at} runs, {failed} ended in an error, all states good")


# ---- damage ----


def test_bits_that_flip(tmp_path: Path) -> None:
    prepared(tmp_path / "start")
    home = open_home(tmp_path / "start")
    scope = home.scope(ANA)
    whole, weights = ledger(home, scope), {v.number: v.weights for v in home.versions(scope)}
    home.db.scrub()
    home.close()
    files = [path for path in (tmp_path / "start").rglob("*") if path.suffix in (".db", ".safetensors")]
    noise, counts = random.Random(7), {"refused": 0, "found": 0, "harmless": 0}
    tries = volume(60, 1000)
    for _ in range(tries):
        path = tmp_path / "home"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(tmp_path / "start", path)
        target = path / noise.choice(files).relative_to(tmp_path / "start")
        data = bytearray(target.read_bytes())
        if noise.random() < 0.25:
            del data[noise.randrange(len(data)) :]
        else:
            data[noise.randrange(len(data))] ^= 1 << noise.randrange(8)
        target.write_bytes(bytes(data))
        try:
            damaged = open_home(path)
            own = damaged.scope(ANA)
            found = examine(damaged)
            if found:
                counts["found"] += 1
            else:
                # Nothing to find: then nothing that weights follow from may have changed.
                assert {v.number: v.weights for v in damaged.versions(own)} == weights
                told_now = {pair_id: row[:2] for pair_id, row in ledger(damaged, own).items()}
                assert told_now == {pair_id: row[:2] for pair_id, row in whole.items()}
                check(damaged, own)
                counts["harmless"] += 1
            damaged.close()
        except TmemError:
            counts["refused"] += 1
    assert counts["refused"] + counts["found"] > tries / 4
    figure(f"flipped and cut bytes: {tries}; {counts}; none loaded")


# ---- many processes ----


def worker(path: Path, number: int, writes: int, errors: Any) -> None:
    """Mixed operations on eight scopes; every pair says whose it is."""
    try:
        rng, home = random.Random(number), open_home(path)
        scopes = [home.scope((f"user {user}", None, None)) for user in range(8)]
        for turn in range(writes):
            user = rng.randrange(8)
            scope = scopes[user]
            _, ids = home.tell(scope, [NewPair(f"user {user}, process {number}, turn {turn}", "x")], f"user {user}")
            done = rng.random()
            if done < 0.6:
                home.absorb(scope)
            elif done < 0.7:
                home.absorb(scope)
                home.tell(scope, [NewPair(f"user {user}, process {number}, turn {turn}", "y", ids[0])])
            elif done < 0.75 and home.head(scope):
                revise.rollback(home, scope, rng.randint(1, home.versions(scope)[-1].number))
            else:
                home.state(scope)
        home.close()
    except BaseException as error:
        errors.put(f"process {number}: {type(error).__name__}: {error}")
        raise


def test_several_processes_lose_nothing(tmp_path: Path) -> None:
    processes, writes = 4, volume(20, 500)
    context = multiprocessing.get_context("fork")
    errors = context.SimpleQueue()
    open_home(tmp_path / "home").close()
    running = [context.Process(target=worker, args=(tmp_path / "home", n, writes, errors)) for n in range(processes)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert errors.empty(), errors.get()
    home = open_home(tmp_path / "home")
    seen: set[tuple[str, str]] = set()
    for user in range(8):
        scope = home.scope((f"user {user}", None, None))
        home.absorb(scope)
        check(home, scope)
        for question, answer, status in ledger(home, scope).values():
            assert question.startswith(f"user {user}, ")
            assert status in ("active", "superseded")
            seen.add((question, answer))
    told_first = {question for question, answer in seen if answer == "x"}
    expected = {f"process {n}, turn {turn}" for n in range(processes) for turn in range(writes)}
    assert {question.partition(", ")[2] for question in told_first} == expected
    assert examine(home) == []
    figure(f"{processes} processes, one home, 8 scopes: {processes * writes} writes, none lost, none in a wrong scope")


# ---- any sequence of calls, beside a dictionary ----


class Beside(RuleBasedStateMachine):
    """A home beside what it should hold: for every version the questions and answers that are in force."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(os.environ["TMEM_TEST_FOLDER"]) / str(random.Random(id(self)).random())
        self.home = open_home(self.folder)
        self.scope = self.home.scope(ANA)
        self.views: dict[int, dict[str, tuple[str, str]]] = {}  # version -> id -> pair
        self.now: dict[str, tuple[str, str]] = {}
        self.waiting: list[dict[str, tuple[tuple[str, str], str | None]]] = []
        self.forgotten: set[str] = set()
        self.number = 0

    def _publish(self) -> None:
        for write in self.waiting:
            if not write:
                continue
            for pair_id, (pair, old) in write.items():
                self.now = {key: value for key, value in self.now.items() if key != old} | {pair_id: pair}
            self._version()
        self.waiting = []

    def _version(self) -> None:
        self.number += 1
        self.views[self.number] = dict(self.now)

    @rule(count=st.integers(1, 3), absorb=st.booleans())
    def add(self, count: int, absorb: bool) -> None:
        pairs = [(f"q{random.Random(str((self.number, len(self.waiting), n))).random()}", "a") for n in range(count)]
        _, ids = self.home.tell(self.scope, [NewPair(*pair) for pair in pairs], "said")
        self.waiting.append({pair_id: (pair, None) for pair_id, pair in zip(ids, pairs, strict=True)})
        if absorb:
            self.absorb()

    @rule()
    def absorb(self) -> None:
        self.home.absorb(self.scope)
        self._publish()

    @precondition(lambda self: bool(self.now) and not self.waiting)
    @rule(data=st.data())
    def update(self, data: st.DataObject) -> None:
        old = data.draw(st.sampled_from(list(self.now)))  # in the order of telling: ids are random
        pair = (self.now[old][0], self.now[old][1] + "'")
        _, [new] = self.home.tell(self.scope, [NewPair(*pair, old)])
        self.waiting.append({new: (pair, old)})
        self.absorb()

    @precondition(lambda self: bool(self.views) and not self.waiting)
    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.views)))
        revise.rollback(self.home, self.scope, number)
        self.now = dict(self.views[number])
        self._version()

    @precondition(lambda self: bool(self.views) and not self.waiting)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        known = [key for key in dict.fromkeys(chain(*self.views.values())) if key not in self.forgotten]
        if not known:
            return
        gone = data.draw(st.sampled_from(known))
        revise.forget(self.home, self.scope, [gone])
        self.forgotten.add(gone)
        kept = ledger(self.home, self.scope)
        for number in self.views:
            # What it had superseded holds again.
            view = self.home.history(self.scope, number).current
            assert gone not in view and all(kept[key][0] is not None for key in view)
            self.views[number] = {pair.id: (pair.question, pair.answer) for pair in view.values()}
        head = self.home.head(self.scope)
        self.now = {p.id: (p.question, p.answer) for p in self.home.history(self.scope, head).current.values()}
        self._version()

    @rule()
    def reopen(self) -> None:
        self.home.close()
        self.home = open_home(self.folder)
        self.home.scope(ANA)

    @invariant()
    def the_same(self) -> None:
        if not hasattr(self, "home"):
            return
        head = self.home.head(self.scope)
        current = self.home.history(self.scope, head).current.values()
        assert {pair.id: (pair.question, pair.answer) for pair in current} == self.now
        assert [version.number for version in self.home.versions(self.scope)] == sorted(self.views)
        marked = {pair_id for pair_id, row in ledger(self.home, self.scope).items() if row[2] == "active"}
        assert marked == self.now.keys()
        read = self.home.ledger(self.scope)  # read on from change to change: the same as read at once
        with self.home.db.read() as connection:
            whole = read_on(connection, self.scope, None)
        assert read == replace(whole, _histories=read._histories)
        for number, version in read.versions.items():
            anew = History(read.start, view(read.versions, number), read.new)
            assert anew.digests == read.history(number).digests and anew.current == read.history(number).current
            assert read.digests()[number] == version.ledger == anew.digests[-1]
        check(self.home, self.scope)

    def teardown(self) -> None:
        if hasattr(self, "home"):
            self.home.close()
            shutil.rmtree(self.folder, ignore_errors=True)


def test_any_sequence_of_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    monkeypatch.setenv("TMEM_TEST_FOLDER", str(tmp_path))
    sequences = volume(15, 500)
    limits = settings(max_examples=sequences, stateful_step_count=12, deadline=None)
    run_state_machine_as_test(Beside, settings=limits)
    figure(f"any sequence of calls beside a dictionary: {sequences} sequences")
