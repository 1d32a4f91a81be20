"""tmem beside memory in weights written the usual way, Transformers with PEFT, in one run (`make bench`).

    python benchmarks/bench.py --shapes small 0.6B --repeats 3

Same model, same data, results compared; ours and theirs in turn, so that what disturbs one disturbs both. The ratio of
their time to ours is what carries to other machines. On a CPU one thread is used, and the seconds are those of the
processor, which other work on the machine disturbs little; where there is a CUDA device, everything runs there. What
was measured lies in --out; the same command goes on where it was. One round of Qwen3-0.6B's shape takes about an hour
of one core.
"""

from __future__ import annotations

import argparse
import copy
import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from shapes import SHAPES, agent_for, episodes, now, pairs, recipe_for, tokens
from usual import Usual, live, orders

from tmem.fastweights import Delta, FastWeights, write
from tmem.files import read_json, write_json
from tmem.model import HFEngine, Model, Request
from tmem.seeds import generator

USERS, PAIRS, ROWS = 16, 16, 48
TEXT, QUESTION = 2000, 16  # tokens of a shared text, and of what is asked about it
ONES = 2  # of the 16 users or episodes that the reference does one after the other are timed, and count for all


@dataclass(frozen=True)
class Run:
    """Seconds of both ways, and how far their results are apart: an error, or a share of different tokens."""

    ours: float
    theirs: float
    apart: float


@dataclass(frozen=True)
class Case:
    name: str
    goal: dict[str, float]  # least ratio by shape
    measure: Callable[[Bench], Iterator[Run]]  # without end
    most: float = float("inf")  # or the largest ours / theirs


class Bench:
    """A model with fast weights, and the same model with PEFT."""

    def __init__(self, model: Model) -> None:
        self.model, self.recipe = model, recipe_for(model)
        self.fast: FastWeights = model.fast(self.recipe)
        self.replay = model.replay(self.recipe)

    @cached_property
    def usual(self) -> Usual:
        return Usual(self.model.hf, self.fast.basis)

    @cached_property
    def memories(self) -> Delta:
        """48 memories that differ, of the size that a write makes."""
        scale = 1e-3 if self.model.name == "random" else 1e-2
        zeros = self.fast.zeros(ROWS)
        b = {
            name: scale * torch.randn(value.shape, generator=generator(name)).to(value.device)
            for name, value in zeros.b.items()
        }
        return Delta(b, zeros.basis_digest)

    @cached_property
    def endless(self) -> Model:
        """The same model, which writes to its limits."""
        model = copy.copy(self.model)
        model.stop_ids = frozenset()  # type: ignore[misc]
        return model


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    started = now()
    result = work()
    return now() - started, result


def different(ours: list[Any], theirs: list[Any]) -> float:
    """The share of tokens at the same place that are not the same."""
    both = [(a, b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=False)]
    return sum(a != b for a, b in both) / len(both)


def b_error(ours: Delta, row: int, theirs: dict[str, torch.Tensor]) -> float:
    """The largest difference of B, as a share of its largest number."""
    largest = max(float(b[row].abs().max()) for b in ours.b.values())
    return max(float((ours.b[name][row] - b).abs().max()) for name, b in theirs.items()) / largest


def write_one(bench: Bench) -> Iterator[Run]:
    user = 0
    while True:
        told = pairs(bench.model, PAIRS, user)
        [name] = bench.usual.adapters(1)
        theirs, _ = seconds(lambda: bench.usual.write(name, told, bench.recipe, orders(PAIRS, bench.recipe, 0)))  # noqa: B023
        ours, (delta, _) = seconds(
            lambda: write(bench.fast, bench.fast.zeros(1), [told], bench.recipe, [0], replay=bench.replay)  # noqa: B023
        )
        yield Run(ours, theirs, b_error(delta, 0, bench.usual.b(name)))
        user += 1


def write_many(bench: Bench) -> Iterator[Run]:
    told = [pairs(bench.model, PAIRS, user) for user in range(USERS)]
    zero, seeds = bench.fast.zeros(USERS), [0] * USERS

    def one_by_one() -> None:
        for user in range(ONES):
            bench.usual.write(str(user), told[user], bench.recipe, orders(PAIRS, bench.recipe, 0))

    while True:
        bench.usual.adapters(ONES)
        theirs, _ = seconds(one_by_one)
        ours, (delta, _) = seconds(lambda: write(bench.fast, zero, told, bench.recipe, seeds, replay=bench.replay))
        apart = max(b_error(delta, user, bench.usual.b(str(user))) for user in range(ONES))
        yield Run(ours, theirs * USERS / ONES, apart)


