"""Training of one memory: from a state and a step of the ledger to the next state, the same every time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from tmem.errors import DeltaError
from tmem.fastweights import WRITE_VERSION, Delta, Recipe, WriteAccount, write
from tmem.fastweights.basis import tensors_hash
from tmem.model import Model, logprobs
from tmem.model.answering import Known, recalled
from tmem.model.contents import Contents, Job, write_pairs
from tmem.model.gate import Gate
from tmem.model.reading import gate_of
from tmem.seeds import generator
from tmem.store.ledger.history import Pair, Step
from tmem.store.weights.states import ABOUT, Tensors, Trained, weights
from tmem.turn import Turn

FRESH_VERSION = 1  # raised whenever a fresh write of the same pairs gives other bits
SURE = math.log(0.5)  # a token more likely than this is the one that is said
UNLEARNED = 2.0  # nats per token: below that a loss that rose a little is no failure
SAMPLE = 16  # earlier pairs that are looked at before a write is published
# Nats per token that they may lose in one write, on average. Of 153 writes of persona-nano at its own rate the worst
# lost 0.84, and all but one less than 0.4; at three times that rate, 2.7.
LOST = 2.0


class FastWeightTrainer:
    """Delta of one session, trained by :func:`tmem.fastweights.write`.

    Bit-equal results need the same kinds of product, so training always uses ``threads`` CPU threads. ``largest`` is
    the |Delta|/|W| above which a version is not published; nor is one that has not learned its new pairs, or lost what
    was written before. The account's ``recalled``: ids of the new pairs whose answers it gives now; ``old``: mean
    log-probability of a sample of what was written before, before and after. ``others``: where ``model`` is a twin, the
    turn of those who answer with the other, which is given back while this one trains.
    """

    def __init__(
        self, model: Model, recipe: Recipe, threads: int = 1, others: Turn | None = None, largest: float = 1.0
    ) -> None:
        self.model, self.recipe, self.threads, self.largest, self.others = model, recipe, threads, largest, others
        self.fast = model.fast(recipe)
        self.example = lru_cache(maxsize=1 << 16)(model.example)  # every write looks at all pairs that hold
        self.engine = {
            "base": model.weights_hash,
            "basis": self.fast.basis.digest,
            "recipe": recipe.model_dump(),
            "chat": tensors_hash([("probe", torch.tensor(model.encode_chat([{"role": "user", "content": "?"}])))]),
            "torch": torch.__version__,
            "device": model.device.type,
            "threads": threads,
            "write version": WRITE_VERSION,
        }
        if model.dtype != "float32":
            self.engine["dtype"] = model.dtype

    by_pairs = False

    @contextmanager
    def training(self) -> Iterator[None]:
        """Inside, the model is this thread's, and computes with the trainer's number of threads."""
        with nullcontext() if self.others is None else self.others.away(), self.model.turn, use_threads(self.threads):
            yield

    def zeros(self) -> Tensors:
        return dict(self.fast.zeros(1).to("cpu").b)

    def delta(self, state: Mapping[str, Tensor]) -> Delta:
        """The state as an argument of a forward pass."""
        return Delta(dict(state), self.fast.basis.digest).to(self.model.device)

    def train(self, state: Tensors, step: Step, look: bool = True) -> Trained:
        with self.training():
            delta, [account] = write(
                self.fast,
                self.delta(state),
                [[self.example(pair.question, pair.answer) for pair in step.new]],
                self.recipe,
                [step.seed],
                [[self.example(pair.question, pair.answer) for pair in step.old]],
                self.model.replay(self.recipe),
            )
        after, facts = dict(delta.to("cpu").b), summary(account)
        refused = self._refusal(account)
        if look and refused is None:
            scores = self.scores(after, step.new)
            facts["recalled"] = [pair.id for pair, own in zip(step.new, scores, strict=True) if own.min() > SURE]
        if look and refused is None and step.old:
            facts["old"], refused = self._loss(state, after, step)
        return Trained(after, facts, refused)

    def _refusal(self, account: WriteAccount) -> str | None:
        if not account.applied:
            return account.reason
        if account.delta_ratio > self.largest:
            return f"the weights grew too large: |Delta|/|W| is {account.delta_ratio:.2f}, more than {self.largest:g}"
        if not account.new_loss:  # every block is as it was
            return None
        first, last = account.new_loss[0], account.new_loss[-1]
        if last > max(first, UNLEARNED):
            return f"the new pairs were not learned: their loss rose from {first:.2f} to {last:.2f}"
        return None

    def _loss(self, before: Tensors, after: Tensors, step: Step) -> tuple[list[float], str | None]:
        """How likely a sample of the earlier pairs was and is, and why the write must not be published for that.

        A recipe that rehearses nothing lets go of earlier pairs as it is meant to: nothing is refused then.
        """
        chosen = torch.randperm(len(step.old), generator=generator(step.seed, "sample"))[:SAMPLE]
        pairs = [step.old[place] for place in chosen.tolist()]
        was, now = (sum(self.likelihood(state, pairs)) / len(pairs) for state in (before, after))
        refused = None
        if was - now > LOST and self.recipe.rehearse != 0:
            refused = f"earlier pairs were lost: of {len(pairs)}, the log-probability fell from {was:.2f} to {now:.2f}"
        return [was, now], refused

    def check(self, state: Mapping[str, Tensor]) -> None:
        expected = self.zeros()
        if set(state) != set(expected) or any(state[name].shape != value.shape for name, value in expected.items()):
            raise DeltaError("the tensors are not those of this model's fast weights")
        if not all(torch.isfinite(value).all() for value in state.values()):
            raise DeltaError("there are numbers in it that are not finite")

    def likelihood(self, state: Mapping[str, Tensor], pairs: Sequence[Pair]) -> list[float]:
        """Mean log-probability per token of each pair's answer under these weights."""
        return [float(score.mean()) for score in self.scores(state, pairs)]

    def scores(self, state: Mapping[str, Tensor], pairs: Sequence[Pair]) -> list[Tensor]:
        """The log-probability of each token of each pair's answer, (A,) each, under these weights."""
        if not pairs:
            return []
        examples = [self.example(pair.question, pair.answer) for pair in pairs]
        with torch.no_grad(), self.training():
            rows = self.rows(state, pairs)
            return logprobs(
                self.model,
                [example.prompt_ids for example in examples],
                [example.answer_ids for example in examples],
                self.delta(state),
                self.fast,
                rows,
            )

    def rows(self, state: Mapping[str, Tensor], pairs: Sequence[Pair]) -> list[int | None]:
        """The row of B that each of these pairs is asked of, None if there is none."""
        return [0] * len(pairs)


