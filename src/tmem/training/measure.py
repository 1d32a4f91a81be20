"""What is watched while theta_0 is trained: how it acts, what it writes, and whether it can recall that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import pstdev
from typing import Any

import torch

from tmem.agent.lives import Agent, Sampling
from tmem.agent.trajectory import Trajectory
from tmem.evaluation.records import extraction_counts, extraction_scores, life_records
from tmem.evaluation.summary import mean, summarize
from tmem.fastweights.delta import together
from tmem.model import HFEngine, Request
from tmem.seeds import generator
from tmem.tasks.base import Benchmark, Task
from tmem.tasks.scoring import exact_match
from tmem.training.advantages import Rollout


def acting(agent: Agent, groups: Sequence[Sequence[Rollout]], most: int) -> dict[str, Any]:
    """Figures of a step's rollouts. ``most``: pairs that are asked for right after their write."""
    lives = [rollout.life for group in groups for rollout in group]
    rewards = [rollout.reward for group in groups for rollout in group]
    figures: dict[str, Any] = {
        "episodes": len(lives),
        "reward": mean(rewards),
        "spread": mean(pstdev([rollout.reward for rollout in group]) for group in groups),
        "tokens": sum(len(action.output_ids) for life in lives for action in life.actions),
        "seconds": seconds(lives),
    }
    if not agent.policy.learns:
        return figures
    writes = [write for life in lives for write in life.writes]
    counts = [extraction_counts(rollout.facts, rollout.life) for group in groups for rollout in group if rollout.facts]
    return figures | {
        "pairs": mean(len(write.pairs) for write in writes),
        "valid_json": mean(write.status in ("ok", "empty") for write in writes),
        "extraction": extraction_scores(counts) if counts else None,
        "recall_after_write": recall_after_write(agent, lives, most),
        "delta_ratio": mean(write.account.delta_ratio for write in writes),
    }


def seconds(lives: Iterable[Trajectory]) -> dict[str, float]:
    """Time by kind of work, of all lives."""
    total: dict[str, float] = {}
    for life in lives:
        for kind, value in life.seconds.items():
            total[kind] = total.get(kind, 0.0) + value
    return {kind: round(value, 3) for kind, value in total.items()}


def recall_after_write(agent: Agent, lives: Sequence[Trajectory], most: int | None = None) -> float | None:
    """Share of written pairs whose answer comes back word for word when asked right after their write.

    ``most``: only so many, drawn by the agent's seed. None if nothing was written.
    """
    written = [
        (life.deltas[number + 1], pair)
        for life in lives
        for number, write in enumerate(life.writes)
        if write.account.applied
        for pair in write.pairs
    ]
    if most is not None and len(written) > most:
        order = torch.randperm(len(written), generator=generator(agent.seed, "recall after write"))
        written = [written[place] for place in sorted(order[:most].tolist())]
    if not written:
        return None
    model = agent.model
    memories, rows = together([delta for delta, _ in written])
    requests = [
        Request(
            model.example(pair.question, pair.answer).prompt_ids,
            memory=row,
            max_new_tokens=model.settings.max_new_tokens_answer,
        )
        for row, (_, pair) in zip(rows, written, strict=True)
    ]
    replies = (agent.engine or HFEngine(model)).generate(requests, memories, model.fast(agent.recipe))
    return mean(exact_match(reply.text, pair.answer) for reply, (_, pair) in zip(replies, written, strict=True))


def held_out(agent: Agent, bench: Benchmark, tasks: Sequence[Task], world: int) -> dict[str, Any]:
    """Scores of greedy lives: F1 and EM, by kind, of extraction, and recall right after the write."""
    agent = replace(agent, building=Sampling(), answering=Sampling(), seed=world, keep_deltas=True)
    lives = agent.run([task.episode for task in tasks])
    by_id = {task.episode.id: task for task in tasks}
    records = [record for life in lives for record in life_records(bench, by_id[life.episode], life, agent)]
    [summary] = summarize(records, bench.scorers)
    kinds = {kind: {"em": own.get("em"), "f1": own.get("f1")} for kind, own in summary["by_category"].items()}
    return {
        **{key: summary[key] for key in ("episodes", "n", "em", "f1", "extraction") if key in summary},
        "by_category": kinds,
        "pairs": mean(len(write.pairs) for life in lives for write in life.writes),
        "recall_after_write": recall_after_write(agent, lives) if agent.policy.learns else None,
    }
