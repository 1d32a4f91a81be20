"""What the tests of commands share: the type of a runner, and the one JSON object that a command prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Run = Callable[..., tuple[int, str, str]]


def one_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    assert isinstance(value, dict) and text.count("\n") == 1
    return value
