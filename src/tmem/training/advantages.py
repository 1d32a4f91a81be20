"""Who is to be thanked: from the rewards of a group to an advantage for every action and a weight for every token.

A group is n rollouts of one task. The paper's choice is the default: an episode has one outcome, and its advantage, the
reward less the group's mean, is shared by all of its actions, answers and extractions alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import Any, Literal

from tmem.agent.extraction import QAPair, places
from tmem.agent.rollout import ANSWERS, GATE
from tmem.agent.trajectory import Action, Trajectory
from tmem.errors import UsageError
from tmem.fastweights import Delta
from tmem.model.request import Voices
from tmem.tasks.scoring import normalize
from tmem.texts import fold

How = Literal["episode", "question", "pair"]
Weighting = Literal["tokens", "kinds"]
Credit = Literal["all", "answers"]
Key = tuple[str, str]  # a pair, folded
BROKEN = "\ufffd"  # what a character is decoded as while some of its tokens are missing


@dataclass(frozen=True)
class ScoredTrajectory:
    """One trajectory of a group with what it earned; ``by_question`` is empty where the reward has no parts.

    ``facts``: what the task is known to tell, if it is. ``golds`` and ``said``, by question and normalized: the
    accepted answers, and what was answered.
    """

    trajectory: Trajectory
    reward: float
    by_question: Mapping[str, float] = field(default_factory=dict)
    facts: tuple[dict[str, Any], ...] = ()
    golds: Mapping[str, Collection[str]] = field(default_factory=dict)
    said: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One action to learn from.

    ``delta`` is the memory that was in force, None for none (or nothing written yet); with ``voices`` it was heard
    beside the prompt.
    """

    kind: str
    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    logprobs: tuple[float, ...]  # of the policy that acted
    advantage: tuple[float, ...]  # of each of its tokens
    weight: float  # of each of them
    delta: Delta | None
    voices: Voices | None = None


def advantages(group: Sequence[ScoredTrajectory], how: How = "episode", scale: bool = False) -> list[list[float]]:
    """The advantage of every action of every rollout in a group.

    ``episode``: reward less the group's mean (paper). ``question``: the same, but an answer has that of its own
    question, so that it is not blamed for others; ``pair`` too, for all but the pairs of extractions
    (:func:`pair_advantages`). ``scale`` divides by the group's standard deviation; a group (or a
    question) with equal rewards has advantage 0.
    """
    whole = _centred([scored.reward for scored in group], scale)
    own = by_question(group, scale) if how != "episode" else [{} for _ in group]
    return [
        [own[place].get(action.question or "", whole[place]) for action in scored.trajectory.actions]
        for place, scored in enumerate(group)
    ]


def by_question(group: Sequence[ScoredTrajectory], scale: bool = False) -> list[dict[str, float]]:
    """For every rollout the advantage of each of its questions: its score less the group's mean of that question."""
    own: list[dict[str, float]] = [{} for _ in group]
    for name in dict.fromkeys(name for scored in group for name in scored.by_question):
        places = [place for place, scored in enumerate(group) if name in scored.by_question]
        values = _centred([group[place].by_question[name] for place in places], scale)
        for place, value in zip(places, values, strict=True):
            own[place][name] = value
    return own


def _centred(values: Sequence[float], scale: bool) -> list[float]:
    middle, spread = fmean(values), pstdev(values)
    if spread < 1e-8:
        return [0.0] * len(values)
    return [(value - middle) / (spread if scale else 1.0) for value in values]


