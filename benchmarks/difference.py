"""What one adapter does beyond another, as a LoRA of few ranks: the reader of a model that goes on from the other.

    python benchmarks/difference.py out/smollm2 out/fourth/adapter 8 out/smollm2/reader

Laid beside a theta_0 with the first adapter it reads almost as one with the second (docs/training.md). Of
every layer's difference the largest singular values are kept; how much of its square they are is printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from tmem.files import read_json
from tmem.model.adapter import CONFIG, read_adapter, save_adapter

Factors = tuple[Tensor, Tensor]  # A (r, in) and B (out, r)


def difference(first: Factors, second: Factors, rank: int) -> tuple[Factors, float]:
    """B A of the second less that of the first, and the share of its square that this rank keeps."""
    a = torch.cat([second[0], first[0]]).double()
    b = torch.cat([second[1], -first[1]], 1).double()
    left, upper = torch.linalg.qr(b)
    right, lower = torch.linalg.qr(a.mT)
    u, s, v = torch.linalg.svd(upper @ lower.mT)
    root = s[:rank].sqrt()
    kept = float(s[:rank].square().sum() / s.square().sum())
    return (((right @ v[:rank].mT * root).mT.float(), (left @ u[:, :rank] * root).float()), kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="of theta_0")
    parser.add_argument("second", type=Path, help="that the reader is to read as")
    parser.add_argument("rank", type=int)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    (_, one, before), (_, other, after) = read_adapter(args.first), read_adapter(args.second)
    if before.keys() != after.keys():
        parser.error("the adapters are not of the same layers")
    found, shares = {}, []
    for name, (a, b) in before.items():
        theirs = after[name]
        factors, kept = difference((a, one * b), (theirs[0], other * theirs[1]), args.rank)
        found[name] = factors[0].to(a.dtype), factors[1].to(a.dtype)
        shares.append(kept)
    base = read_json(args.first / CONFIG)["base_model_name_or_path"]
    save_adapter(args.out, base, found, args.rank)
    print(
        f"rank {args.rank} keeps {sum(shares) / len(shares):.1%} of the difference's square, at least {min(shares):.1%}"
    )


if __name__ == "__main__":
    main()
