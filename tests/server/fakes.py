"""A memory whose model costs nothing: it reads who lives where, and knows word for word what was told."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

from store.fakes import FakeTrainer

from tmem import Memory
from tmem.agent.extraction import QAPair
from tmem.model.answering import Found
from tmem.model.batch import current_listener
from tmem.session import session
from tmem.store.actions import Both
from tmem.store.home import Home
from tmem.store.ledger.queries import NewPair
from tmem.store.loaded import Shared
from tmem.turn import Turn

LIVES = re.compile(r'(\w+) said, ".*?I live in (\w+)')
UNKNOWN = "No information available"


class Words:
    """A word is a token."""

    name, window = "fake", 4_096
    settings = SimpleNamespace(max_new_tokens_memory=5, max_new_tokens_answer=5)

    def __init__(self) -> None:
        self.chat = self.tokenizer = self
        self.words, self.stop_ids = list[str](), frozenset({-1})

    def literal(self, text: str) -> str:
        return text

    def encode(self, text: str) -> list[int]:
        self.words += text.split()
        return list(range(len(self.words) - len(text.split()), len(self.words)))

    def piece(self, token: int) -> str:
        return self.words[token]

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(self.words[number] for number in ids)

    def encode_chat(self, messages: Sequence[dict[str, str]]) -> list[int]:
        return [number for message in messages for number in self.encode(message["content"])]

    def count(self, text: str) -> int:
        return len(text.split())


class PairsTrainer(FakeTrainer):
    by_pairs = True

    def likelihood(self, state: Any, pairs: Sequence[Any]) -> list[float]:
        return [float(state["b"].sum())] * len(pairs)


class Actions:
    """``free``, ``slow``: while not set, every call of the model waits, or every word after the first.

    ``samplings``, ``prompted``: what it was asked; ``spoken``: how many words it has said.
    """

    def __init__(self, trainer: FakeTrainer, converses: bool) -> None:
        self.trainer, self.model, self.engine = trainer, Words(), None
        self.prompts = SimpleNamespace(
            converses=converses,
            undated=False,
            refusal=None,
            answer=lambda question, shown: [{"role": "user", "content": f"{shown} {question}"}],
        )
        self.free, self.samplings, self.prompted = Event(), list[Any](), list[str]()
        self.free.set()
        self.slow, self.spoken = Event(), 0
        self.slow.set()

    def fitting(self, question: str) -> str:
        return question

    def read(
        self,
        state: Any,
        lines: Sequence[tuple[str, str]],
        when: Any,
        before: str,
        active: Collection[Any],
        progress: Callable[[int, int], None],
    ) -> tuple[list[QAPair], list[dict[str, str]], int]:
        assert self.free.wait(60)
        found = LIVES.findall(session(lines, when, before))
        return [QAPair(f"Where does {name} live?", place) for name, place in found], [], 7

    def filter_pairs(
        self, state: Any, found: Sequence[QAPair], active: Collection[Any]
    ) -> tuple[list[NewPair], list[dict[str, str]]]:
        held = {pair.question: pair.id for pair in active}
        return [NewPair(pair.question, pair.answer, held.get(pair.question)) for pair in found], []

    def answers(self, state: Any, questions: Sequence[str], pairs: Sequence[Any], unknown: str) -> list[Found]:
        assert self.free.wait(60)
        if questions == ["What breaks?"]:
            raise RuntimeError("a secret of the inside")
        found = []
        for question in questions:
            at = [place for place, pair in enumerate(pairs) if pair.question == question]
            if at:
                text = self.say(pairs[at[0]].answer.split())
                found.append(Found(text, "weights", (at[0],)))
            else:
                found.append(Found(UNKNOWN, "nothing"))
        return found

    def unusable(self, question: str, answer: str) -> str | None:
        return None

    def both(self, state: Any, question: str, pairs: Sequence[Any], documents: Sequence[str], *more: Any) -> Both:
        prompt, limit, _ = more
        self.prompted.append(self.model.decode(prompt(documents)))
        text = self.say(["from", "both", "of", "them"][:limit])
        return Both(text, 0 if pairs else None, 1.5 if pairs else None, (0.25,) * len(documents))

    def say(self, words: list[str]) -> str:
        """Words, one after the other, to whoever listens."""
        listener, said = current_listener(), list[str]()
        for word in words:
            if listener is not None:
                if listener.gone:
                    break
                token = self.model.encode(word)[0]
                listener.heard(token, -0.5, ((token, -0.5), (0, -2.0))[: listener.likeliest])
            said.append(word)
            assert self.slow.wait(60)
        if listener is not None and len(said) == len(words) < 5:
            listener.heard(-1, 0.0, ())
        self.spoken += len(said)
        return " ".join(said)

    def reply(
        self, state: Any, prompts: Sequence[list[int]], limit: int, sampling: Any = None, talking: bool = False
    ) -> list[str]:
        assert self.free.wait(60)
        self.samplings.append(sampling)
        self.prompted += [self.model.decode(prompt) for prompt in prompts]
        return [self.say(["one", "two", "three", "four", "five", "six"][:limit]) for _ in prompts]


def open_memory(home: Path, converses: bool = False, trainer: FakeTrainer | None = None) -> tuple[Memory, Actions]:
    """A memory in ``home``, and what its model does."""
    trainer = trainer or PairsTrainer()
    actions = Actions(trainer, converses)
    memory = object.__new__(Memory)
    memory._ends = ExitStack()
    memory._shared = Shared(Home(home, trainer), lambda: actions, Turn())  # type: ignore[arg-type, return-value]
    return memory, actions
