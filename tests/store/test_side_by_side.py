"""Memories for many threads: one batch for all, writes beside answers, and the same bits and words as one by one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tmem import Memory
from tmem.model import Model
from tmem.store.weights.trainer import PairsTrainer

PLACES = {"Ana": "Lyon", "Ben": "Oslo", "Maria": "Kyoto", "Otto": "Turin"}


@pytest.fixture(scope="module")
def quick(model: Model) -> Model:
    """The model with a write of a few steps."""
    fresh = {"steps": 8, "steps_per_pair": 0, "held": 0}
    settings = model.settings.model_copy(update={"recipes": {"tmem": {"lr": 0.005, "fresh": fresh}}})
    return Model(model.name, model.directory, model.hf, model.tokenizer, settings)


def trajectory(memory: Memory, name: str) -> tuple[str, str, str]:
    """One user's: the weights, what she is answered, and what is said of another."""
    question = f"What is {name}'s city?"
    memory.add(pairs=[(question, PLACES[name])], user_id=name)
    other = next(one for one in PLACES if one != name)
    return (
        str(memory.verify(user_id=name)["weights"]),
        memory.ask(question, user_id=name).text,
        memory.ask(f"What is {other}'s city?", user_id=name).text,
    )


def test_many_at_once_give_the_bits_and_words_of_one_after_the_other(quick: Model, tmp_path: Path) -> None:
    with Memory(quick, tmp_path / "a") as alone:
        expected = [trajectory(alone, name) for name in PLACES]
    with Memory(quick, tmp_path / "b", side_by_side=True) as many:
        many.warm()
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(lambda name: trajectory(many, name), PLACES)) == expected


def test_a_write_holds_nobody_up(quick: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one trains others ask, also the same memory: of what is in force."""
    begun, free, train = threading.Event(), threading.Event(), PairsTrainer.train

    def slow(self: PairsTrainer, *args: Any, **more: Any) -> Any:
        with self.training():
            begun.set()
            assert free.wait(60)
            return train(self, *args, **more)

    with Memory(quick, tmp_path / "home", side_by_side=True) as memory:
        for name in ("Ana", "Ben"):
            memory.add(pairs=[(f"What is {name}'s city?", PLACES[name])], user_id=name)
        before = {name: memory.ask(f"What is {name}'s city?", user_id=name) for name in ("Ana", "Ben")}
        monkeypatch.setattr(PairsTrainer, "train", slow)
        with ThreadPoolExecutor(1) as threads:
            written = threads.submit(memory.add, pairs=[("What is Ana's job?", "baker")], user_id="Ana")
            assert begun.wait(60)
            for name, said in before.items():
                now = memory.ask(f"What is {name}'s city?", user_id=name)
                assert (now.text, now.version) == (said.text, said.version)
            free.set()
            assert written.result().version != before["Ana"].version
