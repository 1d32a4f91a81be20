"""A write that starts from B = 0 over every pair that holds: Adam, with rows beside the pairs that teach and hold.

B is then a function of the pairs alone, not of the way by which they came: forgetting is training without them, no
rounding adds up over many writes, and what must not change stands in the loss of every step. Many sessions are
trained at once; each has its own rows, moments and seeds, so that it ends as it would alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from tmem.errors import WriteError
from tmem.fastweights.dataset import Batch, Example, ExampleDataset
from tmem.fastweights.delta import Delta, FastWeights
from tmem.fastweights.recipe import Fresh, Recipe
from tmem.fastweights.replay import TailReplay, evaluating, frozen, plain_logits
from tmem.fastweights.rounded import RoundedProducts
from tmem.heap import give_back
from tmem.seeds import generator

BETAS, EPSILON = (0.9, 0.99), 1e-8
NOISES = 1024  # different noises; which one a token gets is drawn
TIDY = 32  # steps after which freed memory is given back: it lies in pieces, and more of it with every step


@dataclass(frozen=True)
class Lesson:
    """What one session is taught: its pairs, and rows of its own beside them."""

    pairs: Sequence[Example]
    beside: Sequence[Example] = ()


@dataclass(frozen=True)
class Held:
    """Questions to be answered as theta_0 does: their dataset, and what it says, (tokens of all answers, k) each.

    ``firsts``: by row, where its answer begins in them.
    """

    dataset: ExampleDataset
    said: Tensor  # ids of the k likeliest tokens
    shares: Tensor  # their probabilities, which sum to 1
    firsts: Sequence[int]

    def wanted(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """What these rows are to say at their K answer tokens: ids and probabilities, (K, k) each."""
        index = torch.cat([torch.arange(self.dataset.answers[row]) + self.firsts[row] for row in rows])
        return self.said[index], self.shares[index]


@dataclass
class Course:
    """How the training of one session went. ``loss``: by step, mean over the answer tokens of its pairs, in nats."""

    steps: int
    tokens: int = 0
    loss: list[float] = field(default_factory=list)
    reason: str | None = None  # why its B is not to be used


def write_fresh(
    fast: FastWeights,
    lessons: Sequence[Lesson],
    recipe: Recipe,
    seeds: Sequence[int],
    replay: TailReplay | None = None,
    held: Held | None = None,
) -> tuple[Delta, list[Course]]:
    """A B for every lesson, trained from zero. A pure function of its arguments; ``seeds[s]`` is session s's own.

    A session whose loss or B stops being finite ends at B = 0 and says so in its course. Raises :class:`WriteError` for
    a recipe without ``fresh`` or of another basis, and for a lesson without pairs.
    """
    basis = fast.basis
    if recipe.fresh is None or (recipe.init, recipe.layers, recipe.rank) != (basis.init, basis.layers, basis.rank):
        raise WriteError(f"recipe {recipe.name!r} does not write from zero, or not on these fast weights")
    if len(lessons) != len(seeds) or not all(lesson.pairs for lesson in lessons):
        raise WriteError("a fresh write needs a seed for every lesson, and pairs in each")
    reduced = recipe.fresh.products == "bfloat16"
    with (
        evaluating(fast.model),
        frozen(fast.model),
        RoundedProducts(fast.model.parameters()) if reduced else nullcontext(),
    ):
        trainer = _Trainer(fast, lessons, seeds, recipe.lr, recipe.fresh, replay, held)
        return trainer.run()


@dataclass
class _Session:
    """One session's rows by lane, and where it is in them. Rows of ``held`` are of that dataset."""

    index: int
    lanes: dict[str, list[int]]
    course: Course
    draw: torch.Generator
    queues: dict[str, list[int]] = field(default_factory=dict)

    def take(self, lane: str, count: int) -> list[int]:
        """The next ``count`` rows of a lane, in an order that is drawn anew whenever it is through."""
        rows = self.lanes[lane]
        if len(rows) <= count:
            return rows
        queue = self.queues.setdefault(lane, [])
        if len(queue) < count:
            queue += torch.randperm(len(rows), generator=self.draw).tolist()
        taken, self.queues[lane] = queue[:count], queue[count:]
        return [rows[place] for place in dict.fromkeys(taken)]