def pair_advantages(group: Sequence[ScoredTrajectory], scale: bool = False) -> list[dict[Key, float]]:
    """For every rollout of a group the advantage of each pair that it wrote.

    With s_ik the score of question k of K in rollout i, a_ik = s_ik less the group's mean of s_k, and A_i the reward
    less its mean, pair p has the mean of

        A_i - (sum of a_ik over the questions that are not its own) / K

    over the rollouts that wrote p: the episode's advantage without what comes from the questions of other pairs. Its
    own are those with p's answer among the accepted ones, and those that a rollout which wrote p answered with it. Of
    its own questions it has 0 if all rollouts wrote it, else, written by m of n, the difference between those with it
    and those without, times 1 - m/n. A pair that is no question's has the mean of A_i. ``scale`` divides by the spread
    of the group's rewards.
    """
    rewards = [scored.reward for scored in group]
    spread = pstdev(rewards)
    if spread < 1e-8 and scale:
        return [dict.fromkeys(_written(scored), 0.0) for scored in group]
    whole = [reward - fmean(rewards) for reward in rewards]
    own = by_question(group)
    written = [_written(scored) for scored in group]
    worth: dict[Key, float] = {}
    for one in dict.fromkeys(found for pairs in written for found in pairs):
        who = [place for place, pairs in enumerate(written) if one in pairs]
        answer = normalize(written[who[0]][one].answer)
        meant = {
            name
            for place in who
            for name in own[place]
            if answer in group[place].golds.get(name, ()) or answer == group[place].said.get(name)
        }
        gains = [whole[i] - _others(own[i], meant) if meant else whole[i] for i in who]
        worth[one] = fmean(gains) / (spread if scale else 1.0)
    return [{one: worth[one] for one in pairs} for pairs in written]


def _others(own: Mapping[str, float], meant: Collection[str]) -> float:
    return sum(value for name, value in own.items() if name not in meant) / max(len(own), 1)


def _written(scored: ScoredTrajectory) -> dict[Key, QAPair]:
    extractions = [action for action in scored.trajectory.actions if action.kind == "extract"]
    return {pair_key(pair): pair for action in extractions for pair, _, _ in places(action.text)}


def of_tokens(
    action: Action, rest: float, credits: Mapping[Key, float], decode: Callable[[Sequence[int]], str], said: set[Key]
) -> list[float]:
    """The advantage of every token of an extraction: that of the pair which it is part of, else ``rest``.

    A token that ends one pair and begins the next is the next one's: it decides that there is one. ``said``: the pairs
    that the episode has written before, to which these are added. One that comes again adds nothing: it has 0.
    """
    found, values, before = [], list[float](), 0
    for pair, start, end in places(action.text):
        key = pair_key(pair)
        found.append((start, end, 0.0 if key in said else credits[key]))
        said.add(key)
    for count in range(1, len(action.output_ids) + 1):
        text = decode(action.output_ids[:count])
        end = len(text)
        inside = [worth for start, stop, worth in found if before < end and start < end <= stop]
        values.append(inside[0] if inside else rest)
        before = len(text.rstrip(BROKEN))  # the tokens to come end it, and are of the same pair
    return values


def pair_key(pair: QAPair) -> Key:
    return fold(pair.question), fold(pair.answer)


def samples(
    groups: Sequence[Sequence[ScoredTrajectory]],
    among: int,
    how: How = "episode",
    weighting: Weighting = "tokens",
    credit: Credit = "all",
    scale: bool = False,
    decode: Callable[[Sequence[int]], str] | None = None,
) -> list[Sample]:
    """Every action that counts, with its share in the mean over ``among`` groups.

    ``tokens``: a group's loss is the mean over all its tokens. ``kinds``: the mean over its answers' tokens and that
    over its other tokens count one half each, since one extraction has twenty times the tokens of an answer.
    ``credit`` ``answers``: what was written into the memory is not learnt from. ``decode``: the tokenizer's, which
    ``pair`` needs to find the tokens of a pair.
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
        worth = pair_advantages(group, scale) if how == "pair" else [{} for _ in group]
        for scored, own, credits in zip(group, advantages(group, how, scale), worth, strict=True):
            said = set[Key]()
            for action, advantage in zip(scored.trajectory.actions, own, strict=True):
                weight = share[action.kind in ANSWERS]
                if not weight or action.kind == GATE:
                    continue
                values = [advantage] * len(action.output_ids)
                if how == "pair" and action.kind == "extract":
                    assert decode is not None
                    values = of_tokens(action, advantage, credits, decode, said)
                found.append(_sample(scored.trajectory, action, tuple(values), weight))
    return found


def _actions(group: Sequence[ScoredTrajectory]) -> list[Action]:
    return [action for scored in group for action in scored.trajectory.actions if action.kind != GATE]


def _sample(trajectory: Trajectory, action: Action, advantage: tuple[float, ...], weight: float) -> Sample:
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
    return Sample(action.kind, *tokens, advantage, weight, delta, action.voices if heard else None)