class PairsTrainer(FastWeightTrainer):
    """Weights that follow from the pairs that hold alone, in blocks with a B each: a recipe that writes from zero.

    Beside B a state has, by pair and in their order, ``about.places`` (the row of its block), ``about.keys`` (for the
    gate) and ``about.recalled`` (1: the weights give its answer), and ``about.blocks``, the numbers of the blocks.
    """

    by_pairs = True

    # A block of 64 random pairs ends at 1.3 in persona-nano, a rate ten times too high at 9. It may be larger than
    # under SGD, where Delta is in force in every prompt.
    def __init__(
        self, model: Model, recipe: Recipe, threads: int = 1, others: Turn | None = None, largest: float = 4.0
    ) -> None:
        super().__init__(model, recipe, threads, others, largest)
        self.engine["fresh write version"] = FRESH_VERSION

    @property
    def gate(self) -> Gate:
        """What tells which pair a question means."""
        return gate_of(self.model, self.recipe)

    def zeros(self) -> Tensors:
        return dict(self.fast.zeros(0).to("cpu").b) | {
            "about.blocks": torch.zeros(0, dtype=torch.long),
            "about.places": torch.zeros(0, dtype=torch.long),
            "about.recalled": torch.zeros(0),
        }

    def delta(self, state: Mapping[str, Tensor]) -> Delta:
        return super().delta(weights(state))

    def train(self, state: Tensors, step: Step, look: bool = True) -> Trained:
        pairs = [(pair.question, pair.answer) for pair in (*step.old, *step.new)]
        blocks, places = (tuple(state[f"about.{name}"].tolist()) for name in ("blocks", "places"))
        before = Contents(self.delta(state), blocks, places)
        with self.training():
            [(after, account)] = write_pairs(self.model, self.recipe, [Job(before, pairs, len(step.new))])
            made = dict(after.delta.to("cpu").b) | {
                "about.blocks": torch.tensor(after.blocks, dtype=torch.long),
                "about.places": torch.tensor(after.places, dtype=torch.long),
            }
            if account.applied and pairs:
                made |= self._about(state, before, made, after, pairs)
        facts = summary(account)
        if account.applied:
            new = zip(step.new, made["about.recalled"][len(step.old) :].tolist(), strict=True)
            facts["recalled"] = [pair.id for pair, given in new if given]
        return Trained(made, facts, self._refusal(account))

    def _about(
        self, state: Tensors, before: Contents, made: Tensors, after: Contents, pairs: Sequence[tuple[str, str]]
    ) -> Tensors:
        """Keys and recall of every pair, in order: as they were for those whose block is as it was."""
        old = {  # by block and number in it: the pair's place before
            (before.blocks[row], number): place for place, (row, number) in enumerate(numbered(before.places))
        }
        here = [old.get((after.blocks[row], number)) for row, number in numbered(after.places)]

        def joined(name: str, make: Callable[[list[int]], Tensor]) -> Tensor:
            """Of every pair, what the state has of it, or what ``make`` gives for the places of the others."""
            known = state.get(name)  # None: made by another gate
            new = [place for place, was in enumerate(here) if was is None or known is None]
            rows = iter(make(new))
            return torch.stack([next(rows) if was is None or known is None else known[was] for was in here])

        name = self.gate.keys.name
        return {
            "about.recalled": joined(
                "about.recalled",
                lambda new: torch.tensor(
                    recalled(
                        self.model,
                        self.recipe,
                        [pairs[place] for place in new],
                        self.delta(made),
                        [after.places[place] for place in new],
                    ),
                    dtype=torch.float32,
                ),
            ),
            f"about.keys.{name}": joined(
                f"about.keys.{name}", lambda new: self.gate.keys.pairs([pairs[place] for place in new])
            ),
        }

    def known(self, state: Mapping[str, Tensor], pairs: Sequence[Pair]) -> Known:
        """The state as what answers are given from; ``pairs`` are all that it holds, in their order."""
        texts = [(pair.question, pair.answer) for pair in pairs]
        keys = state.get(f"about.keys.{self.gate.keys.name}")
        if keys is None:  # they are of another gate
            with self.training():
                keys = self.gate.keys.pairs(texts)
        return Known(
            texts,
            self.delta(state),
            state["about.places"].tolist(),
            keys,
            [bool(one) for one in state["about.recalled"].tolist()],
        )

    def rows(self, state: Mapping[str, Tensor], pairs: Sequence[Pair]) -> list[int | None]:
        known = state.get(f"about.keys.{self.gate.keys.name}")
        if not len(state["about.blocks"]):
            return [None] * len(pairs)
        if len(state["about.blocks"]) == 1 or known is None:
            return [0] * len(pairs)
        nearest = (self.gate.keys.questions([pair.question for pair in pairs]) @ known.mT).argmax(1)
        return state["about.places"][nearest].tolist()

    def check(self, state: Mapping[str, Tensor]) -> None:
        b, expected = weights(state), weights(self.zeros())
        if set(b) != set(expected) or any(b[name].shape[1:] != value.shape[1:] for name, value in expected.items()):
            raise DeltaError("the tensors are not those of this model's fast weights")
        about = {name: len(value) for name, value in state.items() if name.startswith(ABOUT)}
        blocks, pairs = about.pop("about.blocks", -1), set(about.values())
        if {len(value) for value in b.values()} != {blocks} or not {"about.places", "about.recalled"} <= set(about):
            raise DeltaError("what stands beside the weights is not theirs")
        if len(pairs) != 1 or (blocks and int(state["about.places"].max()) != blocks - 1):
            raise DeltaError("what stands beside the weights is not theirs")
        if not all(torch.isfinite(value).all() for value in state.values()):
            raise DeltaError("there are numbers in it that are not finite")


def make_trainer(model: Model, recipe: Recipe, threads: int = 1, others: Turn | None = None) -> FastWeightTrainer:
    """The trainer of a recipe."""
    return (FastWeightTrainer if recipe.fresh is None else PairsTrainer)(model, recipe, threads, others)


def numbered(places: Sequence[int]) -> list[tuple[int, int]]:
    """Every pair's row with its number within it."""
    counts: dict[int, int] = {}
    found = []
    for row in places:
        found.append((row, counts.get(row, 0)))
        counts[row] = counts.get(row, 0) + 1
    return found


def summary(account: WriteAccount) -> dict[str, Any]:
    """What a version keeps of a write's account."""
    kept = {"pairs", "rehearsed", "steps", "loss", "new_loss", "delta_ratio", "applied", "reason"}
    return account.model_dump(include=kept)


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
