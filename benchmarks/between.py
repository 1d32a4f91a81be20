"""An adapter between two, of which the second went on from the first: their A and B, averaged.

    python benchmarks/between.py src/tmem/model/assets/smollm2 out/fifth/adapter 0.5 out/between

It keeps more of what the first knew than the second does, and most of what that learnt (Wortsman et al., 2022:
"Robust fine-tuning of zero-shot models", of whole weights). It cannot be said of two trainings that began apart.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tmem.model.adapter import CONFIG, WEIGHTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("share", type=float, help="of the second, 0 to 1")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    before, after = (load_file(folder / WEIGHTS) for folder in (args.first, args.second))
    if before.keys() != after.keys() or any(before[name].shape != after[name].shape for name in before):
        parser.error("the adapters are not of the same layers and rank")
    between = {name: before[name].float().lerp(after[name].float(), args.share).to(after[name].dtype) for name in after}
    args.out.mkdir(parents=True)
    shutil.copy(args.second / CONFIG, args.out)
    with safe_open(args.second / WEIGHTS, "pt") as file:
        save_file(between, args.out / WEIGHTS, metadata=file.metadata())


if __name__ == "__main__":
    main()
