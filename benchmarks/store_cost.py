"""What adding, asking and forgetting cost against the size of the ledger.

    python benchmarks/store_cost.py --pairs 10 30 100 300

Every write tells one pair and rehearses as the recipe says (--rehearse; -1 is all of them, so that a write costs in
proportion to the ledger). Prints a Markdown table of seconds for one call each, medians of a few, and what one of each
rests on: pairs trained on by an add, writes replayed by a forget of a new and of an old pair. `--fake` measures the
bookkeeping alone, by a trainer that costs nothing: that is how ten thousand pairs are reached.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from tmem.model import load
from tmem.store import revise
from tmem.store.home import Home, NewPair
from tmem.store.ledger import Step
from tmem.store.trainer import FastWeightTrainer, Tensors, Trained, Trainer


class Costless:
    """A trainer whose state is a hash of what it was trained on."""

    engine: dict[str, Any] = {"base": "costless"}  # noqa: RUF012

    def zeros(self) -> Tensors:
        return {"b": torch.zeros(1, 32)}

    def train(self, state: Tensors, step: Step) -> Trained:
        told = [(pair.question, pair.answer) for pair in (*step.new, *step.old)]
        value = hashlib.sha256(repr((state["b"].tolist(), told, step.seed)).encode()).digest()
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
    parser.add_argument("--pairs", type=int, nargs="+", default=[10, 30, 100, 300])
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
    noise = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home", trainer)
        scope = home.scope(("user", None, None))

        def add() -> str:
            word = "".join(noise.choice("bdfgklmnprst") + noise.choice("aeiou") for _ in range(3))
            [pair_id] = home.tell(scope, [NewPair(f"What is {word.title()}'s job?", word)])[1]
            home.absorb(scope)
            return pair_id

        ids: list[str] = []
        print("| pairs | add, s | read the weights anew, s | forget the newest, s | forget the oldest, s | replayed |")
        print("|---|---|---|---|---|---|")
        for size in sorted(args.pairs):
            while len(ids) < size:
                ids.append(add())
            adds = [timed(lambda: ids.append(add())) for _ in range(args.rounds)]

            def read() -> None:
                home.drop_states(scope)
                home.state(scope)

            reads = [timed(read) for _ in range(args.rounds)]
            newest = [timed(lambda: revise.forget(home, scope, [ids.pop()])) for _ in range(args.rounds)]
            began = time.perf_counter()
            receipt = revise.forget(home, scope, [ids.pop(0)])
            oldest = time.perf_counter() - began
            cells = [median(adds), median(reads), median(newest), oldest]
            print(
                f"| {size:,} | " + " | ".join(f"{cell:.3f}" for cell in cells) + f" | {receipt['replayed']} |",
                flush=True,
            )
        home.close()


if __name__ == "__main__":
    main()
