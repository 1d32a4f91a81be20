"""tmem beside memory in weights written the usual way, Transformers with PEFT, in one run (`make bench`).

    python benchmarks/bench.py --shapes small 0.6B --repeats 3

Same model, same data, results compared; ours and theirs in turn, each first in every other round, so that what disturbs
one disturbs both. The ratio of their time to ours is what carries to other machines. The seconds are those of the
clock, and the machine must have nothing else to do; with --threads 1 they are those of the processor, which other work
disturbs little. Where there is a CUDA device, everything runs there. What was measured lies in --out; the same command
goes on where it was. Fails if results are further apart than they may be. One round of Qwen3-0.6B's shape takes a
quarter of an hour on two cores, half an hour on one.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from cases import CASES, QUESTION, ROWS, SEEN, WITHIN, Bench, Case, Run
from rich.console import Console
from rich.table import Table
from shapes import SHAPES, recipe_for, tokens

import tmem
from tmem.files import read_json, write_json
from tmem.model import HFEngine, Request


def memory_per_user(shape: str, dtype: str) -> dict[str, float]:
    """A memory's B in MB, and what each further one adds beyond it to the most that generating 48 rows needs.

    ``one``: all memories in one Delta, in the order of the rows, of which nothing is copied. ``rollouts``: every row
    with a Delta of its own, as rollouts have.
    """
    model = SHAPES[shape](dtype)
    own = sum(b.numel() for b in model.fast(recipe_for(model)).zeros(1).b.values()) * 4 / 1e6
    found = {"own": own}
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back at once, and is not counted
    for layout in ("one", "rollouts"):
        peaks = {}
        for count in (1, ROWS):
            command = [sys.executable, __file__, "--dtype", dtype, "--probe", shape, layout, str(count)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
            peaks[count] = float(done.stdout)
        found[layout] = (peaks[ROWS] - peaks[1]) / (ROWS - 1) - own
    return found


def probe(shape: str, dtype: str, layout: str, count: int) -> float:
    """The most memory in use, in MB, while 48 rows are generated with ``count`` different memories."""
    bench = Bench(SHAPES[shape](dtype))
    places = [[place] for place in range(count)] if layout == "rollouts" else [list(range(count))]
    deltas = [bench.memories.select(own) for own in places]
    del bench.memories
    prompts = [tokens(bench.model, QUESTION, row) for row in range(ROWS)]
    wanted = [Request(prompt, 0 if layout == "rollouts" else row % count, 4) for row, prompt in enumerate(prompts)]
    stream = HFEngine(bench.model).stream(bench.fast)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the largest size so far is forgotten: loading is not meant
    stream.add(wanted, [deltas[row % len(deltas)] for row in range(ROWS)])
    while stream.step():
        pass
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


def code() -> str:
    """A short hash over all code that is measured."""
    hasher = hashlib.sha256()
    for folder in (Path(tmem.__file__).parent, Path(__file__).parent):
        for file in sorted(folder.rglob("*.py")):
            hasher.update(f"{file.relative_to(folder)}\n".encode() + file.read_bytes())
    return hasher.hexdigest()[:12]


def measured(results: dict[str, Any], shapes: list[str]) -> Iterator[tuple[str, Case, list[Run]]]:
    """What was measured: shape, case and rounds."""
    for shape in shapes:
        for case in CASES:
            if runs := results["runs"].get(f"{shape}: {case.name}"):
                yield shape, case, [Run(**run) for run in runs]


def table(results: dict[str, Any], shapes: list[str]) -> Table:
    title = f"{results['device']}, torch {results['torch']}, {results['dtype']}, threads: {results['threads']}"
    made = Table(title=title, title_justify="left")
    for column in ("model", "what", "ours, s", "theirs, s", "ratio", "lowest to highest", "goal", "apart", "at most"):
        made.add_column(column, justify="left" if column in ("model", "what") else "right")
    for shape, case, runs in measured(results, shapes):
        limited = case.most != float("inf")
        ratios = sorted(run.ours / run.theirs if limited else run.theirs / run.ours for run in runs)
        goal = f"<= {case.most:.2f}" if limited else f">= {case.goal[shape]:g}" if shape in case.goal else ""
        ours, theirs = median(run.ours for run in runs), median(run.theirs for run in runs)
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        apart = within = "-"
        if case.compared:
            apart = f"{case.compared} {max(run.apart or 0.0 for run in runs):.0e}"
            within = f"{WITHIN[results['dtype']][case.compared]:.0e}"
        ratio = f"{median(ratios):.2f}"
        made.add_row(shape, case.name, f"{ours:.2f}", f"{theirs:.2f}", ratio, spread, goal, apart, within)
    return made


def faults(results: dict[str, Any], shapes: list[str]) -> list[str]:
    """A line for every case of which the results are too far apart, or were compared in vain."""
    lines = []
    for shape, case, runs in measured(results, shapes):
        if not case.compared:
            continue
        within = WITHIN[results["dtype"]][case.compared]
        for number, run in enumerate(runs, start=1):
            what = f"FAILED: {shape}: {case.name}, round {number}"
            if run.apart is None or not run.apart <= within:  # this way round for NaN
                lines.append(f"{what}: results are {run.apart} apart ({case.compared}), at most {within:g} is allowed")
            if run.changed is not None and not run.changed >= SEEN * within:
                lines.append(f"{what}: a memory changes a logprob by {run.changed:.0e}: too little to be compared")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["small", "0.6B"])
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out/bench.json"))
    parser.add_argument("--dtype", choices=list(WITHIN), default="float32", help="of the model's weights; B is float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch, both ways")
    parser.add_argument("--probe", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.probe:
        shape, layout, count = args.probe
        print(probe(shape, args.dtype, layout, int(count)))
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    facts = {"threads": torch.get_num_threads(), "torch": torch.__version__, "device": device}
    facts |= {"dtype": args.dtype, "code": code()}
    results: dict[str, Any] = {**facts, "runs": {}, "memory": {}}
    if args.out.exists():
        results = read_json(args.out)
        if any(results.get(key) != value for key, value in facts.items()):
            then = ", ".join(f"{key} {results.get(key)}" for key in facts)
            here = ", ".join(f"{key} {value}" for key, value in facts.items())
            sys.exit(f"{args.out}: measured with {then}; now there is {here}: choose another --out")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for shape in args.shapes:
        bench: Bench | None = None
        for case in CASES:
            runs = results["runs"].setdefault(f"{shape}: {case.name}", [])
            if args.only not in case.name or len(runs) >= args.repeats:
                continue
            bench = bench or Bench(SHAPES[shape](args.dtype))
            bench.warm()
            measure = case.prepare(bench)
            while len(runs) < args.repeats:
                print(f"{shape}: {case.name}, {len(runs) + 1} of {args.repeats}", file=sys.stderr)
                runs.append(vars(measure(len(runs))))
                write_json(args.out, results)
        linux = Path("/proc/self/clear_refs").exists()
        if shape not in results["memory"] and args.only in "memory" and (linux or torch.cuda.is_available()):
            results["memory"][shape] = memory_per_user(shape, args.dtype)
            write_json(args.out, results)
    Console(width=160).print(table(results, args.shapes))
    for shape, memory in results["memory"].items():
        more = f"{memory['one']:.2f} MB with all in one Delta, {memory['rollouts']:.2f} MB where every row has its own"
        print(f"{shape}: a memory is {memory['own']:.2f} MB; beyond it a further user adds {more}")
    print(f"everything that was measured: {args.out}", file=sys.stderr)
    if lines := faults(results, args.shapes):
        sys.exit("\n".join(lines))


if __name__ == "__main__":
    main()
