"""How cost grows with the stream, the pairs, the memories, the model's depth and the group of RL; and what bounds it.

    python benchmarks/growth.py --figures docs/figures

Every curve is the best of --repeats times, in seconds of one thread, the sizes in turn; the exponent is the slope of a
straight line through the logarithms (1: linear, 0: flat). Prints Markdown tables. A quarter of an hour of one core.
Then what bounds a write and a decoding step: their operations, counted from the shapes, against the rate of this
machine's own matrix products.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from shapes import agent_for, now, pairs, random_model, recipe_for, tokens
from sizing import Shape

from tmem.evaluation.figure import drawn
from tmem.evaluation.spec import Spec
from tmem.fastweights import write
from tmem.files import write_text
from tmem.model import HFEngine, Model, Request, load
from tmem.tasks.persona import Persona
from tmem.training.grpo import Config, Running, Trainer

AT_ONCE = 8  # episodes side by side


@dataclass(frozen=True)
class Curve:
    name: str
    x: Sequence[int]
    seconds: list[float]

    @property
    def exponent(self) -> float:
        """The slope of the least-squares line through (log x, log seconds)."""
        xs, ys = [math.log(x) for x in self.x], [math.log(y) for y in self.seconds]
        mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
        return sum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True)) / sum((x - mx) ** 2 for x in xs)


def curve(name: str, works: dict[int, Callable[[], Any]], repeats: int, warm: bool = True) -> Curve:
    """Best seconds of every size, the sizes measured in turn."""
    best = dict.fromkeys(works, float("inf"))
    if warm:
        next(iter(works.values()))()
    for _ in range(repeats):
        for x, work in works.items():
            print(f"{name}: {x}", file=sys.stderr)
            started = now()
            work()
            best[x] = min(best[x], now() - started)
    return Curve(name, list(works), list(best.values()))


def streams(model: Model, repeats: int) -> list[Curve]:
    """Whole episodes against the length of their stream, without and with rehearsal of all earlier pairs."""
    made = []
    for name, recipe in (("paper", "paper"), ("every pair rehearsed", "tmem")):
        agent = replace(agent_for(model, model.recipe(recipe, epochs=5)), at_once=AT_ONCE)
        works: dict[int, Callable[[], Any]] = {}
        for facts in (4, 8, 16, 32):
            lives = [task.episode for task in Persona(facts, AT_ONCE, "seen").tasks(1)]
            lives = [replace(life, asks=life.asks[:4]) for life in lives]  # as many questions whatever the length
            works[facts] = lambda lives=lives, agent=agent: agent.run(lives)  # type: ignore[misc]
        made.append(curve(f"8 episodes, {name}, by facts", works, repeats))
    return made


def write_of(model: Model, count: int, epochs: int = 5, replayed: bool = True) -> Callable[[], Any]:
    recipe = recipe_for(model).model_copy(update={"epochs": epochs})
    fast, told = model.fast(recipe), pairs(model, count, 0)
    replay = model.replay(recipe) if replayed else None
    return lambda: write(fast, fast.zeros(1), [told], recipe, [0], replay=replay)


def memories(model: Model, repeats: int) -> Curve:
    """48 rows of 32 tokens against the number of memories among them."""
    fast = model.fast(recipe_for(model))
    delta = fast.zeros(48)
    engine = HFEngine(model)

    def work(count: int) -> Callable[[], Any]:
        wanted = [Request(tokens(model, 16, row), row * count // 48, 32) for row in range(48)]
        return lambda: engine.generate(wanted, delta, fast)

    return curve("48 texts, by memories", {count: work(count) for count in (1, 3, 6, 12, 24, 48)}, repeats)


def depths(repeats: int) -> list[Curve]:
    """A write against the model's depth: layers below the adapted ones once, or in every epoch."""
    deep = {n: random_model(n, 256, 768, 8, 4, 32, 2048) for n in (6, 12, 24, 48)}
    ours = {n: write_of(model, 32, epochs=20) for n, model in deep.items()}
    plain = {n: write_of(model, 32, epochs=20, replayed=False) for n, model in deep.items()}
    return [
        curve("write of 20 epochs, trunk once, by layers", ours, repeats),
        curve("write of 20 epochs, whole model, by layers", plain, repeats),
    ]


