"""What each part of a write from zero is worth: every arm at the rate that suits it best.

    python benchmarks/parts.py                 # persona-nano, given pairs
    python benchmarks/parts.py --arm "A by SVD"

An arm changes one thing of the recipe. Its rate is chosen on conversations of their own, by F1 of the weights alone;
at an end of the rates one more is tried. Prints a Markdown table: the rate against the recipe's, F1 over all questions
and refusals, and the paired difference to the recipe as it is, with 95 % intervals over conversations.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from voices import Reading, difference, given

from tmem.model import Model, load
from tmem.tasks.base import Task
from tmem.tasks.persona import Persona

RATES = (0.5, 1.0, 2.0)  # times the recipe's own
FACTS = 16


def arms(model: Model) -> dict[str, dict[str, Any]]:
    """What each arm changes."""
    fresh = model.recipe("tmem").fresh
    assert fresh is not None
    depth = model.hf.config.num_hidden_layers
    fewer = {"fresh.steps": fresh.steps // 4, "fresh.steps_per_pair": max(1, round(fresh.steps_per_pair / 4))}
    return {
        "as it is": {},
        "A by SVD": {"init": "svd"},
        "A orthonormal": {"init": "svd_orthonormal"},
        "rank 8": {"rank": 8},
        "two layers": {"layers": 2},
        f"all {depth} layers": {"layers": depth},
        "no questions beside": {"fresh.beside": 0},
        "questions beside weigh 1": {"fresh.beside_weight": 1.0},
        "no noise": {"fresh.noise": 0.0},
        "16 pairs a step, a quarter of the steps": {"fresh.batch": 16, **fewer},
        "a quarter of the steps": fewer,
        "blocks of 8": {"fresh.block": 8},
    }


def conversations(seeds: list[int], episodes: int) -> tuple[list[Task], list[list[tuple[str, str]]]]:
    """Conversations, and the pairs that are told in each."""
    tasks = [task for seed in seeds for task in Persona(FACTS, episodes).tasks(seed)]
    return tasks, [given(task) for task in tasks]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="persona-nano")
    parser.add_argument("--tuning", type=int, nargs="+", default=[101])
    parser.add_argument("--seeds", type=int, nargs="+", default=[606, 707, 808])
    parser.add_argument("--episodes", type=int, default=5, help="conversations per seed")
    parser.add_argument("--arm", action="append", help="only this one, beside the recipe as it is")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load(args.model)
    tuning, seen = conversations(args.tuning, args.episodes), conversations(args.seeds, args.episodes)
    usual = model.recipe("tmem").lr

    def scored(data: tuple[list[Task], list[list[tuple[str, str]]]], changes: dict[str, Any], times: float) -> Any:
        recipe = model.recipe("tmem", **changes, lr=usual * times)
        reading = Reading(model, *data, recipe)
        return reading.scores(reading.answers(None)) | {"seconds": reading.seconds}

    print("| arm | rate, times | F1, refusals | against the recipe | time |\n|---|---|---|---|---|")
    base: Any = None
    for name, changes in arms(model).items():
        if args.arm and name not in ("as it is", *args.arm):
            continue
        tried = {times: scored(tuning, changes, times)["all"] for times in RATES}
        best = max(tried, key=lambda times: tried[times])
        while best in (min(tried), max(tried)) and len(tried) < len(RATES) + 2:
            further = best * (2.0 if best == max(tried) else 0.5)
            tried[further] = scored(tuning, changes, further)["all"]
            best = max(tried, key=lambda times: tried[times])
        found = scored(seen, changes, best)
        base = base or found
        gap = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*difference(found["by conversation"], base["by conversation"]))
        print(
            f"| {name} | {best:g} | {found['all']:.1f}, {found['refusals']:.0f} | {'' if found is base else gap} "
            f"| {found['seconds'] / base['seconds']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