@dataclass
class _Rows:
    """What a step reads of one dataset: rows, whose they are, what a token of each counts for, and their noises."""

    rows: list[int] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    noises: list[Tensor] = field(default_factory=list)

    def add(
        self, dataset: ExampleDataset, rows: Sequence[int], owner: int, weight: float, draw: torch.Generator
    ) -> int:
        """Take in a lane of one session; returns its tokens."""
        lengths = [dataset.lengths[row] for row in rows]
        self.rows += rows
        self.owners += [owner] * len(rows)
        self.shares += [weight / sum(dataset.answers[row] for row in rows)] * len(rows)
        self.noises += torch.randint(NOISES, (sum(lengths),), generator=draw).split(lengths)
        return sum(lengths)


def steps_for(pairs: int, fresh: Fresh) -> int:
    """How long a write of so many pairs is: known beforehand, so that no rounding decides it."""
    return fresh.steps + fresh.steps_per_pair * pairs


def few(pairs: int, fresh: Fresh) -> int:
    """How many rows stand beside so many pairs in a step: few beside one pair."""
    return min(fresh.beside, 4 + 2 * pairs)


def rate(step: int, steps: int, lr: float, fresh: Fresh) -> float:
    """The rate of one step: a short rise, since Adam's first steps are all of one size, then half a cosine."""
    rise = min(1.0, (step + 1) / (fresh.warmup + 1))
    return lr * rise * 0.5 * (1 + math.cos(math.pi * step / steps))


