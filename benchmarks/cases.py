"""What bench.py measures: each case does the same work our way and the usual way and says how far results are apart."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from typing import Any, Literal

import torch
from shapes import agent_for, episodes, now, pairs, recipe_for, tokens
from torch import Tensor
from usual import Usual, orders, run_usual, steps_from_zero

from tmem.fastweights import Delta, FastWeights, Lesson, get_recipe, write, write_fresh
from tmem.model import Completion, HFEngine, Model, Request
from tmem.seeds import generator

USERS, PAIRS, ROWS = 16, 16, 48
TEXT, QUESTION = 2000, 16  # tokens of a shared text, and of what is asked about it

# How far results may be apart. B: the largest difference as a share of its largest number. tokens: the share that
# differs; the two ways add numbers in another order, so where two tokens are nearly as likely greedy texts may part,
# and a few may. logprob: of a first token, in nats. In bfloat16 each product is rounded to eight bits. Adam's first
# steps are of one size whatever the gradient: where that is nearly nothing, rounding decides their sign.
WITHIN = {
    "float32": {"B": 1e-4, "B by Adam": 2e-3, "B, rounded": 0.2, "tokens": 0.02, "logprob": 1e-4},
    "bfloat16": {"B": 0.02, "B by Adam": 0.1, "B, rounded": 0.2, "tokens": 0.05, "logprob": 0.1},
}
SEEN = 3  # a memory must change a logprob by so many times what it may be apart: else the comparison says nothing


@dataclass(frozen=True)
class Run:
    """Seconds of both ways, and how far their results are apart, None where there is nothing to compare.

    ``changed``: by how much a memory changes what is compared, where that was looked at.
    """

    ours: float
    theirs: float
    apart: float | None = None
    changed: float | None = None


Round = Callable[[int], Run]  # its number decides what is measured and who goes first


@dataclass(frozen=True)
class Case:
    name: str
    goal: dict[str, float]  # least ratio by shape
    prepare: Callable[[Bench], Round]
    compared: Literal["B", "B by Adam", "B, rounded", "tokens", "logprob", ""]
    most: float = float("inf")  # or the largest ours / theirs


class Bench:
    """A model with fast weights, and the same model with PEFT."""

    def __init__(self, model: Model) -> None:
        self.model, self.recipe = model, recipe_for(model)
        self.fast: FastWeights = model.fast(self.recipe)
        self.replay = model.replay(self.recipe)

    @cached_property
    def usual(self) -> Usual:
        return Usual(self.model.hf, self.fast.basis)

    @cached_property
    def memories(self) -> Delta:
        """48 memories that differ; so large that also a model in bfloat16 says something else under each."""
        scale = 1.0 if self.model.name == "random" else 0.1
        zeros = self.fast.zeros(ROWS)
        b = {
            name: scale * torch.randn(value.shape, generator=generator(name)).to(value.device)
            for name, value in zeros.b.items()
        }
        return Delta(b, zeros.basis_digest).select(range(ROWS))  # which lies in memory as what was written does

    @cached_property
    def endless(self) -> Model:
        """The same model, which writes to its limits."""
        model = copy.copy(self.model)
        model.stop_ids = frozenset()  # type: ignore[misc]
        return model

    def timed(self, turn: int) -> list[int]:
        """Of the 16 that the reference does one after the other, those that are timed in a round and count for all.

        All of a small model; two of a large one, other ones in every round.
        """
        count = 2 if self.model.name == "random" else USERS
        return [(turn * count + place) % USERS for place in range(count)]

    def loaded(self, count: int) -> list[str]:
        """Adapters of the reference that hold the first of the memories."""
        users = self.usual.adapters(count)
        for row, user in enumerate(users):
            self.usual.load(user, self.memories, row)
        return users

    def warm(self) -> None:
        """Both ways once with two users, one pair and two tokens: what only a first use costs is not to be timed."""
        short = self.recipe.model_copy(update={"epochs": 1})
        told = [pairs(self.model, 1, user) for user in range(2)]
        prompts = [tokens(self.model, QUESTION, user) for user in range(2)]
        users = self.usual.adapters(2)
        for user, own in zip(users, told, strict=True):
            self.usual.write(user, own, short, orders(1, short, 0))
        self.usual.generate(prompts, [2, 2], users)
        delta, _ = write(self.fast, self.fast.zeros(2), told, short, [0, 0], replay=self.replay)
        requests = [Request(prompt, row, 2) for row, prompt in enumerate(prompts)]
        HFEngine(self.endless).generate(requests, delta, self.fast)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    started = now()
    result = work()
    return now() - started, result


def both(turn: int, ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, Any, float, Any]:
    """Seconds and result of ours, then of theirs. Ours goes first in odd rounds."""
    if turn % 2:
        own = seconds(ours)
        return *own, *seconds(theirs)
    other = seconds(theirs)
    return *seconds(ours), *other


def different(ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]]) -> float:
    """The share of tokens that are not the same. Its end counts as a token of every text.

    Texts are compared up to the first difference: what comes after follows from it.
    """
    seen = wrong = 0
    for one, other in zip_longest(ours, theirs, fillvalue=()):
        for a, b in zip_longest([*one, -1], [*other, -1]):
            seen += 1
            if a != b:
                wrong += 1
                break
    return wrong / seen


def b_error(ours: Delta, row: int, theirs: dict[str, Tensor]) -> float:
    """The largest difference of B, as a share of its largest number."""
    largest = torch.stack([b.abs().max() for b in theirs.values()]).max()
    apart = torch.stack([(ours.b[name][row] - b).abs().max() for name, b in theirs.items()]).max()
    return float(apart / largest)


def logprob_error(done: Sequence[Completion], logits: Sequence[Tensor]) -> float:
    """The largest difference between our logprob of our first tokens and what ``logits`` give them."""
    theirs = [float(own.float().log_softmax(-1)[one.ids[0]]) for one, own in zip(done, logits, strict=True)]
    return max(abs(one.logprobs[0] - other) for one, other in zip(done, theirs, strict=True))


def write_one(bench: Bench) -> Round:
    def measure(turn: int) -> Run:
        told, order = pairs(bench.model, PAIRS, turn), orders(PAIRS, bench.recipe, 0)
        [name], zero = bench.usual.adapters(1), bench.fast.zeros(1)
        ours, (delta, _), theirs, _ = both(
            turn,
            lambda: write(bench.fast, zero, [told], bench.recipe, [0], replay=bench.replay),
            lambda: bench.usual.write(name, told, bench.recipe, order),
        )
        return Run(ours, theirs, b_error(delta, 0, bench.usual.b(name)))

    return measure


def write_many(bench: Bench) -> Round:
    told, order = [pairs(bench.model, PAIRS, user) for user in range(USERS)], orders(PAIRS, bench.recipe, 0)
    zero, seeds = bench.fast.zeros(USERS), [0] * USERS
    return _together(
        bench,
        lambda: write(bench.fast, zero, told, bench.recipe, seeds, replay=bench.replay),
        lambda name, user: bench.usual.write(name, told[user], bench.recipe, order),
    )


def write_from_zero(bench: Bench, users: int, products: str = "float32") -> Round:
    """The default recipe, without what has no counterpart in PEFT: noise, and questions beside the pairs.

    ``products``: of ours, see :class:`~tmem.fastweights.recipe.Fresh`; theirs are float32.
    """
    basis = {"init": bench.recipe.init, "rank": bench.recipe.rank, "layers": bench.recipe.layers}
    changes = {"fresh.noise": 0.0, "fresh.held": 0, "fresh.products": products}
    recipe = get_recipe("tmem", **basis, **changes)
    told = [pairs(bench.model, PAIRS, user) for user in range(users)]
    lessons, seeds = [Lesson(own) for own in told], [0] * users
    return _together(
        bench,
        lambda: write_fresh(bench.fast, lessons, recipe, seeds, bench.replay),
        lambda name, user: bench.usual.write_from_zero(name, told[user], steps_from_zero(told[user], recipe, 0)),
        users,
    )


def _together(bench: Bench, ours: Callable[[], Any], theirs: Callable[[str, int], None], users: int = USERS) -> Round:
    """All users' writes at once, against those of the users that are timed, one after the other."""

    def measure(turn: int) -> Run:
        timed = bench.timed(turn) if users == USERS else list(range(users))
        names = bench.usual.adapters(len(timed))

        def one_by_one() -> None:
            for name, user in zip(names, timed, strict=True):
                theirs(name, user)

        own, (delta, _), other, _ = both(turn, ours, one_by_one)
        apart = [b_error(delta, user, bench.usual.b(name)) for name, user in zip(names, timed, strict=True)]
        return Run(own, other * users / len(timed), float(torch.tensor(apart).max()))

    return measure


