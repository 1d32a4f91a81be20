"""A rate for a model that states none, from one gradient at load.

Along singular direction i a write moves W at the rate lr * sigma_i^2, so the paper's 5e-4 fits only models with
the singular values of its own. What a step of SGD needs is the scale of the loss against that of its gradient:
lr * |dL/dB|^2 is the fall of the loss that a step promises, and it should be a fixed share of the loss (the Polyak
step). The gradient holds sigma, |A x|^2 and the error signal behind the sites all at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import BaseModel

from tmem.fastweights.delta import Delta, FastWeights
from tmem.fastweights.pool import Example, Pool
from tmem.fastweights.replay import evaluating, plain_logits

# The share of the loss that one step should promise to remove. See docs/log.md for how it was found.
SHARE = 1.0

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
    """What was measured on a batch of pairs with Delta = 0."""

    loss: float  # mean over answer tokens, nats
    gradient_sq: float  # |dL/dB|^2 over all sites
    sigma_sq: float  # mean over sites of the largest singular value squared
    ax2: float  # mean over sites and answer positions of |A x|^2

    @property
    def rate(self) -> float:
        """The suggested learning rate: SHARE * loss / |dL/dB|^2."""
        return SHARE * self.loss / max(self.gradient_sq, 1e-30)


def probe(fast: FastWeights, examples: Sequence[Example]) -> Probe:
    """Measure one batch of pairs: the loss and its gradient at B = 0."""
    batch = Pool(examples, fast.sites[0].weight.device, replay=None).batch(range(len(examples)))
    b = {name: value.requires_grad_() for name, value in fast.zeros(1).b.items()}
    ax2: list[float] = []

    def watch(site: str, u: torch.Tensor) -> None:
        ax2.append(float(u.detach()[batch.keep].square().sum(1).mean()))

    with evaluating(fast.model), torch.enable_grad():
        with fast.active(Delta(b, fast.basis.digest), [0] * len(examples), watch):
            logits = plain_logits(fast.model, batch.input_ids, batch.attention_mask, batch.keep)
        # The same mean as in a write: over all answer tokens of the batch.
        loss = F.cross_entropy(logits.float(), batch.targets)
        gradients = torch.autograd.grad(loss, list(b.values()))
    largest = [float(sigma.max()) ** 2 for sigma in fast.basis.sigma.values()]
    return Probe(
        loss=loss.item(),
        gradient_sq=sum(float(gradient.square().sum()) for gradient in gradients),
        sigma_sq=sum(largest) / len(largest),
        ax2=sum(ax2) / len(ax2),
    )
