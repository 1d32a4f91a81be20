"""What a training by reinforcement is: all that decides what is learnt, and how the work is done."""

from __future__ import annotations

from dataclasses import dataclass, field

from tmem.evaluation.records.spec import Spec
from tmem.training.advantages import Credit, How, Weighting
from tmem.training.rewards import Reward


@dataclass(frozen=True)
class Config:
    """All that decides what is learnt. Defaults are the paper's where it says something.

    ``spec``: benchmark, model, recipe and how the agent runs. ``memory``: what it remembers by; of several, with commas
    between them, each has its share of the tasks. ``tasks`` a step, ``group`` rollouts of each. ``parts``:
    optimizer steps per step, each on its share of the tasks. ``slow_lora``: its rank, 0 trains all weights.
    ``held_out``: episodes that are evaluated every ``eval_every`` steps and never trained on. ``extract_tokens``: the
    longest extraction, None: the model's own setting; the trained model keeps it. ``held_out_people``: who is in the
    held-out episodes of persona, None: whoever is trained on.
    """

    spec: Spec
    memory: str = "tmem"
    tasks: int = 8
    group: int = 8
    parts: int = 1
    lr: float = 1e-6
    grad_norm: float = 1.0  # gradients are scaled down to it
    reward: Reward = field(default_factory=Reward)
    advantage: How = "episode"
    weighting: Weighting = "tokens"
    credit: Credit = "all"
    scale: bool = False
    clip: float = 0.2
    kl: float = 0.0
    slow_lora: int = 0
    seed: int = 1
    held_out: int = 16
    eval_every: int = 20
    extract_tokens: int | None = None
    held_out_people: str | None = None


@dataclass(frozen=True)
class Running:
    """How the work is done; changes no result beyond rounding."""

    steps: int = 200
    save_every: int = 5
    at_once: int = 64  # rollouts in one batch
    max_tokens: int = 4_096  # in one forward pass of learning
    recompute: bool = False
    deltas_on_disk: bool = False
    track: tuple[str, ...] = ()  # tensorboard, wandb: trackers of accelerate
