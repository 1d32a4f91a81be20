"""Is there a cheaper write that holds as much? A search over recipes by successive halving.

    python benchmarks/recipes.py --model smollm2                            # the card's pairs that are not reported
    python benchmarks/recipes.py --model smollm2 --questions pairs.jsonl --pairs 64

Recipes are drawn from the settings below. In every round each of them, and the recipe as it is, writes the same pairs
into a memory, which is asked in their own words; a third of them goes on, to twice as many pairs. The better is the
cheaper, as long as it holds as many and leaves general answers near to what they were. Cost is processor time, of a
pair when all are told at once and of one told alone, by the blocks that these pairs make.
Prints every round, best first. What was chosen is reported on other pairs, by tmem card --set.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tmem.evaluation.card import HARM as HARMED
from tmem.evaluation.card import Harm, asked
from tmem.evaluation.records.summary import mean
from tmem.fastweights.blocks import blocks, pair_key
from tmem.fastweights.fresh import steps_for
from tmem.model import Model, load
from tmem.model.answering import recalled
from tmem.model.contents import Job, nothing, write_pairs

SETTINGS: dict[str, list[Any]] = {
    "fresh.block": [8, 16, 32, 64],
    "fresh.steps": [6, 12, 24],
    "fresh.steps_per_pair": [1, 2, 3],
    "fresh.batch": [2, 4, 8],
    "fresh.noise": [0.0, 0.1, 0.2],
    "fresh.held": [0, 1, 2, 4],
    "lr": [1e-3, 2e-3, 4e-3, 8e-3],
    "layers": [2, 4],
    "rank": [16, 32],
}
KEPT = 3  # one in so many goes on
LOST = 0.01  # of the pairs, that a better recipe may hold fewer
HARM = 1.5  # times the divergence of general answers that it may have
PRICE = 20.0  # of a lost share beyond that, in costs of the recipe as it is


@dataclass(frozen=True)
class Measured:
    """One recipe on some pairs."""

    held: float  # share of the pairs that the weights give in their own words
    harm: float  # nats a token
    together: float  # processor seconds a pair, all told at once
    alone: float  # and of one told alone, in the mean over these pairs
    size: float  # numbers a pair

    def cost(self, usual: Measured) -> float:
        """What it costs where the recipe as it is costs 1: the geometric mean of both ways of telling."""
        return float((self.together / usual.together * self.alone / usual.alone) ** 0.5)

    def score(self, usual: Measured) -> float:
        """Less is better."""
        lost = max(0.0, usual.held - LOST - self.held) * PRICE
        return self.cost(usual) + lost + max(0.0, self.harm / usual.harm - HARM)


def measure(model: Model, changes: dict[str, Any], pairs: Sequence[tuple[str, str]], harm: Harm) -> Measured:
    """Write all pairs by a recipe, and ask for them."""
    recipe = model.recipe("tmem", **changes)
    assert recipe.fresh is not None
    began = time.process_time()
    [(contents, account)] = write_pairs(model, recipe, [Job(nothing(model, recipe), pairs, len(pairs))])
    together = time.process_time() - began
    # A pair that is told alone is a write of the last block, which has every size from one pair to its own.
    cut = blocks([pair_key(*pair) for pair in pairs], recipe.fresh.block)
    steps = mean(steps_for(size, recipe.fresh) for block in cut for size in range(1, len(block) + 1))
    held = recalled(model, recipe, pairs, contents.delta, contents.places)
    return Measured(
        mean(held),
        harm.divergence(model.fast(recipe), contents.delta),
        together / len(pairs),
        together * steps / account.steps,
        sum(value.numel() for value in contents.delta.b.values()) / len(pairs),
    )


def drawn(count: int, seed: int) -> list[dict[str, Any]]:
    """So many different recipes, as changes of one."""
    draw = random.Random(seed)
    found: list[dict[str, Any]] = []
    while len(found) < count:
        one = {name: draw.choice(values) for name, values in SETTINGS.items()}
        if one not in found:
            found.append(one)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--questions", type=Path, help="pairs to choose by, as for tmem card")
    parser.add_argument("--drawn", type=int, default=24)
    parser.add_argument("--pairs", type=int, default=16, help="in the first round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load(args.model)
    questions = asked(args.questions, reported=False)
    pairs = [(question, answer) for question, answer, _ in questions.pairs]
    harm = Harm(model, questions.general[:HARMED])
    for layers in SETTINGS["layers"]:
        measure(model, {"layers": layers}, pairs[:2], harm)  # what is made once
    left = drawn(args.drawn, args.seed)
    for number in range(args.rounds):
        some = pairs[: args.pairs * 2**number]
        usual = measure(model, {}, some, harm)
        rows: list[tuple[Measured, dict[str, Any]]] = []
        for place, changes in enumerate(left, 1):
            rows.append((measure(model, changes, some, harm), changes))
            if sys.stderr.isatty():
                print(f"\rround {number + 1}: {place} of {len(left)}", end="", file=sys.stderr, flush=True)
        rows.sort(key=lambda row: row[0].score(usual))
        print(f"\n{len(some)} pairs; as it is: {usual.together:.2f} s a pair together, {usual.alone:.1f} s one alone")
        print(f"  1.00  {said(usual, usual)}  as it is")
        for found, changes in rows:
            print(f"{found.score(usual):6.2f}  {said(found, usual)}  {changes}", flush=True)
        left = [changes for _, changes in rows[: max(1, len(rows) // KEPT)]]


def said(found: Measured, usual: Measured) -> str:
    """One recipe's figures."""
    times = f"{found.together / usual.together:.2f} together, {found.alone / usual.alone:.2f} alone"
    return f"held {100 * found.held:5.1f} %, harm {found.harm:.2f}, cost {times}, size {found.size / usual.size:.1f}"


if __name__ == "__main__":
    main()
