"""What a model directory may say about itself in ``tmem.json``: its prompts, its limits, its write rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from tmem.errors import DataError, ModelError
from tmem.files import read_json

FILE_NAME = "tmem.json"


class ModelSettings(BaseModel):
    """Settings of one base model; a model without ``tmem.json`` has the defaults.

    ``prompts`` names the prompt set: ``paper`` for instruction-tuned models, ``compact`` for the embedded ones,
    ``english`` for chat models that were taught it. ``budget`` is the working context's limit L_max and ``window``
    the longest sequence, both in tokens (None: the model's own). ``lr`` replaces the learning rate of every
    write recipe and ``recipes`` holds further overrides by recipe name. ``question_known`` says whether the
    extraction sees the question (None: as the prompt set has it). ``gate``: what tells which pair a question means
    (None: a sentence encoder where the extra ``encoder`` is installed, else the model's own trunk; ``reading``: of the
    likeliest by either the one that theta_0 answers with, for models that were taught to read pairs). ``basis``: the
    file with the A of a theta_0 that was trained through its fast weights; None: A is taken from the weights.
    ``results`` are what was measured of the model (``figures`` in older files), only ever shown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompts: Literal["paper", "compact", "english"] = "paper"
    budget: PositiveInt = 4096
    window: PositiveInt | None = None
    lr: PositiveFloat | None = None
    recipes: dict[str, dict[str, Any]] = {}
    question_known: bool | None = None
    gate: Literal["encoder", "trunk", "reading"] | None = None
    basis: str | None = Field(default=None, pattern=r"^[\w-]+\.safetensors$")
    max_new_tokens_extract: PositiveInt = 4096
    max_new_tokens_memory: PositiveInt = 1024
    max_new_tokens_answer: PositiveInt = 50
    results: dict[str, Any] = Field(default={}, validation_alias=AliasChoices("results", "figures"))


def read_settings(directory: str | Path) -> ModelSettings:
    """The settings in ``directory``, or the defaults if it has no ``tmem.json``; errors as :func:`settings_of`."""
    path = Path(directory) / FILE_NAME
    return settings_of(path) if path.exists() else ModelSettings()


def settings_of(path: Path) -> ModelSettings:
    """The settings in a file. Raises :class:`ModelError` naming the file and its first wrong key."""
    try:
        return ModelSettings.model_validate(read_json(path))
    except DataError as error:
        raise ModelError(str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            problem = f"unknown key '{key}' (known: {', '.join(ModelSettings.model_fields)})"
        else:
            problem = f"{key}: {first['msg']}" if key else first["msg"]
        raise ModelError(f"{path}: {problem}") from None
