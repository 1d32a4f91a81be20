"""The episode loop on a tiny real model, with a scripted engine where the replies matter."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import checkpoints
import pytest
import torch

from tmem.agent import Agent, Ask, Episode, Sampling
from tmem.agent.prompts import PROMPTS
from tmem.errors import DataError
from tmem.fastweights import Delta
from tmem.model import Completion, HFEngine, Model, Request, load
from tmem.policies import make_agent


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    model = load(checkpoints.make(tmp_path_factory.mktemp("qwen3"), "qwen3"), device="cpu")
    model.settings = model.settings.model_copy(update={"window": 4096})  # the paper's prompts are long
    return model


class Scripted:
    """An engine that writes given extractions, one by one per episode, and otherwise generates for real."""

    def __init__(self, model: Model, replies: dict[int, list[str]]) -> None:
        self.real, self.model = HFEngine(model), model
        self.replies = {row: list(texts) for row, texts in replies.items()}

    def generate(
        self, requests: Sequence[Request], delta: Delta | None = None, fast: Any = None, progress: Any = None
    ) -> list[Completion]:
        done = self.real.generate([replace(r, max_new_tokens=4) for r in requests], delta, fast)
        return [
            replace(completion, text=self.replies[request.memory].pop(0), finish="json")
            if request.stop == "json" and request.memory is not None
            else completion
            for request, completion in zip(requests, done, strict=True)
        ]


def array(*pairs: tuple[str, str]) -> str:
    return json.dumps([{"instruction": question, "output": answer} for question, answer in pairs])


UNITS = tuple(f"Anna keeps {number} grey cats near the harbour." for number in range(5))
FIRST = array(("Where does Anna live?", "Near the harbour."), ("Who has cats?", "Anna"))
SECOND = array(("where does  anna live?", "In town."), ("Who has cats?", "anna"), ("Empty?", ""))


def agent(model: Model, replies: dict[int, list[str]] | None = None, **changes: Any) -> Agent:
    base = {"budget": model.count(UNITS[0]) + 1, "question_known": False, "seed": 3, "keep_deltas": True}
    recipe = changes.pop("recipe", model.recipe("sgd", lr=0.5))
    engine = None if replies is None else Scripted(model, replies)
    return make_agent(model, recipe, engine=engine, **(base | changes))


def story(name: str = "one", units: tuple[str, ...] = UNITS) -> Episode:
    return Episode(name, units, (Ask("q0", "Where does Anna live?"), Ask("q1", "Who has cats?")))


def test_every_unit_is_read_once_in_order_and_the_tail_is_what_is_left(model: Model) -> None:
    [trajectory] = agent(model, {0: ["[]", "[]"]}).run([story()])
    assert [write.units for write in trajectory.writes] == [(0, 1), (2, 3)]
    assert trajectory.tail == (4,)
    extractions = [model.decode(a.prompt_ids) for a in trajectory.actions if a.kind == "extract"]
    assert [[unit in prompt for unit in UNITS] for prompt in extractions] == [
        [True, True, False, False, False],
        [False, False, True, True, False],
    ]
    answers = [model.decode(a.prompt_ids) for a in trajectory.actions if a.kind == "answer"]
    assert len(answers) == 2
    assert all([unit in prompt for unit in UNITS] == [False] * 4 + [True] for prompt in answers)


def test_writing_the_tail_leaves_nothing_but_delta(model: Model) -> None:
    [trajectory] = agent(model, {0: ["[]"] * 3}, write_tail=True).run([story()])
    assert [write.units for write in trajectory.writes] == [(0, 1), (2, 3), (4,)]
    assert trajectory.tail == () and trajectory.context_tokens == 0
    answers = [model.decode(a.prompt_ids) for a in trajectory.actions if a.kind == "answer"]
    assert not any(unit in prompt for unit in UNITS for prompt in answers)


def test_pairs_are_written_duplicates_refused_and_corrections_replace_the_rehearsal(model: Model) -> None:
    [trajectory] = agent(model, {0: [FIRST, SECOND]}).run([story()])
    first, second = trajectory.writes
    assert first.account.applied and first.account.pairs == 2 and first.account.rehearsed == 0
    # The same answer again is a duplicate, the empty one is refused; the new answer takes the old one's place.
    assert [pair.answer for pair in second.pairs] == ["In town."]
    assert len(second.dropped) == 2
    assert second.account.pairs == 1 and second.account.rehearsed == 1
    assert len(trajectory.ledger) == 3
    assert [delta.is_zero for delta in trajectory.deltas] == [True, False, False]
    assert [action.delta for action in trajectory.actions] == [0, 1, 2, 2]


def test_an_empty_extraction_leaves_delta_and_says_so(model: Model) -> None:
    [trajectory] = agent(model, {0: ["nothing here", "[]"]}).run([story()])
    assert [write.status for write in trajectory.writes] == ["no_array", "empty"]
    assert all(not write.account.applied and write.account.reason for write in trajectory.writes)
    assert all(delta.is_zero for delta in trajectory.deltas)


def test_a_batch_gives_what_each_episode_gives_alone(model: Model) -> None:
    stories = [story("one"), story("two", UNITS[:3])]
    together = agent(model, {0: [FIRST, SECOND], 1: [SECOND]}).run(stories)
    alone = [
        agent(model, {0: [FIRST, SECOND]}).run(stories[:1])[0],
        agent(model, {0: [SECOND]}).run(stories[1:])[0],
    ]
    for a, b in zip(together, alone, strict=True):
        assert a.answers == b.answers
        assert [action.output_ids for action in a.actions] == [action.output_ids for action in b.actions]
        for one, other in zip(a.deltas, b.deltas, strict=True):
            for name, value in one.b.items():
                torch.testing.assert_close(value, other.b[name], rtol=1e-3, atol=1e-5)


def test_the_same_seed_twice_is_bit_equal(model: Model) -> None:
    hot = Sampling(1.0)
    trajectories = [agent(model, {0: [FIRST, SECOND]}, building=hot, answering=hot).run([story()])[0] for _ in range(2)]
    assert trajectories[0].actions == trajectories[1].actions
    assert trajectories[0].deltas[-1].digest(0) == trajectories[1].deltas[-1].digest(0)


def test_a_known_question_is_in_the_prompt_and_makes_an_episode_of_its_own(model: Model) -> None:
    replies = {0: ["[]", "[]"], 1: ["[]", "[]"]}
    trajectories = agent(model, replies, question_known=True).run([story()])
    assert [list(trajectory.answers) for trajectory in trajectories] == [["q0"], ["q1"]]
    for trajectory, question in zip(trajectories, ("Where does Anna live?", "Who has cats?"), strict=True):
        prompts = [model.decode(a.prompt_ids) for a in trajectory.actions if a.kind == "extract"]
        assert all(question in prompt for prompt in prompts)


@pytest.mark.parametrize(("memory", "seen"), [("none", []), ("tail", [4]), ("full", [0, 1, 2, 3, 4])])
def test_what_the_other_memories_see(model: Model, memory: str, seen: list[int]) -> None:
    [trajectory] = agent(model, memory=memory).run([story()])
    prompt = model.decode(trajectory.actions[0].prompt_ids)
    assert [index for index, unit in enumerate(UNITS) if unit in prompt] == seen
    assert trajectory.writes == []


def test_a_full_history_that_does_not_fit_loses_its_oldest_units_and_counts_them(model: Model) -> None:
    units = tuple(f"{number} {UNITS[0]}" for number in range(800))
    [trajectory] = agent(model, memory="full").run([story("long", units)])
    assert 0 < trajectory.left_out < 800
    assert units[-1] in model.decode(trajectory.actions[0].prompt_ids)


def test_a_unit_longer_than_the_window_is_refused_in_one_line(model: Model) -> None:
    with pytest.raises(DataError, match="too long for the window") as error:
        agent(model).run([story("long", (UNITS[0] * 400,))])
    assert "\n" not in str(error.value)


def test_records_are_json_with_every_action_and_write(model: Model) -> None:
    [trajectory] = agent(model, {0: [FIRST, SECOND]}).run([story()])
    records = [json.loads(json.dumps(record)) for record in trajectory.records()]
    assert [record["type"] for record in records] == ["action", "write", "action", "write", "action", "action", "end"]
    assert records[1]["account"]["pairs"] == 2


def test_log_probs_are_those_of_the_delta_in_force(model: Model, loaded_score: Callable[..., Any]) -> None:
    [trajectory] = agent(model, {0: [FIRST, SECOND]}).run([story()])
    fast = model.fast(agent(model).recipe)
    for action in trajectory.actions:
        again = loaded_score(
            model, [action.prompt_ids], [action.output_ids], trajectory.deltas[action.delta], fast, [0]
        )
        torch.testing.assert_close(again[0], torch.tensor(action.logprobs), rtol=1e-4, atol=1e-5)


@pytest.fixture
def loaded_score() -> Callable[..., Any]:
    from tmem.model.score import logprobs

    return logprobs


def test_a_pair_too_long_to_train_on_is_listed_and_leaves_the_old_answer_alone(model: Model) -> None:
    recipe = model.recipe("sgd", lr=0.5, max_tokens=60)
    second = array(("Who has cats?", " ".join(f"nobody{number}" for number in range(60))), ("Where is it?", "There."))
    [trajectory] = agent(model, {0: [FIRST, second]}, recipe=recipe).run([story()])
    write = trajectory.writes[1]
    assert [pair.question for pair in write.pairs] == ["Where is it?"] and write.account.rehearsed == 2
    assert [drop.text for drop in write.dropped] == ["Who has cats?"]
    assert "more than the recipe's 60" in write.dropped[0].reason
    assert all("nobody" not in pair.answer for pair in trajectory.ledger)


def test_of_a_history_that_does_not_fit_extraction_sees_the_newest_pairs(model: Model) -> None:
    first = array(*((f"What is the number of box {number}?", f"It is {number}.") for number in range(60)))
    replies = {0: [first, "[]"]}
    whole = agent(model, replies, prompts=PROMPTS["paper"]).run([story()])[0].actions[1].prompt_ids
    narrow = copy(model)
    narrow.settings = model.settings.model_copy(update={"window": len(whole) - 10})
    [trajectory] = agent(narrow, replies, prompts=PROMPTS["paper"]).run([story()])
    seen = model.decode(trajectory.actions[1].prompt_ids)
    assert "box 59?" in seen and "box 0?" not in seen and UNITS[2] in seen
