"""What generation and scoring are compared with: mixed requests, and models with a memory merged in."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tmem.fastweights import Basis, Delta, FastWeights
from tmem.model import Completion, HFEngine, Model, Request
from tmem.seeds import generator

MemoryModel = tuple[Model, FastWeights, Delta]


def prompt(length: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(torch.randint(3, 350, (length,), generator=generator("prompt", length, seed)).tolist())


def mixed_requests() -> list[Request]:
    """Lengths below and beyond the sliding window of 8, three memories and none, greedy and sampled."""
    return [
        Request(prompt(5), memory=0, max_new_tokens=14),
        Request(prompt(23), memory=None, max_new_tokens=9),
        Request(prompt(11), memory=2, max_new_tokens=16, temperature=0.8, seed=1),
        Request(prompt(2), memory=1, max_new_tokens=3),
        Request(prompt(17), memory=0, max_new_tokens=12, temperature=1.2, top_k=20, seed=2),
        Request(prompt(9), memory=2, max_new_tokens=14, temperature=1.0, top_p=0.8, seed=3),
        Request(prompt(5), memory=1, max_new_tokens=14),
        Request(prompt(12), memory=None, max_new_tokens=1, temperature=1.0, seed=4),
    ]


def merged(model: Model, fast: FastWeights, delta: Delta, row: int) -> PreTrainedModel:
    """The same model with B A added to its weights."""
    hf: PreTrainedModel = copy.deepcopy(model.hf)
    modules = dict(hf.named_modules())
    for site in fast.target_modules:
        weight = modules[site.name.partition("[")[0]].weight
        rows = slice(*site.rows) if site.rows else slice(None)
        with torch.no_grad():
            weight[rows] += delta.b[site.name][row] @ fast.basis.a[site.name]
    return hf


def teacher_forced(hf: PreTrainedModel, start: tuple[int, ...], ids: tuple[int, ...]) -> Tensor:
    """log pi of each id after ``start``, with gradients: (len(ids),)."""
    logits = hf(input_ids=torch.tensor([[*start, *ids]]), use_cache=False).logits[0]
    scores: Tensor = logits.log_softmax(-1)[len(start) - 1 : -1]  # (len(ids), V)
    return scores.gather(1, torch.tensor(ids)[:, None])[:, 0]


def with_memories(model: Model) -> MemoryModel:
    """The model with three memories of random numbers."""
    fast = FastWeights(model.hf, Basis.from_model(model.hf))
    zeros = fast.zeros(3)
    b = {name: 0.1 * torch.randn(value.shape, generator=generator(name)) for name, value in zeros.b.items()}
    return model, fast, Delta(b, zeros.basis_digest)


def one_by_one(memory_model: MemoryModel, wanted: list[Request]) -> list[Completion]:
    model, fast, delta = memory_model
    return [HFEngine(model).generate([request], delta, fast)[0] for request in wanted]


def assert_same(one: list[Completion], other: list[Completion]) -> None:
    assert [done.ids for done in one] == [done.ids for done in other]
    for a, b in zip(one, other, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)
