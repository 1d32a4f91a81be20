"""Is the right pair found? Memories of things that people say, asked in other words, and of what they left unsaid.

    python benchmarks/gate.py --model smollm2 --pairs 16,80,400
    python benchmarks/gate.py --model smollm2-untaught       # whose gate goes by likeness alone

`gate.jsonl` are lines as `tmem train rows written` has them, which no training saw; gates were worked on with them.
Pairs are noted in the first wording and asked in the second. Right: the pair that the gate opens for has the answer;
%, with 95 % intervals over memories.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tmem.evaluation.stats import Score, estimate
from tmem.files import read_jsonl
from tmem.model import HFEngine, load
from tmem.model.gate import read
from tmem.model.reading import gate_of

LINES = Path(__file__).with_suffix(".jsonl")


def memories(pairs: int) -> Iterator[list[dict[str, Any]]]:
    """Lines in a drawn order, joined until they have so many pairs."""
    lines = [line for _, line in read_jsonl(LINES)]
    own: list[dict[str, Any]] = []
    for line in random.Random(5).sample(lines, len(lines)):
        own.append(line)
        if sum(len(one["pairs"]) for one in own) >= pairs:
            yield own
            own = []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--pairs", default="16,80,400", help="in a memory")
    parser.add_argument("--questions", type=int, default=200, help="of each kind, of all memories together")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load(args.model)
    engine = HFEngine(model)
    gate = gate_of(model, model.recipe("tmem"))
    print(f"{args.model}, {type(gate).__name__} by {gate.keys.name}")
    print("| pairs | right | refused | never told, refused | questions of each | seconds of one |\n|" + "---|" * 6)
    for size in map(int, args.pairs.split(",")):
        groups, draw = list(memories(size)), random.Random(6)
        right, refused, kept = list[Score](), list[Score](), list[Score]()
        began = time.perf_counter()
        for number, own in enumerate(groups):
            told = {one["ask"][0]: one for line in own for one in line["pairs"]}
            pairs = [(ask, one["answer"]) for ask, one in told.items()]
            count = max(2, args.questions // len(groups))
            asked = draw.sample(list(told.values()), min(count, len(told)))
            never = [ask for line in own for ask in line["never"]]
            never = draw.sample(never, min(len(asked), len(never)))
            keys, name = gate.keys.pairs(pairs), str(number)
            for one, near in zip(
                asked, read(gate.nearest([one["ask"][1] for one in asked], pairs, keys), engine), strict=True
            ):
                opens = near is not None and near.opens
                right.append(Score(1, name, float(opens and pairs[near.pair][1] == one["answer"])))
                refused.append(Score(1, name, float(not opens)))
            for near in read(gate.nearest(never, pairs, keys), engine):
                kept.append(Score(1, name, float(near is None or not near.opens)))
        seconds = (time.perf_counter() - began) / (len(right) + len(kept))
        cells = []
        for scores in (right, refused, kept):
            found = estimate(scores)
            low, high = found["low"], found["high"]
            between = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
            cells.append(f"{100 * found['mean']:.1f}{between}")
        print(f"| {size} | {' | '.join(cells)} | {len(right)} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
