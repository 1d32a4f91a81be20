"""The README's figures: exact match against the number of facts, and against the initialisation of A (`make figure`).

    python benchmarks/curve.py --model persona-nano

Every point is one `tmem eval persona` and is kept as a line of docs/figures/MODEL.jsonl; what is there already is
not run again, so an interrupted run goes on. The pictures are drawn from that file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import matplotlib.ticker
import torch

from tmem.agent.episode import Agent
from tmem.evaluation import evaluate
from tmem.fastweights import Recipe
from tmem.model import Model, load

FACTS = (4, 8, 16, 24, 48)
EPOCHS = (1, 2, 5, 10, 20)
# name of the series -> (memory, recipe)
MEMORIES = {
    "TMEM, recipe tmem": ("tmem", "tmem"),
    "TMEM, recipe paper": ("tmem", "paper"),
    "full history in the prompt": ("full", "paper"),
    "last session in the prompt": ("tail", "paper"),
    "no memory": ("none", "paper"),
}
BASIS_FACTS, KIND_FACTS = 12, 8


def points(model: Model, seeds: list[int]) -> list[dict[str, Any]]:
    """What to measure; a point's keys are part of its line in the file."""
    todo: list[dict[str, Any]] = []
    for seed in seeds:
        for series in MEMORIES:
            todo += [{"figure": "facts", "series": series, "x": facts, "seed": seed} for facts in FACTS]
        for init in ("svd", "svd_orthonormal", "random"):
            todo += [{"figure": "basis", "series": init, "x": epochs, "seed": seed} for epochs in EPOCHS]
    return todo


def measure(model: Model, point: dict[str, Any], episodes: int) -> dict[str, Any]:
    """One evaluation."""
    if point["figure"] == "facts":
        memory, recipe = MEMORIES[point["series"]]
        agent = Agent.of(model, model.recipe(recipe), memory=memory, write_tail=memory == "tmem", seed=point["seed"])
        return evaluate(agent, point["x"], episodes)
    recipe = basis_recipe(model, point["series"], point["x"])
    agent = Agent.of(model, recipe, write_tail=True, seed=point["seed"])
    return evaluate(agent, BASIS_FACTS, episodes, gold=True)


def basis_recipe(model: Model, init: str, epochs: int) -> Recipe:
    """The paper's recipe with another A, at the same lr * |A|^2: for `random` that is the same rate."""
    paper = model.recipe("paper", epochs=epochs)
    other = paper.model_copy(update={"init": init})
    sizes = [sum(float(a.square().sum()) for a in model.fast(recipe).basis.a.values()) for recipe in (paper, other)]
    return other.model_copy(update={"lr": paper.lr * sizes[0] / sizes[1]})


def draw(lines: list[dict[str, Any]], figure: str, path: Path, xlabel: str, title: str) -> None:
    """Means over seeds with a band from the lowest to the highest."""
    series: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        if line["figure"] == figure:
            series[line["series"]][line["x"]].append(line["result"]["by_category"]["single-hop"]["em"])
    fig, ax = plt.subplots(figsize=(7, 4.2), dpi=150)
    for name, by_x in series.items():
        xs = sorted(by_x)
        means = [sum(by_x[x]) / len(by_x[x]) for x in xs]
        [curve] = ax.plot(xs, means, marker="o", label=name)
        ax.fill_between(xs, [min(by_x[x]) for x in xs], [max(by_x[x]) for x in xs], color=curve.get_color(), alpha=0.15)
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted({x for by_x in series.values() for x in by_x}))
    ax.get_xaxis().set_major_formatter(matplotlib.ticker.ScalarFormatter())
    ax.set(xlabel=xlabel, ylabel="exact match, single-hop", ylim=(-0.02, 1.02), title=title)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    fig.tight_layout()
    fig.savefig(path)
    plt.close(fig)


def tables(lines: list[dict[str, Any]]) -> str:
    """The same numbers as Markdown: mean over seeds, lowest and highest in brackets."""
    found: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for line in lines:
        if line["figure"] == "facts":
            result = line["result"]
            for kind, row in result["by_category"].items():
                found[line["series"], line["x"], kind].append(row["em"])
            for name, value in (result["extraction"] or {}).items():
                found[line["series"], line["x"], name].append(value)

    def cell(series: str, facts: int, kind: str) -> str:
        values = found[series, facts, kind]
        mean = f"{sum(values) / len(values):.2f}" if values else "-"
        return f"{mean} ({min(values):.2f}-{max(values):.2f})" if len(values) > 1 else mean

    def table(first: str, series: list[str], rows: list[tuple[str, int, str]]) -> str:
        head = [f"| {first} | {' | '.join(series)} |", "|---" * (len(series) + 1) + "|"]
        body = [f"| {name} | {' | '.join(cell(s, x, kind) for s in series)} |" for name, x, kind in rows]
        return "\n".join(head + body)

    kinds = ("single-hop", "update", "temporal", "open", "multi-hop", "adversarial")
    by_facts = [(f"{x} facts, single-hop", x, "single-hop") for x in FACTS]
    by_kind = [(f"{KIND_FACTS} facts, {kind}", KIND_FACTS, kind) for kind in kinds]
    extraction = [
        (f"extraction, {KIND_FACTS} facts: {n}", KIND_FACTS, n) for n in ("recall", "precision", "valid_json")
    ]
    return "\n\n".join(
        [table("exact match", list(MEMORIES), by_facts + by_kind), table("", list(MEMORIES)[:2], extraction)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="persona-nano")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--episodes", type=int, default=6, help="conversations per point")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    name = Path(args.model).name
    file = args.out / f"{name}.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    todo = points(model, args.seeds)
    keys = ("figure", "series", "x", "seed")
    done = {tuple(line[key] for key in keys) for line in lines}
    with file.open("a") as sink:
        for number, point in enumerate(todo, start=1):
            if tuple(point[key] for key in keys) not in done:
                lines.append(point | {"result": measure(model, point, args.episodes)})
                sink.write(json.dumps(lines[-1]) + "\n")
                sink.flush()
            if sys.stderr.isatty():
                print(f"point {number}/{len(todo)}", end="\r", file=sys.stderr)
    print(tables(lines))
    count = f"{args.episodes} unseen conversations x {len(args.seeds)} seeds, {name}"
    draw(lines, "facts", args.out / f"{name}-facts.png", "facts told", count)
    draw(lines, "basis", args.out / f"{name}-basis.png", "epochs of the write", f"{BASIS_FACTS} facts, {count}")


if __name__ == "__main__":
    main()
