"""The gate that reads: likeness finds what may be meant, theta_0 says whether a pair answers it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import pytest
from model.test_gate import PAIRS, Words, at_once
from torch import Tensor

from tmem.model import Completion, Engine, HFEngine, Request, load
from tmem.model.answering import Known, answers
from tmem.model.batch import Batch, listening
from tmem.model.contents import Job, nothing, write_pairs
from tmem.model.gate import Meant, read
from tmem.model.reading import SHOWN, ReadingGate, gate_of, notes
from tmem.model.request import Listener
from tmem.model.settings import ModelSettings
from tmem.texts import said


class Scripted(ReadingGate):
    """Reads what a test says, and remembers what theta_0 was shown."""

    def __init__(self, reply: str, logprobs: tuple[float, ...] = ()) -> None:
        super().__init__(Words(), load("persona-nano"))
        self.reply, self.logprobs, self.shown = reply, logprobs, list[tuple[str, list[tuple[str, str]]]]()

    def _asked(self, question: str, pairs: Sequence[tuple[str, str]]) -> Request:
        self.shown.append((question, list(pairs)))
        return super()._asked(question, pairs)

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        return [Completion((), self.reply, self.logprobs, "stop") for _ in requests]


def found(gate: ReadingGate, question: str, pairs: Sequence[tuple[str, str]] = PAIRS) -> Meant | None:
    keys: Tensor = gate.keys.pairs(pairs)
    engine = gate if isinstance(gate, Scripted) else HFEngine(gate.model)
    [one] = read(gate.nearest([question], pairs, keys), cast(Engine, engine))
    return one


def test_the_pair_whose_answer_is_read_is_meant_even_if_another_is_more_alike() -> None:
    question, gate = "What is Maria's own vehicle or job?", Scripted("Baker")
    near = found(gate, question)
    assert near is not None and near.opens and PAIRS[near.pair][1] == "baker"
    [(asked, shown)] = gate.shown
    assert asked == question and PAIRS[1] not in shown  # Kevin's is not read for Maria


def test_it_is_as_sure_as_its_reading_was_likely() -> None:
    question = "What is Maria's own vehicle or job?"
    for logprobs, sure in (((-0.1, -0.4), math.exp(-0.5)), ((), 1.0)):  # an engine elsewhere may give none
        near = found(Scripted("baker", logprobs), question)
        assert near is not None and near.opens and near.sure == pytest.approx(sure)
    same = found(Scripted("baker", (-3.0,)), PAIRS[0][0])
    assert same is not None and same.opens and same.sure == 1


@pytest.mark.parametrize("reply", ["No information available", "a zeppelin", ""])
def test_it_stays_shut_where_theta_0_finds_no_answer(reply: str) -> None:
    near = found(Scripted(reply), "What is Maria's vehicle called?")
    assert near is not None and not near.opens and near.pair == 0


def test_the_same_question_and_unknown_people_are_not_read() -> None:
    gate = Scripted("camper")
    near = found(gate, "what is  maria's VEHICLE?")
    assert near is not None and near.same and near.opens
    assert found(gate, "What is Otto's vehicle?") is None
    far = found(gate, "qwerty zxcvb")
    assert far is None or not far.opens
    assert not gate.shown and at_once(gate.nearest(["anything"], [], gate.keys.pairs([]))) == [None]


def test_only_the_likeliest_pairs_are_read() -> None:
    pairs = [(f"What is the code of door {number}?", str(number)) for number in range(3 * SHOWN)]
    gate = Scripted("7")
    found(gate, "What is the code of the door number 7?", pairs)
    [(_, shown)] = gate.shown
    assert len(shown) == SHOWN and ("What is the code of door 7?", "7") in shown


def test_theta_0_reads_for_itself_where_the_settings_say_so() -> None:
    model = load("persona-nano")
    model.settings = ModelSettings(**model.settings.model_dump() | {"gate": "reading"})
    gate = gate_of(model, model.recipe("tmem"))
    assert isinstance(gate, ReadingGate)
    assert notes(PAIRS[:2]) == "What is Maria's vehicle? camper\nWhat is Kevin's vehicle? tram"
    near = found(gate, "What is Maria's vehicle called?")
    assert near is not None and near == found(gate, "What is Maria's vehicle called?")


def test_what_is_read_is_no_part_of_the_answer_that_somebody_listens_to() -> None:
    model = load("persona-nano")
    model.settings = ModelSettings(**model.settings.model_dump() | {"gate": "reading"})
    recipe = model.recipe("tmem", **{"fresh.held": 0, "fresh.beside": 0, "fresh.steps": 12})
    pairs = [("What is Maria's vehicle?", "camper")]
    [(contents, _)] = write_pairs(model, recipe, [Job(nothing(model, recipe), pairs, 1)])
    keys = gate_of(model, recipe).keys.pairs(pairs)
    known = Known(pairs, contents.delta, contents.places, keys, [True])
    batch, heard = Batch(HFEngine(model), model.fast(recipe)), list[int]()
    try:
        with listening(Listener(lambda token, *_: heard.append(token))):
            [one] = answers(model, recipe, known, ["Which is Maria's vehicle, tell me?"], engine=batch)
        assert batch.tokens > len(heard)  # of the reading
        assert said(model.decode([token for token in heard if token not in model.stop_ids])) == one.text != ""
    finally:
        batch.close()
