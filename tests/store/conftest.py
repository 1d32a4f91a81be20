"""A memory on the smallest embedded model, in a home of its own; a server of Postgres for the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import QUICK
from store.cluster import Cluster
from store.volumes import FIGURES, TORTURE

from tmem import Memory
from tmem.model import Model, load


@pytest.fixture(scope="session")
def model() -> Model:
    return load("persona-nano")


@pytest.fixture
def memory(model: Model, tmp_path: Path) -> Any:
    """Written by SGD, where every version depends on the one before: what the ledger has to stand."""
    with Memory(model, tmp_path / "home", recipe="sgd") as opened:
        yield opened


@pytest.fixture(scope="session")
def quick(model: Model) -> Model:
    """The model with writes of a third of the steps."""
    return Model(model.name, model.directory, model.hf, model.tokenizer, model.settings.model_copy(update=QUICK))


@pytest.fixture
def fresh_memory(quick: Model, tmp_path: Path) -> Any:
    """As users have it, but for how many steps a write takes."""
    with Memory(quick, tmp_path / "home") as opened:
        yield opened


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    own = Cluster()
    yield own
    own.close()


@pytest.fixture(scope="session")
def one(cluster: Cluster) -> str:
    return cluster.database()


@pytest.fixture
def url(cluster: Cluster, one: str) -> str:
    """A database that is empty."""
    return cluster.empty(one)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of ``make torture``."""
    if TORTURE:
        terminalreporter.section("figures")
        for line in FIGURES:
            terminalreporter.write_line(line)
