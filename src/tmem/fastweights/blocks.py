"""Which pairs share a B.

A memory of many pairs is cut into blocks, each with a B of its own. So a new pair costs a write of its block and not
of everything, pairs in other blocks cannot be confused with it, and forgetting one trains one block anew. Where it is
cut follows from the pairs alone: a pair taken out leaves the blocks far from it as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from tmem.seeds import derive


def blocks(keys: Sequence[int], most: int) -> list[range]:
    """Cut pairs, named by the numbers that their texts make, into consecutive blocks of at most ``most``.

    A block ends behind a pair whose number says so, which one in ``most`` / 2 does, if it has a quarter of ``most``.
    """
    found, start = [], 0
    for place, key in enumerate(keys):
        size = place + 1 - start
        if size == most or (size >= most // 4 and key % max(1, most // 2) == 0):
            found.append(range(start, place + 1))
            start = place + 1
    return [*found, range(start, len(keys))] if start < len(keys) else found


def pair_key(question: str, answer: str) -> int:
    """The number of a pair."""
    return derive(question, answer, "pair")


def block_key(keys: Sequence[int]) -> int:
    """The number of a block: its seed, and equal for equal blocks."""
    return derive(*keys, "block")
