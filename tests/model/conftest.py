"""Checkpoints and models, made once for all tests of this folder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import checkpoints
import pytest

from tmem.model import Model, load


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """family -> its checkpoint directory."""
    return functools.cache(lambda family: checkpoints.make(tmp_path_factory.mktemp(family), family))


@pytest.fixture(scope="session")
def loaded(checkpoint: Callable[[str], Path]) -> Callable[[str], Model]:
    """family -> the model loaded from its checkpoint directory."""
    return functools.cache(lambda family: load(checkpoint(family), device="cpu"))
