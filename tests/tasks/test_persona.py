"""The persona world: a pure function of its seed, loadable as LoCoMo, and honest about what is unseen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmem.tasks.locomo import parse_sample
from tmem.tasks.persona import MAX_FACTS, make_sample, make_world
from tmem.tasks.persona import lexicon as lx
from tmem.tasks.persona.world import when_answer
from tmem.texts import NO_INFORMATION

people = st.sampled_from(["train", "seen", "unseen", "open"])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), sessions=st.integers(1, 6), facts=st.integers(1, MAX_FACTS), who=people)
def test_every_sample_loads_and_every_gold_is_in_its_evidence(seed: int, sessions: int, facts: int, who: Any) -> None:
    sample = make_sample(seed, 0, sessions, facts, who)
    assert sample == make_sample(seed, 0, sessions, facts, who)
    conversation = parse_sample(json.loads(json.dumps(sample)))
    assert len(conversation.sessions) == sessions and len(conversation.facts) == facts
    turns = {turn.id: turn for session in conversation.sessions for turn in session.turns}
    for fact in conversation.facts:
        assert turns[fact["dia_id"]].speaker == fact["speaker"]
        if "attribute" in fact:
            assert fact["answer"].lower() in turns[fact["dia_id"]].text.lower()
    for question in conversation.questions:
        assert all(entry in turns for entry in question.evidence)
        if question.kind in ("single-hop", "update"):
            assert question.gold.lower() in turns[question.evidence[-1]].text.lower()
        if question.kind == "adversarial":
            assert question.gold == NO_INFORMATION and question.distractor


def test_the_latest_value_is_the_answer_to_an_updated_fact() -> None:
    updated = 0
    for index in range(30):
        sample = make_sample(1, index, 4, 24, "unseen")
        latest = {f["question"]: f for f in sample["facts"] if "attribute" in f}
        for qa in sample["qa"]:
            if qa["kind"] == "update":
                [fact] = [f for f in sample["facts"] if f["dia_id"] == qa["evidence"][0]]
                assert latest[fact["question"]] is fact and not fact["superseded"]
                updated += 1
    assert updated > 30


def test_an_adversarial_question_is_about_what_its_person_never_said() -> None:
    for index in range(30):
        sample = make_sample(2, index, 3, 16, "unseen")
        said = {(f["speaker"], f["attribute"]) for f in sample["facts"] if "attribute" in f}
        for qa in sample["qa"]:
            if qa["category"] == 5:
                [fact] = [f for f in sample["facts"] if f["dia_id"] == qa["evidence"][0]]
                talk = sample["conversation"]
                [asked] = [n for n in (talk["speaker_a"], talk["speaker_b"]) if n != fact["speaker"]]
                assert asked in qa["question"] and (asked, fact["attribute"]) not in said


def test_people_values_and_wordings_of_the_unseen_part_are_not_in_training() -> None:
    training = make_world(5, 150, 3, 24, "train") + make_world(5, 50, 3, 24, "seen")
    unseen_names = set(lx.unseen(lx.NAMES))
    for sample in training:
        assert not {sample["conversation"]["speaker_a"], sample["conversation"]["speaker_b"]} & unseen_names
        for fact in (fact for fact in sample["facts"] if "attribute" in fact):
            attribute = lx.ATTRIBUTES[fact["attribute"]]
            unseen = unseen_names if attribute.pool == "name" else set(lx.unseen(lx.POOLS[attribute.pool]))
            assert fact["answer"] not in unseen
            assert fact["text"] != attribute.says[-1].format(v=fact["answer"])
    asked = {qa["question"] for sample in training for qa in sample["qa"]}
    for sample in make_world(5, 40, 3, 24, "unseen"):
        assert not asked & {qa["question"] for qa in sample["qa"]}


def test_an_open_world_is_made_up_anew_and_has_nothing_of_the_unseen_part() -> None:
    people: list[str] = []
    values: set[str] = set()
    texts: list[str] = []
    for sample in make_world(5, 150, 2, 8, "open"):
        people += [sample["conversation"]["speaker_a"], sample["conversation"]["speaker_b"]]
        for fact in sample["facts"]:
            texts.append(fact["text"])
            if "attribute" in fact:
                attribute = lx.ATTRIBUTES[fact["attribute"]]
                values.add(fact["answer"])
                assert attribute in lx.seen(lx.ATTRIBUTES)
                if attribute.pool != "month":
                    assert fact["answer"] not in (lx.NAMES if attribute.pool == "name" else lx.POOLS[attribute.pool])
            elif fact["kind"] == "trait":
                assert any(fact["question"].endswith(f" {thing}?") for thing, *_ in lx.seen(lx.TRAITS))
    assert not set(people) & set(lx.NAMES) and len(set(people)) > 0.7 * len(people)
    assert len(values) > 300
    assert len(set(texts)) > 0.98 * len(texts)
    assert not {text.lower() for text in texts} & lx.HELD_OUT


@pytest.mark.parametrize(
    ("when", "answer"),
    [
        ("today", "1 March 2023"),
        ("yesterday", "28 February 2023"),
        ("last week", "The week before 1 March 2023"),
        ("last month", "February 2023"),
    ],
)
def test_times_are_told_from_the_session_date(when: str, answer: str) -> None:
    import datetime

    assert when_answer(when, datetime.date(2023, 3, 1)) == answer


def test_questions_are_never_in_the_wording_that_extraction_writes() -> None:
    for kind in ("seen", "unseen"):
        for sample in make_world(6, 30, 3, 24, kind):  # type: ignore[arg-type]
            written = {fact["question"] for fact in sample["facts"]}
            assert not written & {qa["question"] for qa in sample["qa"]}
