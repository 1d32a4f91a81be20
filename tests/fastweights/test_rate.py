"""The probe measures what it says it measures."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from helpers import CORE_FAMILIES, examples, tiny

from tmem.fastweights import Basis, Delta, FastWeights, get_recipe, probe, rate, write
from tmem.fastweights.dataset import ExampleDataset
from tmem.fastweights.replay import plain_logits


@pytest.mark.parametrize("family", CORE_FAMILIES)
def test_the_gradient_is_the_fall_of_the_loss_per_unit_of_rate(family: str) -> None:
    model = tiny(family)
    fast = FastWeights(model, Basis.from_model(model, layers=2, rank=3))
    pairs = examples(6)
    seen = probe(fast, pairs)
    # One full-batch step at a rate that promises to remove a hundredth of the loss.
    lr = 0.01 * seen.loss / seen.gradient_sq
    recipe = get_recipe("paper", layers=2, rank=3, lr=lr, epochs=2, batch=len(pairs))
    _, [account] = write(fast, fast.zeros(1), [pairs], recipe, [0])
    before, after = account.loss
    assert before == pytest.approx(seen.loss, rel=1e-4)
    assert (before - after) / before == pytest.approx(0.01, rel=0.1)
    assert seen.ax2 == pytest.approx(sum(account.ax2.values()) / len(account.ax2), rel=1e-3)


@pytest.mark.parametrize("family", CORE_FAMILIES)
def test_the_curvature_is_the_hessian_along_the_gradient(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "SMALL", 0.0003)
    model = tiny(family)
    model.set_attn_implementation("eager")  # fused attention has no second derivative
    fast = FastWeights(model, Basis.from_model(model, layers=2, rank=3))
    pairs = examples(6)
    batch = ExampleDataset(pairs, torch.device("cpu"), None).batch(range(6))
    b = {target: value.requires_grad_() for target, value in fast.zeros(1).b.items()}
    with fast.active(Delta(b, fast.basis.digest), [0] * 6):
        logits = plain_logits(model, batch.input_ids, batch.attention_mask, batch.keep)
    loss = F.cross_entropy(logits, batch.targets)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(b.values()), create_graph=True)])
    along = (gradient * gradient.detach()).sum()
    product = torch.cat([h.flatten() for h in torch.autograd.grad(along, list(b.values()))])
    exact = float(product @ gradient.detach() / gradient.detach().square().sum())
    assert probe(fast, pairs).curvature == pytest.approx(exact, rel=0.1)


def test_the_rate_undoes_a_change_of_the_singular_values() -> None:
    model = tiny("qwen3")
    basis = Basis.from_model(model, layers=2, rank=3)
    small = probe(FastWeights(model, basis), examples(6))
    larger = dataclasses.replace(basis, a={target: 10 * value for target, value in basis.a.items()})
    large = probe(FastWeights(model, larger), examples(6))
    assert large.rate == pytest.approx(small.rate / 100, rel=1e-3)
    assert large.ax2 == pytest.approx(100 * small.ax2, rel=1e-3)
