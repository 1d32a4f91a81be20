"""General requests with the answers of the model as it is: what it says to them is to stay as it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tmem.model import HFEngine, Model, Request
from tmem.model.gate import general_questions
from tmem.seeds import derive
from tmem.texts import fold
from tmem.training.sources.rows import row
from tmem.training.sources.topics import ONWARD, REQUESTS, SHORT, SMALL_TALK, SUBJECTS

LONGEST = 120  # tokens; an answer that does not end by then is left out
AT_ONCE = 16


def chat(
    model: Model, seed: int, count: int, tell: Callable[[int], None] = lambda done: None
) -> Iterator[dict[str, Any]]:
    """Rows of at most ``count`` requests; those whose greedy answers end too late are left out.

    So are the questions that a model's answers are measured and held on.

    ``tell``: how many were asked.
    """
    draw = random.Random(derive(seed, "chat"))
    every = [request.format(x=subject) for request in REQUESTS for subject in SUBJECTS]
    first = [*SMALL_TALK, *SHORT]
    asked = [*first, *draw.sample(every, max(0, min(count - len(first), len(every))))][:count]
    measured = {fold(question) for question in general_questions()}
    asked = [one for one in asked if fold(one) not in measured]
    yield from _answered(model, [[{"role": "user", "content": one}] for one in asked], tell)


def gone_on(
    model: Model, rows: Sequence[dict[str, Any]], seed: int, tell: Callable[[int], None] = lambda done: None
) -> Iterator[dict[str, Any]]:
    """The same for what is asked on from one of every three of these rows, with it before."""
    draw = random.Random(derive(seed, "go on"))
    some = draw.sample(rows, len(rows) // 3)
    prompts = [one["prompt"] + one["completion"] + [{"role": "user", "content": draw.choice(ONWARD)}] for one in some]
    yield from _answered(model, prompts, tell)


def _answered(
    model: Model, prompts: Sequence[list[dict[str, str]]], tell: Callable[[int], None]
) -> Iterator[dict[str, Any]]:
    """Greedy answers that end soon enough."""
    engine = HFEngine(model)
    for start in range(0, len(prompts), AT_ONCE):
        part = prompts[start : start + AT_ONCE]
        done = engine.generate([Request(tuple(model.encode_chat(one)), max_new_tokens=LONGEST) for one in part])
        for prompt, reply in zip(part, done, strict=True):
            if len(reply.ids) < LONGEST and reply.text.strip():
                yield row(prompt, reply.text)
        tell(start + len(part))
