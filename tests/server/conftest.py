"""Servers, each in a home of its own; see ``serving``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Servers, closed at the end."""
    from server.serving import Server

    made: list[Server] = []

    def start(**options: Any) -> Any:
        made.append(Server(tmp_path / f"home{len(made)}", **options))
        return made[-1]

    yield start
    for server in made:
        server.close()


@pytest.fixture
def server(make: Callable[..., Any]) -> Any:
    return make()


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    return asyncio.run