def _rows(bench: Bench, memories: bool, new: int = 16) -> list[Request]:
    return [
        Request(tokens(bench.model, QUESTION, row), row if memories else None, new, stop="eos") for row in range(ROWS)
    ]


def generate_ours(bench: Bench) -> Iterator[Run]:
    """48 rows with 48 memories (theirs: 48 rows without any), by the same loop."""
    engine = HFEngine(bench.endless)
    while True:
        plain, _ = seconds(lambda: engine.generate(_rows(bench, False)))
        ours, _ = seconds(lambda: engine.generate(_rows(bench, True), bench.memories, bench.fast))
        yield Run(ours, plain, 0.0)


def generate_both(bench: Bench) -> Iterator[Run]:
    """48 rows with 48 memories, against PEFT's mixed batch."""
    engine = HFEngine(bench.endless)
    users = bench.usual.adapters(ROWS)
    for row, user in enumerate(users):
        bench.usual.load(user, bench.memories, row)
    prompts = [request.prompt_ids for request in _rows(bench, True)]
    while True:
        theirs, wanted = seconds(lambda: bench.usual.generate(prompts, 16, users))
        ours, done = seconds(lambda: engine.generate(_rows(bench, True), bench.memories, bench.fast))
        yield Run(ours, theirs, different([one.ids for one in done], wanted))


def one_prefix(bench: Bench) -> Iterator[Run]:
    """The first token after a text that 16 users share, each under a memory of their own."""
    text = tokens(bench.model, TEXT, "shared")
    wanted = [Request((*text, *tokens(bench.model, QUESTION, row)), row, 1) for row in range(USERS)]
    engine = HFEngine(bench.model, max_tokens_per_batch=USERS * (TEXT + QUESTION + 1))
    users = bench.usual.adapters(USERS)
    for row, user in enumerate(users):
        bench.usual.load(user, bench.memories, row)
    while True:
        theirs, first = seconds(
            lambda: [bench.usual.generate([wanted[row].prompt_ids], 1, [users[row]])[0] for row in range(ONES)]
        )
        ours, done = seconds(lambda: engine.generate(wanted, bench.memories, bench.fast))
        yield Run(ours, theirs * USERS / ONES, different([one.ids for one in done[:ONES]], first))


def after_a_write(bench: Bench) -> Iterator[Run]:
    """The first token after a text that was read before, when the memory has changed since."""
    text = tokens(bench.model, TEXT, "context")
    engine = HFEngine(bench.model, remember=2 * TEXT)
    [user] = bench.usual.adapters(1)
    row = 0
    while True:
        engine.generate([Request(text, row % ROWS, 1)], bench.memories, bench.fast)
        row += 1
        bench.usual.load(user, bench.memories, row % ROWS)
        prompt = (*text, *tokens(bench.model, QUESTION, row))
        request = Request(prompt, row % ROWS, 1)
        theirs, first = seconds(lambda: bench.usual.generate([prompt], 1, [user]))  # noqa: B023
        ours, done = seconds(lambda: engine.generate([request], bench.memories, bench.fast))  # noqa: B023
        yield Run(ours, theirs, different([one.ids for one in done], first))


def whole_episodes(bench: Bench, batched: bool) -> Iterator[Run]:
    agent, told = agent_for(bench.model), episodes(bench.model, USERS)
    few = told if batched else told[:ONES]
    while True:
        theirs, wanted = seconds(lambda: live(agent, few, bench.usual, batched))
        ours, done = seconds(lambda: agent.run(told))
        apart = different(*([list(life.answers.values()) for life in lives] for lives in (done[: len(few)], wanted)))
        yield Run(ours, theirs * USERS / len(few), apart)


