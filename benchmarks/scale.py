"""What a home of many users costs, and a user of many pairs: processor seconds of a call, and the process's memory.

    python benchmarks/scale.py                          # 10,000 users of one pair each, and one user of 5,000 pairs
    python benchmarks/scale.py --users 1000 --pairs 500

All is told with `absorb=False`: it is in the ledger, and only what one question is asked of is written into weights,
one block of pairs. Prints a Markdown table: `told in` are the seconds of telling all, `add` those of its last call (of
a hundred pairs for the one user), `MB` the most memory that the process had by then, `before` without any memory.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tmem import Memory
from tmem.model import load

AT_ONCE = 100  # pairs of a call, of the one user
WRITTEN = 64  # of them: a block


def timed(call: Callable[..., Any], *args: Any, **more: Any) -> float:
    began = time.process_time()  # other work on the machine adds little to these
    call(*args, **more)
    return time.process_time() - began


def pairs(start: int, count: int) -> list[tuple[str, str]]:
    return [(f"What is the {number} of Maria's list?", f"word {number}") for number in range(start, start + count)]


def megabytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def many_users(memory: Memory, count: int) -> tuple[list[float], str]:
    """A pair each; the last one's is written."""
    users = [f"user {number}" for number in range(count)]
    told = [timed(memory.add, pairs=pairs(0, 1), absorb=False, user_id=user) for user in users]
    memory.absorb(user_id=users[-1])
    return told, users[-1]


def many_pairs(memory: Memory, count: int) -> tuple[list[float], str]:
    """All of one user; a block of them is written."""
    memory.add(pairs=pairs(0, WRITTEN), user_id="user")
    parts = [pairs(start, min(AT_ONCE, count - start)) for start in range(WRITTEN, count, AT_ONCE)]
    return [timed(memory.add, pairs=part, absorb=False, user_id="user") for part in parts], "user"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=5_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load("persona-nano")
    print("| home | told in | add | list | ask | users | doctor | MB |\n" + "|---" * 8 + "|")
    print(f"| before | | | | | | | {megabytes():.0f} |", flush=True)
    for name, tell, count in (
        (f"{args.users:,} users of one pair", many_users, args.users),
        (f"1 user of {args.pairs:,} pairs", many_pairs, args.pairs),
    ):
        with tempfile.TemporaryDirectory() as folder, Memory(model, Path(folder) / "home") as memory:
            told, user = tell(memory, count)
            seconds = [
                told[-1],
                timed(memory.get_all, status=None, user_id=user),
                timed(memory.ask, pairs(0, 1)[0][0], user_id=user),
                timed(memory.users),
                timed(memory.doctor),
            ]
            cells = " | ".join(f"{one:.3f}" for one in seconds)
            print(f"| {name} | {sum(told):.0f} | {cells} | {megabytes():.0f} |", flush=True)


if __name__ == "__main__":
    main()
