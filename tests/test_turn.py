"""A model's turn: one thread at a time, in the order in which they come; who waits for something else gives it back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from tmem.turn import Turn


def begun(*calls: Callable[[], None]) -> list[threading.Thread]:
    """Threads, each started when the one before it waits or has ended."""
    threads = []
    for call in calls:
        threads.append(threading.Thread(target=call))
        threads[-1].start()
        time.sleep(0.05)
    return threads


def test_it_is_handed_on_in_order_and_may_be_taken_again() -> None:
    turn, seen, inside = Turn(), list[str](), list[str]()

    def use(name: str) -> None:
        with turn, turn:
            inside.append(name)
            time.sleep(0.01)
            assert inside == [name]
            inside.remove(name)
            seen.append(name)

    with turn:
        threads = begun(*[lambda name=name: use(name) for name in "abcde"])  # type: ignore[misc]
        assert turn.wanted and not seen
    for thread in threads:
        thread.join(5)
    assert seen == list("abcde") and not turn.wanted


def test_who_is_away_gives_it_back_however_often_it_was_taken() -> None:
    turn, seen = Turn(), list[str]()

    def other() -> None:
        with turn:
            seen.append("other")

    with turn, turn:
        [thread] = begun(other)
        assert not seen
        with turn.away(), turn.away():
            thread.join(5)
        assert seen == ["other"]
        [late] = begun(other)
        assert seen == ["other"]  # it is this thread's again, twice
    late.join(5)
    assert seen == ["other"] * 2
    with turn.away():  # who has not got it goes nowhere
        begun(other)[0].join(5)
    assert len(seen) == 3


def test_who_is_interrupted_while_waiting_leaves_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    turn, real = Turn(), threading.Lock

    class Interrupted:
        def __init__(self) -> None:
            self.lock, self.count = real(), 0

        def acquire(self) -> bool:
            self.count += 1
            if self.count == 2:
                raise KeyboardInterrupt
            return self.lock.acquire()

    def wait() -> None:
        monkeypatch.setattr("tmem.turn.Lock", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            turn.__enter__()
        monkeypatch.undo()

    with turn:
        begun(wait)[0].join(5)
        assert not turn.wanted
    with turn:
        pass
