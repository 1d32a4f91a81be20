"""The clipped policy gradient, every action under the Delta that was in force when it was sampled (paper, RL).

No gradient flows through the online update: Delta_t is a constant here, and theta_0 is what is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tmem.fastweights import Delta, FastWeights
from tmem.fastweights.delta import active, together
from tmem.fastweights.target_modules import decoder
from tmem.model import Model
from tmem.model.attention import NAME as CPU_ATTENTION
from tmem.model.score import head_scores, score_batch, sessions_of_voices, voiced_batch
from tmem.training.advantages import Sample
from tmem.training.branches import Row, collate, states, window

PADDED = 1.5  # the longest row of a batch is at most so many times as long as the shortest
MASKABLE = ("sdpa", CPU_ATTENTION)  # attention that takes any mask of who sees whom
Shared = list[Sample]  # what was said to one prompt under one memory: a row, in which the prompt is read once


@dataclass
class Sums:
    """Over the tokens that were learnt from; divide by ``tokens`` for means."""

    loss: float = 0.0  # already a mean
    tokens: int = 0
    entropy: float = 0.0
    clipped: int = 0
    kl: float = 0.0  # of the policy that acted against the one that is trained, estimated (k3)
    kl_start: float = 0.0  # of the policy that is trained against the one at the start

    def add(self, other: Sums) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class Objective:
    """``clip``: how far the ratio to the acting policy counts. ``kl``: weight of the divergence from ``start``."""

    clip: float = 0.2
    kl: float = 0.0
    start: Model | None = None
    start_fast: FastWeights | None = None


def backward(
    model: Model,
    fast: FastWeights | None,
    found: Sequence[Sample],
    objective: Objective,
    max_tokens: int = 16_384,
    recompute: bool = False,
) -> Sums:
    """Add the gradient of the loss over ``found`` to the parameters that ask for one; returns what was measured.

    ``max_tokens`` bounds one forward pass, padding included. ``recompute``: layers' activations are made again in the
    backward pass, which saves memory. Samples that cannot contribute are left out: an advantage of zero without KL.
    """
    sums = Sums()
    useful = [sample for sample in found if any(sample.advantage) or objective.kl > 0.0]
    for rows in batches(shared(useful, model), max_tokens):
        delta, sessions = stack(rows)
        batch = [sample for row in rows for sample in row]
        if batch[0].voices is not None:
            sessions = sessions_of_voices(sessions)
        reference = None
        if objective.kl > 0.0:
            assert objective.start is not None
            with torch.no_grad(), active(objective.start_fast, delta, sessions):
                reference, _ = _scores(objective.start, rows)
        # Recomputed layers run again inside backward(): it belongs under the same hooks.
        with active(fast, delta, sessions), _recomputing(model, recompute):
            scores, entropy = _scores(model, rows)  # (K,) each
            loss, measured = token_loss(scores, batch, objective, reference)
            loss.backward()
        measured.entropy = float(entropy.sum())
        sums.add(measured)
    return sums


def token_loss(
    scores: Tensor, batch: Sequence[Sample], objective: Objective, reference: Tensor | None = None
) -> tuple[Tensor, Sums]:
    """The loss from log pi_theta of all the batch's output tokens, (K,), and that of the start, (K,).

    -weight min(r a, clip(r, 1 - c, 1 + c) a) with r = pi_theta / pi_acting, plus kl (x - log x - 1) with
    x = pi_start / pi_theta, summed over tokens.
    """
    counts = torch.tensor([len(sample.output_ids) for sample in batch])
    weights = torch.tensor([sample.weight for sample in batch]).repeat_interleave(counts)
    advantage = torch.tensor([value for sample in batch for value in sample.advantage], device=scores.device)  # (K,)
    weight = weights.to(scores.device)  # (K,)
    acting = torch.tensor([value for sample in batch for value in sample.logprobs], device=scores.device)
    difference = scores - acting
    ratio = difference.exp()
    bounded = ratio.clamp(1 - objective.clip, 1 + objective.clip)
    gain = torch.minimum(ratio * advantage, bounded * advantage)
    loss = -(weight * gain).sum()
    with torch.no_grad():
        # Clipped where the gradient is cut off, not wherever the ratio is far off.
        clipped = int((gain < ratio * advantage).sum())
        measured = Sums(tokens=len(scores), clipped=clipped, kl=float((ratio - 1 - difference).sum()))
    if reference is not None:
        away = reference - scores
        divergence = away.exp() - away - 1
        loss = loss + objective.kl * (weight * divergence).sum()
        measured.kl_start = float(divergence.detach().sum())
    measured.loss = float(loss.detach())
    return loss, measured


def shared(found: Sequence[Sample], model: Model) -> list[Shared]:
    """What a group's rollouts said to one prompt under one memory, together, so that it is read once.

    By themselves are those that voices are heard beside, texts beyond a layer's window, and all where attention takes
    no mask of ours.
    """
    maskable = model.hf.config._attn_implementation in MASKABLE
    within = window(model.hf)
    rows: dict[Any, Shared] = {}
    for place, sample in enumerate(found):
        alone = not maskable or sample.voices is not None or (within is not None and _length([sample]) > within)
        rows.setdefault(place if alone else (sample.prompt_ids, id(sample.delta)), []).append(sample)
    return list(rows.values())


def _scores(model: Model, rows: Sequence[Shared]) -> tuple[Tensor, Tensor]:
    """log pi and entropy of all output tokens of a batch, (K,) each; of voices those of their mixture."""
    firsts = [row[0] for row in rows]
    voices = [sample.voices for sample in firsts if sample.voices is not None]
    if voices:
        return voiced_batch(
            model, [sample.prompt_ids for sample in firsts], [sample.output_ids for sample in firsts], voices
        )
    if len(rows[0]) == 1:
        texts = [[*sample.prompt_ids, *sample.output_ids] for sample in firsts]
        return score_batch(model, texts, [len(sample.prompt_ids) for sample in firsts])
    made = collate([_row(row) for row in rows], pad=0)
    hidden = states(decoder(model.hf), made, model.device)
    return head_scores(model.head, hidden, made.targets.to(model.device))


def _row(row: Shared) -> Row:
    *before, last = row[0].prompt_ids  # the last predicts the first token of every branch, so each has its own
    return Row(before, [([last], list(sample.output_ids)) for sample in row])


def batches(found: Sequence[Shared], max_tokens: int) -> Iterator[list[Shared]]:
    """Rows of similar length together: at most ``max_tokens`` in a batch with its padding, and little padding.

    Three kinds by themselves: those of several texts, which are read under a mask of ours, of one, and those whose
    memory is a voice: each is three texts.
    """
    parts = [part for row in found for part in _parts(row, max_tokens)]
    plain = [row for row in parts if row[0].voices is None]
    yield from _batches([row for row in plain if len(row) > 1], max_tokens)
    yield from _batches([row for row in plain if len(row) == 1], max_tokens)
    yield from _batches([row for row in parts if row[0].voices is not None], max_tokens // 3)


def _parts(row: Shared, max_tokens: int) -> Iterator[Shared]:
    """A row that is longer than a batch, in several."""
    part: Shared = []
    for sample in row:
        if part and _length([*part, sample]) > max_tokens:
            yield part
            part = []
        part.append(sample)
    yield part


def _batches(found: Sequence[Shared], max_tokens: int) -> Iterator[list[Shared]]:
    rest = sorted(found, key=_length, reverse=True)
    while rest:
        longest = _length(rest[0])
        most = max(1, max_tokens // longest)
        count = sum(_length(row) * PADDED >= longest for row in rest[:most])
        yield rest[:count]
        rest = rest[count:]


def _length(row: Shared) -> int:
    return len(row[0].prompt_ids) + sum(len(sample.output_ids) for sample in row)


def stack(batch: list[Shared]) -> tuple[Delta | None, list[int]]:
    """The memories of a batch as one, each once, and the row of every row in it, -1 for none; sorts the batch."""
    delta, sessions = together([row[0].delta for row in batch])
    order = sorted(range(len(batch)), key=sessions.__getitem__)  # rows that share a memory lie together
    batch[:] = [batch[place] for place in order]
    return delta, [sessions[place] for place in order]


@contextmanager
def _recomputing(model: Model, recompute: bool) -> Iterator[None]:
    """Layers recompute their activations inside. Only they themselves are in training mode, so nothing drops out."""
    if not recompute:
        yield
        return
    layers = list(decoder(model.hf).layers)  # type: ignore[arg-type]
    hf: Any = model.hf
    # Transformers 5 renames them.
    enable = getattr(hf, "activation_checkpointing_enable", hf.gradient_checkpointing_enable)
    disable = getattr(hf, "activation_checkpointing_disable", hf.gradient_checkpointing_disable)
    enable({"use_reentrant": False})
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
        disable()
