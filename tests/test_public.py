"""The public surface is what docs/api.txt lists, has docstrings and types, and every keyword by name."""

from __future__ import annotations

import importlib
import inspect
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

API = runpy.run_path(str(Path(__file__).parent.parent / "docs" / "api.py"))

# Fields of a recipe, some with a dot in their names, which a keyword cannot have; pydantic looks at each.
OF_A_RECIPE = ("tmem.model.Model.recipe", "tmem.fastweights.get_recipe")


def public() -> Iterator[tuple[str, Any]]:
    """Every public class and function, and what classes have, by name."""
    for name in API["MODULES"]:
        module = importlib.import_module(name)
        for own in module.__all__:
            value = getattr(module, own)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{name}.{own}", value
            if inspect.isclass(value):
                yield from ((f"{name}.{own}.{member}", found) for member, found in API["members"](value).items())


def test_the_list_is_what_there_is() -> None:
    found = [line for name in API["MODULES"] for line in API["lines"](importlib.import_module(name))]
    assert "\n".join(found) + "\n" == API["FILE"].read_text(encoding="utf-8"), "run python docs/api.py, look, commit"


@pytest.mark.parametrize("what", ["docstring", "types", "keywords"])
def test_what_is_public_says_what_it_takes(what: str) -> None:
    wanting = []
    for name, value in public():
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if what == "docstring" and not inspect.getdoc(value):
            wanting.append(name)
        if inspect.isclass(value):
            continue
        parameters = [one for one in inspect.signature(value).parameters.values() if one.name not in ("self", "cls")]
        if what == "types" and any(one.annotation is inspect.Parameter.empty for one in parameters):
            wanting.append(name)
        loose = [one for one in parameters if one.kind is inspect.Parameter.VAR_KEYWORD]
        if what == "keywords" and any("Unpack" not in str(one.annotation) for one in loose) and name not in OF_A_RECIPE:
            wanting.append(name)
    assert wanting == []


def test_types_travel_with_the_package() -> None:
    assert (Path(importlib.import_module("tmem").__file__ or "").parent / "py.typed").exists()