def _rows(bench: Bench, memories: bool, new: int = 16) -> list[Request]:
    return [
        Request(tokens(bench.model, QUESTION, row), row if memories else None, new, stop="eos") for row in range(ROWS)
    ]


def generate_ours(bench: Bench) -> Round:
    """48 rows with 48 memories (theirs: 48 rows without any), by the same loop."""
    engine, memories = HFEngine(bench.endless), bench.memories
    own, none = _rows(bench, True), _rows(bench, False)

    def measure(turn: int) -> Run:
        ours, _, plain, _ = both(
            turn, lambda: engine.generate(own, memories, bench.fast), lambda: engine.generate(none)
        )
        return Run(ours, plain)

    return measure


def generate_both(bench: Bench) -> Round:
    """48 rows with 48 memories, against PEFT's mixed batch."""
    engine, memories, users = HFEngine(bench.endless), bench.memories, bench.loaded(ROWS)
    requests = _rows(bench, True)
    prompts, limits = [one.prompt_ids for one in requests], [one.max_new_tokens for one in requests]

    def measure(turn: int) -> Run:
        ours, done, theirs, wanted = both(
            turn,
            lambda: engine.generate(requests, memories, bench.fast),
            lambda: bench.usual.generate(prompts, limits, users),
        )
        return Run(ours, theirs, different([one.ids for one in done], wanted))

    return measure


