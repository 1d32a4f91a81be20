"""A rate for a model that states none, from two gradients at load.

Along singular direction i a write moves W at the rate lr * sigma_i^2, so the paper's 5e-4 fits only models with
the singular values of its own. How far a step of plain SGD may go is decided by the curvature of the loss along it:
beyond |g|^2 / (g^T H g) (the Cauchy step) the loss rises again. Gradient and curvature hold sigma, |A x|^2 and the
error signal behind the target modules all at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from pydantic import BaseModel
from torch import Tensor

from tmem.fastweights.dataset import Batch, Example, ExampleDataset
from tmem.fastweights.delta import Delta, FastWeights
from tmem.fastweights.replay import evaluating, plain_logits

# The share of the Cauchy step that five epochs of steps bear. See docs/log.md for how it was found.
SHARE = 0.5
# The curvature is measured over a step that promises to remove this share of the loss.
SMALL = 0.01

# Question-answer pairs of no particular person, to measure an unseen model with.
PROBE = (
    ("Where does Maria live?", "Lisbon"),
    ("What is Tom's job?", "carpenter"),
    ("What is the name of Anna's dog?", "Rex"),
    ("When did Peter move?", "12 March 2021"),
    ("What does Julia like to drink?", "green tea"),
    ("Which instrument does Paul play?", "the cello"),
    ("What is Eva's favourite colour?", "blue"),
    ("Who is Martin's sister?", "Clara"),
)


class Probe(BaseModel):
    """What was measured on a batch of pairs at B = 0."""

    loss: float  # mean over answer tokens, nats
    gradient_sq: float  # |dL/dB|^2 over all target modules
    curvature: float  # g^T H g / |g|^2 along that gradient
    sigma_sq: float  # mean over target modules of the largest singular value squared
    ax2: float  # mean over target modules and answer positions of |A x|^2

    @property
    def rate(self) -> float:
        """The suggested learning rate: SHARE times the Cauchy step, or the Polyak step where the loss is not convex."""
        if self.curvature > 0:
            return SHARE / self.curvature
        return self.loss / max(self.gradient_sq, 1e-30)


def probe(fast: FastWeights, examples: Sequence[Example]) -> Probe:
    """Measure one batch of pairs: the loss, its gradient and the curvature along it, at B = 0."""
    batch = ExampleDataset(examples, fast.target_modules[0].weight.device, replay=None).batch(range(len(examples)))
    zero = fast.zeros(1).b
    ax2: dict[str, float] = {}
    loss, gradient = _gradient(fast, zero, batch, len(examples), ax2)
    gradient_sq = _dot(gradient, gradient)
    step = SMALL * loss / max(gradient_sq, 1e-30)
    ahead = {target: value - step * gradient[target] for target, value in zero.items()}
    _, there = _gradient(fast, ahead, batch, len(examples), {})
    change = {target: (gradient[target] - there[target]) / step for target in gradient}  # H g
    largest = [float(sigma.max()) ** 2 for sigma in fast.basis.sigma.values()]
    return Probe(
        loss=loss,
        gradient_sq=gradient_sq,
        curvature=_dot(gradient, change) / max(gradient_sq, 1e-30),
        sigma_sq=sum(largest) / len(largest),
        ax2=sum(ax2.values()) / len(ax2),
    )


def _gradient(
    fast: FastWeights, b: Mapping[str, Tensor], batch: Batch, rows: int, ax2: dict[str, float]
) -> tuple[float, dict[str, Tensor]]:
    """Loss and dL/dB at ``b``; fills ``ax2`` by target module."""
    leaves = {target: value.detach().clone().requires_grad_() for target, value in b.items()}

    def watch(target: str, u: Tensor) -> None:
        ax2[target] = float(u.detach()[batch.keep].square().sum(1).mean())

    with evaluating(fast.model), torch.enable_grad():
        with fast.active(Delta(leaves, fast.basis.digest), [0] * rows, watch):
            logits = plain_logits(fast.model, batch.input_ids, batch.attention_mask, batch.keep)
        # The same mean as in a write: over all answer tokens of the batch.
        loss = F.cross_entropy(logits.float(), batch.targets)
        gradients = torch.autograd.grad(loss, list(leaves.values()))
    return loss.item(), dict(zip(leaves, gradients, strict=True))


def _dot(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    return sum(float((a[target] * b[target]).sum()) for target in a)
