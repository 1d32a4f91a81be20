"""A step of decoding beside llama.cpp's, in milliseconds of the processor: alone, and of many users with many memories.

    pip install xllamacpp httpx                                    # for --gguf
    python benchmarks/decode.py --model smollm2 --gguf F32.gguf Q4_1.gguf
    python benchmarks/decode.py --model smollm2 --rows 16
    python benchmarks/decode.py --model smollm2 --quality          # float16 against float32, word by word

Ways take turns, each round in another order, and the quickest of all rounds counts: other work on the machine lends
nobody an advantage. The difference of a long and a short reply is what its further tokens cost; reading the prompt and
packing are not in it. One thread each.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tmem.fastweights import Delta
from tmem.fastweights.delta import rank_first
from tmem.model import HFEngine, Model, Request, load
from tmem.model.cache import empty_cache
from tmem.model.decode_step import Written
from tmem.model.packed import available
from tmem.seeds import generator

SHORT, LONG = 4, 28  # tokens of a reply
Way = Callable[[int], Any]  # generates so many tokens per row


def asked(count: int) -> list[str]:
    """Questions that differ in a word, of about forty tokens with a chat template."""
    return [
        f"Tell me a story about a fox who learns to read in the old library of town {number}."
        for number in range(count)
    ]


class Ours:
    """Rows of one model, with a memory each or none, by one of three steps."""

    def __init__(self, model: Model, rows: int) -> None:
        self.model, self.engine = model, HFEngine(model)
        self.fast = model.fast(model.recipe())
        self.prompts = [tuple(model.bare(text)) for text in asked(rows)]
        zeros = self.fast.zeros(rows).b
        b = {name: 0.02 * torch.randn(value.shape, generator=generator(name)) for name, value in zeros.items()}
        self.delta = Delta({name: rank_first(value) for name, value in b.items()}, self.fast.basis.digest)

    def way(self, step: Written | None, memories: bool) -> Way:
        def generate(new: int) -> Any:
            self.model.written = lambda: step  # type: ignore[method-assign]
            wanted = [Request(prompt, row if memories else None, new) for row, prompt in enumerate(self.prompts)]
            done = self.engine.generate(wanted, self.delta, self.fast)
            assert all(len(own.ids) == new for own in done), "a reply ended early: choose another question"
            return done

        return generate


def theirs(path: Path, prompt: tuple[int, ...]) -> Way:
    """llama.cpp by its server in this process, on one thread."""
    import httpx
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cpuparams.poll = 0  # waiting is not counted as work
    params.n_ctx, params.n_parallel, params.port, params.verbosity, params.cache_ram_mib = 512, 1, 0, 0, 0
    server = xllamacpp.Server(params)

    def generate(new: int) -> Any:
        body = {"prompt": list(prompt), "n_predict": new, "temperature": 0, "cache_prompt": False, "ignore_eos": True}
        done = httpx.post(f"{server.listening_address}/completion", json=body, timeout=600).json()
        assert done["tokens_predicted"] == new
        return done

    return generate


def measure(ways: dict[str, Way], rounds: int) -> dict[str, float]:
    """Seconds of a further token of all rows, from the quickest short and the quickest long reply of ``rounds``."""
    best = {name: {SHORT: float("inf"), LONG: float("inf")} for name in ways}
    names, found = list(ways), dict[str, float]()
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            ways[name](SHORT)  # what was done last is forgotten
            for new, quickest in best[name].items():
                started = time.process_time()
                ways[name](new)
                best[name][new] = min(quickest, time.process_time() - started)
        found = {name: (own[LONG] - own[SHORT]) / (LONG - SHORT) for name, own in best.items()}
        print(f"{number + 1} of {rounds}: {json.dumps(found)}", file=sys.stderr)
    return found


@torch.no_grad()
def quality(model: Model, count: int, new: int) -> dict[str, float]:
    """How a copy in float16 answers: greedy replies of a float32 model, whose tokens both are asked for."""
    steps = {"float32": Written(model.hf, packed=False), "float16": Written(model.hf, packed=True)}
    apart, kept, nats, equal = 0.0, 0, 0.0, 0
    for text in asked(count):
        prompt = model.bare(text)
        replies: dict[str, list[int]] = {}
        scores: dict[str, Tensor] = {}
        for name, written in steps.items():
            cache = empty_cache(model.hf.config)
            ids = torch.tensor([prompt])
            logits = model.hf(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
            found = [logits[0].log_softmax(-1)]
            own = [int(logits.argmax())]
            with written.steps(cache, [len(prompt)], {}) as step:
                for place in range(new - 1):
                    said = replies.get("float32", own)[place]  # the same tokens for both
                    logits = step(torch.tensor([[said]]))
                    found.append(logits[0].log_softmax(-1))
                    own.append(int(logits.argmax()))
            replies[name], scores[name] = own, torch.stack(found)
        told = torch.tensor(replies["float32"])[:, None]
        one, other = scores["float32"], scores["float16"]
        apart = max(apart, float((one.gather(1, told) - other.gather(1, told)).abs().max()))
        nats += float((one.exp() * (one - other)).sum(-1).mean()) / count
        kept += sum(a == b for a, b in zip(replies["float32"], replies["float16"], strict=True))
        equal += replies["float32"] == replies["float16"]
    return {"tokens kept": kept / (count * new), "replies kept": equal / count, "logprob apart": apart, "nats": nats}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gguf", nargs="*", type=Path, default=[], help="the same model for llama.cpp, one row")
    parser.add_argument("--only", nargs="+", help="names of ways, as the table has them; default: all")
    parser.add_argument("--quality", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load(args.model, device="cpu", weights="float32")
    if args.quality:
        print(json.dumps(quality(model, 100, 24), indent=1))
        return
    ours, ways = Ours(model, args.rows), dict[str, Way]()
    steps = {"forward pass": None, "written out": Written(model.hf, packed=False)}
    if available():
        steps["written out, float16"] = Written(model.hf, packed=True)
    for name, step in steps.items():
        ways[name] = ours.way(step, memories=False)
        ways[f"{name}, with memories"] = ours.way(step, memories=True)
    for path in args.gguf:
        ways[f"llama.cpp, {path.name}"] = theirs(path, ours.prompts[0])
    ways = {name: way for name, way in ways.items() if args.only is None or name in args.only}
    began = time.time()
    found = measure(ways, args.rounds)
    table = Table(title=f"{model.name}, rows: {args.rows}, torch {torch.__version__}, {time.time() - began:.0f} s")
    for column in ("way", "ms of a step", "tokens a second"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, seconds in found.items():
        table.add_row(name, f"{1e3 * seconds:.2f}", f"{args.rows / seconds:.1f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