def one_prefix(bench: Bench) -> Round:
    """The first token after a text that 16 users share, each under a memory of their own."""
    text = tokens(bench.model, TEXT, "shared")
    wanted = [Request((*text, *tokens(bench.model, QUESTION, row)), row, 1) for row in range(USERS)]
    engine = HFEngine(bench.model, max_tokens_per_batch=USERS * (TEXT + QUESTION + 1))
    memories, users = bench.memories, bench.loaded(USERS)

    def measure(turn: int) -> Run:
        timed = bench.timed(turn)
        ours, done, theirs, logits = both(
            turn,
            lambda: engine.generate(wanted, memories, bench.fast),
            lambda: [bench.usual.first(wanted[row].prompt_ids, users[row]) for row in timed],
        )
        apart = logprob_error([done[row] for row in timed], logits)
        changed = _changed(engine, bench, [wanted[row] for row in timed], logits) if turn == 0 else None
        return Run(ours, theirs * USERS / len(timed), apart, changed)

    return measure


def after_a_write(bench: Bench) -> Round:
    """The first token after a text that was read before, when the memory has changed since."""
    text = tokens(bench.model, TEXT, "context")
    engine = HFEngine(bench.model, remember=2 * TEXT)
    memories, users = bench.memories, bench.loaded(ROWS)

    def measure(turn: int) -> Run:
        before, after = turn % ROWS, (turn + 1) % ROWS
        engine.generate([Request(text, before, 1)], memories, bench.fast)
        request = Request((*text, *tokens(bench.model, QUESTION, turn)), after, 1)
        ours, done, theirs, logits = both(
            turn,
            lambda: engine.generate([request], memories, bench.fast),
            lambda: bench.usual.first(request.prompt_ids, users[after]),
        )
        changed = _changed(engine, bench, [request], [logits]) if turn == 0 else None
        return Run(ours, theirs, logprob_error(done, [logits]), changed)

    return measure


def _changed(engine: HFEngine, bench: Bench, requests: Sequence[Request], logits: Sequence[Tensor]) -> float:
    """By how much memories, which made ``logits``, change the logprobs of the base model's first tokens."""
    base = [replace(request, memory=None) for request in requests]
    return logprob_error(engine.generate(base, bench.memories, bench.fast), logits)


def whole_episodes(bench: Bench, batched: bool) -> Round:
    agent, told = agent_for(bench.model), episodes(bench.model, USERS)
    if bench.model.name != "random":
        # Fills what both ways share: counts and pieces of the tokenizer, a part of a small model's time.
        agent.run(told)

    def measure(turn: int) -> Run:
        timed = list(range(USERS)) if batched else bench.timed(turn)
        few, users = [told[place] for place in timed], bench.usual.adapters(len(timed))
        ours, trajectories, theirs, wanted = both(
            turn, lambda: agent.run(told), lambda: run_usual(agent, few, bench.usual, users, batched)
        )
        apart = different(
            *(
                [action.output_ids for trajectory in some for action in trajectory.actions]
                for some in ([trajectories[place] for place in timed], wanted)
            )
        )
        return Run(ours, theirs * USERS / len(timed), apart)

    return measure


CASES = [
    Case("write of 16 pairs, one user, 5 epochs", {"0.6B": 3}, write_one, "B"),
    Case("writes of 16 users together, against one after the other", {"0.6B": 4, "small": 3}, write_many, "B"),
    Case(
        "writes from zero of 16 users together, against one after the other",
        {"0.6B": 6},
        lambda bench: write_from_zero(bench, USERS),
        "B by Adam",
    ),
    Case(
        "write from zero of one user, products in bfloat16, against float32",
        {"0.6B": 6, "135M": 6},
        lambda bench: write_from_zero(bench, 1, "bfloat16"),
        "B, rounded",
    ),
    Case(
        "writes from zero of 16 users together, products in bfloat16, against float32 one after the other",
        {"0.6B": 8, "135M": 8},
        lambda bench: write_from_zero(bench, USERS, "bfloat16"),
        "B, rounded",
    ),
    Case("48 users' texts with 48 memories, against 48 without any", {}, generate_ours, "", most=1.10),
    Case("48 users' texts with 48 memories, against PEFT's mixed batch", {}, generate_both, "tokens"),
    Case("first tokens of 16 memories after one shared text of 2,000", {"0.6B": 4}, one_prefix, "logprob"),
    Case("first token after a write, the same text of 2,000 before it", {"0.6B": 4}, after_a_write, "logprob"),
    Case(
        "16 episodes, against one after the other",
        {"0.6B": 6, "small": 4},
        lambda bench: whole_episodes(bench, False),
        "tokens",
    ),
    Case(
        "16 episodes, against generation in batches",
        {"0.6B": 2, "small": 2},
        lambda bench: whole_episodes(bench, True),
        "tokens",
    ),
]
