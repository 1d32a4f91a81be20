"""A few rows times large weights, as in decoding: by oneDNN, which tmem takes from four rows on, beside torch's own.

python benchmarks/onednn.py
"""

from __future__ import annotations

import argparse
import time

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from tmem.model import onednn

SHAPES = [(1024, 1024), (1024, 3072), (3072, 1024), (1024, 151_936)]  # in, out
ROWS = (1, 2, 4, 8, 16, 48, 128, 512)
WORK = 4e8  # products of numbers that are timed at a time


def milliseconds(linear: nn.Linear, x: Tensor, count: int) -> float:
    """Of one of ``count`` products, by the processor's time."""
    started = time.process_time()
    for _ in range(count):
        linear(x)
    return (time.process_time() - started) / count * 1e3


@torch.no_grad()
def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    onednn.ROWS = 1  # fewer are measured too
    console = Console(width=100)
    table = Table(title=f"torch {torch.__version__}, one thread", title_justify="left")
    for column in ("weights", "rows", "oneDNN, ms", "torch, ms", "ratio", "apart"):
        table.add_column(column, justify="right")
    for inputs, outputs in SHAPES:
        linear = nn.Linear(inputs, outputs, bias=False)
        for rows in ROWS:
            x = torch.randn(rows, 1, inputs)
            plain = linear(x)
            count = max(1, int(WORK / (inputs * outputs * rows)))
            ours, theirs = [], []
            for _ in range(5):
                theirs.append(milliseconds(linear, x, count))
                with onednn.large_products([linear.weight]):
                    ours.append(milliseconds(linear, x, count))
                    apart = float((linear(x) - plain).abs().max() / plain.abs().max())
            own, other = min(ours), min(theirs)
            figures = f"{own:.3f}", f"{other:.3f}", f"{other / own:.2f}", f"{apart:.0e}"
            table.add_row(f"{inputs} x {outputs}", str(rows), *figures)
    console.print(table)


if __name__ == "__main__":
    main()
