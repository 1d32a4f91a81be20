"""The persona benchmark: fresh conversations of the synthetic world, made up from the seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from tmem.errors import UsageError
from tmem.tasks.base import Item, Task
from tmem.tasks.locomo import Question, parse_sample, resolve, task
from tmem.tasks.persona.conversation import MAX_FACTS, make_sample
from tmem.tasks.persona.world import People

FACTS_PER_SESSION = 4


class Persona:
    """``episodes`` conversations of ``facts`` facts, four a session; ``people`` says which words they use."""

    name = "persona"
    scorers: tuple[str, ...] = ("tmem_token",)

    def __init__(self, facts: int, episodes: int, people: People = "unseen", official: bool = False) -> None:
        if facts > MAX_FACTS:
            raise UsageError(f"--facts {facts}: a conversation has room for {MAX_FACTS}")
        self.facts, self.episodes, self.people, self.official = facts, episodes, people, official
        self._by_id: dict[str, Question] = {}

    def identity(self) -> dict[str, Any]:
        # The world's code is its data: one conversation stands for what it makes up.
        made = json.dumps(self._sample(0, 0), sort_keys=True, ensure_ascii=False)
        return {"facts": self.facts, "people": self.people, "sha256": hashlib.sha256(made.encode()).hexdigest()}

    def count(self, seed: int, limit: int | None = None) -> int:
        return sum(len(task.items) for task in islice(self.tasks(seed), limit))

    def tasks(self, seed: int) -> Iterator[Task]:
        for index in range(self.episodes):
            conversation = parse_sample(self._sample(seed, index))
            self._by_id |= {question.id: question for question in conversation.questions}
            yield task(conversation, conversation.questions, self.official, seed)

    def _sample(self, seed: int, index: int) -> dict[str, Any]:
        return make_sample(seed, index, max(1, self.facts // FACTS_PER_SESSION), self.facts, self.people)

    def prediction(self, item: Item, reply: str, seed: int) -> str:
        return resolve(self._by_id[item.id], reply, self.official, seed)
