"""General requests with the answers of the model as it is: what it says to them is to stay as it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tmem.model import HFEngine, Model, Request
from tmem.model.gate import general_questions
from tmem.seeds import derive
from tmem.texts import fold
from tmem.training.sources.rows import row
from tmem.training.sources.topics import ONWARD, REQUESTS, SHORT, SMALL_TALK, SUBJECTS, VARIED

LONGEST = 120  # tokens; an answer that does not end by then is left out
LONGER = 200  # of varied ones, of which too few would be left
AT_ONCE = 16
Shown = Callable[[Sequence[int]], Iterable[int]]  # goes through some, and may show how far it is


def chat(model: Model, seed: int, count: int, shown: Shown = iter) -> Iterator[dict[str, Any]]:
    """Rows of at most ``count`` requests; those whose greedy answers end too late are left out.

    So are the questions that a model's answers are measured and held on.
    """
    draw = random.Random(derive(seed, "chat"))
    every = [request.format(x=subject) for request in REQUESTS for subject in SUBJECTS]
    first = [*SMALL_TALK, *SHORT]
    asked = [*first, *draw.sample(every, max(0, min(count - len(first), len(every))))][:count]
    yield from _answered(model, _not_measured(asked), LONGEST, shown)


def bare(model: Model, questions: Sequence[str], shown: Shown = iter) -> Iterator[dict[str, Any]]:
    """The same for questions that were asked of a text, without it: what no text says is not to be refused."""
    yield from _answered(model, _not_measured(questions), LONGEST, shown)


def varied(model: Model, shown: Shown = iter) -> Iterator[dict[str, Any]]:
    """The same for requests of all kinds and forms, which may be answered at greater length."""
    yield from _answered(model, _not_measured(VARIED), LONGER, shown)


def _not_measured(requests: Sequence[str]) -> list[list[dict[str, str]]]:
    measured = {fold(question) for question in general_questions()}
    return [[{"role": "user", "content": one}] for one in requests if fold(one) not in measured]


def gone_on(model: Model, rows: Sequence[dict[str, Any]], seed: int, shown: Shown = iter) -> Iterator[dict[str, Any]]:
    """The same for what is asked on from one of every three of these rows, with it before."""
    draw = random.Random(derive(seed, "go on"))
    some = draw.sample(rows, len(rows) // 3)
    prompts = [one["prompt"] + one["completion"] + [{"role": "user", "content": draw.choice(ONWARD)}] for one in some]
    yield from _answered(model, prompts, LONGEST, shown)


def _answered(
    model: Model, prompts: Sequence[list[dict[str, str]]], longest: int, shown: Shown
) -> Iterator[dict[str, Any]]:
    """Greedy answers of fewer than ``longest`` tokens."""
    engine = HFEngine(model)
    for start in shown(range(0, len(prompts), AT_ONCE)):
        part = prompts[start : start + AT_ONCE]
        done = engine.generate([Request(tuple(model.encode_chat(one)), max_new_tokens=longest) for one in part])
        for prompt, reply in zip(part, done, strict=True):
            if len(reply.ids) < longest and reply.text.strip():
                yield row(prompt, reply.text)
