"""From rewards to advantages and weights: on numbers worked out by hand, and whatever the rewards are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmem.agent.extraction import QAPair
from tmem.agent.trajectory import Action, Trajectory
from tmem.errors import UsageError
from tmem.training.advantages import How, ScoredTrajectory, advantages, of_tokens, pair_advantages, samples


def action(kind: str, tokens: int, question: str | None = None) -> Action:
    return Action(kind, (1, 2), tuple(range(tokens)), (-1.0,) * tokens, "", "stop", 0, question)


def scored(reward: float, **by_question: float) -> ScoredTrajectory:
    """An extraction of 20 tokens, then an answer of 2 tokens per question."""
    answers = [action("answer", 2, name) for name in by_question or ("a", "b")]
    return ScoredTrajectory(Trajectory("e", "tmem", 0, [action("extract", 20), *answers]), reward, by_question)


def test_all_actions_of_an_episode_share_its_advantage() -> None:
    group = [scored(1.0), scored(0.0), scored(0.5)]
    assert advantages(group) == [[0.5] * 3, [-0.5] * 3, [0.0] * 3]


def test_an_answer_can_have_the_advantage_of_its_own_question() -> None:
    group = [scored(0.5, a=1.0, b=0.0), scored(0.0, a=0.0, b=0.0)]
    assert advantages(group, "question") == [[0.25, 0.5, 0.0], [-0.25, -0.5, 0.0]]


def test_dividing_by_the_spread() -> None:
    assert advantages([scored(3.0), scored(1.0)], scale=True) == [[1.0] * 3, [-1.0] * 3]


@pytest.mark.parametrize("how", ["episode", "question", "pair"])
@pytest.mark.parametrize("scale", [False, True])
def test_equal_rewards_teach_nothing(how: How, scale: bool) -> None:
    group = [scored(0.7, a=0.1, b=0.3)] * 4
    assert advantages(group, how, scale) == [[0.0] * 3] * 4


REWARDS = st.lists(st.floats(0, 1), min_size=2, max_size=8)


@given(REWARDS, st.floats(-10, 10), st.booleans())
def test_a_constant_added_to_every_reward_changes_nothing(rewards: Sequence[float], more: float, scale: bool) -> None:
    plain = advantages([scored(reward) for reward in rewards], scale=scale)
    shifted = advantages([scored(reward + more) for reward in rewards], scale=scale)
    for own, other in zip(plain, shifted, strict=True):
        # Of values that hardly differ, rounding decides the spread.
        assert own == pytest.approx(other, abs=1e-6 if not scale else 1e-3) or max(rewards) - min(rewards) < 1e-4


def test_what_an_engine_gave_no_log_probabilities_of_is_not_learnt_from() -> None:
    silent = scored(1.0)
    silent.trajectory.actions[1] = replace(silent.trajectory.actions[1], logprobs=())
    with pytest.raises(UsageError, match="RL needs the log-probability of every token"):
        samples([[silent, scored(0.0)]], 1)


@given(REWARDS)
def test_the_advantages_of_a_group_add_up_to_nothing(rewards: Sequence[float]) -> None:
    assert sum(own[0] for own in advantages([scored(reward) for reward in rewards])) == pytest.approx(0, abs=1e-9)


def test_tokens_of_a_group_share_its_weight() -> None:
    found = samples([[scored(1.0), scored(0.0)], [scored(0.5), scored(0.2)]], among=2)
    assert all(sample.weight == pytest.approx(1 / 2 / 48) for sample in found)
    assert sum(sample.weight * len(sample.output_ids) for sample in found) == pytest.approx(1)


def test_kinds_share_it_half_and_half() -> None:
    found = samples([[scored(1.0), scored(0.0)]], among=1, weighting="kinds")
    by_kind = {"extract": 0.0, "answer": 0.0}
    for sample in found:
        by_kind[sample.kind] += sample.weight * len(sample.output_ids)
    assert by_kind == pytest.approx({"extract": 0.5, "answer": 0.5})


@pytest.mark.parametrize("weighting", ["tokens", "kinds"])
def test_without_credit_for_extractions_answers_have_all_of_it(weighting: str) -> None:
    found = samples([[scored(1.0), scored(0.0)]], among=1, weighting=weighting, credit="answers")  # type: ignore[arg-type]
    assert {sample.kind for sample in found} == {"answer"}
    assert sum(sample.weight * len(sample.output_ids) for sample in found) == pytest.approx(1)


def test_lives_without_any_building_have_one_kind() -> None:
    group = [ScoredTrajectory(Trajectory("e", "rag", 0, [action("answer", 2, "a")]), reward) for reward in (0.0, 1.0)]
    found = samples([group], among=1, weighting="kinds")
    assert sum(sample.weight * len(sample.output_ids) for sample in found) == pytest.approx(1)


GOLDS = {"home": ["rome"], "job": ["baker"]}
HOME, OTHER = QAPair("Where does Ana live?", "Rome"), QAPair("Where does Ana live?", "Oslo")
JOB, LIKES = QAPair("What is Ana's job?", "baker"), QAPair("What does Ana think of rain?", "loves it")


def wrote(pairs: list[QAPair], home: tuple[str, float], job: tuple[str, float], less: float = 0.0) -> ScoredTrajectory:
    """A rollout that wrote these pairs, and what it answered with which score; ``less`` is off the whole reward."""
    one = scored(sum((home[1], job[1])) / 2 - less, home=home[1], job=job[1])
    one.trajectory.actions[0] = replace(one.trajectory.actions[0], text=json.dumps([pair.record() for pair in pairs]))
    return replace(one, golds=GOLDS, said={"home": home[0], "job": job[0]})


def test_a_pair_has_the_advantage_of_the_questions_it_answers() -> None:
    group = [
        wrote([HOME], ("rome", 1.0), ("", 0.0)),
        wrote([HOME, JOB, LIKES], ("rome", 1.0), ("baker", 1.0)),
        wrote([OTHER], ("oslo", 0.0), ("", 0.0)),
    ]
    # Of home: 1, 1, 0 less 2/3; of job: 0, 1, 0 less 1/3; of the episode, their mean: 1/2, 1, 0 less 1/2.
    [one, two, three] = [{answer: value for (_, answer), value in own.items()} for own in pair_advantages(group)]
    assert one == pytest.approx({"rome": 1 / 6})  # half of: a difference of 1 times 1 - 2/3
    assert two == pytest.approx(
        {"rome": 1 / 6, "baker": 1 / 3, "loves it": 1 / 2}
    )  # that of no question: the episode's
    assert three == pytest.approx({"oslo": -1 / 3})  # it was said where Rome was meant


def test_what_pairs_cost_is_in_their_advantage() -> None:
    group = [
        wrote([HOME, LIKES], ("rome", 1.0), ("", 0.0), less=0.1),
        wrote([HOME], ("rome", 1.0), ("", 0.0)),
    ]
    # Both answer alike: what is left of 0.4 and 0.5 less their mean is the cost.
    assert [list(own.values()) for own in pair_advantages(group)] == [
        pytest.approx([0.0, -0.05]),
        pytest.approx([0.0]),
    ]
    assert [list(own.values()) for own in pair_advantages(group, scale=True)] == [
        pytest.approx([0.0, -1.0]),
        pytest.approx([0.0]),
    ]


def test_a_pair_that_all_wrote_teaches_nothing() -> None:
    group = [wrote([HOME], ("rome", 1.0), ("", 0.0)), wrote([HOME], ("oslo", 0.0), ("baker", 1.0))]
    assert [list(own.values()) for own in pair_advantages(group)] == [[0.0], [0.0]]


def test_every_token_of_a_pair_has_its_advantage() -> None:
    pieces = ['[{"instruction": "', "Where", '", "output": "', "Rome", '"}, {"instruction": "', "Who", '", "output": "']
    pieces += ["me", '"}', "]", ""]  # the last one ends the turn and has no text
    one = Action("extract", (), tuple(range(len(pieces))), (), "".join(pieces), "stop", 0)
    credits = {("where", "rome"): 0.5, ("who", "me"): 0.0}
    said = set[tuple[str, str]]()
    found = of_tokens(one, 0.1, credits, lambda ids: "".join(pieces[i] for i in ids), said)
    assert said == credits.keys() and found == [0.5] * 4 + [0.0] * 5 + [0.1] * 2
    cut = replace(one, text="".join(pieces[:7]), output_ids=tuple(range(7)))  # the second pair has no end
    assert of_tokens(cut, 0.1, credits, lambda ids: "".join(pieces[i] for i in ids), set()) == [0.5] * 4 + [0.1] * 3
    again = of_tokens(one, 0.1, credits, lambda ids: "".join(pieces[i] for i in ids), {("where", "rome")})
    assert again == [0.0] * 9 + [0.1] * 2  # what was written before adds nothing


def test_tokens_that_are_a_part_of_a_character_are_of_its_pair() -> None:
    text = '[{"instruction": "Who is Zoë?", "output": "猫"}]'
    one = Action("extract", (), tuple(text.encode()), (), text, "stop", 0)
    found = of_tokens(one, 0.1, {("who is zoë?", "猫"): 0.5}, lambda ids: bytes(ids).decode(errors="replace"), set())
    assert found == [0.1, *[0.5] * (len(text.encode()) - 2), 0.1]


def test_samples_have_an_advantage_for_every_token() -> None:
    text = '[{"instruction": "Where does Ana live?", "output": "Rome"}]'
    group = [wrote([HOME], ("rome", 1.0), ("", 0.0)), wrote([JOB], ("", 0.0), ("baker", 1.0))]
    extract = replace(group[0].trajectory.actions[0], output_ids=tuple(range(len(text))), text=text)
    group[0].trajectory.actions[0] = replace(extract, logprobs=(-1.0,) * len(text))
    [first, home, *_] = samples([group], 1, "pair", decode=lambda ids: text[: len(ids)])
    # The brackets have the episode's: both are half right.
    assert first.advantage == (0.0, *(0.25,) * (len(text) - 2), 0.0)
    assert home.advantage == (0.5, 0.5)
