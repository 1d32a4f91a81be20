"""Seeds by purpose: every random choice has its own generator, named by what it is for.

Nothing here depends on how work is batched, sharded or resumed, so neither do results.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(*parts: object) -> int:
    """A 63-bit seed from any parts, e.g. ``derive(seed, episode, trigger, "shuffle")``.

    Stable across processes and Python versions (sha256 of the parts' text).
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded by :func:`derive`."""
    import torch

    return torch.Generator().manual_seed(derive(*parts))