class _Trainer:
    """Adam on the stacked B of sessions that begin at zero."""

    def __init__(
        self,
        fast: FastWeights,
        lessons: Sequence[Lesson],
        seeds: Sequence[int],
        lr: float,
        fresh: Fresh,
        replay: TailReplay | None,
        held: Held | None,
    ) -> None:
        self.fast, self.lr, self.fresh, self.replay, self.held = fast, lr, fresh, replay, held
        examples: list[Example] = []
        self.sessions: list[_Session] = []

        def add(new: Sequence[Example]) -> list[int]:
            examples.extend(new)
            return list(range(len(examples) - len(new), len(examples)))

        for index, (lesson, seed) in enumerate(zip(lessons, seeds, strict=True)):
            course = Course(steps_for(len(lesson.pairs), fresh))
            lanes = {"pairs": add(lesson.pairs), "beside": add(lesson.beside)}
            lanes["held"] = list(range(len(held.dataset.lengths))) if held is not None else []
            self.sessions.append(_Session(index, lanes, course, generator(seed, "fresh")))
        self.dataset = ExampleDataset(examples, fast.target_modules[0].weight.device, replay)
        self.b = fast.zeros(len(lessons)).b
        self.moments = [{name: torch.zeros_like(value) for name, value in self.b.items()} for _ in range(2)]
        self.noises: Tensor | None = None

    def run(self) -> tuple[Delta, list[Course]]:
        """Train every session to its end."""
        for step in range(max((session.course.steps for session in self.sessions), default=0)):
            due = [one for one in self.sessions if step < one.course.steps and one.course.reason is None]
            if due:
                self._step(step, due)
            if step % TIDY == TIDY - 1:
                give_back()
        delta = Delta(self.b, self.fast.basis.digest)
        finite = self.fast.norm_ratio(delta)[0].isfinite().tolist()
        for session in self.sessions:
            if session.course.reason is None and not finite[session.index]:
                session.course.reason = "the weights were not finite after the last step"
            if session.course.reason is not None:
                for value in self.b.values():
                    value[session.index] = 0
        return delta, [session.course for session in self.sessions]

    def _step(self, number: int, due: Sequence[_Session]) -> None:
        """One step of Adam of these sessions."""
        index = [session.index for session in due]
        b = {name: value[index].contiguous().requires_grad_() for name, value in self.b.items()}
        own, held = _Rows(), _Rows()
        taught = []  # by session: how many rows are of its pairs
        for place, session in enumerate(due):
            pairs = session.take("pairs", self.fresh.batch)
            taught.append(len(pairs))
            lanes = [
                (own, self.dataset, pairs, 1.0),
                (own, self.dataset, session.take("beside", few(len(pairs), self.fresh)), self.fresh.beside_weight),
            ]
            if self.held is not None:
                lanes.append((held, self.held.dataset, session.take("held", self.fresh.held), self.fresh.held_weight))
            for into, dataset, rows, weight in lanes:
                if rows:
                    session.course.tokens += into.add(dataset, rows, place, weight, session.draw)
        gradients = {name: torch.zeros_like(value) for name, value in b.items()}
        losses = self._read(self.dataset, own, b, gradients)
        if self.held is not None:
            self._read(self.held.dataset, held, b, gradients, self.held)
        self._update(number, due, index, gradients)
        for place, (session, count) in enumerate(zip(due, taught, strict=True)):
            first = own.owners.index(place)
            tokens = sum(self.dataset.answers[row] for row in own.rows[first : first + count])
            session.course.loss.append(float(losses[first : first + count].sum()) / tokens)
            if not math.isfinite(session.course.loss[-1]):
                session.course.reason = f"the loss was not finite at step {number + 1}"

    def _read(
        self,
        dataset: ExampleDataset,
        read: _Rows,
        b: dict[str, Tensor],
        gradients: dict[str, Tensor],
        held: Held | None = None,
    ) -> Tensor:
        """Add the gradients of these rows; by row the sum of its losses over its answer tokens, (N,)."""
        losses = torch.zeros(len(read.rows), dtype=torch.float64)
        for places in dataset.cut(read.rows, dataset.answers_in_a_pass(self.fast.model)):
            places.sort(key=lambda place: read.owners[place])
            rows = [read.rows[place] for place in places]
            counts = torch.tensor([dataset.answers[row] for row in rows])
            weights = torch.tensor([read.shares[place] for place in places]).repeat_interleave(counts)
            with torch.enable_grad():
                logits, targets = self._logits(
                    dataset.batch(rows),
                    [read.owners[place] for place in places],
                    [read.noises[place] for place in places],
                    b,
                )
                if held is None:
                    loss = F.cross_entropy(logits, targets, reduction="none")  # (K,)
                else:
                    said, shares = held.wanted(rows)
                    loss = logits.logsumexp(1) - (logits.gather(1, said) * shares).sum(1)
                own = torch.autograd.grad((loss * weights.to(loss.device)).sum(), list(b.values()))
            for total, gradient in zip(gradients.values(), own, strict=True):
                total += gradient
            losses.index_add_(0, torch.tensor(places).repeat_interleave(counts), loss.detach().cpu().double())
        return losses

    def _update(self, number: int, due: Sequence[_Session], index: list[int], gradients: dict[str, Tensor]) -> None:
        """Adam, elementwise: sessions do not meet in it."""
        (beta1, beta2), count = BETAS, number + 1
        device = next(iter(gradients.values())).device
        rates = torch.tensor(
            [rate(number, session.course.steps, self.lr, self.fresh) for session in due], device=device
        )
        for name, gradient in gradients.items():
            mean, square = (moment[name][index] for moment in self.moments)
            mean = mean.lerp_(gradient, 1 - beta1)
            square = square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            scale = (square / (1 - beta2**count)).sqrt_().add_(EPSILON)
            self.b[name][index] -= rates[:, None, None] / (1 - beta1**count) * mean / scale
            self.moments[0][name][index], self.moments[1][name][index] = mean, square

    def _logits(
        self, batch: Batch, owners: list[int], noises: list[Tensor], b: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Logits (K, V) at the answer tokens of a batch whose rows are of these owners, and the tokens (K,)."""
        stored = batch.stored
        if stored is not None and self.fresh.noise:
            stored = stored + self._noise(stored, noises)
        with self.fast.active(Delta(b, self.fast.basis.digest), owners):
            if self.replay is None:
                logits = plain_logits(self.fast.model, batch.input_ids, batch.attention_mask, batch.keep)
            else:
                logits = self.replay.logits(stored, batch.input_ids, batch.attention_mask, batch.keep)
        return logits.float(), batch.targets

    def _noise(self, stored: Tensor, noises: list[Tensor]) -> Tensor:
        """Noise for what enters the tail, (N, T, W), as large as a share of what is there."""
        width = stored.shape[-1]
        if self.noises is None:
            self.noises = torch.randn(NOISES, width, generator=generator("noise")).to(stored)
        longest = stored.shape[1]
        which = torch.stack([F.pad(own, (0, longest - len(own))) for own in noises]).to(stored.device)
        # Hidden states, and what the first adapted layer's attention gave, each as large as it is.
        parts = stored.split(self.replay.width if self.replay else width, -1)
        scale = torch.cat([part.std(-1, keepdim=True).expand_as(part) for part in parts], -1)
        return self.fresh.noise * scale * self.noises[which]
