"""All products of one step of decoding by each kernel that torch has for a CPU, in milliseconds of the processor.

    python benchmarks/few_rows.py --rows 1 4 16 48

The layers' shapes are SmolLM2-135M's, with random weights, 30 different ones of each, so that they come from memory and
not from a cache. The quickest of all rounds, which kernels take turns in; one thread. "apart" is the error's norm as a
share of the product's, of what the type of weights and inputs rounds.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import linear

from tmem.model import packed

WIDE, INNER, WORDS, LAYERS = 576, 1536, 49_152, 30
SHAPES = [(960, WIDE), (WIDE, WIDE), (2 * INNER, WIDE), (WIDE, INNER)] * LAYERS + [(WORDS, WIDE)]  # out, in
Kernel = tuple[Callable[[Tensor], Any], Callable[[Tensor, Any], Tensor]]  # what is made of a weight, and the product


def steps(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight in int8 by output channel, and the scales."""
    scales = weight.abs().amax(1) / 127
    return (weight / scales[:, None]).round().to(torch.int8), scales


def eight_bits(weight: Tensor) -> Any:
    whole, scales = steps(weight)
    zeros = torch.zeros(len(scales), dtype=torch.long)
    return torch.ops.quantized.linear_prepack(
        torch._make_per_channel_quantized_tensor(whole, scales.double(), zeros, 0), None
    )


def eight_bits_of_weights(weight: Tensor) -> Any:
    whole, scales = steps(weight)
    return whole, scales.bfloat16()


def four_bits(weight: Tensor, group: int = 32) -> Any:
    blocks = weight.view(len(weight), -1, group)
    low, high = blocks.amin(2), blocks.amax(2)
    scale = (high - low) / 15
    whole = ((blocks - low[..., None]) / scale[..., None]).round().clamp(0, 15).to(torch.int32).view(weight.shape)
    places = torch.stack([scale, low + 8 * scale], 2).transpose(0, 1).contiguous().bfloat16()
    return torch._convert_weight_to_int4pack_for_cpu(whole, 1), places


def by_onednn(x: Tensor, weight: Any) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return y


def reordered(weight: Tensor, rows: int) -> Any:
    """A copy in the order that oneDNN likes best for so many rows."""
    return torch.ops.mkldnn._reorder_linear_weight(weight, rows)


KERNELS: dict[str, Kernel] = {
    "float32, torch": (lambda w: w, lambda x, w: linear(x, w)),
    "float32, oneDNN": (lambda w: w, by_onednn),
    "float16 packed, FBGEMM": (lambda w: packed._packed(w, None), lambda x, own: own(x)),
    "bfloat16": (lambda w: w.bfloat16(), lambda x, w: linear(x.bfloat16(), w)),
    "float32 packed, oneDNN": (lambda w: reordered(w, 16), by_onednn),
    "bfloat16 packed, oneDNN": (lambda w: reordered(w.bfloat16(), 16), lambda x, w: by_onednn(x.bfloat16(), w)),
    "int8 weights, bfloat16": (eight_bits_of_weights, lambda x, w: torch._weight_int8pack_mm(x.bfloat16(), *w)),
    "int8 both, FBGEMM": (eight_bits, lambda x, w: torch.ops.quantized.linear_dynamic(x, w, True)),
    "int4 weights, bfloat16": (
        four_bits,
        lambda x, w: torch.ops.aten._weight_int4pack_mm_for_cpu(x.bfloat16(), w[0], 32, w[1]),
    ),
}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4, 16, 48])
    parser.add_argument("--rounds", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    weights = [0.02 * torch.randn(shape) for shape in SHAPES]
    made = {name: [prepare(weight) for weight in weights] for name, (prepare, _) in KERNELS.items()}
    table = Table(title=f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread")
    for column in ("kernel", *(f"{rows} rows, ms" for rows in args.rows), "apart"):
        table.add_column(column, justify="left" if column == "kernel" else "right")
    best = {(name, rows): float("inf") for name in KERNELS for rows in args.rows}
    inputs = {(rows, width): torch.randn(rows, width) for rows in args.rows for width in (WIDE, INNER)}
    for _ in range(args.rounds):
        for (name, rows), quickest in best.items():
            started = time.thread_time()
            for weight, own in zip(weights, made[name], strict=True):
                KERNELS[name][1](inputs[rows, weight.shape[1]], own)
            best[name, rows] = min(quickest, time.thread_time() - started)
    for name, (_, multiply) in KERNELS.items():
        x, exact = inputs[args.rows[0], WIDE], linear(inputs[args.rows[0], WIDE], weights[0])
        apart = float((multiply(x, made[name][0]).float() - exact).norm() / exact.norm())
        table.add_row(name, *(f"{1e3 * best[name, rows]:.1f}" for rows in args.rows), f"{apart:.0e}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
