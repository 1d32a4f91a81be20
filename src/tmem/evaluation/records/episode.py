"""From a rollout to records: one per question with everything a report needs, one per episode with what was learned.

Records are plain JSON. What they say does not depend on batching, workers or interruptions, but for ``seconds``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tmem.agent.agent import Agent
from tmem.agent.rollout import QUERIES
from tmem.agent.trajectory import Trajectory
from tmem.tasks.base import Benchmark, Item, Task
from tmem.tasks.scoring import SCORERS, exact_match, normalize
from tmem.texts import said


def episode_records(bench: Benchmark, task: Task, trajectory: Trajectory, agent: Agent) -> list[dict[str, Any]]:
    """The episode's record, then one per question that was answered in it."""
    head = {"memory": trajectory.memory, "seed": trajectory.seed, "episode": trajectory.episode}
    items = {item.id: item for item in task.items}
    answered = [items[name] for name in trajectory.answers]
    extracts = agent.policy.learns or trajectory.writes
    building = [action for action in trajectory.actions if action.kind not in QUERIES]
    build = {
        "triggers": trajectory.triggers,
        "writes": sum(write.account.applied for write in trajectory.writes),
        "llm_calls": len(building),
        "prompt_tokens": sum(len(action.prompt_ids) for action in building),
        "new_tokens": sum(len(action.output_ids) for action in building),
        "trained_tokens": sum(write.account.tokens for write in trajectory.writes),
        "seconds": {kind: value for kind, value in trajectory.seconds.items() if kind not in QUERIES},
    }
    episode = head | {
        "type": "episode",
        "questions": [item.id for item in answered],
        "build": build,
        "memory_size": trajectory.memory_size,
        "cut_short": trajectory.cut_short,
        "failed": trajectory.failed,
        "extraction": extraction_counts(task.facts, trajectory) if task.facts and extracts else None,
        "writes": [
            {
                "units": write.units,
                "tokens": write.tokens,
                "status": write.status,
                "pairs": [[pair.question, pair.answer] for pair in write.pairs],
                "dropped": [[drop.reason, drop.text] for drop in write.dropped],
                "loss": write.account.loss,
                "new_loss": write.account.new_loss,
                "delta_ratio": write.account.delta_ratio,
                "applied": write.account.applied,
                "reason": write.account.reason,
            }
            for write in trajectory.writes
        ],
    }
    return [episode] + [
        head
        | {"type": "question"}
        | question_record(bench, item, trajectory, len(task.episode.units))
        | {"build": build}
        for item in answered
    ]


def question_record(bench: Benchmark, item: Item, trajectory: Trajectory, units: int) -> dict[str, Any]:
    """One answered question: what was asked, said, expected and scored, and what answering cost."""
    actions = [action for action in trajectory.actions if action.question == item.id]
    reply = trajectory.answers[item.id]
    prediction = bench.prediction(item, said(reply), trajectory.seed)
    answering = sum(trajectory.seconds.get(kind, 0.0) for kind in QUERIES)
    return {
        "id": item.id,
        "category": item.category,
        "question": item.question,
        "gold": item.gold,
        "reply": reply,
        "prediction": prediction,
        "scores": score_all(bench.scorers, prediction, item),
        "age": units - 1 - max(item.evidence) if item.evidence else None,
        "judging": dict(item.judging),
        "memory_size": trajectory.memory_size,
        "left_out": trajectory.left_out,
        "answer": {
            "llm_calls": len(actions),
            "prompt_tokens": sum(len(action.prompt_ids) for action in actions),
            "new_tokens": sum(len(action.output_ids) for action in actions),
            "finish": actions[-1].finish if actions else None,
            "seconds": answering / max(len(trajectory.answers), 1),
        },
    }


def score_all(scorers: Iterable[str], prediction: str, item: Item) -> dict[str, dict[str, float]]:
    """``{scorer: {"f1", "em"}}``, 0 to 1 each; MEM1's with the sums over sub-questions that it reports."""
    table = {}
    for name in scorers:
        found = SCORERS[name](prediction, item.gold, item.category)
        table[name] = {"f1": found.f1, "em": found.em}
        if name == "mem1":
            table[name] |= {"f1_sum": found.f1 * found.parts, "em_sum": found.em * found.parts}
    return table


def extraction_counts(facts: Sequence[dict[str, Any]], trajectory: Trajectory) -> dict[str, int]:
    """How many facts were told and found, how many pairs written and right, how many replies and valid ones.

    A pair is right if it asks the fact's own question (so it names the right person) and has its value. A fact
    that is updated in the same trigger context need not be extracted.
    """
    counts = dict.fromkeys(("told", "found", "pairs", "right", "replies", "valid"), 0)
    for write in trajectory.writes:
        gold = {normalize(fact["question"]): fact["answer"] for fact in facts if fact["session"] - 1 in write.units}
        hits = [
            normalize(pair.question)
            for pair in write.pairs
            if exact_match(pair.answer, gold.get(normalize(pair.question), "\0")) and normalize(pair.answer)
        ]
        counts["told"] += len(gold)
        counts["found"] += len(set(hits))
        counts["pairs"] += len(write.pairs)
        counts["right"] += len(hits)
        counts["replies"] += 1
        counts["valid"] += write.status in ("ok", "empty")
    return counts


# Of what each is a share: names of :func:`extraction_counts`.
EXTRACTION = {"recall": ("found", "told"), "precision": ("right", "pairs"), "valid_json": ("valid", "replies")}


def extraction_totals(counts: Iterable[dict[str, int]]) -> Counter[str]:
    """The counts of several rollouts as one."""
    total: Counter[str] = Counter()
    for own in counts:
        total.update(own)
    return total


def extraction_scores(counts: Iterable[dict[str, int]]) -> dict[str, float]:
    """Recall and precision of extracted pairs against the facts told, and the share of valid JSON."""
    total = extraction_totals(counts)
    return {name: total[some] / max(total[whole], 1) for name, (some, whole) in EXTRACTION.items()}
