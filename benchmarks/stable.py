"""Does rounding decide anything? The same ledger on two kinds of processor, and with one and two threads.

    python benchmarks/stable.py                 # persona-nano, 100 pairs, four ways
    python benchmarks/stable.py --lr 0.005      # at another rate of the write

Each way runs in a process of its own (ATEN_CPU_CAPABILITY). The pairs are told at once, or one by one with --singly:
under a recipe that writes from zero that gives the same bits (tests/store/test_by_pairs.py). Printed: the distance of B
to that of the first way, |B - B'| / |B|; which pairs the weights hold; how many answers differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tmem import Memory
from tmem.model import load
from tmem.store.weights.states import weights
from tmem.tasks.persona import make_sample

WAYS = (("default", 1), ("avx2", 1), ("default", 2), ("avx2", 2))


def pairs(count: int) -> list[tuple[str, str]]:
    """Different facts of many people."""
    found: dict[str, str] = {}
    number = 0
    while len(found) < count:
        for fact in make_sample(number, 0, 1, 8, "unseen")["facts"]:
            found[fact["question"]] = fact["answer"]
        number += 1
    return list(found.items())[:count]


def tell(name: str, recipe: str, lr: float | None, count: int, threads: int, singly: bool, out: Path) -> None:
    """One way: every pair told, then all asked."""
    torch.set_num_threads(threads)
    told, model = pairs(count), load(name)
    if lr is not None:
        recipes = {recipe: {**model.settings.recipes.get(recipe, {}), "lr": lr}}
        model.settings = model.settings.model_copy(update={"recipes": recipes})
    with tempfile.TemporaryDirectory() as home, Memory(model, home, recipe, threads) as memory:
        mine = memory.scope("u")
        portions = [[pair] for pair in told] if singly else [told]
        rows = [row for portion in portions for row in mine.add(pairs=portion).pairs]
        asked = [mine.ask(question) for question, _ in told]
        state = mine.home.state(mine.id)
    save_file({name: value.contiguous() for name, value in weights(state).items()}, out.with_suffix(".safetensors"))
    facts = {
        "taken": [row["status"] for row in rows],
        "held": [one.source == "weights" for one in asked],
        "answers": [one.text for one in asked],
        "right": sum(one.text == answer for one, (_, answer) in zip(asked, told, strict=True)),
    }
    out.write_text(json.dumps(facts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="persona-nano")
    parser.add_argument("--recipe", default="tmem")
    parser.add_argument("--lr", type=float, help="of the write; default: the model's own")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--singly", action="store_true")
    parser.add_argument("--way", nargs=2, metavar=("THREADS", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        tell(args.model, args.recipe, args.lr, args.pairs, int(args.way[0]), args.singly, Path(args.way[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        first: tuple[dict[str, torch.Tensor], dict] | None = None
        for capability, threads in WAYS:
            out = Path(folder) / f"{capability}-{threads}.json"
            command = [sys.executable, __file__, "--model", args.model, "--recipe", args.recipe]
            command += ["--pairs", str(args.pairs), *(["--singly"] if args.singly else [])]
            command += [] if args.lr is None else ["--lr", str(args.lr)]
            command += ["--way", str(threads), str(out)]
            more = {} if capability == "default" else {"ATEN_CPU_CAPABILITY": capability}
            subprocess.run(command, check=True, env=os.environ | more, stderr=subprocess.DEVNULL)
            b, facts = load_file(out.with_suffix(".safetensors")), json.loads(out.read_text())
            first = first or (b, facts)
            gap = sum(float((b[n] - first[0][n]).square().sum()) for n in b) ** 0.5
            size = sum(float(value.square().sum()) for value in first[0].values()) ** 0.5
            other = sum(x != y for x, y in zip(facts["answers"], first[1]["answers"], strict=True))
            held = sum(x != y for x, y in zip(facts["held"], first[1]["held"], strict=True))
            taken = "the same" if facts["taken"] == first[1]["taken"] else "OTHER"
            print(
                f"{capability:8} {threads} threads: B {gap / size:.1e} apart, pairs taken {taken}, "
                f"{facts['right']} of {args.pairs} right, {held} held differently, {other} answers differ",
                flush=True,
            )


if __name__ == "__main__":
    main()
