"""Memories that are written from zero: theta_0 reads and extracts, the memory is heard on the bare question."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import random_adapter

import tmem.model.contents as contents_module
from tmem.agent.agent import Agent, Progress
from tmem.agent.episode import Ask, Episode
from tmem.agent.extraction import QAPair, parse
from tmem.agent.rollout import GATE
from tmem.agent.sharing import Shared
from tmem.agent.trajectory import Trajectory
from tmem.errors import DataError, UsageError
from tmem.fastweights import Recipe
from tmem.model import HFEngine, Model, Request, load
from tmem.model.answering import Asked, as_asked
from tmem.model.contents import Job, nothing, write_pairs
from tmem.model.gate import Reading
from tmem.model.settings import ModelSettings
from tmem.model.wordings import Wordings
from tmem.policies import make_agent
from tmem.policies.weights import joined
from tmem.tasks.persona import Persona

QUICK = {"fresh": {"steps": 3, "steps_per_pair": 0, "held": 0, "block": 4}}


@pytest.fixture(scope="module")
def model() -> Model:
    return load("persona-nano")


def agent(model: Model, memory: str, **changes: Any) -> Agent:
    recipe = changes.pop("recipe", model.recipe("tmem", **QUICK))
    how = {"write_tail": True, "keep_deltas": True, "question_known": False} | changes
    return make_agent(model, recipe, memory, **how)


def lived(model: Model, memory: str, **changes: Any) -> Trajectory:
    [task] = Persona(8, 1).tasks(3)
    [trajectory] = agent(model, memory, **changes).run([task.episode])
    return trajectory


def test_extraction_does_not_know_the_memory_and_answers_hear_it_on_the_bare_question(model: Model) -> None:
    trajectory = lived(model, "gold")
    assert len(trajectory.writes) == 2 and all(write.account.applied for write in trajectory.writes)
    [task] = Persona(8, 1).tasks(3)
    answers = {action.question: action for action in trajectory.actions if action.kind == "answer"}
    written = [model.bare(pair.question) for pair in trajectory.ledger]
    for ask in task.episode.asks:
        action = answers[ask.id]
        assert list(action.prompt_ids) in [model.bare(ask.text), *written]  # its pair's words, or where none is meant
        assert action.voices is None and action.row is not None
    assert 0 < sum(list(action.prompt_ids) in written for action in answers.values()) < len(answers)
    assert trajectory.deltas[-1].sessions > 1 and len({action.row for action in answers.values()}) > 1
    rows = [row for write in trajectory.writes for row in write.rows]
    assert len(rows) == len(trajectory.ledger) and max(rows) < trajectory.deltas[-1].sessions
    own = lived(model, "tmem")
    extracted = [action.output_ids for action in own.actions if action.kind == "extract"]
    plain = [action.output_ids for action in lived(model, "pairs").actions if action.kind == "extract"]
    assert extracted == plain and all(action.row is None for action in own.actions if action.kind == "extract")


def test_an_episode_reads_for_its_gate_with_the_model_s_reader(tmp_path: Path) -> None:
    model = load("persona-nano")
    model.settings = ModelSettings(**model.settings.model_dump() | {"gate": "reading"})
    random_adapter(model.hf, tmp_path, ["model.layers.1.mlp.up_proj"])
    model.read_with(tmp_path)
    read = [action for action in lived(model, "gold").actions if action.kind == GATE]
    assert read
    asked = [Request(one.prompt_ids, max_new_tokens=model.settings.max_new_tokens_answer) for one in read]
    ids = [one.output_ids for one in read]
    assert ids == [done.ids for done in HFEngine(model.reader).generate(asked)]
    assert ids != [done.ids for done in HFEngine(model).generate(asked)]


def test_written_once_the_memory_is_the_same(model: Model) -> None:
    every, once = (lived(model, "gold", keep_deltas=False, write_once=own) for own in (False, True))
    assert once.answers == every.answers and once.ledger == every.ledger
    heard = [[(one.row, one.output_ids, one.logprobs) for one in own.actions] for own in (every, once)]
    assert heard[0] == heard[1]
    tokens = [[write.account.tokens for write in own.writes] for own in (every, once)]
    assert tokens[1][0] == 0 < tokens[1][1] < sum(tokens[0])
    kept = lived(model, "gold", write_once=True)  # who wants every Delta gets every Delta
    assert len(kept.deltas) == 3 and [write.account.tokens for write in kept.writes] == tokens[0]


def test_memories_that_share_generate_and_write_nothing_twice(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Job] = []
    monkeypatch.setattr("tmem.agent.agent.write_pairs", lambda *args: written.extend(args[2]) or write_pairs(*args))
    [task] = Persona(8, 1).tasks(3)

    def both(memory: str, shared: Shared) -> tuple[int, int]:
        """Tokens read and said, and memories written, of a run that shares; it is the run that does not."""
        done, alone = Progress(), lived(model, memory)
        written.clear()
        [own] = agent(model, memory, shared=shared).run([task.episode], lambda now: done.__dict__.update(now.__dict__))
        assert own.answers == alone.answers and own.ledger == alone.ledger
        assert [one.output_ids for one in own.actions] == [one.output_ids for one in alone.actions]
        assert [write.account.loss for write in own.writes] == [write.account.loss for write in alone.writes]
        assert own.seconds.keys() == alone.seconds.keys() and min(own.seconds.values()) > 0
        return done.tokens, len(written)

    shared = Shared()
    assert both("lookup", shared)[0] > 0 and both("lookup", shared) == (0, 0)
    tokens, writes = both("tmem", shared)
    assert writes == 2 and 0 < tokens < both("tmem", Shared())[0]
    assert both("tmem+rag", shared)[1] == 0 < both("tmem+rag", Shared(room=10))[1]  # no room for B


def with_surety(sure: bool) -> Callable[..., Reading[list[Asked]]]:
    """How a memory is asked, as by a gate for which theta_0 read and was as sure."""

    def asked(*given: Any) -> Reading[list[Asked]]:
        return [one._replace(sure=sure) for one in (yield from as_asked(*given))]

    return asked


def test_where_there_is_text_a_memory_answers_if_its_gate_is_sure_and_alone(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heard(of: Trajectory) -> list[Any]:
        return [(one.output_ids, one.logprobs, one.voices) for one in of.actions if one.kind == "answer"]

    alone, text, both = (lived(model, memory) for memory in ("tmem", "rag", "tmem+rag"))
    assert heard(both) != heard(text)
    monkeypatch.setattr("tmem.policies.weights.as_asked", with_surety(False))
    assert heard(lived(model, "tmem+rag")) == heard(text)
    assert lived(model, "tmem").answers == alone.answers  # where there is no text it is all there is
    monkeypatch.setattr("tmem.policies.weights.as_asked", with_surety(True))
    assert heard(lived(model, "tmem+rag")) == heard(alone)


def test_blocks_of_many_memories_are_trained_a_few_at_a_time(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = model.recipe("tmem", **QUICK)
    told = [[(f"What is number {one} of list {own}?", f"{one * own}") for one in range(6)] for own in range(1, 4)]
    jobs = [Job(nothing(model, recipe), pairs, len(pairs)) for pairs in told]
    together, parts = write_pairs(model, recipe, jobs), list[int]()
    assert sum(len(contents.blocks) for contents, _ in together) == 12
    trained = contents_module.write_fresh
    monkeypatch.setattr(contents_module, "ON_A_CPU", 5)
    monkeypatch.setattr(contents_module, "write_fresh", lambda *args: parts.append(len(args[1])) or trained(*args))
    apart = write_pairs(model, recipe, jobs)
    assert parts == [5, 5, 2]
    for (one, account), (other, same) in zip(together, apart, strict=True):
        assert (one.blocks, one.places, account.tokens) == (other.blocks, other.places, same.tokens)
        assert account.loss == pytest.approx(same.loss, rel=1e-4)
        for name, b in one.delta.b.items():
            torch.testing.assert_close(other.delta.b[name], b, rtol=1e-3, atol=1e-4)


def test_a_memory_that_cannot_be_written_once_is_an_error(model: Model) -> None:
    with pytest.raises(DataError, match=r"cannot be written: .*finite"):
        lived(model, "gold", keep_deltas=False, write_once=True, recipe=model.recipe("tmem", **QUICK, lr=1e30))


def test_a_unit_far_longer_than_a_working_context_is_read_in_parts() -> None:
    model = load("persona-nano")
    model.settings = model.settings.model_copy(update={"budget": 40})
    [task] = Persona(8, 1).tasks(3)
    [trajectory] = agent(model, "tmem", extractions=2).run([task.episode])
    assert [write.units for write in trajectory.writes] == [(0,), (1,)]
    read = [action for action in trajectory.actions if action.kind == "extract"]
    for unit, write in zip(task.episode.units, trajectory.writes, strict=True):
        date, _, *said = ("".join(line.split()) for line in re.split(r"\n|(?<=[.?!]) ", unit))
        own = [(one, prompt) for one in read if date in (prompt := "".join(model.decode(one.prompt_ids).split()))]
        parts = {prompt for _, prompt in own}
        assert len(parts) > 1 and len(own) == 2 * len(parts)  # each is read twice
        assert all(any(sentence in part for part in parts) for sentence in said)
        found = {pair.question for one, _ in own for pair in parse(one.text).pairs}
        assert {pair.question for pair in write.pairs} <= found
    assert len(trajectory.ledger) > 2
    assert len([one for one in lived(model, "tmem", budget=1000).actions if one.kind == "extract"]) == 1


@pytest.mark.parametrize("memory", ["tmem+full", "tmem+rag", "tmem+explicit"])
def test_beside_text_the_memory_is_a_voice(model: Model, memory: str) -> None:
    trajectory = lived(model, memory)
    [task] = Persona(8, 1).tasks(3)
    asks = {ask.id: ask for ask in task.episode.asks}
    for action in trajectory.actions:
        if action.kind == "answer":
            assert action.voices is not None and action.row is not None and action.question is not None
            written = [model.bare(pair.question) for pair in trajectory.ledger]
            assert list(action.voices.prompt_ids) in [model.bare(asks[action.question].text), *written]
            assert len(action.prompt_ids) > len(action.voices.prompt_ids)
            assert action.voices.refusal == model.refusal
            fresh = agent(model, memory).recipe.fresh
            assert fresh is not None and fresh.voice != fresh.voice_notes
            assert action.voices.weight == (fresh.voice if memory == "tmem+full" else fresh.voice_notes)


@pytest.mark.parametrize("memory", ["gold+full", "full"])
def test_of_a_history_so_much_is_shown_that_every_question_fits(model: Model, memory: str) -> None:
    words, numbers = "Where does Ana live now that she has left?", "47110815 99421234"
    assert len(words) > len(numbers) and model.count(words) < model.count(numbers)
    window, own = 256, copy.copy(model)
    own.settings = model.settings.model_copy(update={"window": window})
    limit = own.settings.max_new_tokens_answer
    units = tuple("Ana: yes." for _ in range(2 * window))
    episode = Episode("me", units, (Ask("w", words), Ask("n", numbers)), answer_tokens=limit)
    [trajectory] = agent(own, memory).run([episode])
    lengths = {action.question: len(action.prompt_ids) for action in trajectory.actions if action.kind == "answer"}
    assert lengths["w"] < lengths["n"] <= window - limit and 0 < trajectory.left_out < len(units)


@pytest.mark.parametrize("memory", ["pairs", "lookup"])
def test_a_control_has_the_same_pairs_and_trains_nothing(model: Model, memory: str) -> None:
    trajectory = lived(model, memory)
    assert trajectory.ledger == lived(model, "tmem").ledger and trajectory.ledger
    assert trajectory.deltas == [] and not any(write.account.steps for write in trajectory.writes)
    assert all(action.row is None and action.voices is None for action in trajectory.actions)


def test_what_holds_again_is_a_correction_and_what_holds_anyway_is_not_told_twice(model: Model) -> None:
    question, told = "Where does Ana live?", ["Lisbon", "Porto", "Lisbon", "Lisbon"]
    gold = tuple((question, place, unit) for unit, place in enumerate(told))
    units = tuple(f"Ana: I live in {place} now." for place in told)
    [trajectory] = agent(model, "gold:pairs", budget=1).run([Episode("me", units, (Ask("q", question),), gold=gold)])
    assert [pair.answer for pair in trajectory.ledger] == told[:3]
    assert trajectory.memory_size["pairs"] == 1 and len(trajectory.writes[3].dropped) == 1


def test_a_lookup_says_the_answer_of_the_pair_that_the_gate_names(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    [task] = Persona(8, 1).tasks(3)
    asks = task.episode.asks

    def first_two(*given: Any) -> Reading[list[Asked]]:
        yield from ()
        return [Asked("", place, opens=place == 0) for place in range(len(asks))]

    monkeypatch.setattr("tmem.policies.weights.as_asked", first_two)
    trajectory = lived(model, "lookup")
    assert trajectory.answers[asks[0].id] == trajectory.ledger[0].answer
    assert {trajectory.answers[ask.id] for ask in asks[1:]} == {model.wordings.refusal}
    assert {action.kind for action in trajectory.actions} == {"extract"}


def test_many_rollouts_at_once_say_what_each_says_alone(model: Model) -> None:
    tasks = list(Persona(8, 3).tasks(4))
    together = agent(model, "tmem").run([task.episode for task in tasks])
    for task, trajectory in zip(tasks, together, strict=True):
        [alone] = agent(model, "tmem").run([task.episode])
        assert [write.pairs for write in trajectory.writes] == [write.pairs for write in alone.writes]
        assert trajectory.deltas[-1].sessions == alone.deltas[-1].sessions
        assert trajectory.answers == alone.answers


def test_a_context_that_is_read_again_gives_more(model: Model) -> None:
    once, often = lived(model, "pairs"), lived(model, "pairs", extractions=4)
    assert often.memory_size["pairs"] >= once.memory_size["pairs"]
    assert sum(action.kind == "extract" for action in often.actions) == 8
    assert lived(model, "pairs", extractions=4).actions == often.actions


def test_of_several_readings_the_answer_of_most_is_kept() -> None:
    readings = [[QAPair("A?", "x"), QAPair("B?", "u")], [QAPair("a?", "y")], [QAPair("A?", "Y"), QAPair("C?", "v")]]
    assert joined(readings) == [QAPair("a?", "y"), QAPair("B?", "u"), QAPair("C?", "v")]
    assert joined([[QAPair("A?", "x")], [QAPair("A?", "y")]]) == [QAPair("A?", "x")]


@pytest.mark.parametrize("memory", ["tmem:text", "tmem:summary"])
def test_running_text_is_not_written_from_zero(model: Model, memory: str) -> None:
    with pytest.raises(UsageError, match="choose the recipe sgd or paper"):
        lived(model, memory)


def test_what_an_english_model_was_never_told_is_refused_or_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("persona-nano")
    model.settings = model.settings.model_copy(update={"prompts": "english"})
    model.wordings = Wordings()

    def first_alone(model: Model, recipe: Recipe, questions: list[str], pairs: list[Any]) -> Reading[list[Asked]]:
        yield from ()
        return [Asked(question, 0, opens=place == 0) for place, question in enumerate(questions)]

    monkeypatch.setattr("tmem.policies.weights.as_asked", first_alone)
    [task] = Persona(8, 1).tasks(3)
    first, *others = [ask.id for ask in task.episode.asks]
    alone = lived(model, "gold")
    assert [action.question for action in alone.actions if action.kind == "answer"] == [first]
    assert all(alone.answers[name] == "No information available" for name in others)
    beside = {action.question: action for action in lived(model, "gold+full").actions if action.kind == "answer"}
    assert beside[first].voices is not None and list(beside) == [first, *others]
    assert all(beside[name].voices is None and beside[name].row is None for name in others)  # theta_0 reads the text