CASES = [
    Case("write of 16 pairs, one user, 5 epochs", {"0.6B": 3}, write_one),
    Case("writes of 16 users together, against one after the other", {"0.6B": 4, "small": 3}, write_many),
    Case("48 users' texts with 48 memories, against 48 without any", {}, generate_ours, most=1.10),
    Case("48 users' texts with 48 memories, against PEFT's mixed batch", {}, generate_both),
    Case("first tokens of 16 memories after one shared text of 2,000", {"0.6B": 4}, one_prefix),
    Case("first token after a write, the same text of 2,000 before it", {"0.6B": 4}, after_a_write),
    Case("16 episodes, against one after the other", {"0.6B": 6, "small": 4}, lambda b: whole_episodes(b, False)),
    Case("16 episodes, against generation in batches", {"0.6B": 2, "small": 2}, lambda b: whole_episodes(b, True)),
]


def memory_per_user(shape: str) -> dict[str, float]:
    """What each further memory adds to the most that generating 48 rows needs, in MB, beyond its B."""
    peaks = {}
    for count in (1, ROWS):
        command = [sys.executable, __file__, "--probe", shape, str(count)]
        peaks[count] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    model = SHAPES[shape]()
    own = sum(b.numel() for b in model.fast(recipe_for(model)).zeros(1).b.values()) * 4 / 1e6
    return {"own_mb": own, "more_mb": (peaks[ROWS] - peaks[1]) / (ROWS - 1) - own}


def probe(shape: str, count: int) -> float:
    """The most memory in use, in MB, while 48 rows are generated with ``count`` different memories."""
    bench = Bench(SHAPES[shape]())
    memories = bench.memories.select(range(count))
    del bench.memories
    wanted = [Request(tokens(bench.model, QUESTION, row), row % count, 4) for row in range(ROWS)]
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the largest size so far is forgotten: loading is not meant
    HFEngine(bench.model).generate(wanted, memories, bench.fast)
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


def table(results: dict[str, Any], shapes: list[str]) -> Table:
    made = Table(title=f"{results['device']}, torch {results['torch']}", title_justify="left")
    for column in ("model", "what", "ours, s", "theirs, s", "ratio", "lowest to highest", "goal", "apart"):
        made.add_column(column, justify="left" if column in ("model", "what") else "right")
    for shape in shapes:
        for case in CASES:
            runs = [Run(**run) for run in results["runs"].get(f"{shape}: {case.name}", [])]
            if not runs:
                continue
            limited = case.most != float("inf")
            ratios = sorted(run.ours / run.theirs if limited else run.theirs / run.ours for run in runs)
            goal = f"<= {case.most:.2f}" if limited else f">= {case.goal[shape]:g}" if shape in case.goal else ""
            ours, theirs = median(run.ours for run in runs), median(run.theirs for run in runs)
            spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
            apart = f"{max(run.apart for run in runs):.0e}"
            made.add_row(shape, case.name, f"{ours:.2f}", f"{theirs:.2f}", f"{median(ratios):.2f}", spread, goal, apart)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out/bench.json"))
    parser.add_argument("--probe", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.probe:
        print(probe(args.probe[0], int(args.probe[1])))
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    facts = {"threads": torch.get_num_threads(), "torch": torch.__version__, "device": device}
    results: dict[str, Any] = {**facts, "runs": {}, "memory": {}}
    if args.out.exists():
        results = read_json(args.out)
        if {key: results.get(key) for key in facts} != facts:
            sys.exit(f"{args.out}: measured with other threads or another torch: choose another --out")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for shape in args.shapes:
        bench: Bench | None = None
        for case in CASES:
            runs = results["runs"].setdefault(f"{shape}: {case.name}", [])
            if args.only not in case.name or len(runs) >= args.repeats:
                continue
            bench = bench or Bench(SHAPES[shape]())
            measured = case.measure(bench)
            while len(runs) < args.repeats:
                print(f"{shape}: {case.name}, {len(runs) + 1} of {args.repeats}", file=sys.stderr)
                runs.append(vars(next(measured)))
                write_json(args.out, results)
        linux = Path("/proc/self/clear_refs").exists()
        if shape not in results["memory"] and args.only in "memory" and (linux or torch.cuda.is_available()):
            results["memory"][shape] = memory_per_user(shape)
            write_json(args.out, results)
    Console(width=160).print(table(results, args.shapes))
    for shape, found in results["memory"].items():
        print(f"{shape}: a memory is {found['own_mb']:.2f} MB; beyond it a further user adds {found['more_mb']:.2f} MB")
    print(f"everything that was measured: {args.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
