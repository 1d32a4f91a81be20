"""A gate that reads: theta_0, which was taught to, is shown the likeliest pairs as text and says what they answer.

Likeness of questions finds what a question may mean; whether a pair answers it is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from torch import Tensor

from tmem.fastweights import Recipe
from tmem.model.gate import Gate, Keys, Likeness, Meant, Reading, make_keys
from tmem.model.load import Model
from tmem.model.request import Request
from tmem.texts import fold, said

SHOWN = 6  # pairs, at most
FAR = 0.1  # what is less alike is not shown


def notes(pairs: Iterable[tuple[str, str]]) -> str:
    """Pairs as a text that is read: a line each."""
    return "\n".join(f"{question} {answer}" for question, answer in pairs)


class ReadingGate(Gate):
    """Opens where theta_0, reading the pairs that a question is most like, answers it with one of theirs."""

    def __init__(self, keys: Keys, model: Model) -> None:
        super().__init__(keys)
        self.model = model

    def nearest(
        self, questions: Sequence[str], pairs: Sequence[tuple[str, str]], keys: Tensor
    ) -> Reading[list[Meant | None]]:
        """For every question the pair that answers it; of those that none does, the one that it is most like."""
        if not pairs:
            return [None] * len(questions)
        every = self.likeness(questions, pairs, keys)
        read = [shown(like) for like in every]
        asked = [
            self._asked(question, [pairs[one] for one in own])
            for question, own in zip(questions, read, strict=True)
            if own
        ]
        replies = iter((yield asked) if asked else [])
        found: list[Meant | None] = []
        for like, own in zip(every, read, strict=True):
            near = like.best(0.0)
            if near is not None and near.same:
                near = replace(near, sure=1.0)
            elif near is not None:
                near = replace(near, opens=False)
                if own:
                    reply = next(replies)
                    answering = self._answering(said(reply.text), own, pairs)
                    if answering is not None:
                        near = replace(near, pair=answering, opens=True, sure=math.exp(sum(reply.logprobs)))
            found.append(near)
        return found

    def _answering(self, reply: str, shown: Sequence[int], pairs: Sequence[tuple[str, str]]) -> int | None:
        """The place of the pair whose answer a reply is, or is a part of; None if it is none's."""
        if fold(reply) == fold(self.model.wordings.refusal):
            return None
        fitting = [place for place in shown if _says(reply, pairs[place][1])]
        return min(fitting, key=lambda place: fold(pairs[place][1]) != fold(reply), default=None)

    def _asked(self, question: str, pairs: Sequence[tuple[str, str]]) -> Request:
        """What theta_0 is asked: the question, after these pairs."""
        messages = [{"role": "system", "content": notes(pairs)}, {"role": "user", "content": question}]
        prompt = tuple(self.model.encode_chat(messages))
        return Request(prompt, max_new_tokens=self.model.settings.max_new_tokens_answer, reads=True)


def shown(like: Likeness) -> list[int]:
    """The places of the pairs that theta_0 reads, the likeliest first."""
    if like.same is not None or like.pairs is None:
        return []
    values, places = like.pairs.topk(min(SHOWN, len(like.pairs)))
    return [int(place) for value, place in zip(values, places, strict=True) if value > FAR]


def gate_of(model: Model, recipe: Recipe) -> Gate:
    """The gate of a model's memories under a recipe, made when it is first needed."""
    first = model.fast(recipe).target_modules[0].layer
    if first not in model.gates:
        keys = make_keys(model, first)
        model.gates[first] = ReadingGate(keys, model) if model.settings.gate == "reading" else Gate(keys)
    gate: Gate = model.gates[first]
    return gate


def _says(reply: str, answer: str) -> bool:
    """Whether a reply is an answer, or one of them is a part of the other: "Tuesday", "on Tuesday"."""
    one, other = set(fold(reply).split()), set(fold(answer).split())
    return bool(one and other) and (one <= other or other <= one)
