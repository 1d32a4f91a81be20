"""A step of decoding beside llama.cpp's, in milliseconds of the processor: alone, and of many users with many memories.

    pip install xllamacpp httpx                                    # for --gguf
    python benchmarks/decode.py --model smollm2-untaught --gguf F32.gguf Q4_1.gguf
    python benchmarks/decode.py --model smollm2-untaught --gguf F32.gguf Q4_1.gguf --rows 16
    python benchmarks/decode.py --model smollm2-untaught --gguf F32.gguf Q4_1.gguf --rows 16 --shared 2000
    python benchmarks/decode.py --model smollm2-untaught --quality --rows 16   # other types, word by word
    python benchmarks/decode.py --model persona-nano --same 1000 --rows 16

Ways take turns, each round in another order, and the quickest of all rounds counts: other work on the machine lends
nobody an advantage. The difference of a long and a short reply is what its further tokens cost; reading the prompt and
packing are not in it. One thread each. llama.cpp has a slot and a LoRA for each of several rows: the same memories.

``--shared N``: instead, seconds to the first token of all rows after one text of N tokens that they share. llama.cpp
reads it once for every LoRA; two rows are timed and count for all.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tmem.fastweights import Delta
from tmem.fastweights.delta import rank_first
from tmem.model import Completion, HFEngine, Model, Request, load
from tmem.model.adapter import matrices_of
from tmem.model.cache import empty_cache
from tmem.model.decode_step import Written
from tmem.model.engine import TOKENS
from tmem.model.packed import available, native
from tmem.model.to_gguf import save_lora
from tmem.seeds import generator

SHORT, LONG = 4, 28  # tokens of a reply
Way = Callable[[int], Any]  # generates so many tokens per row


def asked(count: int) -> list[str]:
    """Questions of about forty tokens with a chat template; 48 that differ in a number alone, then 48 others."""
    kinds = (
        "Tell me a story about a fox who learns to read in the old library of town {}.",
        "Which of the {} books on the shelf by the window did Ada read on her way to Lisbon?",
        "Explain to a child of {} years why the sea looks blue although water has no colour.",
        "Write a letter to the mayor of town {} that asks for more trees along the market street.",
    )
    return [kinds[number // 48 % len(kinds)].format(number) for number in range(count)]


class Ours:
    """Rows of one model, with a memory each or none, by one of several steps, after ``shared`` tokens of one text."""

    def __init__(self, model: Model, rows: int, shared: int = 0) -> None:
        self.model, self.engine = model, HFEngine(model, max_tokens_per_batch=max(TOKENS, rows * (shared + 256)))
        self.fast = model.fast(model.recipe())
        text = model.chat.encode(" ".join(f"The library of town {number} has {number} foxes." for number in range(500)))
        self.prompts = [(*text[:shared], *model.bare(question)) for question in asked(rows)]
        zeros = self.fast.zeros(rows).b
        b = {name: 0.02 * torch.randn(value.shape, generator=generator(name)) for name, value in zeros.items()}
        self.delta = Delta({name: rank_first(value) for name, value in b.items()}, self.fast.basis.digest)

    def loras(self, folder: Path) -> list[Path]:
        """The memories as llama.cpp reads them."""
        files = [folder / f"{row}.gguf" for row in range(len(self.prompts))]
        for row, file in enumerate(files):
            save_lora(file, self.model, matrices_of(self.fast, self.delta.b, row))
        return files

    def way(self, step: Written | None, memories: bool) -> Way:
        def generate(new: int) -> Any:
            self.model.written = lambda: step  # type: ignore[method-assign]
            wanted = [Request(prompt, row if memories else None, new) for row, prompt in enumerate(self.prompts)]
            done = self.engine.generate(wanted, self.delta, self.fast)
            assert all(len(own.ids) == new for own in done), "a reply ended early: choose another question"
            return done

        return generate


def theirs(path: Path, prompts: Sequence[tuple[int, ...]], loras: Sequence[Path]) -> Way:
    """llama.cpp by its server in this process, on one thread, with a slot and a LoRA for each row, or none at all."""
    import httpx
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cpuparams.poll = 0  # waiting is not counted as work
    rows, room = len(prompts), -(-max(map(len, prompts)) // 256) * 256 + 256
    params.n_ctx, params.n_parallel, params.port, params.verbosity, params.cache_ram_mib = rows * room, rows, 0, 0, 0
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(lora), 1.0) for lora in loras]
    server = xllamacpp.Server(params)

    def generate(new: int) -> Any:
        def one(row: int) -> Any:
            body: dict[str, Any] = {"prompt": list(prompts[row]), "n_predict": new, "temperature": 0}
            body |= {"cache_prompt": False, "ignore_eos": True}
            body["lora"] = [{"id": place, "scale": float(place == row)} for place in range(len(loras))]
            done = httpx.post(f"{server.listening_address}/completion", json=body, timeout=1200).json()
            assert done["tokens_predicted"] == new
            return done

        with ThreadPoolExecutor(rows) as pool:
            return list(pool.map(one, range(rows)))

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


def first_tokens(ways: dict[str, Way], rounds: int) -> dict[str, float]:
    """Seconds to the first token of all rows, the quickest of ``rounds``."""
    best = dict.fromkeys(ways, float("inf"))
    for number in range(rounds):
        for name, way in ways.items():
            started = time.process_time()
            way(1)
            best[name] = min(best[name], time.process_time() - started)
        print(f"{number + 1} of {rounds}: {json.dumps(best)}", file=sys.stderr)
    return best


def same(ours: Ours, new: int, rows: int) -> dict[str, str]:
    """How many greedy replies of ours are, token for token, those of the forward pass: alone and ``rows`` at once.

    Beside it how far the log-probabilities of the tokens that are the same, and stand behind the same, are apart.
    """
    steps: tuple[Written | None, ...] = (None, Written(ours.model.hf, "float32"))
    found = dict[str, str]()
    for memories in (False, True):
        wanted = [Request(prompt, row if memories else None, new) for row, prompt in enumerate(ours.prompts)]
        replies = []  # of each step, one by one and then together
        for step, size in product(steps, (1, rows)):
            ours.model.written = lambda step=step: step  # type: ignore[method-assign, misc]
            groups = [wanted[start : start + size] for start in range(0, len(wanted), size)]
            done = [one for group in groups for one in ours.engine.generate(group, ours.delta, ours.fast)]
            replies.append(done)
            print(f"{len(replies)} of 4 ways, {'with' if memories else 'no'} memories", file=sys.stderr)
        first, *others = replies
        names = ("the forward pass, many at once", "written out, one by one", "written out, many at once")
        for name, own in zip(names, others, strict=True):
            equal = sum(one.ids == other.ids for one, other in zip(own, first, strict=True))
            apart = max(abs(a - b) for one, other in zip(own, first, strict=True) for a, b in alike(one, other))
            found[f"{name}, {'with' if memories else 'no'} memories"] = f"{equal}, apart {apart:.1e}"
    return found


def alike(one: Completion, other: Completion) -> Iterator[tuple[float, float]]:
    """The log-probabilities of two replies, as far as they say the same."""
    for a, b, own, others in zip(one.ids, other.ids, one.logprobs, other.logprobs, strict=False):
        if a != b:
            return
        yield own, others


@torch.no_grad()
def quality(models: dict[str, Model], count: int, new: int, rows: int) -> dict[str, dict[str, float]]:
    """How weights of other types answer: greedy replies of the first model, whose tokens all are asked for.

    ``rows`` at once, prompts of one length. Of each other model: the share of its likeliest tokens that are the
    first's, the share of replies in which all are, the largest difference of their log-probabilities, and the
    divergence in nats a token.
    """
    exact, *others = models
    found = {name: dict.fromkeys(("tokens kept", "replies kept", "logprob apart", "nats"), 0.0) for name in others}
    steps = {name: Written(model.hf, model.weights) for name, model in models.items()}
    prompts = [models[exact].bare(text) for text in asked(count)]
    by_length = sorted(prompts, key=len)
    batches = [list(same) for _, same in groupby(by_length, len)]
    batches = [same[start : start + rows] for same in batches for start in range(0, len(same), rows)]
    for batch in batches:
        told, scores = torch.empty(0, 0, dtype=torch.long), Tensor()
        for name, model in models.items():
            cache, ids = empty_cache(model.hf.config), torch.tensor(batch)
            hf: Any = model.hf
            with steps[name].reading():
                logits = hf(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
            own = [logits.log_softmax(-1)]
            with steps[name].steps(cache, [len(batch[0])] * len(batch), {}) as step:
                for place in range(new - 1):
                    said = own[-1].argmax(-1) if name == exact else told[:, place]
                    own.append(step(said[:, None]).log_softmax(-1))
            logprobs = torch.stack(own, 1)  # (N, new, V)
            if name == exact:
                told, scores = logprobs.argmax(-1), logprobs
                continue
            kept, at = logprobs.argmax(-1) == told, told[..., None]
            apart = float((scores.gather(2, at) - logprobs.gather(2, at)).abs().max())
            part, whole = len(batch) / count, found[name]
            whole["tokens kept"] += part * float(kept.float().mean())
            whole["replies kept"] += part * float(kept.all(1).float().mean())
            whole["logprob apart"] = max(whole["logprob apart"], apart)
            whole["nats"] += part * float((scores.exp() * (scores - logprobs)).sum(-1).mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gguf", nargs="*", type=Path, default=[], help="the same model for llama.cpp")
    parser.add_argument("--only", nargs="+", help="names of ways, as the table has them; default: all")
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--same", type=int, default=0, help="compare so many replies with the forward pass's")
    parser.add_argument("--shared", type=int, default=0, help="tokens of a text before all questions")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.quality:
        names = ("float32", *(("float16", "bfloat16") if available() else ()))
        models = {name: load(args.model, device="cpu", weights=name) for name in names}
        print(json.dumps(quality(models, 100, 24, args.rows), indent=1))
        return
    model = load(args.model, device="cpu", weights="float32")
    if args.same:
        print(json.dumps({"replies": args.same, **same(Ours(model, args.same), 8, max(2, args.rows))}, indent=1))
        return
    ours, ways = Ours(model, args.rows, args.shared), dict[str, Way]()
    steps: dict[str, Written | None] = {"forward pass": None, "written out": Written(model.hf, "float32")}
    if available():
        steps["written out, float16"] = Written(model.hf, "float16")
    if available() and native():
        steps["written out, bfloat16"] = Written(model.hf, "bfloat16")
    for name, step in steps.items():
        ways[name] = ours.way(step, memories=False)
        ways[f"{name}, with memories"] = ours.way(step, memories=True)
    chosen = args.only or [*ways, *(f"llama.cpp, {path.name}" for path in args.gguf)]
    began = time.time()
    with tempfile.TemporaryDirectory() as folder:
        loras = ours.loras(Path(folder)) if args.gguf and args.rows > 1 else []
        few = ours.prompts[:2] if args.shared else ours.prompts
        for path in args.gguf:
            ways[f"llama.cpp, {path.name}"] = theirs(path, few, loras[: len(few)])
        ways = {name: way for name, way in ways.items() if name in chosen}
        found = (first_tokens if args.shared else measure)(ways, args.rounds)
    if args.shared:
        found = {
            name: seconds * (args.rows / len(few) if name.startswith("llama.cpp") else 1)
            for name, seconds in found.items()
        }
    what = "s to all first tokens" if args.shared else "ms of a step"
    table = Table(title=f"{model.name}, rows: {args.rows}, torch {torch.__version__}, {time.time() - began:.0f} s")
    for column in ("way", what, "tokens a second"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, seconds in found.items():
        table.add_row(name, f"{seconds * (1 if args.shared else 1e3):.2f}", f"{args.rows / seconds:.1f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
