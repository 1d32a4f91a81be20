"""What each part of the method is worth, in miniature: the paper's ablations on the persona world.

    python benchmarks/ablations.py --model persona-nano --out out/ablations

Every arm changes one thing of the base (recipe `sgd`, given or extracted pairs) and is one recorded `tmem eval
persona` in a folder of its own, so an interrupted run goes on and `tmem eval report out/ablations` says more; arms that
are the same are run once. Prints a Markdown table of single-hop exact match and of all answerable questions, mean and
lowest to highest of the seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tmem.evaluation import mean
from tmem.evaluation.records.files import read_records
from tmem.evaluation.records.spec import Spec
from tmem.evaluation.reporting.comparison import is_taught
from tmem.evaluation.reporting.tables import explanation, marked
from tmem.evaluation.runner import run
from tmem.files import read_json
from tmem.model import Model, load

FACTS = 16


@dataclass(frozen=True)
class Arm:
    """One cell of one ablation: the memory, and what it changes of the recipe or of how the agent runs."""

    group: str
    name: str
    memory: str = "tmem"
    changes: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    share: int = 1  # only every such part of the conversations


def arms(model: Model) -> list[Arm]:
    """All arms; writing is measured with given pairs ("gold") where extraction would only add noise."""
    found = [Arm("supervision", "pairs of the model")]
    found += [Arm("supervision", "given pairs", "gold"), Arm("supervision", "summaries", "tmem:summary")]
    found += [Arm("supervision", "raw text", "tmem:text")]
    for init in ("svd", "svd_orthonormal", "random"):
        for epochs in (5, 20):
            changes = {"init": init, "epochs": epochs, "lr": equal_rate(model, init)}
            found.append(Arm("A, given pairs", f"{init} {epochs} epochs", "gold", changes))
    for init, times in (("random", 2), ("random", 4), ("random", 8), ("svd", 2)):
        changes = {"init": init, "lr": equal_rate(model, init) * times}
        found.append(Arm("A at other rates, given pairs", f"{init}, rate x {times}", "gold", changes))
    found += [Arm("rank, given pairs", str(n), "gold", {"rank": n}) for n in (1, 2, 4, 6, 12, 16)]
    depth = model.hf.config.num_hidden_layers
    found += [Arm("adapted layers, given pairs", str(n), "gold", {"layers": n}) for n in (1, 2, 4, depth)]
    found += [Arm("epochs, given pairs", str(n), "gold", {"epochs": n}) for n in (1, 2, 5, 10, 20, 40)]
    found += [Arm("rehearsal", name, "sgd", {"rehearse": n}) for name, n in (("none", 0), ("8", 8), ("all", -1))]
    found += [
        Arm("rehearsal, given pairs", n, "gold", {"rehearse": k}) for n, k in (("none", 0), ("8", 8), ("all", -1))
    ]
    found += [Arm("working context", f"{n} tokens", settings={"budget": n}) for n in (25, 50, 100, 200, 400, 800)]
    # With known questions each of them is a rollout of its own, some twenty per conversation.
    for memory in ("tmem", "memagent"):
        for name, known in (("question blind", False), ("question known", True)):
            found.append(Arm(f"what {memory} reads for", name, memory, settings={"question_known": known}, share=5))
    return found


def differences(arm: Arm, model: Model) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an arm really changes of the recipe and of the other settings."""
    recipe = model.recipe("sgd")
    usual = {"budget": model.settings.budget, "question_known": False}
    changes = {name: value for name, value in arm.changes.items() if getattr(recipe, name) != value}
    return changes, {name: value for name, value in arm.settings.items() if usual[name] != value}


def equal_rate(model: Model, init: str) -> float:
    """The rate at which lr * |A|^2 is that of the model's own recipe: for `random` the same rate."""
    own = model.recipe("sgd")
    other = own.model_copy(update={"init": init})
    sizes = [sum(float(a.square().sum()) for a in model.fast(recipe).basis.a.values()) for recipe in (own, other)]
    return float(f"{own.lr * sizes[0] / sizes[1]:.4g}")


def scores(folder: Path, memory: str) -> dict[int, tuple[float, float]]:
    """By seed: exact match on single-hop questions, and on all that can be answered."""
    table = {}
    questions = [r for r in read_records(folder) if r["type"] == "question" and r["memory"] == memory]
    for seed in sorted({question["seed"] for question in questions}):
        own = [question for question in questions if question["seed"] == seed]
        answerable = [question for question in own if question["category"] != "adversarial"]
        single = [question for question in own if question["category"] == "single-hop"]
        table[seed] = tuple(mean(q["scores"]["tmem_token"]["em"] for q in part) for part in (single, answerable))
    return table  # type: ignore[return-value]


def cell(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="persona-nano")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--episodes", type=int, default=10, help="conversations per arm and seed")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--group", help="only the ablations whose name begins like this")
    parser.add_argument("--out", type=Path, default=Path("out/ablations"))
    args = parser.parse_args()
    if args.workers == 1:
        torch.set_num_threads(1)
    model = load(args.model)
    chosen = [arm for arm in arms(model) if arm.group.startswith(args.group or "")]
    group, marks = "", list[str]()
    for number, arm in enumerate(chosen, start=1):
        if sys.stderr.isatty():
            print(f"arm {number}/{len(chosen)}: {arm.group}, {arm.name}", file=sys.stderr)
        episodes = max(1, args.episodes // arm.share)
        options = {"facts": FACTS, "episodes": episodes}
        changes, settings = differences(arm, model)
        spec = Spec("persona", options, args.model, changes=changes, write_tail=True, **settings)
        parts = [f"{arm.memory}-{episodes}", *(f"{name}={value}" for name, value in (changes | settings).items())]
        folder = args.out / "-".join(parts)
        run(spec, model, [arm.memory], args.seeds, folder, episodes, args.workers)
        by_seed = list(scores(folder, arm.memory).values())
        name = marked(arm.name, {"taught": is_taught(read_json(folder / "run.json"), arm.memory)})
        marks.append(name)
        if arm.group != group:
            group = arm.group
            print(f"\n| {group} | single-hop | all answerable |\n|---|---|---|")
        print(f"| {name} | {cell([s for s, _ in by_seed])} | {cell([a for _, a in by_seed])} |", flush=True)
    print(f"\n{explanation(marks)}")


if __name__ == "__main__":
    main()
