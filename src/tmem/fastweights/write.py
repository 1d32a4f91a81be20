"""The write: question-answer pairs become weights by a few epochs of plain SGD on B (paper, online SFT).

Many sessions write at once. The loss is the sum of every session's own mean over its answer tokens, so
gradients stay independent and one SGD on the stacked B is as good as one optimiser each. A step of all
sessions runs in passes of texts of like lengths, whoever they belong to.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from tmem.errors import WriteError
from tmem.fastweights.account import Dropped, WriteAccount
from tmem.fastweights.dataset import Example, ExampleDataset, unusable
from tmem.fastweights.delta import Delta, FastWeights
from tmem.fastweights.recipe import Recipe
from tmem.fastweights.replay import TailReplay, evaluating, first_places, frozen, plain_logits
from tmem.seeds import generator

WRITE_VERSION = 2  # raised whenever the same arguments give other bits, so that memories say what made them


def write(
    fast: FastWeights,
    delta: Delta,
    new: Sequence[Sequence[Example]],
    recipe: Recipe,
    seeds: Sequence[int],
    old: Sequence[Sequence[Example]] | None = None,
    replay: TailReplay | None = None,
) -> tuple[Delta, list[WriteAccount]]:
    """Write ``new[s]`` (and, as the recipe says, some of ``old[s]``) into session s of a copy of ``delta``.

    A pure function of its arguments: ``seeds[s]`` decides session s's shuffling and choice of earlier pairs.
    A session without usable pairs, or whose loss or B stops being finite, keeps its B bit for bit and says so
    in its account. ``replay`` (of the same model) runs the layers below the target modules once instead of once per
    step. Raises :class:`WriteError` if the arguments do not belong together.
    """
    started = time.perf_counter()
    old = old if old is not None else [[] for _ in new]
    _check_arguments(fast, delta, new, recipe, seeds, old, replay)
    sessions: list[_Session] = []
    examples: list[Example] = []
    for index, (new_pairs, old_pairs, seed) in enumerate(zip(new, old, seeds, strict=True)):
        session, chosen = _plan(index, new_pairs, old_pairs, recipe, seed, first_row=len(examples))
        sessions.append(session)
        examples.extend(chosen)

    device = fast.target_modules[0].weight.device
    trained = delta.to(device).clone()
    if examples:
        with evaluating(fast.model), frozen(fast.model), torch.enable_grad():
            trainer = _Trainer(fast, trained, recipe.lr, ExampleDataset(examples, device, replay), replay)
            for epoch in range(recipe.epochs):
                trainer.epoch([session for session in sessions if session.running], recipe, first=epoch == 0)
    finite = fast.norm_ratio(trained)[0].isfinite().tolist()  # also false for a B too large to be used
    for session in sessions:
        if session.reason is None and not finite[session.index]:
            session.fail("the weights were not finite after the last step")
        if session.reason is not None:
            for name, value in trained.b.items():
                value[session.index] = delta.b[name][session.index]

    ratio, ratio_by_site = fast.norm_ratio(trained)
    log_sigma = {name: value.clamp_min(1e-30).log().tolist() for name, value in fast.basis.sigma.items()}
    seconds = time.perf_counter() - started
    accounts = [
        WriteAccount(
            recipe=recipe.name,
            lr=recipe.lr,
            seed=session.seed,
            pairs=session.new_pairs,
            rehearsed=len(session.rows) - session.new_pairs,
            dropped=session.dropped,
            steps=session.steps,
            tokens=session.tokens,
            loss=session.loss,
            new_loss=session.new_loss,
            delta_ratio=float(ratio[session.index]),
            delta_ratio_by_site={name: float(value[session.index]) for name, value in ratio_by_site.items()},
            log_sigma=log_sigma,
            ax2=session.ax2,
            seconds=seconds,
            applied=session.reason is None,
            reason=session.reason,
        )
        for session in sessions
    ]
    return trained, accounts


@dataclass
class _Session:
    """One session's share of the write: its rows of the dataset (new pairs first) and what happened so far."""

    index: int
    seed: int
    rows: range
    new_pairs: int
    dropped: list[Dropped]
    shuffle: torch.Generator
    reason: str | None = None
    running: bool = True
    steps: int = 0
    tokens: int = 0
    loss: list[float] = field(default_factory=list)
    new_loss: list[float] = field(default_factory=list)
    ax2: dict[str, float] = field(default_factory=dict)
    # This epoch's: dataset row -> sum over its answer tokens.
    losses: dict[int, float] = field(default_factory=dict)

    def shuffled(self) -> list[int]:
        """This session's rows in the order of a new epoch."""
        return [self.rows[i] for i in torch.randperm(len(self.rows), generator=self.shuffle).tolist()]

    def fail(self, reason: str) -> None:
        self.reason, self.running = reason, False

    def end_epoch(self, answers: list[int], stop_loss: float | None) -> None:
        """Close the epoch's means; ``answers``: answer tokens by dataset row."""
        fresh = self.rows[: self.new_pairs]
        self.loss.append(sum(self.losses.values()) / sum(answers[row] for row in self.rows))
        self.new_loss.append(sum(self.losses[row] for row in fresh) / sum(answers[row] for row in fresh))
        self.running = stop_loss is None or self.new_loss[-1] >= stop_loss


