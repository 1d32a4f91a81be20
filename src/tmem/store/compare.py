"""Weights of one memory beside each other: how far apart two of them are, and what a pair adds to an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tmem.store.contradiction import shared_words
from tmem.store.home import Home
from tmem.store.ledger.history import Pair
from tmem.store.results import Moved
from tmem.store.weights.states import Tensors

if TYPE_CHECKING:
    from tmem.store.weights.trainer import FastWeightTrainer


def distance(trainer: FastWeightTrainer, pairs: Sequence[Pair], one: Tensors, other: Tensors) -> dict[str, Any]:
    """How far two states of the same pairs are apart, and of how many pairs only one gives the answer."""
    from tmem.store.weights.trainer import SURE

    gives = [[float(own.min()) > SURE for own in trainer.scores(state, pairs)] for state in (one, other)]
    named = [name for name in trainer.fast.basis.a if name in one]
    apart = sum(float((one[name] - other[name]).double().square().sum()) for name in named)
    size = sum(float(one[name].double().square().sum()) for name in named)
    differ = sum(a != b for a, b in zip(*gives, strict=True))
    return {"distance": (apart / size) ** 0.5 if size else 0.0, "differ": differ, "of": len(pairs)}


def influence(
    home: Home, trainer: FastWeightTrainer, scope: str, asked: Pair, pairs: Sequence[Pair], most: int
) -> dict[str, Moved]:
    """By id of a pair, what training without it changes in the log-probability per token of ``asked``'s answer.

    The ``most`` pairs that share words with question and answer are tried.
    """
    [now] = trainer.likelihood(home.state(scope), [asked])
    words = shared_words(f"{asked.question} {asked.answer}")
    likely = sorted(pairs, key=lambda p: -len(words & shared_words(f"{p.question} {p.answer}")))
    found: dict[str, Moved] = {}
    for pair in likely[:most]:
        [without] = trainer.likelihood(home.state_without(scope, {pair.id}), [asked])
        found[pair.id] = {"with": now, "without": without, "moved": now - without}
    return found
