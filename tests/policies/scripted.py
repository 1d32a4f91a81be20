"""An engine that answers from a script and remembers what it was asked: the logic of a memory without any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tmem.fastweights import Delta
from tmem.model import Completion, Model, Request


class Script:
    """``reply(prompt text)`` gives the reply; ``asked`` holds every prompt's text and its request, in order."""

    def __init__(self, model: Model, reply: Callable[[str], str]) -> None:
        self.model, self.reply = model, reply
        self.asked: list[tuple[str, Request]] = []
        self.batches: list[int] = []

    def generate(
        self, requests: Sequence[Request], delta: Delta | None = None, fast: Any = None, progress: Any = None
    ) -> list[Completion]:
        self.batches.append(len(requests))
        done = []
        for request in requests:
            prompt = self.model.tokenizer.decode(list(request.prompt_ids))
            self.asked.append((prompt, request))
            text = self.reply(prompt)
            ids = tuple(self.model.chat.encode(text))
            done.append(Completion(ids, text, (0.0,) * len(ids), "stop"))
        return done
