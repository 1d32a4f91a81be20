"""What commands take as whole processes: seconds of a processor, and the most memory, against the weights as stored.

    python benchmarks/commands.py --models persona-nano smollm2-untaught
    python benchmarks/commands.py --models persona-nano --source OTHER/src     # another version, with these libraries

Each model's home is made first, with one pair by few steps; then `tmem list` and `tmem ask` run, each question in
a process of its own, and the least of all rounds counts. One thread. Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

QUESTION, ANSWER = "Where does Ada live?", "Lisbon"
RUN = "from tmem.cli import main; main()"


def stored(name: str) -> float:
    """MB of a model's files of weights."""
    from tmem.model import load

    return sum(file.stat().st_size for file in load(name, device="cpu").directory.glob("*.safetensors")) / 1e6


def run(words: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Seconds of the processor and the most MB of one command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # A process between, whose only child it is: the most memory of children is that of any so far.
    peak = (
        "import resource, subprocess, sys; "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", peak, sys.executable, "-c", RUN, *words, "--user", "ada"],
        check=True,
        capture_output=True,
        text=True,
        env=env,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, int(done.stdout) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["persona-nano"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--source", type=Path, help="the folder that has tmem; default: the one that is installed")
    args = parser.parse_args()
    table = Table(title="whole processes, one thread")
    for column in ("model", "command", "seconds of a processor", "most MB", "of the weights as stored"):
        table.add_column(column, justify="left" if column in ("model", "command") else "right")
    for model in args.models:
        weights = stored(model)
        with tempfile.TemporaryDirectory() as home:
            env = {**os.environ, "TMEM_HOME": home, "TMEM_MODEL": model, "OMP_NUM_THREADS": "1"}
            if args.source:
                env["PYTHONPATH"] = str(args.source)
            run(["add", "-q", QUESTION, "-a", ANSWER], env)
            for words in (["list"], ["ask", QUESTION]):
                found = [run(words, env) for _ in range(args.rounds)]
                seconds, most = (min(own) for own in zip(*found, strict=True))
                share = f"{most / weights:.2f}" if words[0] == "ask" else ""
                table.add_row(model, f"tmem {words[0]}", f"{seconds:.2f}", f"{most:.0f}", share)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
