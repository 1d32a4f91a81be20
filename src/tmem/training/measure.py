"""What is watched while theta_0 is trained: how it acts, what it writes, and whether it can recall that."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import pstdev
from typing import Any

import torch

from tmem.agent.agent import Agent
from tmem.agent.rollout import Sampling
from tmem.agent.trajectory import Trajectory
from tmem.evaluation.records.episode import EXTRACTION, episode_records, extraction_counts, extraction_totals
from tmem.evaluation.records.summary import mean, summarize
from tmem.fastweights.delta import together
from tmem.model import HFEngine, Request
from tmem.seeds import generator
from tmem.tasks.base import Benchmark, Task
from tmem.tasks.scoring import exact_match
from tmem.training.advantages import ScoredTrajectory
from tmem.training.policy_loss import Sums

SUMMED = ("episodes", "tokens", "learnt_tokens", "loss")  # numbers that every process has a part of


@dataclass(frozen=True)
class Share:
    """What one process adds to a mean: the sum of ``count`` values."""

    total: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Share:
        items = list(values)
        return cls(sum(items), len(items))


def merged(found: Sequence[Any], name: str = "") -> Any:
    """The figures of all processes as one; those of one process become plain numbers in the same way.

    Shares become the mean over all that was counted, None of nothing. Other numbers become sums if they are of
    ``SUMMED``, else means over processes; lists are joined.
    """
    known = [value for value in found if value is not None]
    if not known:
        return None
    if isinstance(known[0], Share):
        count = sum(share.count for share in known)
        return sum(share.total for share in known) / count if count else None
    if isinstance(known[0], dict):
        keys = dict.fromkeys(key for value in known for key in value)
        return {key: merged([value.get(key) for value in known], key) for key in keys}
    if isinstance(known[0], list):
        return [item for value in known for item in value]
    return sum(known) if name in SUMMED else mean(known)


def acting(agent: Agent, groups: Sequence[Sequence[ScoredTrajectory]], most: int) -> dict[str, Any]:
    """Figures of this process's rollouts, to be merged. ``most``: pairs that are asked for right after their write."""
    trajectories = [scored.trajectory for group in groups for scored in group]
    rewards = [scored.reward for group in groups for scored in group]
    figures: dict[str, Any] = {
        "episodes": len(trajectories),
        "reward": Share.of(rewards),
        "spread": Share.of(pstdev([scored.reward for scored in group]) for group in groups),
        "tokens": sum(len(action.output_ids) for trajectory in trajectories for action in trajectory.actions),
        "seconds": seconds(trajectories),
    }
    writes = [write for trajectory in trajectories for write in trajectory.writes]
    if not writes:
        return figures
    counts = [
        extraction_counts(scored.facts, scored.trajectory) for group in groups for scored in group if scored.facts
    ]
    figures |= {
        "pairs": Share.of(len(write.pairs) for write in writes),
        "valid_json": Share.of(write.status in ("ok", "empty") for write in writes),
        "extraction": _extraction(counts) if counts else None,
    }
    if agent.policy.learns:
        learned = [trajectory for trajectory in trajectories if trajectory.deltas]  # other memories' pairs stay text
        figures["recall_after_write"] = Share.of(_recalled(agent, learned, most))
        figures["delta_ratio"] = Share.of(write.account.delta_ratio for one in learned for write in one.writes)
    return figures


def _extraction(counts: Sequence[dict[str, int]]) -> dict[str, Share]:
    """As in :func:`tmem.evaluation.records.episode.extraction_scores`, but not yet divided."""
    total = extraction_totals(counts)
    return {name: Share(total[some], total[whole]) for name, (some, whole) in EXTRACTION.items()}


def learning(sums: Sums, from_start: bool) -> dict[str, Any]:
    """Means over the tokens that were learnt from: those of actions with an advantage.

    ``from_start``: the divergence from the start was measured.
    """
    return {
        "loss": sums.loss,
        "learnt_tokens": sums.tokens,
        "entropy": Share(sums.entropy, sums.tokens),
        "clip_fraction": Share(sums.clipped, sums.tokens),
        "kl": Share(sums.kl, sums.tokens),
        "kl_start": Share(sums.kl_start, sums.tokens) if from_start else None,
    }


