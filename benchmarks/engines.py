"""Other engines beside our own loop: the same answers, nothing of one user in another's, and tokens a second.

    python benchmarks/engines.py --model smollm2 --engines llamacpp llamacpp:q8_0
    python benchmarks/engines.py --engines http://127.0.0.1:8000 --only answers leaks

Sixteen users are told a few facts each and get 200 prompts mixed: their own questions, other users' and general ones.
Prints three Markdown tables. Answers: greedy texts that are equal to our own loop's token for token, how far the
log-probabilities of equal texts are apart, and for texts that part, how much less likely (nats, by our own loop) the
other token was where they do. Leaks: users A, B, A, nobody, B with shared beginnings, on an engine that has served
others before; B's texts and log-probabilities against those of a fresh engine. Speed: tokens a second of 16 texts,
without a memory, of one and of sixteen, the middle of the rounds; the engines take turns. Of engines in this process it
is the processor's seconds that count, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from voices import given

from tmem.fastweights import Delta
from tmem.fastweights.delta import together
from tmem.model import Completion, Engine, HFEngine, Model, Request, load
from tmem.model.contents import Job, nothing, write_pairs
from tmem.model.engines import open_engine
from tmem.model.gate import general_questions
from tmem.model.served import ServedEngine
from tmem.seeds import derive
from tmem.tasks.persona import Persona

USERS, NEW = 16, 32
# What keeps a memory from being asked too much has no part in what is compared, and most of a write's time.
WRITE = {"fresh.held": 0, "fresh.beside": 0, "fresh.steps": 12, "fresh.steps_per_pair": 1}
PARTS = ("answers", "leaks", "speed")


class Users:
    """A memory for each user, as one Delta, and what may be asked."""

    def __init__(self, model: Model, count: int, pairs: int) -> None:
        self.model, self.recipe = model, model.recipe("tmem", **WRITE)
        self.fast = model.fast(self.recipe)
        self.pairs = [given(task)[:pairs] for task in Persona(4 * pairs, count).tasks(1)]

    @cached_property
    def delta(self) -> Delta:
        """What they were told, written."""
        before = nothing(self.model, self.recipe)
        written = [write_pairs(self.model, self.recipe, [Job(before, own, len(own))])[0] for own in self.pairs]
        delta, firsts = together([contents.delta for contents, _ in written])
        assert delta is not None and firsts == list(range(len(self.pairs)))  # a block each
        return delta

    def prompts(self, count: int, new: int = 8) -> list[Request]:
        """Questions of all users in turn: own ones, other users', and general ones."""
        draw, general = random.Random(derive("engines", count)), general_questions()
        found = []
        for number in range(count):
            user = number % len(self.pairs)
            own = (self.pairs[user], self.pairs[user - 1])[number // len(self.pairs) % 3 == 1]
            question = draw.choice(general) if number // len(self.pairs) % 3 == 2 else draw.choice(own)[0]
            found.append(Request(tuple(self.model.bare(question)), user, new))
        return found

    def generate(self, engine: Engine, requests: Sequence[Request]) -> list[Completion]:
        return engine.generate(requests, self.delta, self.fast)


def answers(users: Users, engines: dict[str, Engine], count: int) -> None:
    requests = users.prompts(count)
    expected = users.generate(HFEngine(users.model), requests)
    bare = users.generate(HFEngine(users.model), [replace(one, memory=None) for one in requests])
    changed = sum(one.ids != other.ids for one, other in zip(expected, bare, strict=True))
    print(f"\nA memory changes {changed} of the {count} texts.\n")
    print("| engine | equal texts | log-probabilities apart: mean | largest | where texts part: mean | largest |")
    print("|---|---|---|---|---|---|")
    for name, engine in engines.items():
        found = users.generate(engine, requests)
        apart, parted = list[float](), list[float]()
        for request, one, other in zip(requests, expected, found, strict=True):
            if one.ids == other.ids:
                apart += [abs(a - b) for a, b in zip(one.logprobs, other.logprobs, strict=False)]
            else:
                parted.append(less_likely(users, request, one, other))
        cells = [f"{count - len(parted)} of {count}", *spread(apart), *spread(parted)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def less_likely(users: Users, request: Request, one: Completion, other: Completion) -> float:
    """By how many nats our own loop prefers its own token to the other's where two texts part."""
    place = next(i for i, (a, b) in enumerate(zip(one.ids, other.ids, strict=False)) if a != b)
    ids = torch.tensor([[*request.prompt_ids, *one.ids[:place]]])
    with torch.no_grad(), users.fast.active(users.delta, [request.memory or 0]):
        said = users.model.hf(ids, logits_to_keep=1).logits[0, -1].log_softmax(-1)
    return float(said[one.ids[place]] - said[other.ids[place]])


def spread(values: Sequence[float]) -> list[str]:
    return [f"{statistics.fmean(values):.1e}", f"{max(values):.1e}"] if values else ["-", "-"]


def leaks(users: Users, engines: dict[str, Engine], fresh: Callable[[str], Any]) -> None:
    """B after others, on an engine that has served them, against a fresh one."""
    asked = [one for one in users.prompts(6 * USERS) if one.memory in (0, 1)][:8]
    own = [replace(one, memory=1) for one in asked]
    print("\n| engine | B's texts equal to a fresh engine's | log-probabilities apart: largest |\n|---|---|---|")
    for name, engine in engines.items():
        alone = fresh(name)
        expected = [users.generate(alone, [one])[0] for one in own]
        if isinstance(alone, ServedEngine):
            alone.close()
        users.generate(engine, users.prompts(2 * USERS))
        equal, tried, apart = 0, 0, [0.0]
        for one, right in zip(own, expected, strict=True):
            for user in (0, 1, 0, None, 1):
                [found] = users.generate(engine, [replace(one, memory=user)])
                if user == 1:
                    tried, equal = tried + 1, equal + (found.ids == right.ids)
                    apart += [abs(a - b) for a, b in zip(found.logprobs, right.logprobs, strict=False)]
        print(f"| {name} | {equal} of {tried} | {max(apart):.1e} |", flush=True)


def speed(users: Users, engines: dict[str, Engine], rounds: int) -> None:
    """With memories so faint that every text is what it is without any: else their lengths would be compared."""
    users.delta = users.fast.zeros(USERS)
    for number, value in enumerate(users.delta.b.values()):
        value.copy_(1e-6 * torch.randn(value.shape, generator=torch.Generator().manual_seed(number)))
    general = general_questions()[:USERS]
    prompts = [tuple(users.model.bare(f"Tell me more: {question}")) for question in general]
    cases = {"no memory": [None] * USERS, "one": [0] * USERS, "sixteen": list(range(USERS))}
    taken: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds + 1):  # the first warms up
        for case, memories in cases.items():
            order = list(engines)[number % len(engines) :] + list(engines)[: number % len(engines)]
            for name in order:
                asked = [Request(prompt, own, NEW) for prompt, own in zip(prompts, memories, strict=True)]
                clock = time.perf_counter if name.startswith("http") else time.process_time
                began = clock()
                done = users.generate(engines[name], asked)
                if number:
                    rate = sum(len(one.ids) for one in done) / (clock() - began)
                    taken.setdefault((name, case), []).append(rate)
    print(f"\n| engine | {' | '.join(cases)} |\n|---|{'---|' * len(cases)}")
    for name in engines:
        rates = [taken[name, case] for case in cases]
        cells = [f"{statistics.median(own):.0f} ({min(own):.0f} to {max(own):.0f})" for own in rates]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="persona-nano")
    parser.add_argument("--engines", nargs="+", default=["llamacpp"])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=3, help="that every user is told")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    model = load(chosen.model)
    users = Users(model, USERS, chosen.pairs)

    def opened(name: str) -> Any:
        return HFEngine(model, remember=4096) if name == "ours" else open_engine(model, name)

    engines = {name: opened(name) for name in ("ours", *chosen.engines)}
    if "answers" in chosen.only:
        answers(users, engines, chosen.prompts)
    if "leaks" in chosen.only:
        leaks(users, engines, opened)
    if "speed" in chosen.only:
        speed(users, engines, chosen.rounds)
    for name in chosen.engines:
        engines[name].close()


if __name__ == "__main__":
    main()
