"""Means, intervals, comparisons and summaries of records, against small cases done by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmem.evaluation.stats import (
    Score,
    best_constants,
    by_measure,
    compare,
    costs,
    coverage,
    estimate,
    extraction,
    judged,
    losses,
    retention,
    scored,
    warnings,
)

halves = st.integers(-8, 8).map(lambda value: value / 2)  # sums of them are exact
score_lists = st.lists(st.builds(Score, st.integers(1, 3), st.sampled_from("abcde"), halves), min_size=1, max_size=30)


def scores(*clusters: list[float], seed: int = 1) -> list[Score]:
    """The scores of several conversations."""
    return [Score(seed, f"conv-{place}", value) for place, values in enumerate(clusters) for value in values]


# ---- estimates ----


def test_an_interval_by_hand() -> None:
    """Two conversations are drawn as aa, ab, ba or bb: the extremes have probability 1/4 each."""
    found = estimate(scores([1.0, 0.0], [1.0]))
    assert found == {"n": 3, "mean": pytest.approx(2 / 3), "sd": None, "low": 0.5, "high": 1.0}


def test_the_interval_is_that_of_a_normal_approximation_if_every_conversation_has_one_question() -> None:
    found = estimate(scores(*([float(place % 2)] for place in range(400))))
    assert found["low"] == pytest.approx(0.5 - 1.96 * 0.5 / 20, abs=0.01)
    assert found["high"] == pytest.approx(0.5 + 1.96 * 0.5 / 20, abs=0.01)


def test_more_questions_about_the_same_conversations_make_no_interval_narrower() -> None:
    clusters = [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.5, 0.0]]
    once, often = estimate(scores(*clusters)), estimate(scores(*([*own] * 50 for own in clusters)))
    assert (often["low"], often["high"]) == (once["low"], once["high"])
    assert often["n"] == 50 * once["n"]


def test_one_conversation_has_no_interval_and_one_seed_no_deviation() -> None:
    assert estimate(scores([1.0, 0.0])) == {"n": 2, "mean": 0.5, "sd": None, "low": None, "high": None}
    two = estimate([*scores([1.0, 1.0], seed=1), *scores([0.0, 1.0], seed=2)])
    assert two["mean"] == 0.75 and two["low"] is None
    assert two["sd"] == pytest.approx(0.125**0.5)  # of 1.0 and 0.5, with n - 1


@given(score_lists, st.randoms(use_true_random=False))
def test_the_order_of_scores_does_not_matter(some: list[Score], random: Any) -> None:
    shuffled = random.sample(some, len(some))
    assert estimate(shuffled) == estimate(some)


@given(score_lists)
def test_an_interval_moves_and_stretches_with_its_scores(some: list[Score]) -> None:
    found, other = estimate(some), estimate([score._replace(value=2 * score.value + 1) for score in some])
    assert other["mean"] == pytest.approx(2 * found["mean"] + 1)
    if found["low"] is not None and found["high"] is not None:
        assert (other["low"], other["high"]) == pytest.approx((2 * found["low"] + 1, 2 * found["high"] + 1))


@given(st.lists(st.lists(halves, min_size=3, max_size=3), min_size=2, max_size=12))
def test_the_interval_contains_the_mean_and_stays_among_the_conversations(clusters: list[list[float]]) -> None:
    found = estimate(scores(*clusters))
    means = [sum(own) / 3 for own in clusters]
    assert found["low"] is not None and found["high"] is not None
    assert min(means) - 1e-9 <= found["low"] <= found["mean"] + 1e-9
    assert found["mean"] - 1e-9 <= found["high"] <= max(means) + 1e-9


# ---- comparisons ----


def keyed(some: list[Score]) -> dict[Any, Score]:
    return dict(enumerate(some))


def test_a_memory_does_not_differ_from_itself() -> None:
    own = keyed(scores([1.0, 0.0, 0.3], [0.7], [0.1]))
    assert compare(own, own) == {
        "n": 5, "mean": 0.0, "sd": None, "low": 0.0, "high": 0.0, "wins": 0, "ties": 5, "losses": 0, "clear": False,
    }  # fmt: skip


def test_a_comparison_takes_only_what_both_answered() -> None:
    first = {(1, "a"): Score(1, "x", 1.0), (1, "b"): Score(1, "y", 1.0), (2, "a"): Score(2, "x", 0.0)}
    second = {(1, "a"): Score(1, "x", 0.5), (1, "b"): Score(1, "y", 0.0), (1, "c"): Score(1, "z", 9.0)}
    found = compare(first, second)
    assert found is not None and found["clear"]
    assert (found["n"], found["mean"], found["low"], found["high"]) == (2, 0.75, 0.5, 1.0)
    assert (found["wins"], found["ties"], found["losses"]) == (2, 0, 0)
    assert compare(first, {(3, "a"): Score(3, "x", 1.0)}) is None


def test_one_conversation_makes_nothing_clear() -> None:
    found = compare(keyed(scores([1.0, 1.0])), keyed(scores([0.0, 0.0])))
    assert found is not None and found["mean"] == 1.0 and not found["clear"]


@given(score_lists, st.data())
def test_a_comparison_turned_round_has_the_other_sign(some: list[Score], data: st.DataObject) -> None:
    first = keyed(some)
    second = keyed([score._replace(value=data.draw(halves)) for score in some])
    found, turned = compare(first, second), compare(second, first)
    assert found is not None and turned is not None
    assert found["mean"] == -turned["mean"] and found["clear"] == turned["clear"]
    assert (found["wins"], found["ties"], found["losses"]) == (turned["losses"], turned["ties"], turned["wins"])
    if found["low"] is not None and turned["high"] is not None:
        assert found["low"] == pytest.approx(-turned["high"])


# ---- records ----


def question(number: int, value: float, **changes: Any) -> dict[str, Any]:
    record = {
        "memory": "tmem",
        "seed": 1,
        "episode": "conv-0",
        "cluster": "conv-0",
        "id": f"conv-0:{number}",
        "category": "single-hop",
        "gold": ["Oslo"],
        "values": {"tmem_token f1": value},
        "age": 0,
        "judging": {},
        "left_out": 0,
        "answer": {"llm_calls": 1, "prompt_tokens": 10, "new_tokens": 2, "finish": "stop", "seconds": 0.5},
    }
    return record | changes


def episode(**changes: Any) -> dict[str, Any]:
    build = {
        "triggers": 2,
        "writes": 2,
        "llm_calls": 2,
        "prompt_tokens": 100,
        "new_tokens": 20,
        "trained_tokens": 600,
        "seconds": {"write": 3},
    }
    record = {"memory": "tmem", "seed": 1, "episode": "conv-0", "build": build, "memory_size": {"pairs": 4}}
    return record | {"cut_short": 0, "extraction": None, "writes": []} | changes


def test_scores_are_percentages_and_sums_stay_sums() -> None:
    assert by_measure({"mem1": {"f1": 0.25, "em": 0.0, "f1_sum": 1.0}, "x": {"f1": 1.0}}) == {
        "mem1 f1": 25.0, "mem1 em": 0.0, "mem1 f1_sum": 1.0, "x f1": 100.0,
    }  # fmt: skip


def test_scored_questions_are_those_that_have_the_measure() -> None:
    judged = question(1, 0.0, values={"tmem_token f1": 0.0, "judge x accuracy": 100.0}, cluster="context-7")
    questions = [question(0, 50.0), judged]
    assert scored(questions, "judge x accuracy") == {(1, "conv-0:1"): Score(1, "context-7", 100.0)}
    assert len(scored(questions, "tmem_token f1")) == 2


def test_the_best_constant_answer() -> None:
    golds = ["Oslo", "Oslo", "in Oslo", "No information available"]
    questions = [question(number, 0.0, gold=[gold]) for number, gold in enumerate(golds)]
    best = best_constants(questions * 2, ["tmem_token"])  # of several memories each question counts once
    assert best["tmem_token em"] == {"answer": "Oslo", "mean": 50.0}
    assert best["tmem_token f1"] == {"answer": "Oslo", "mean": pytest.approx(100 * (1 + 1 + 2 / 3) / 4)}
    refusals = [question(number, 0.0, gold=["No information available"], category="x") for number in range(1, 4)]
    assert best_constants([*questions[:1], *refusals], ["tmem_token"])["tmem_token em"]["mean"] == 75.0
    assert best_constants([question(0, 0.0, gold=[])], []) == {}


def test_a_constant_refusal_is_scored_as_the_benchmark_scores_it() -> None:
    refusal = "No information available"
    asked = [question(0, 0.0, gold=["No"]), *(question(n, 0.0, gold=[refusal], age=None) for n in (1, 2))]
    for bench, floor in (("locomo", 250 / 3), ("everyday", 200 / 3)):  # where a refusal of what was said is no answer
        best = best_constants(asked, ["tmem_token"], bench)
        assert best["tmem_token f1"] == {"answer": refusal, "mean": pytest.approx(floor)}


def test_the_best_constant_answer_to_several_questions_at_once() -> None:
    asked = [question(0, 0.0, gold=[["yes", "true"], ["Oslo"]]), question(1, 0.0, gold=[["yes"], ["Yes"]])]
    best = best_constants(asked, ["ordered_list"])
    assert best["ordered_list em"] == {"answer": "Yes", "mean": 75.0}


def test_costs_are_counted_per_rollout_and_per_question() -> None:
    found = costs([episode(), episode(episode="conv-1", memory_size={})], [question(0, 0.0), question(1, 0.0)])
    assert found["rollouts"] == found["conversations"] == 2
    assert found["build"] == {
        "triggers": 2, "llm_calls": 2, "prompt_tokens": 100, "new_tokens": 20, "trained_tokens": 600,
        "seconds": {"write": 3},
    }  # fmt: skip
    assert found["memory_size"] == {"pairs": 2}
    assert found["answer"] == {"llm_calls": 1, "prompt_tokens": 10, "new_tokens": 2, "seconds": 0.5}
    assert found["tokens_per_question"] == (2 * 120 + 2 * 12) / 2 and found["trained_per_question"] == 600


def test_retention_groups_ages_in_doubling_ranges() -> None:
    ages = [0, 1, 2, 3, 4, 7, 8, None]
    questions = [question(number, float(number), age=age) for number, age in enumerate(ages)]
    questions.append(question(9, 100.0, age=0, category="adversarial"))
    questions.append(question(10, 100.0, age=0, judging={"abstention": True}))
    found = {row["age"]: (row["n"], row["mean"]) for row in retention(questions, "tmem_token f1")}
    assert found == {"0": (1, 0.0), "1": (1, 1.0), "2-3": (2, 2.5), "4-7": (2, 4.5), "8-15": (1, 6.0)}


def test_judged_types_count_the_same_and_abstention_is_apart() -> None:
    right = [("multi-session", False, 100.0)] * 3 + [("multi-session", True, 0.0), ("temporal-reasoning", True, 100.0)]
    questions = [
        question(number, 0.0, category=kind, judging={"abstention": abstention}, values={"judge x accuracy": value})
        for number, (kind, abstention, value) in enumerate(right)
    ]
    questions.append(question(9, 0.0))  # was not judged
    found = judged(questions, "judge x accuracy")
    assert found == {"accuracy": 80.0, "task_average": 87.5, "abstention": 50.0, "without_abstention": 100.0}
    assert judged(questions[:3], "judge x accuracy")["abstention"] is None
    assert set(judged(questions[-1:], "judge x accuracy").values()) == {None}


def write(losses: list[float], applied: bool = True, **changes: Any) -> dict[str, Any]:
    record = {"new_loss": losses, "applied": applied, "reason": None if applied else "no pairs", "status": "ok"}
    return record | {"pairs": [["q", "a"]] * 2, "dropped": []} | changes


def test_losses_are_means_over_rollouts_by_the_number_of_the_write() -> None:
    trajectories = [
        episode(writes=[write([2.0, 1.0, 0.5]), write([4.0])]),
        episode(writes=[write([3.0, 0.1]), write([], applied=False), write([float("nan"), 1.0])]),
    ]
    assert losses(trajectories) == [
        {"write": 1, "n": 2, "first": 2.5, "last": pytest.approx(0.3)},
        {"write": 2, "n": 1, "first": 4.0, "last": 4.0},
    ]


def test_extraction_counts_failures_too() -> None:
    counts = {"told": 4, "found": 3, "pairs": 4, "right": 2, "replies": 2, "valid": 1}
    bad = write([], applied=False, pairs=[], status="bad_json", dropped=[["repeated", "x"], ["repeated", "y"]])
    found = extraction([episode(writes=[write([1.0]), bad], extraction=counts), episode(extraction=None)])
    assert found == {
        "writes": 2, "applied": 1, "pairs_per_write": 1.0, "status": {"ok": 1, "bad_json": 1},
        "dropped": {"repeated": 2}, "not_applied": {"no pairs": 1},
        "recall": 0.75, "precision": 0.5, "valid_json": 0.5,
    }  # fmt: skip
    assert extraction([episode()]) is None


def test_missing_questions_are_named() -> None:
    whole = [
        question(n, 0.0, seed=seed, memory=memory) for n in range(3) for seed in (1, 2) for memory in ("rag", "tmem")
    ]
    assert coverage(whole, fresh=False) == []
    part = [q for q in whole if (q["memory"], q["seed"], q["id"]) != ("rag", 2, "conv-0:1")]
    assert coverage(part, fresh=False) == ["rag, seed 2: 1 of 3 questions are missing"]
    assert coverage([q for q in whole if (q["memory"], q["seed"]) != ("tmem", 1)], fresh=True) == [
        "tmem, seed 1: 3 of 3 questions are missing"
    ]


def test_seeds_with_conversations_of_their_own_lack_nothing_of_each_other() -> None:
    own = [question(0, 0.0, seed=1, id="a"), question(0, 0.0, seed=2, id="b")]
    assert coverage(own, fresh=True) == []
    assert len(coverage(own, fresh=False)) == 2


def test_warnings_name_the_memories_that_they_are_about() -> None:
    idle = episode(build=episode()["build"] | {"triggers": 0})
    every = episode(memory_size={"notes": 4, "shown": 4})
    cut = question(0, 0.0, answer=question(0, 0.0)["answer"] | {"finish": "length"})
    memories = {
        "none": ([idle], [question(0, 0.0)]),  # takes nothing in: has no triggers by nature
        "full": ([idle], [question(0, 0.0, left_out=3), question(1, 0.0)]),
        "rag": ([every, episode(memory_size={"notes": 9, "shown": 4}, cut_short=2)], [question(0, 0.0)]),
        "tmem": ([idle, idle], [cut, question(1, 0.0)]),
    }
    lines = warnings(memories)
    assert [line.rpartition(": ")[2] for line in lines] == [
        "tmem 2 of 2.",
        "rag 1 of 2.",
        "rag 1 of 2.",
        "full 1 of 2.",
        "tmem 1 of 2.",
    ]
    assert warnings({"tmem": ([episode()], [question(0, 0.0)])}) == []
