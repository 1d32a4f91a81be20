"""A trainer that costs nothing, its state a hash of all that it was trained on; a model that extracts by a script."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tmem.errors import DeltaError
from tmem.model import Completion, HFEngine, Model
from tmem.store.ledger.history import Step
from tmem.store.weights.states import Tensors, Trained


class FakeTrainer:
    """``refuse``: a word in a question that makes the state refused."""

    by_pairs = False

    def __init__(self, name: str = "fake", refuse: str = "REFUSE") -> None:
        self.engine: dict[str, Any] = {"base": name}
        self.refuse = refuse
        self.trained = 0

    def zeros(self) -> Tensors:
        return {"b": torch.zeros(1, 32)}

    def train(self, state: Tensors, step: Step, look: bool = True) -> Trained:
        self.trained += 1
        told = [[(pair.question, pair.answer) for pair in own] for own in (step.new, step.old)]
        value = hashlib.sha256(repr((state["b"].tolist(), told, step.seed)).encode()).digest()
        refused = "a word" if any(self.refuse in pair.question for pair in step.new) else None
        return Trained({"b": torch.tensor([list(value)], dtype=torch.float32)}, {"pairs": len(step.new)}, refused)

    def check(self, state: Mapping[str, Tensor]) -> None:
        if set(state) != {"b"} or state["b"].shape != (1, 32) or not torch.isfinite(state["b"]).all():
            raise DeltaError("no state of the fake trainer")


class Scripted:
    """Extractions from a script; every other reply is the model's own. Prompts are kept."""

    def __init__(self, model: Model, extractions: list[str]) -> None:
        self.real, self.model, self.extractions = HFEngine(model), model, extractions
        self.prompts: list[str] = []

    def generate(self, requests: Sequence[Any], *args: Any, **more: Any) -> list[Completion]:
        self.prompts += [self.model.tokenizer.decode(request.prompt_ids) for request in requests]
        done = self.real.generate([replace(request, max_new_tokens=3) for request in requests], *args, **more)
        return [
            replace(own, text=self.extractions.pop(0)) if request.stop == "json" else own
            for request, own in zip(requests, done, strict=True)
        ]
