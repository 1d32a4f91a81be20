"""A memory on the smallest embedded model, in a home of its own; written by SGD, which is quicker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tmem import Memory
from tmem.model import Model, load


@pytest.fixture(scope="session")
def model() -> Model:
    return load("persona-nano")


@pytest.fixture
def memory(model: Model, tmp_path: Path) -> Iterator[Memory]:
    with Memory(model, tmp_path / "home", recipe="sgd") as opened:
        yield opened
