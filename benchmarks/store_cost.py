"""What adding, asking and forgetting cost against the size of the ledger.

    python benchmarks/store_cost.py                          # a real model: 10, 30, 100, 300 pairs
    python benchmarks/store_cost.py --fake                   # the bookkeeping alone: 10, 100, 1,000, 10,000 pairs

Every write tells one pair and rehearses as the recipe says (--rehearse; -1 is all of them, so that a write costs in
proportion to the ledger). Prints a Markdown table of seconds for one call each, medians of a few; `replayed` is the
number of writes that forgetting the oldest pair trained again. `--fake` has a trainer that costs nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from tmem.model import load
from tmem.store import revise
from tmem.store.actions import Actions
from tmem.store.home import Home
from tmem.store.ledger import Step
from tmem.store.queries import NewPair
from tmem.store.scoped import ScopedMemory, Shared
from tmem.store.trainer import FastWeightTrainer, Tensors, Trained, Trainer


class Costless:
    """A trainer whose state is a hash of what it was trained on."""

    engine: dict[str, Any] = {"base": "costless"}  # noqa: RUF012

    def zeros(self) -> Tensors:
        return {"b": torch.zeros(1, 32)}

    def train(self, state: Tensors, step: Step) -> Trained:
        told = [(pair.question, pair.answer) for pair in step.new]
        value = hashlib.sha256(repr((state["b"].tolist(), told, len(step.old), step.seed)).encode()).digest()
        return Trained({"b": torch.tensor([list(value)], dtype=torch.float32)}, {})

    def check(self, state: Mapping[str, Tensor]) -> None:
        pass


def timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="persona-nano")
    parser.add_argument("--pairs", type=int, nargs="+", help="sizes of the ledger")
    parser.add_argument("--rehearse", type=int, default=8)
    parser.add_argument("--fake", action="store_true", help="no model: bookkeeping alone")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    trainer: Trainer
    if args.fake:
        trainer = Costless()
    else:
        model = load(args.model)
        trainer = FastWeightTrainer(model, model.recipe("tmem", rehearse=args.rehearse))
    sizes = args.pairs or ([10, 100, 1000, 10_000] if args.fake else [10, 30, 100, 300])
    noise = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home", trainer)
        scope = home.scope(("user", None, None))
        question = "What is Maria's job?"
        if isinstance(trainer, FastWeightTrainer):
            mine = ScopedMemory(Shared(home, lambda: Actions(trainer)), scope)
            ask: Callable[[], Any] = partial(mine.ask, question)
        else:
            ask = partial(home.state, scope)

        def add() -> str:
            word = "".join(noise.choice("bdfgklmnprst") + noise.choice("aeiou") for _ in range(3))
            [pair_id] = home.tell(scope, [NewPair(f"What is {word.title()}'s job?", word)])[1]
            quarantined.extend([] if home.absorb(scope) else [pair_id])
            return pair_id

        def ask_anew() -> None:
            home.drop_states(scope)
            ask()

        ids, quarantined = list[str](), list[str]()
        print("| pairs | add | ask | ask, in a new process | forget the newest | forget the oldest | replayed |")
        print("|---|---|---|---|---|---|---|")
        for size in sorted(sizes):
            while len(ids) < size:
                ids.append(add())
            adds = [timed(lambda: ids.append(add())) for _ in range(args.rounds)]
            asks, anew = ([timed(call) for _ in range(args.rounds)] for call in (ask, ask_anew))
            newest = [timed(lambda: revise.forget(home, scope, [ids.pop()])) for _ in range(args.rounds)]
            began = time.perf_counter()
            receipt = revise.forget(home, scope, [ids.pop(0)])
            oldest = time.perf_counter() - began
            cells = [*map(median, (adds, asks, anew, newest)), oldest]
            seconds = " | ".join(f"{cell:.3f}" for cell in cells)
            print(f"| {size:,} | {seconds} | {receipt['replayed']:,} |", flush=True)
        print(f"\nwrites that were quarantined: {len(quarantined)}")
        home.close()


if __name__ == "__main__":
    main()
