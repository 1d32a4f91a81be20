"""What a write says of itself."""

from __future__ import annotations

from pydantic import BaseModel


class Dropped(BaseModel):
    """A pair that was not trained on, and why."""

    label: str
    reason: str


class WriteAccount(BaseModel):
    """What one session's write did. Losses are measured at each step before its update."""

    recipe: str
    lr: float
    seed: int
    pairs: int  # new pairs trained on
    rehearsed: int  # earlier pairs trained on
    dropped: list[Dropped]
    steps: int
    tokens: int  # trained on, a pair as often as there were epochs
    loss: list[float]  # by epoch (of a fresh write: by step): mean over all answer tokens, in nats
    new_loss: list[float]  # the same over the new pairs only; what `stop_loss` looks at
    delta_ratio: float  # |BA|_F / |W|_F after the write
    delta_ratio_by_site: dict[str, float]
    log_sigma: dict[str, list[float]]  # by target module: the rate along direction i is lr * sigma_i^2
    ax2: dict[str, float]  # by target module: mean |A x|^2 over the answer positions of the first epoch
    seconds: float  # of the whole call, which all its sessions share
    applied: bool
    reason: str | None  # why not applied

    @classmethod
    def untrained(cls, recipe: str) -> WriteAccount:
        """Of pairs that stay text, or that are trained later, together with others."""
        return cls(
            recipe=recipe,
            lr=0.0,
            seed=0,
            pairs=0,
            rehearsed=0,
            dropped=[],
            steps=0,
            tokens=0,
            loss=[],
            new_loss=[],
            delta_ratio=0.0,
            delta_ratio_by_site={},
            log_sigma={},
            ax2={},
            seconds=0.0,
            applied=True,
            reason=None,
        )
