"""Summaries of whole evaluations, on a tiny model with random weights and on made-up trajectories."""

from __future__ import annotations

from typing import Any

import checkpoints
import pytest

from tmem.agent.extraction import QAPair
from tmem.agent.trajectory import Trajectory, Write
from tmem.evaluation import evaluate, summarize
from tmem.evaluation.records.episode import episode_records, extraction_counts, extraction_scores
from tmem.fastweights import WriteAccount
from tmem.model import Model, load
from tmem.policies import make_agent
from tmem.tasks.persona import Persona


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    model = load(checkpoints.make(tmp_path_factory.mktemp("qwen3"), "qwen3"), device="cpu")
    small = {"window": 4096, "max_new_tokens_answer": 3, "max_new_tokens_extract": 16}
    model.settings = model.settings.model_copy(update=small)
    return model


ACCOUNT = WriteAccount(
    recipe="paper", lr=1, seed=0, pairs=0, rehearsed=0, dropped=[], steps=0, tokens=0, loss=[], new_loss=[],
    delta_ratio=0, delta_ratio_by_site={}, log_sigma={}, ax2={}, seconds=0, applied=True, reason=None,
)  # fmt: skip


def test_gold_pairs_are_perfect_and_every_session_is_one_write(model: Model) -> None:
    agent = make_agent(model, model.recipe("sgd", lr=0.1), "gold", budget=1, write_tail=True, seed=5)
    summary, _ = evaluate(agent, Persona(8, 3))
    assert summary["extraction"] == {"recall": 1.0, "precision": 1.0, "valid_json": 1.0}
    assert summary["triggers"] == 2 and summary["delta_ratio"] > 0


def test_scores_do_not_depend_on_what_is_in_a_batch(model: Model) -> None:
    def records(at_once: int) -> list[dict[str, Any]]:
        recipe = model.recipe("sgd", lr=0.1)
        agent = make_agent(model, recipe, question_known=False, seed=5, at_once=at_once)
        return [timeless(record) for record in evaluate(agent, Persona(4, 3))[1]]

    alone = records(1)
    for at_once in (2, 64):
        for record, other in zip(alone, records(at_once), strict=True):
            writes, others = record.pop("writes", []), other.pop("writes", [])
            assert record == other
            for write, again in zip(writes, others, strict=True):
                assert write["pairs"] == again["pairs"]
                assert write["loss"] == pytest.approx(again["loss"], rel=1e-3)
            record["writes"] = writes


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its seconds."""
    return {
        key: timeless(value) if isinstance(value, dict) else value for key, value in record.items() if key != "seconds"
    }


def test_extraction_counts_the_right_person_and_value() -> None:
    [task] = Persona(8, 1).tasks(3)
    first = [fact for fact in task.facts if fact["session"] == 1]
    right, wrong = first[0], first[1]
    pairs = [
        QAPair(right["question"].lower(), right["answer"]),
        QAPair(wrong["question"], "something else"),
        QAPair("What is nobody's job?", "none"),
    ]
    trajectory = Trajectory(task.episode.id, "tmem", 3)
    trajectory.writes.append(Write(0, (0,), 10, "ok", pairs, [], ACCOUNT))
    trajectory.writes.append(Write(1, (1,), 10, "bad_json", [], [], ACCOUNT))
    told = {(fact["session"], fact["question"]) for fact in task.facts}
    scores = extraction_scores([extraction_counts(task.facts, trajectory)])
    assert scores == {"recall": 1 / len(told), "precision": 1 / 3, "valid_json": 0.5}


def test_answers_are_scored_by_kind(model: Model) -> None:
    bench = Persona(8, 1)
    [task] = bench.tasks(3)
    trajectory = Trajectory(task.episode.id, "none", 3)
    for item in task.items:
        trajectory.answers[item.id] = item.gold[0] if item.category == "single-hop" else "no idea at all"  # type: ignore[assignment]
    records = episode_records(bench, task, trajectory, make_agent(model, memory="none"))
    [summary] = summarize(records, bench.scorers)
    table = summary["by_category"]
    assert table["single-hop"]["em"] == table["single-hop"]["f1"] == 1.0
    assert all(row["em"] == 0 for kind, row in table.items() if kind != "single-hop")
    assert sum(row["n"] for row in table.values()) == len(task.items)
