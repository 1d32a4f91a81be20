"""Trunk once, tail many times must be the plain forward, whatever the padding and the Delta."""

from __future__ import annotations

import pytest
import torch
from helpers import FAMILIES, VOCABULARY, tiny
from torch import Tensor, nn

from tmem.errors import ModelError
from tmem.fastweights import Basis, Delta, FastWeights, TailReplay
from tmem.fastweights.replay import evaluating, plain_logits
from tmem.seeds import generator

LENGTHS = [14, 9, 3]


def padded(side: str) -> tuple[Tensor, Tensor]:
    """The same three texts, padded on one side: ids and mask, (3, 14) each."""
    ids, mask = torch.zeros(3, 14, dtype=torch.long), torch.zeros(3, 14, dtype=torch.long)
    for row, length in enumerate(LENGTHS):
        place = slice(0, length) if side == "right" else slice(14 - length, 14)
        ids[row, place] = torch.randint(3, VOCABULARY, (length,), generator=generator("text", row))
        mask[row, place] = 1
    return ids, mask


def noise(fast: FastWeights) -> Delta:
    zeros = fast.zeros(3)
    return Delta(
        {k: 0.05 * torch.randn(v.shape, generator=generator(k)) for k, v in zeros.b.items()},
        zeros.basis_digest,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_replay_is_the_plain_forward(family: str) -> None:
    model = tiny(family)
    fast = FastWeights(model, Basis.from_model(model))
    replay = TailReplay(model, fast.target_modules[0].layer)
    assert replay.exact
    logits = {}
    for side in ("left", "right"):
        ids, mask = padded(side)
        stored = replay.trunk(ids, mask)
        assert stored.shape == (3, 14, 2 * 32) and not stored.requires_grad
        few = mask.bool() & (torch.arange(14) % torch.tensor([[2], [3], [5]]) == 1)  # some of each row's, not as many
        for delta in (None, noise(fast)):
            with fast.active(delta), torch.no_grad():
                tail = replay.logits(stored, ids, mask, mask.bool())
                assert torch.equal(tail, plain_logits(model, ids, mask, mask.bool()))
                full = model(input_ids=ids, attention_mask=mask).logits
                some = replay.logits(stored, ids, mask, few)
            torch.testing.assert_close(tail, full[mask.bool()], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(some, full[few], rtol=1e-5, atol=1e-5)
            logits[side, delta is None] = tail
    for without in (True, False):  # the padding's side does not matter
        torch.testing.assert_close(logits["left", without], logits["right", without], rtol=1e-4, atol=1e-4)
    ends = torch.tensor(LENGTHS).cumsum(0).tolist()
    for row, length in enumerate(LENGTHS):  # nor does having none
        with fast.active(noise(fast), [row]), torch.no_grad():
            alone = model(input_ids=padded("right")[0][row : row + 1, :length]).logits[0]
        torch.testing.assert_close(logits["right", False][ends[row] - length : ends[row]], alone, rtol=1e-4, atol=1e-4)


def test_gradients_flow_through_the_tail_only() -> None:
    model = tiny("qwen3")
    replay = TailReplay(model, 2)
    ids, mask = padded("right")
    replay.logits(replay.trunk(ids, mask), ids, mask, mask.bool()).sum().backward()
    layers = model.model.layers
    assert layers[1].mlp.up_proj.weight.grad is None and layers[2].mlp.up_proj.weight.grad is not None


def test_model_that_fails_the_check_uses_the_plain_forward() -> None:
    class Restless(nn.Module):
        """A layer that cannot be replaced by what it once gave: it answers differently at every call."""

        calls = 0

        def forward(self, hidden: Tensor, **kwargs: object) -> Tensor:
            self.calls += 1
            return hidden * self.calls

    model = tiny("llama")
    model.model.layers[0] = Restless()
    replay = TailReplay(model, 2)
    assert not replay.exact
    ids, mask = padded("right")
    unusable = torch.full((3, 14, 32), float("nan"))
    assert replay.logits(unusable, ids, mask, mask.bool()).isfinite().all()


def test_tail_of_the_whole_model_and_impossible_tails() -> None:
    model = tiny("qwen3")
    assert not TailReplay(model, 0).exact  # there is no trunk to save
    with pytest.raises(ModelError, match="layers 0 to 5"):
        TailReplay(model, 6)


def test_evaluating_restores_every_modules_mode() -> None:
    model = tiny("phi")
    model.model.layers[1].train()
    before = [module.training for module in model.modules()]
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == before
