"""TMEM: agents that learn while they read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tmem.store.memory import Memory

__all__ = ["Memory"]


def __getattr__(name: str) -> Any:
    """``tmem.Memory``, imported when it is asked for: the command line starts without it."""
    if name == "Memory":
        from tmem.store.memory import Memory

        return Memory
    raise AttributeError(f"module 'tmem' has no attribute {name!r}")
