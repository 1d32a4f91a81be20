"""What adding, asking and forgetting cost against the size of the ledger.

    python benchmarks/store_cost.py                          # a real model: 10, 30, 100, 300 pairs
    python benchmarks/store_cost.py --fake                   # the bookkeeping alone: 10, 100, 1,000, 10,000 pairs

Every write tells one pair and rehearses as the recipe says (--rehearse; -1 is all of them, so that a write costs in
proportion to the ledger). Prints a Markdown table of seconds for one call each, medians of a few; `replayed` is the
number of writes that forgetting the oldest pair trained again. `--fake` has a trainer that costs nothing. `--figure`
draws the same.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from threading import RLock
from typing import Any

import torch
from torch import Tensor

from tmem.evaluation.reporting.svg import COLOURS, MARKS, Figure, drawn
from tmem.files import write_text
from tmem.model import load
from tmem.store import revise
from tmem.store.actions import Actions
from tmem.store.home import Home
from tmem.store.ledger.history import Step
from tmem.store.ledger.queries import NewPair
from tmem.store.loaded import Shared
from tmem.store.scoped import ScopedMemory
from tmem.store.weights.states import Tensors, Trained, Trainer
from tmem.store.weights.trainer import FastWeightTrainer

CALLS = ("add", "ask", "ask, in a new process", "forget the newest", "forget the oldest")


class Costless:
    """A trainer whose state is a hash of what it was trained on."""

    engine: dict[str, Any] = {"base": "costless"}  # noqa: RUF012
    by_pairs = False

    def zeros(self) -> Tensors:
        return {"b": torch.zeros(1, 32)}

    def train(self, state: Tensors, step: Step, look: bool = True) -> Trained:
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
    parser.add_argument("--figure", type=Path, help="an SVG file for the curves")
    args = parser.parse_args()
    torch.set_num_threads(1)
    trainer: Trainer
    if args.fake:
        trainer = Costless()
    else:
        model = load(args.model)
        trainer = FastWeightTrainer(model, model.recipe("sgd", rehearse=args.rehearse))
    sizes = args.pairs or ([10, 100, 1000, 10_000] if args.fake else [10, 30, 100, 300])
    noise = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home", trainer)
        scope = home.scope(("user", None, None))
        question = "What is Maria's job?"
        if isinstance(trainer, FastWeightTrainer):
            mine = ScopedMemory(Shared(home, lambda: Actions(trainer), RLock()), scope)
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

        ids, quarantined, rows = list[str](), list[str](), list[list[float]]()
        print("| pairs | " + " | ".join(CALLS) + " | replayed |\n" + "|---" * (len(CALLS) + 2) + "|")
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
            rows.append(cells)
            seconds = " | ".join(f"{cell:.3f}" for cell in cells)
            print(f"| {size:,} | {seconds} | {receipt['replayed']:,} |", flush=True)
        print(f"\nwrites that were quarantined: {len(quarantined)}")
        home.close()
    if args.figure:
        args.figure.parent.mkdir(parents=True, exist_ok=True)
        write_text(args.figure, curves(sorted(sizes), rows).file())


def curves(sizes: Sequence[int], rows: Sequence[Sequence[float]]) -> Figure:
    """Seconds of each call against the size of the ledger."""

    def draw(axes: Any) -> None:
        for place, name in enumerate(CALLS):
            axes.plot(sizes, [row[place] for row in rows], marker=MARKS[place], color=COLOURS[place], label=name)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("pairs in the ledger")
        axes.set_ylabel("seconds")

    return drawn("store cost", "Seconds of a call against the size of the ledger, both logarithmic.", draw)


if __name__ == "__main__":
    main()
