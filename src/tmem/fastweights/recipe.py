"""How a write trains: named settings, so that every record can say which recipe made it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from tmem.errors import UsageError
from tmem.fastweights.basis import Init


class Fresh(BaseModel):
    """A write from B = 0 over every pair that holds: how long, and what stands beside the pairs in a step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=24, ge=1, description="of Adam, and")
    steps_per_pair: int = Field(default=3, ge=0, description="more for every pair")
    batch: int = Field(default=4, ge=1, description="pairs per step: many small steps teach more than few large ones")
    warmup: int = Field(default=4, ge=0, description="steps in which the rate rises")
    noise: float = Field(default=0.2, ge=0, description="on what enters the adapted layers, as a share of it")
    asked: int = Field(default=192, ge=0, description="questions made from a block's pairs, if the model has wordings")
    beside: int = Field(default=8, ge=0, description="of these in each step")
    beside_weight: float = Field(default=3.0, ge=0, description="of all these together; the pairs count 1")
    held: int = Field(default=4, ge=0, description="general questions in each step, to be answered as theta_0 does")
    held_weight: float = Field(default=1.0, ge=0)
    voice: float = Field(default=0.5, ge=0, description="weight of the memory's voice beside the whole text")
    voice_notes: float = Field(default=0.75, ge=0, description="and beside what was retrieved, which has less to say")
    products: Literal["float32", "bfloat16"] = Field(
        default="float32", description="with the model's own weights, on CPUs"
    )
    block: int = Field(default=64, ge=4, description="the most pairs that share a B")


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
    fresh: Fresh | None = Field(default=None, description="write from B = 0 over all pairs instead, by Adam")

    @model_serializer(mode="wrap")
    def _record(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Memories and records say what they said before there was another write, or another kind of product.
        record: dict[str, Any] = plain(self)
        if self.fresh is None:
            del record["fresh"]
        elif self.fresh.products == "float32":
            del record["fresh"]["products"]
        return record


RECIPES: dict[str, Recipe] = {
    "paper": Recipe(name="paper"),
    "sgd": Recipe(name="sgd", rehearse=-1, epochs=20),
    # A random A teaches Adam more than the SVD's, whose largest directions are those that everything goes through.
    "tmem": Recipe(name="tmem", init="random", rank=32, lr=1e-3, rehearse=-1, fresh=Fresh(products="bfloat16")),
}


OF_SGD = ("epochs", "batch", "rehearse", "stop_loss")  # what a write from zero has no use for


def get_recipe(name: str, **overrides: Any) -> Recipe:
    """A named recipe with some settings replaced, those of ``fresh`` by names such as ``fresh.noise``.

    Raises :class:`UsageError` for an unknown name or value.
    """
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}: choose one of {', '.join(RECIPES)}")
    inner = {key.removeprefix("fresh."): overrides.pop(key) for key in list(overrides) if key.startswith("fresh.")}
    values = {**RECIPES[name].model_dump(), **overrides}
    if values.get("fresh") is not None and (idle := [key for key in overrides if key in OF_SGD]):
        raise UsageError(
            f"recipe {name!r} writes from zero and has no {idle[0]}: change fresh.steps or another of fresh, or choose "
            "recipe sgd or paper"
        )
    if inner:
        if values.get("fresh") is None:
            raise UsageError(f"recipe {name!r} does not write from zero: it has no fresh.{next(iter(inner))}")
        values["fresh"] = {**values["fresh"], **inner}
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"recipe {name!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
