"""How cost grows with the stream, the pairs, the memories, the model's depth and the group of RL; and what bounds it.

    python benchmarks/growth.py --figures docs/figures

Every curve is the best of --repeats times, in seconds of one thread, the sizes in turn; the exponent is the slope of a
straight line through the logarithms (1: linear, 0: flat). Prints Markdown tables. A quarter of an hour of one core.
Then what bounds a write and a decoding step: their operations and the bytes of weights that they read, counted from the
shapes, against the rates of this machine's own products: of two matrices, and of a large matrix with a vector, which
does little but read memory.
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
from shapes import agent_for, now, pairs, qwen3_06b, random_model, recipe_for, tokens
from sizing import Shape

from tmem.evaluation.records.spec import Spec
from tmem.evaluation.reporting.svg import drawn
from tmem.fastweights import write
from tmem.files import write_text
from tmem.model import HFEngine, Model, Request, load
from tmem.tasks.persona import Persona
from tmem.training.config import Config, Running
from tmem.training.grpo import Trainer

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
    for name, recipe in (("paper", "paper"), ("every pair rehearsed", "sgd")):
        agent = replace(agent_for(model, model.recipe(recipe, epochs=5)), at_once=AT_ONCE)
        works: dict[int, Callable[[], Any]] = {}
        for facts in (4, 8, 16, 32):
            episodes = [task.episode for task in Persona(facts, AT_ONCE, "seen").tasks(1)]
            episodes = [
                replace(episode, asks=episode.asks[:4]) for episode in episodes
            ]  # as many questions whatever the length
            works[facts] = lambda episodes=episodes, agent=agent: agent.run(episodes)  # type: ignore[misc]
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
    ours = {n: write_of(model, 32, epochs=5) for n, model in deep.items()}
    plain = {n: write_of(model, 32, epochs=5, replayed=False) for n, model in deep.items()}
    return [
        curve("write of 5 epochs, trunk once, by layers", ours, repeats),
        curve("write of 5 epochs, whole model, by layers", plain, repeats),
    ]


def groups(model: Model) -> Curve:
    """A step of RL against the rollouts of each task."""
    with tempfile.TemporaryDirectory() as folder:

        def work(group: int) -> Callable[[], Any]:
            spec = Spec("persona", {"facts": 4, "episodes": 1, "people": "seen"}, model.name, write_tail=True)
            config = Config(spec, tasks=2, group=group, advantage="question", weighting="kinds", held_out=0)
            own = Path(folder) / str(group)
            trainer = Trainer(config, load(model.name), own, Running(steps=1), Accelerator(cpu=True))
            return lambda: trainer._learn(0, None)

        works = {group: work(group) for group in (2, 4, 8, 16)}
        return curve("a step of RL of two tasks, by rollouts of each", works, 1, warm=False)


def rates(model: Model) -> tuple[float, float]:
    """Operations a second of a product of two matrices, and bytes a second that one with a vector reads.

    Both on the model's device and in its dtype. 1,024 x 1,024 fill a CPU core; a GPU needs more, and several at once.
    """
    how: dict[str, Any] = {"device": model.device, "dtype": model.hf.dtype}
    size, times = (8192, 10) if model.device.type == "cuda" else (1024, 1)
    a, b = torch.randn(size, size, **how), torch.randn(size, size, **how)
    large = torch.ones(32_768, 8192, **how)  # 1 GB in float32: more than any cache holds
    vector = torch.ones(8192, **how)
    product = least(lambda: torch.mm(a, b), times)
    reading = least(lambda: torch.mv(large, vector), times)
    return 2 * size**3 / product, large.numel() * large.element_size() / reading


def least(work: Callable[[], Any], times: int) -> float:
    """The least seconds of a work, out of ten measurements of so many each."""
    best = float("inf")
    work()
    for _ in range(10):
        started = now()
        for _ in range(times):
            work()
        best = min(best, (now() - started) / times)
    return best


def bounds(repeats: int) -> list[str]:
    """Operations and bytes counted, and the rates at which they were done, for a write and for decoding."""
    lines = [
        "| model | work | seconds | operations | of the product's rate | weights read | of the rate of reading |",
        "|---|---|---|---|---|---|---|",
    ]
    notes = []
    small, large = load("persona-small"), "Qwen3-0.6B's shape"
    for name, make in (("persona-small", lambda: small), ("512 wide, 28 layers", wide), (large, qwen3_06b)):
        model, new, times = make(), 64, repeats
        if name == large:
            new, times = 16, 1  # so that it takes minutes
        shape = Shape.of(model.hf.config)
        done: list[tuple[str, float, int, int]] = []  # what, seconds, operations, weights read
        for rows in (1, 16):
            wanted = [Request(tokens(model, 2, row), None, new) for row in range(rows)]
            engine = HFEngine(model)
            work = {rows: lambda engine=engine, wanted=wanted: engine.generate(wanted)}  # type: ignore[misc]
            [seconds] = curve(f"{name}: decoding", work, times).seconds
            # Two operations a token and weight; a step of many rows reads the weights once.
            weights = shape.forward(new, new) // 2
            what = f"{new} tokens of {rows} row{'s' * (rows > 1)}"
            done.append((what, seconds, shape.forward(new * rows, new * rows), weights))
        told = pairs(model, 16, 0)
        counted = shape.write(sum(len(pair) - 1 for pair in told), sum(len(pair.answer_ids) for pair in told))
        # The large model's write takes long, and is warm from decoding. All pairs are one pass.
        [seconds] = curve(f"{name}: write", {16: write_of(model, 16)}, times, warm=name != large).seconds
        done.append(("write of 16 pairs", seconds, counted, shape.write(1, 1) // 2))
        product, reading = rates(model)
        for what, seconds, operations, weights in done:
            read = weights * model.hf.dtype.itemsize
            own = f"{operations / 1e9:.1f} G | {operations / seconds / product:.2f}"
            lines.append(
                f"| {name} | {what} | {seconds:.2f} | {own} | {read / 1e9:.2f} GB | {read / seconds / reading:.2f} |"
            )
        notes.append(f"{name}: {product / 1e9:.1f} G operations and {reading / 1e9:.1f} GB a second")
    return [*lines, "", "Rates of products with a matrix, and with a vector: " + "; ".join(notes) + "."]


def figure(name: str, curves: list[Curve]) -> str:
    """The curves as SVG, both axes logarithmic."""
    seconds = [value for one in curves for value in one.seconds]
    size = curves[0].name.rpartition(", by ")[2]

    def draw(axes: Any) -> None:
        for place, one in enumerate(curves):
            label = one.name.rpartition(", by ")[0]
            axes.plot(one.x, one.seconds, marker="os"[place], label=f"{label}: exponent {one.exponent:.2f}")
        axes.set_xscale("log", base=2)
        axes.set_xticks(curves[0].x, map(str, curves[0].x))
        axes.set_yscale("log", base=2)
        if max(seconds) < 4 * min(seconds):  # what is flat is to look flat
            axes.set_ylim(min(seconds) / 3, max(seconds) * 3)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel(size)
        axes.set_ylabel("seconds")

    return drawn(name, f"Seconds against {size}, both logarithmic.", draw).file()


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
        write_text(args.figures / f"growth-{name}.svg", figure(name, curves))


if __name__ == "__main__":
    main()
