"""General requests with the answers of the model as it is: what it says to them is to stay as it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from tmem.model import HFEngine, Model, Request
from tmem.model.gate import general_questions
from tmem.seeds import derive
from tmem.texts import fold
from tmem.training.sources.rows import row
from tmem.training.sources.topics import REQUESTS, SHORT, SMALL_TALK, SUBJECTS

LONGEST = 120  # tokens; an answer that does not end by then is left out
AT_ONCE = 16


def chat(
    model: Model, seed: int, count: int, tell: Callable[[int], None] = lambda done: None
) -> Iterator[dict[str, Any]]:
    """Rows of at most ``count`` requests; those whose greedy answers end too late are left out.

    So are the questions that a model's answers are measured and held on.

    ``tell``: how many were asked.
    """
    draw, engine = random.Random(derive(seed, "chat")), HFEngine(model)
    every = [request.format(x=subject) for request in REQUESTS for subject in SUBJECTS]
    first = [*SMALL_TALK, *SHORT]
    asked = [*first, *draw.sample(every, max(0, min(count - len(first), len(every))))][:count]
    measured = {fold(question) for question in general_questions()}
    asked = [one for one in asked if fold(one) not in measured]
    for start in range(0, len(asked), AT_ONCE):
        part = [[{"role": "user", "content": one}] for one in asked[start : start + AT_ONCE]]
        done = engine.generate([Request(tuple(model.encode_chat(one)), max_new_tokens=LONGEST) for one in part])
        for prompt, reply in zip(part, done, strict=True):
            if len(reply.ids) < LONGEST and reply.text.strip():
                yield row(prompt, reply.text)
        tell(start + len(part))
