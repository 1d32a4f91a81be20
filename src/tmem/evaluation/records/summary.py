"""An evaluation in a few numbers: what the command prints when it is done; the report says more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tmem.agent.agent import Agent, Progress
from tmem.evaluation.records.episode import episode_records, extraction_scores
from tmem.tasks.base import Benchmark


def evaluate(
    agent: Agent, bench: Benchmark, progress: Callable[[Progress], None] | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run a whole benchmark in this process: the summary of its one memory, and its records."""
    tasks = {task.episode.id: task for task in bench.tasks(agent.seed)}
    trajectories = agent.run([task.episode for task in tasks.values()], progress)
    records = [
        record
        for trajectory in trajectories
        for record in episode_records(bench, tasks[trajectory.episode], trajectory, agent)
    ]
    [summary] = summarize(records, bench.scorers)
    return summary, records


def summarize(records: Iterable[dict[str, Any]], scorers: Sequence[str]) -> list[dict[str, Any]]:
    """One summary per memory, in the order in which they appear. Scores are 0 to 1, means over all seeds' questions.

    ``extraction`` is None for a memory that does not extract or a benchmark without gold facts.
    """
    memories: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        memories.setdefault(record["memory"], []).append(record)
    return [_summary(memory, own, scorers) for memory, own in memories.items()]


def _summary(memory: str, records: Sequence[dict[str, Any]], scorers: Sequence[str]) -> dict[str, Any]:
    questions = [record for record in records if record["type"] == "question"]
    episodes = [record for record in records if record["type"] == "episode"]
    kinds = sorted({question["category"] for question in questions})
    counts = [episode["extraction"] for episode in episodes if episode["extraction"] is not None]
    writes = [episode["writes"] for episode in episodes if episode["writes"]]
    return {
        "memory": memory,
        "seeds": sorted({record["seed"] for record in records}),
        "episodes": len(episodes),
        **_scores(questions, scorers),
        "by_category": {kind: _scores([q for q in questions if q["category"] == kind], scorers) for kind in kinds},
        "extraction": extraction_scores(counts) if counts else None,
        "triggers": mean(episode["build"]["triggers"] for episode in episodes),
        "delta_ratio": mean(own[-1]["delta_ratio"] for own in writes),
        "seconds": {
            "build": sum(sum(episode["build"]["seconds"].values()) for episode in episodes),
            "answer": sum(question["answer"]["seconds"] for question in questions),
        },
    }


def _scores(questions: Sequence[dict[str, Any]], scorers: Sequence[str]) -> dict[str, Any]:
    """Mean scores: the first scorer's as em and f1, the others' under their names; none for judged benchmarks."""
    table: dict[str, Any] = {"n": len(questions)}
    for name in scorers:
        own = {key: mean(question["scores"][name][key] for question in questions) for key in ("em", "f1")}
        table |= own if name == scorers[0] else {name: own}
    return table


def mean(values: Iterable[float]) -> float:
    """The mean, 0.0 of nothing."""
    items = list(values)
    return sum(items) / len(items) if items else 0.0
