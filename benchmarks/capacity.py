"""Can every pair that was told be asked? Random pairs in any script, one memory; what a write costs as it grows.

    python benchmarks/capacity.py --pairs 500 --singles 20     # persona-nano

Pairs are told in portions of 100, then some one by one. Printed: what was asked right in its own words and by whom,
and the seconds of a one-pair write at each size.
"""

from __future__ import annotations

import argparse
import random
import string
import tempfile
import time
from collections import Counter

import torch

from tmem import Memory
from tmem.model import load

SCRIPTS = (
    string.ascii_letters + string.digits,
    "абвгдежзиклмн",
    "日本語の質問東京",
    "αβγδεζηθ",
    "אבגדהוזח",
    "ابتثجحخد",
)
PORTION = 100


def random_pair(rng: random.Random, number: int) -> tuple[str, str]:
    letters = rng.choice(SCRIPTS)

    def text(most: int) -> str:
        words = ("".join(rng.choices(letters, k=rng.randint(1, 8))) for _ in range(rng.randint(1, most)))
        return " ".join(words)

    answers = (
        text(3),
        f"${rng.random() * 1e4:,.2f}",
        f"{rng.randint(4, 6)}'{rng.randint(0, 11)}\"",
        str(rng.randrange(10**4)),
    )
    return f"{text(6)} {number}?", rng.choice(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="persona-nano")
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--singles", type=int, default=10, help="one-pair writes at the end")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(7)
    pairs = [random_pair(rng, number) for number in range(args.pairs + args.singles)]
    with tempfile.TemporaryDirectory() as home, Memory(load(args.model), home) as memory:
        mine, began = memory.scope("u"), time.perf_counter()
        for start in range(0, args.pairs, PORTION):
            part = time.perf_counter()
            mine.add(pairs=pairs[start : min(start + PORTION, args.pairs)])
            print(f"{start + PORTION:5} pairs: {time.perf_counter() - part:.1f} s for these", flush=True)
        whole, singles = time.perf_counter() - began, []
        for pair in pairs[args.pairs :]:
            part = time.perf_counter()
            mine.add(pairs=[pair])
            singles.append(time.perf_counter() - part)
        if singles:
            print(f"one more pair: {sum(singles) / len(singles):.1f} s (longest {max(singles):.1f})")
        asking, right, sources = time.perf_counter(), 0, Counter[str]()
        for question, answer in pairs:
            found = mine.ask(question)
            right += found.text == answer
            sources[found.source] += 1
        asked = (time.perf_counter() - asking) / len(pairs)
        size = mine.stats()["bytes"] / 1e6
        print(f"{right} of {len(pairs)} right in their own words, {dict(sources)}; written in {whole:.0f} s")
        print(f"{1000 * asked:.0f} ms a question, files of weights {size:.1f} MB")


if __name__ == "__main__":
    main()