def finite(trajectories: Iterable[Trajectory]) -> bool:
    """Whether every action has a log-probability that is a number: a policy that ran away acts on, but on nothing."""
    return all(
        math.isfinite(value)
        for trajectory in trajectories
        for action in trajectory.actions
        for value in action.logprobs
    )


def seconds(trajectories: Iterable[Trajectory]) -> dict[str, float]:
    """Time by kind of work, of all rollouts."""
    total: dict[str, float] = {}
    for trajectory in trajectories:
        for kind, value in trajectory.seconds.items():
            total[kind] = total.get(kind, 0.0) + value
    return {kind: round(value, 3) for kind, value in total.items()}


def recall_after_write(agent: Agent, trajectories: Sequence[Trajectory]) -> float | None:
    """Share of written pairs whose answer comes back word for word when asked right after their write.

    None if nothing was written.
    """
    found: float | None = merged([Share.of(_recalled(agent, trajectories))])
    return found


def _recalled(agent: Agent, trajectories: Sequence[Trajectory], most: int | None = None) -> list[float]:
    """Of every written pair whether its answer comes back; of only so many as ``most``, drawn by the agent's seed."""
    written = [
        (trajectory.deltas[number + 1], row, pair)
        for trajectory in trajectories
        for number, write in enumerate(trajectory.writes)
        if write.account.applied
        for row, pair in zip(write.rows or [0] * len(write.pairs), write.pairs, strict=True)
    ]
    if most is not None and len(written) > most:
        order = torch.randperm(len(written), generator=generator(agent.seed, "recall after write"))
        written = [written[place] for place in sorted(order[:most].tolist())]
    if not written:
        return []
    model = agent.model
    memories, firsts = together([delta for delta, _, _ in written])
    requests = [
        Request(
            model.example(pair.question, pair.answer).prompt_ids,
            memory=first + row,
            max_new_tokens=model.settings.max_new_tokens_answer,
        )
        for first, (_, row, pair) in zip(firsts, written, strict=True)
    ]
    replies = (agent.engine or HFEngine(model)).generate(requests, memories, model.fast(agent.recipe))
    return [exact_match(reply.text, pair.answer) for reply, (_, _, pair) in zip(replies, written, strict=True)]


def held_out_rollouts(
    agent: Agent, bench: Benchmark, tasks: Sequence[Task], world: int, own: Iterable[int]
) -> dict[str, Any]:
    """Greedy rollouts of the tasks at places ``own``: what :func:`held_out` scores when all processes' are merged."""
    agent = replace(agent, building=Sampling(), answering=Sampling(), seed=world, keep_deltas=True)
    places = {tasks[place].episode.id: place for place in own}
    trajectories = agent.run([tasks[place].episode for place in places.values()])
    records = []
    for trajectory in trajectories:
        place = places[trajectory.episode]
        records += [(place, record) for record in episode_records(bench, tasks[place], trajectory, agent)]
    return {
        "records": records,
        "finite": [finite(trajectories)],
        "pairs": Share.of(len(write.pairs) for trajectory in trajectories for write in trajectory.writes),
        "recall_after_write": Share.of(_recalled(agent, trajectories)) if agent.policy.learns else None,
    }


def held_out(found: dict[str, Any], bench: Benchmark) -> dict[str, Any]:
    """Scores of greedy rollouts: F1 and EM, by kind, of extraction, and recall right after the write."""
    # In the order of the tasks whoever ran them: sums of floats come out the same.
    records = [record for _, record in sorted(found["records"], key=lambda found: found[0])]
    [summary] = summarize([record | {"memory": ""} for record in records], bench.scorers)
    memories = {own["memory"]: _scores(own) for own in summarize(records, bench.scorers)}
    return {
        **{key: summary[key] for key in ("episodes", "n", "em", "f1", "extraction") if key in summary},
        "by_category": {kind: _scores(own) for kind, own in summary["by_category"].items()},
        **({"by_memory": memories} if len(memories) > 1 else {}),
        "pairs": found["pairs"],
        "recall_after_write": found["recall_after_write"],
    }


def _scores(summary: dict[str, Any]) -> dict[str, Any]:
    return {"em": summary.get("em"), "f1": summary.get("f1")}
