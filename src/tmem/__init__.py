"""TMEM: agents that learn while they read.

:class:`Memory` keeps what people tell in weights. What is public is in ``__all__`` here and in ``tmem.errors``,
``tmem.model``, ``tmem.fastweights``, ``tmem.agent``, ``tmem.policies``, ``tmem.tasks.base`` and ``tmem.evaluation``,
listed with its signatures in docs/api.txt; everything else may change without notice.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tmem.model.request import GenerationConfig
    from tmem.store.checked import CheckedMemory
    from tmem.store.memory import Memory
    from tmem.store.results import Answer, Receipt, Reply

__all__ = ["Answer", "CheckedMemory", "GenerationConfig", "Memory", "Receipt", "Reply"]

_HOMES = {
    "Answer": "tmem.store.results",
    "CheckedMemory": "tmem.store.checked",
    "GenerationConfig": "tmem.model.request",
    "Memory": "tmem.store.memory",
    "Receipt": "tmem.store.results",
    "Reply": "tmem.store.results",
}


def __getattr__(name: str) -> Any:
    """``tmem.Memory`` and the others, imported when they are asked for: the command line starts without them."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tmem' has no attribute {name!r}")
