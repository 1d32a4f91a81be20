"""How a write trains: named settings, so that every record can say which recipe made it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tmem.errors import UsageError
from tmem.fastweights.basis import Init


class Recipe(BaseModel):
    """The settings of the basis and of the SGD of one write."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    init: Init = "svd"
    layers: int = Field(default=4, ge=1, description="adapted decoder layers, counted from the last")
    rank: int = Field(default=6, ge=1)
    # Along singular direction i the rate acts as lr * sigma_i^2.
    lr: float = Field(default=5e-4, gt=0, allow_inf_nan=False)
    epochs: int = Field(default=5, ge=1)
    batch: int = Field(default=16, ge=1, description="pairs per SGD step")
    max_tokens: int = Field(default=512, ge=2, description="a longer pair (prompt and answer) is dropped")
    rehearse: int = Field(default=0, ge=-1, description="earlier pairs replayed per write; -1 is all of them")
    stop_loss: float | None = Field(default=None, description="stop after an epoch whose new-pair loss is below this")


RECIPES: dict[str, Recipe] = {
    "paper": Recipe(name="paper"),
    "tmem": Recipe(name="tmem", rehearse=-1, epochs=20),
}


def get_recipe(name: str, **overrides: Any) -> Recipe:
    """A named recipe with some settings replaced. Raises :class:`UsageError` for an unknown name or value."""
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}: choose one of {', '.join(RECIPES)}")
    try:
        return Recipe.model_validate({**RECIPES[name].model_dump(), **overrides})
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"recipe {name!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