_Step = list[tuple[_Session, list[int]]]  # sessions that have a batch at this step, each with its dataset rows


def _plan(
    index: int,
    new: Sequence[Example],
    old: Sequence[Example],
    recipe: Recipe,
    seed: int,
    first_row: int,
) -> tuple[_Session, list[Example]]:
    """Choose one session's examples; ``first_row`` is where they will stand in the dataset."""
    usable, dropped = [], []
    for example in new:
        reason = unusable(example, recipe)
        if reason is None:
            usable.append(example)
        else:
            dropped.append(Dropped(label=example.label, reason=reason))
    # An unusable earlier pair was reported by the write in which it was new.
    known = [example for example in old if unusable(example, recipe) is None]
    if 0 <= recipe.rehearse < len(known):
        picked = torch.randperm(len(known), generator=generator(seed, "rehearse"))[: recipe.rehearse]
        known = [known[i] for i in sorted(picked.tolist())]
    chosen = usable + known if usable else []
    rows = range(first_row, first_row + len(chosen))
    session = _Session(index, seed, rows, len(usable), dropped, generator(seed, "shuffle"))
    if not usable:
        session.fail("every pair was dropped" if dropped else "there were no pairs to write")
    return session, chosen


@dataclass
class _Trainer:
    """SGD on the stacked B, in place. Only sessions that have a batch at a step are read or changed by it."""

    fast: FastWeights
    delta: Delta
    lr: float
    dataset: ExampleDataset
    replay: TailReplay | None

    @property
    def _most_answers(self) -> int:
        """Answer tokens of one pass."""
        return self.dataset.answers_in_a_pass(self.fast.model)

    def epoch(self, sessions: list[_Session], recipe: Recipe, first: bool) -> None:
        """One pass of every session over its own rows; step k of all sessions runs together."""
        orders = [(session, session.shuffled()) for session in sessions]
        for start in range(0, max((len(order) for _, order in orders), default=0), recipe.batch):
            rows = slice(start, start + recipe.batch)
            due = [(session, order[rows]) for session, order in orders if session.running and order[rows]]
            if due:
                self._step(due, first)
        for session in sessions:
            if session.running:
                session.end_epoch(self.dataset.answers, recipe.stop_loss)

    def _step(self, due: _Step, first: bool) -> None:
        """One SGD step of the given sessions on the given rows; ``first``: also measure |A x|^2."""
        index = [session.index for session, _ in due]
        # (S, out, rank), in an order of its own: the bits of a gradient depend on it.
        b = {name: value[index].contiguous().requires_grad_() for name, value in self.delta.b.items()}
        owners = {row: place for place, (_, rows) in enumerate(due) for row in rows}  # every row has one session
        tokens = [sum(self.dataset.answers[row] for row in rows) for _, rows in due]
        gradients: list[Tensor] = []
        losses: dict[int, float] = {}
        ax2 = torch.zeros(len(due), len(b), dtype=torch.float64)
        for rows in self.dataset.passes(list(owners), self._most_answers):
            counts = Counter(owners[row] for row in rows)
            # Sessions with equally many rows side by side: the hooks then need few products.
            rows.sort(key=lambda row: (-counts[owners[row]], owners[row]))
            places = torch.tensor([owners[row] for row in rows])
            share = torch.tensor([1 / tokens[owners[row]] for row in rows])
            own, loss, squares = self._pass(b, rows, places, share, first)
            gradients = [one.add_(other) for one, other in zip(gradients, own, strict=True)] if gradients else own
            losses.update(zip(rows, loss.tolist(), strict=True))
            if first:
                ax2.index_add_(0, places, squares)
        for (name, value), gradient in zip(b.items(), gradients, strict=True):
            self.delta.b[name][index] = value.detach().sub_(gradient, alpha=self.lr)
        for place, (session, own_rows) in enumerate(due):
            session.steps += 1
            session.tokens += sum(self.dataset.lengths[row] for row in own_rows)
            session.losses.update({row: losses[row] for row in own_rows})
            if not all(math.isfinite(losses[row]) for row in own_rows):
                session.fail(f"the loss was not finite at step {session.steps}")
            if first:
                whole = sum(self.dataset.answers[row] for row in session.rows)
                for target, value in zip(b, ax2[place].tolist(), strict=True):
                    session.ax2[target] = session.ax2.get(target, 0.0) + value / whole

    def _pass(
        self, b: dict[str, Tensor], rows: list[int], owners: Tensor, share: Tensor, first: bool
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """The gradient for every B, and by row (N,) the sum of its losses and (N, target modules) that of |A x|^2.

        ``owners`` (N,): places in ``b``; ``share`` (N,): what a token's loss counts for.
        """
        batch = self.dataset.batch(rows)
        squares: dict[str, Tensor] = {}  # target module -> (K,)

        def watch(target: str, u: Tensor) -> None:
            # The last layer may run at the answers' positions alone, (N, A, rank): they come first in every row.
            answers = batch.keep if u.shape[1] == batch.keep.shape[1] else first_places(batch.keep)
            squares[target] = u.detach()[answers].square().sum(1)

        with self.fast.active(Delta(b, self.delta.basis_digest), owners, watch if first else None):
            if self.replay is None:
                logits = plain_logits(self.fast.model, batch.input_ids, batch.attention_mask, batch.keep)
            else:
                logits = self.replay.logits(batch.stored, batch.input_ids, batch.attention_mask, batch.keep)
            loss = F.cross_entropy(logits.float(), batch.targets, reduction="none")  # (K,)
            counts = torch.tensor([self.dataset.answers[row] for row in rows])
            weighted = loss * share.repeat_interleave(counts).to(loss.device)
            gradients = torch.autograd.grad(weighted.sum(), list(b.values()))
        each = torch.stack([loss, *(squares[target] for target in b if first)], 1).detach()  # (K, 1 + target modules)
        row = torch.arange(len(rows)).repeat_interleave(counts)
        sums = torch.zeros(len(rows), each.shape[1], dtype=torch.float64).index_add_(0, row, each.cpu().double())
        return list(gradients), sums[:, 0], sums[:, 1:]


def _check_arguments(
    fast: FastWeights,
    delta: Delta,
    new: Sequence[Sequence[Example]],
    recipe: Recipe,
    seeds: Sequence[int],
    old: Sequence[Sequence[Example]],
    replay: TailReplay | None,
) -> None:
    fast.check(delta)
    if not delta.sessions == len(new) == len(seeds) == len(old):
        raise WriteError(
            "a write needs a list of new pairs, a list of old pairs and a seed "
            f"for each of {delta.sessions} sessions: got {len(new)}, {len(old)} and {len(seeds)}"
        )
    basis = fast.basis
    if (recipe.init, recipe.layers, recipe.rank) != (basis.init, basis.layers, basis.rank):
        raise WriteError(
            f"recipe {recipe.name!r} wants {recipe.init}, {recipe.layers} layers and rank {recipe.rank}; "
            f"these fast weights are {basis.init}, {basis.layers} and {basis.rank}: make some for this recipe"
        )
    if replay is not None and (replay.model is not fast.model or replay.first_layer > fast.target_modules[0].layer):
        raise WriteError("this replay is of another model or skips adapted layers: make one for these fast weights")
