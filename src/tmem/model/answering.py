"""Answering from a memory that was written from zero: which pair is meant, who says it, and what was never told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tmem.fastweights import Delta, Recipe
from tmem.model.contents import Pair
from tmem.model.engine import Engine, HFEngine
from tmem.model.gate import Reading, read
from tmem.model.load import Model
from tmem.model.reading import gate_of
from tmem.model.request import Request
from tmem.model.score import logprobs
from tmem.texts import said

Unknown = Literal["refuse", "base"]
Source = Literal["weights", "text", "base", "nothing"]
SURE = 0.5  # a token more likely than this is the one that is said
BESIDE_TEXT = 0.9  # so likely has what theta_0 read for the gate to be, for the memory to be heard where there is text


@dataclass(frozen=True, eq=False)
class Known:
    """What a memory knows; by pair, in their order: the row of ``delta``, the gate's key, and if weights give it."""

    pairs: Sequence[Pair]
    delta: Delta
    rows: Sequence[int]
    keys: Tensor  # (n, d)
    recalled: Sequence[bool]


@dataclass(frozen=True)
class Found:
    """An answer, what it is from, and the places of the pairs that the question means."""

    text: str
    source: Source
    pairs: tuple[int, ...] = ()


def answers(
    model: Model,
    recipe: Recipe,
    known: Known,
    questions: Sequence[str],
    unknown: Unknown = "refuse",
    engine: Engine | None = None,
) -> list[Found]:
    """What a memory answers to questions.

    The gate says which pair is meant. The weights are asked for it in its own words, unless they do not give its
    answer: then its text says it. Where no pair is meant, a model that was taught to refuse in its weights is asked
    the question itself, if it names what they know; else it is refused ("nothing"), or asked of theta_0 ("base").
    """
    gate = gate_of(model, recipe)
    refusal, refuses = model.wordings.refusal, bool(model.wordings.groups)
    found: list[Found] = []
    asked: list[tuple[str, int | None]] = []  # by those that have no text yet
    engine = engine or HFEngine(model)
    every = read(gate.nearest(questions, known.pairs, known.keys), engine)
    for question, near in zip(questions, every, strict=True):
        if near is not None and near.opens and not known.recalled[near.pair]:
            found.append(Found(known.pairs[near.pair][1], "text", (near.pair,)))
        elif near is not None and (near.opens or (refuses and near.named)):
            found.append(Found("", "weights", (near.pair,) if near.opens else ()))
            asked.append((known.pairs[near.pair][0] if near.opens else question, known.rows[near.pair]))
        elif unknown == "refuse":
            found.append(Found(refusal, "nothing"))
        else:
            found.append(Found("", "base"))
            asked.append((question, None))
    if not asked:
        return found
    room = model.settings.max_new_tokens_answer
    requests = [Request(tuple(model.bare(question)), row, room) for question, row in asked]
    replies = iter(engine.generate(requests, known.delta, model.fast(recipe)))
    return [one if one.text else replace(one, text=said(next(replies).text)) for one in found]


class Asked(NamedTuple):
    """The words in which a memory is asked, the pair whose B is to answer, and whether the gate opens.

    The words are the pair's own where it is meant. ``pair`` None: about people of whom nothing was told. ``sure``:
    where theta_0 reads for the gate and it opens, whether that is enough where there is text.
    """

    words: str
    pair: int | None
    opens: bool
    sure: bool | None = None


def as_asked(
    model: Model, recipe: Recipe, questions: Sequence[str], pairs: Sequence[Pair], keys: Tensor | None = None
) -> Reading[list[Asked]]:
    """How a memory of these pairs is asked each question; ``keys``: the gate's of the pairs, if they are known."""
    gate = gate_of(model, recipe)
    found = []
    every = yield from gate.nearest(questions, pairs, gate.keys.pairs(pairs) if keys is None else keys)
    for question, near in zip(questions, every, strict=True):
        if near is None:
            found.append(Asked(question, None, opens=False))
        else:
            words = pairs[near.pair][0] if near.opens else question
            sure = None if near.sure is None else near.sure >= BESIDE_TEXT
            found.append(Asked(words, near.pair, near.opens, sure))
    return found


def recalled(model: Model, recipe: Recipe, pairs: Sequence[Pair], delta: Delta, rows: Sequence[int]) -> list[bool]:
    """Of every pair whether its row of ``delta`` gives its answer, asked in its own words."""
    if not pairs:
        return []
    examples = [model.example(*pair) for pair in pairs]
    prompts, wanted = [one.prompt_ids for one in examples], [one.answer_ids for one in examples]
    with torch.no_grad():
        scores = logprobs(model, prompts, wanted, delta, model.fast(recipe), list(rows))
    return [float(own.min().exp()) > SURE for own in scores]
