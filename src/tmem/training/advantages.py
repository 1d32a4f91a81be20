"""Who is to be thanked: from the rewards of a group to an advantage for every action and a weight for every token.

A group is n rollouts of one task. The paper's choice is the default: an episode has one outcome, and its advantage, the
reward less the group's mean, is shared by all of its actions, answers and extractions alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import Any, Literal

from tmem.agent.rollout import ANSWERS, GATE
from tmem.agent.trajectory import Action, Trajectory
from tmem.errors import UsageError
from tmem.fastweights import Delta

How = Literal["episode", "question"]
Weighting = Literal["tokens", "kinds"]
Credit = Literal["all", "answers"]


@dataclass(frozen=True)
class ScoredTrajectory:
    """One trajectory of a group with what it earned; ``by_question`` is empty where the reward has no parts.

    ``facts``: what the task is known to tell, if it is.
    """

    trajectory: Trajectory
    reward: float
    by_question: Mapping[str, float] = field(default_factory=dict)
    facts: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Sample:
    """One action to learn from. ``delta`` is the memory that was in force, None for none (or nothing written yet)."""

    kind: str
    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    logprobs: tuple[float, ...]  # of the policy that acted
    advantage: float
    weight: float  # of each of its tokens
    delta: Delta | None


def advantages(group: Sequence[ScoredTrajectory], how: How = "episode", scale: bool = False) -> list[list[float]]:
    """The advantage of every action of every rollout in a group.

    ``episode``: reward less the group's mean (paper). ``question``: the same, but an answer has that of its own
    question, so that it is not blamed for others. ``scale`` divides by the group's standard deviation; a group (or a
    question) with equal rewards has advantage 0.
    """
    whole = _centred([scored.reward for scored in group], scale)
    questions = {name for scored in group for name in scored.by_question} if how == "question" else set()
    own: list[dict[str, float]] = [{} for _ in group]
    for name in questions:
        places = [place for place, scored in enumerate(group) if name in scored.by_question]
        values = _centred([group[place].by_question[name] for place in places], scale)
        for place, value in zip(places, values, strict=True):
            own[place][name] = value
    return [
        [own[place].get(action.question or "", whole[place]) for action in scored.trajectory.actions]
        for place, scored in enumerate(group)
    ]


def _centred(values: Sequence[float], scale: bool) -> list[float]:
    middle, spread = fmean(values), pstdev(values)
    if spread < 1e-8:
        return [0.0] * len(values)
    return [(value - middle) / (spread if scale else 1.0) for value in values]


def samples(
    groups: Sequence[Sequence[ScoredTrajectory]],
    among: int,
    how: How = "episode",
    weighting: Weighting = "tokens",
    credit: Credit = "all",
    scale: bool = False,
) -> list[Sample]:
    """Every action that counts, with its share in the mean over ``among`` groups.

    ``tokens``: a group's loss is the mean over all its tokens. ``kinds``: the mean over its answers' tokens and that
    over its other tokens count one half each, since one extraction has twenty times the tokens of an answer.
    ``credit`` ``answers``: what was written into the memory is not learnt from.
    """
    found = []
    for group in groups:
        counts = dict.fromkeys((True, False), 0)
        for action in _actions(group):
            counts[action.kind in ANSWERS] += len(action.output_ids)
        if credit == "answers":
            counts[False] = 0
        present = sum(count > 0 for count in counts.values())
        share = {
            answers: 1 / (among * (present * count if weighting == "kinds" else sum(counts.values()))) if count else 0.0
            for answers, count in counts.items()
        }
        for scored, own in zip(group, advantages(group, how, scale), strict=True):
            for action, advantage in zip(scored.trajectory.actions, own, strict=True):
                weight = share[action.kind in ANSWERS]
                if weight and action.kind != GATE:
                    found.append(_sample(scored.trajectory, action, advantage, weight))
    return found


def _actions(group: Sequence[ScoredTrajectory]) -> list[Action]:
    return [action for scored in group for action in scored.trajectory.actions if action.kind != GATE]


def _sample(trajectory: Trajectory, action: Action, advantage: float, weight: float) -> Sample:
    heard = action.delta and action.row is not None  # the first is zero
    delta = trajectory.deltas[action.delta] if heard else None
    if delta is not None and delta.sessions > 1:
        delta = delta.select([action.row or 0])
    if len(action.logprobs) != len(action.output_ids):
        raise UsageError(
            "RL needs the log-probability of every token that was said, and this engine does not give them all: "
            "generate with tmem's own loop"
        )
    tokens = action.prompt_ids, action.output_ids, action.logprobs
    return Sample(action.kind, *tokens, advantage, weight, delta)
