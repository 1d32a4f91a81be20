"""Scores of whole episodes, on a tiny model with random weights and on made-up trajectories."""

from __future__ import annotations

import checkpoints
import pytest

from tmem.agent.episode import Agent
from tmem.agent.extraction import QAPair
from tmem.agent.trajectory import Trajectory, Write
from tmem.evaluation import by_kind, evaluate, score
from tmem.evaluation.persona import conversations, extraction_scores
from tmem.fastweights import WriteAccount
from tmem.model import Model, load


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    model = load(checkpoints.make(tmp_path_factory.mktemp("qwen3"), "qwen3"), device="cpu")
    small = {"window": 4096, "max_new_tokens_answer": 3, "max_new_tokens_extract": 16}
    model.settings = model.settings.model_copy(update=small)
    return model


ACCOUNT = WriteAccount(
    recipe="paper", lr=1, seed=0, pairs=0, rehearsed=0, dropped=[], steps=0, loss=[], new_loss=[], delta_ratio=0,
    delta_ratio_by_site={}, log_sigma={}, ax2={}, seconds=0, applied=True, reason=None,
)  # fmt: skip


def test_gold_extraction_is_perfect_and_every_session_is_one_write(model: Model) -> None:
    agent = Agent.of(model, model.recipe("tmem", lr=0.1), question_known=False, write_tail=True, seed=5)
    result = evaluate(agent, facts=8, episodes=3, gold=True)
    assert result["extraction"] == {"recall": 1.0, "precision": 1.0, "valid_json": 1.0}
    assert result["triggers"] == 2 and result["gold"] and result["delta_ratio"] > 0


def test_scores_do_not_depend_on_what_is_in_a_batch(model: Model) -> None:
    agents = [
        Agent.of(model, model.recipe("tmem", lr=0.1), question_known=False, seed=5, at_once=n) for n in (1, 2, 64)
    ]
    results = [evaluate(agent, facts=4, episodes=3) | {"seconds": 0} for agent in agents]
    for other in results[1:]:
        assert other.pop("delta_ratio") == pytest.approx(results[0]["delta_ratio"], rel=1e-4)
        assert other == {key: value for key, value in results[0].items() if key != "delta_ratio"}


def test_extraction_counts_the_right_person_and_value() -> None:
    [world] = conversations(3, 1, 8, "unseen")
    first = [fact for fact in world.facts if fact["session"] == 1]
    right, wrong = first[0], first[1]
    pairs = [
        QAPair(right["question"].lower(), right["answer"]),
        QAPair(wrong["question"], "something else"),
        QAPair("What is nobody's job?", "none"),
    ]
    life = Trajectory(world.id, "tmem", 3)
    life.writes.append(Write((0,), 10, "ok", pairs, [], ACCOUNT))
    life.writes.append(Write((1,), 10, "bad_json", [], [], ACCOUNT))
    scores = extraction_scores([world], [life])
    told = {(fact["session"], fact["question"]) for fact in world.facts}
    assert scores == {"recall": 1 / len(told), "precision": 1 / 3, "valid_json": 0.5}


def test_answers_are_scored_by_kind() -> None:
    [world] = conversations(3, 1, 8, "unseen")
    life = Trajectory(world.id, "none", 3)
    for question in world.questions:
        life.answers[question.id] = question.gold if question.kind == "single-hop" else "no idea at all"
    table = by_kind(score([world], [life], official=False, seed=3))
    assert table["single-hop"]["em"] == table["single-hop"]["f1"] == 1.0
    assert all(row["em"] == 0 for kind, row in table.items() if kind != "single-hop")
    assert sum(row["n"] for row in table.values()) == len(world.questions)