def groups(model: Model) -> Curve:
    """A step of RL against the lives of each task."""
    with tempfile.TemporaryDirectory() as folder:

        def work(group: int) -> Callable[[], Any]:
            spec = Spec("persona", {"facts": 4, "episodes": 1, "people": "seen"}, model.name, write_tail=True)
            config = Config(spec, tasks=2, group=group, advantage="question", weighting="kinds", held_out=0)
            own = Path(folder) / str(group)
            trainer = Trainer(config, load(model.name), own, Running(steps=1), Accelerator(cpu=True))
            return lambda: trainer._learn(0, None)

        works = {group: work(group) for group in (2, 4, 8, 16)}
        return curve("a step of RL of two tasks, by lives of each", works, 1, warm=False)


def matrix_rate(device: torch.device) -> float:
    """Operations a second of this machine's own product of two float32 matrices of 1,024 x 1,024."""
    a, b = torch.randn(1024, 1024, device=device), torch.randn(1024, 1024, device=device)
    best = float("inf")
    for _ in range(20):
        started = now()
        torch.mm(a, b)
        best = min(best, now() - started)
    return 2 * 1024**3 / best


def bounds(repeats: int) -> list[str]:
    """Operations counted, and the rate at which they were done, for a write and for decoding."""
    lines = ["| model | work | operations | bytes of weights read | of the product's rate |", "|---|---|---|---|---|"]
    for name, model in (("persona-small", load("persona-small")), ("512 wide, 28 layers", wide())):
        shape = Shape.of(model.hf.config)
        told = pairs(model, 16, 0)
        counted = shape.write(sum(len(pair) - 1 for pair in told), sum(len(pair.answer_ids) for pair in told))
        [seconds] = curve(f"{name}: write", {16: write_of(model, 16)}, repeats).seconds
        rate = matrix_rate(model.device)
        lines.append(f"| {name} | write of 16 pairs | {counted / 1e9:.1f} G | | {counted / seconds / rate:.2f} |")
        for rows in (1, 16):
            wanted = [Request(tokens(model, 2, row), None, 64) for row in range(rows)]
            engine = HFEngine(model)
            work = {rows: lambda engine=engine, wanted=wanted: engine.generate(wanted)}  # type: ignore[misc]
            [seconds] = curve(f"{name}: decoding", work, repeats).seconds
            counted, weights = shape.forward(64 * rows, 64 * rows), 2 * shape.forward(64, 64)  # four bytes a weight
            share = counted / seconds / rate
            reads = f"{weights / 1e9:.2f} GB, {weights / seconds / 1e9:.1f} GB/s"
            lines.append(f"| {name} | 64 tokens of {rows} rows | {counted / 1e9:.1f} G | {reads} | {share:.2f} |")
    return lines


def wide() -> Model:
    return random_model(28, 512, 1536, 8, 4, 64, 8192)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--figures", type=Path, help="write the curves as SVG into this folder")
    args = parser.parse_args()
    torch.set_num_threads(1)
    nano = load("persona-nano")
    middle = random_model(12, 256, 768, 8, 4, 32, 2048)
    found = {
        "stream": streams(nano, args.repeats),
        "pairs": [curve("write, by pairs", {n: write_of(middle, n) for n in (8, 16, 32, 64, 128, 256)}, args.repeats)],
        "memories": [memories(nano, args.repeats)],
        "depth": depths(args.repeats),
        "group": [groups(nano)],
    }
    print(f"{nano.device}, torch {torch.__version__}\n")
    print("| what | sizes | seconds | exponent |\n|---|---|---|---|")
    for curves in found.values():
        for one in curves:
            sizes, spent = ", ".join(map(str, one.x)), ", ".join(f"{s:.2f}" for s in one.seconds)
            print(f"| {one.name} | {sizes} | {spent} | {one.exponent:.2f} |")
    print("\n" + "\n".join(bounds(args.repeats)))
    for name, curves in found.items() if args.figures else ():

        def draw(axes: Any, curves: list[Curve] = curves) -> None:
            for place, one in enumerate(curves):
                label, _, size = one.name.rpartition(", by ")
                axes.plot(one.x, one.seconds, marker="os"[place], label=f"{label}: exponent {one.exponent:.2f}")
            axes.set_xscale("log", base=2)
            axes.set_xticks(curves[0].x, map(str, curves[0].x))
            axes.set_yscale("log", base=2)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.set_xlabel(size)
            axes.set_ylabel("seconds")

        caption = f"Seconds against {curves[0].name.rpartition(', by ')[2]}, both logarithmic."
        write_text(args.figures / f"growth-{name}.svg", drawn(name, caption, draw).file())


if __name__ == "__main__":
    main()
