"""A trainer that costs nothing: its state is a hash of everything that it was trained on, in order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tmem.errors import DeltaError
from tmem.store.ledger import Step
from tmem.store.trainer import Tensors, Trained


class FakeTrainer:
    """``refuse``: a word in a question that makes the state refused."""

    def __init__(self, name: str = "fake", refuse: str = "REFUSE") -> None:
        self.engine: dict[str, Any] = {"base": name}
        self.refuse = refuse
        self.trained = 0

    def zeros(self) -> Tensors:
        return {"b": torch.zeros(1, 32)}

    def train(self, state: Tensors, step: Step) -> Trained:
        self.trained += 1
        told = [[(pair.question, pair.answer) for pair in own] for own in (step.new, step.old)]
        value = hashlib.sha256(repr((state["b"].tolist(), told, step.seed)).encode()).digest()
        refused = "a word" if any(self.refuse in pair.question for pair in step.new) else None
        return Trained({"b": torch.tensor([list(value)], dtype=torch.float32)}, {"pairs": len(step.new)}, refused)

    def check(self, state: Mapping[str, Tensor]) -> None:
        if set(state) != {"b"} or state["b"].shape != (1, 32) or not torch.isfinite(state["b"]).all():
            raise DeltaError("no state of the fake trainer")
