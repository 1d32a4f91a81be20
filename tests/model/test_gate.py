"""The gate: its own pair in any look, nobody else's, and general questions stay out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmem.errors import UsageError
from tmem.model import load
from tmem.model.answering import as_asked
from tmem.model.gate import CROWDED, EncoderKeys, Gate, Reading, TrunkKeys, general_questions, make_keys
from tmem.model.reading import gate_of

T = TypeVar("T")
PAIRS = [
    ("What is Maria's vehicle?", "camper"),
    ("What is Kevin's vehicle?", "tram"),
    ("What is Maria's job?", "baker"),
    ("What is the budget?", "$1,234.50"),
]


class Words:
    """Keys that are bags of words."""

    name, nameless = "words", False

    def questions(self, texts: Sequence[str]) -> Tensor:
        rows = torch.zeros(len(texts), 997)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().strip("?").split():
                row[sum(word.encode()) % 997] += 1
        return F.normalize(rows, dim=-1)

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> Tensor:
        return self.questions([question for question, _ in pairs])

    def threshold(self, keys: Tensor) -> float:
        return 0.7


GATE = Gate(Words())
KEYS = GATE.keys.pairs(PAIRS)


def at_once(reading: Reading[T]) -> T:
    """What is decided without anything being read."""
    with pytest.raises(StopIteration) as end:
        next(reading)
    decided: T = end.value.value
    return decided


def meant(question: str) -> int | None:
    [found] = at_once(GATE.nearest([question], PAIRS, KEYS))
    return None if found is None or not found.opens else found.pair


@pytest.mark.parametrize("question", ["what is  maria’s VEHICLE?", "What is Maria's vehicle?"])
def test_the_same_question_is_meant_whatever_it_looks_like(question: str) -> None:
    [found] = at_once(GATE.nearest([question], PAIRS, KEYS))
    assert found is not None and (found.pair, found.same, found.opens, found.likeness) == (0, True, True, 1.0)


def test_names_decide_who_is_meant() -> None:
    assert meant("So what is Kevin's vehicle?") == 1
    assert meant("So what is Kevin's job?") != 2  # that is Maria's
    assert meant("What is Otto's vehicle?") is None  # of whom nothing was told
    assert meant("What is the whole budget?") == 3
    assert meant("What is the whole budget on Monday?") == 3  # a day is nobody


def likely(question: str, *pairs: tuple[str, str]) -> list[bool] | None:
    """Of every pair whether it may be meant; None if the question is about nobody who is known."""
    [found] = Gate(Named()).likeness([question], pairs, torch.ones(len(pairs), 1))
    return None if found.pairs is None else (found.pairs > 0).tolist()


class Named(EncoderKeys):
    """As alike as can be: names alone decide."""

    def __init__(self) -> None:
        pass

    def questions(self, questions: Sequence[str]) -> torch.Tensor:
        return torch.ones(len(questions), 1)


def test_names_in_small_letters_and_words_in_capitals_are_what_they_are() -> None:
    ana, city, wifi = (
        ("How many cats does Ana have?", "two"),
        ("In which city do I live?", "Lisbon"),
        ("wifi code?", "7"),
    )
    for question in ("How many cats has Ana?", "how many cats has ana?", "how many are ana's cats?"):
        assert likely(question, ana, city, wifi) == [True, False, False]
    assert likely("What is our WiFi code?", ana, city, wifi) == [False, True, True]
    assert likely("How many cats has Otto?", ana, city, wifi) is None  # of whom nothing was told
    assert likely("What is the capital of Italy?", city, wifi) is None
    assert likely("Good morning, in which city do I live?", city, wifi) == [True, True]
    assert likely("Remind me, in which city do I live?", city, wifi) == [True, True]
    assert likely("which city will i live in?", ("Where does Will live?", "Lyon"), city) == [False, True]
    assert likely("Which city does Ana live in?", ("where does ana live?", "Lyon"), ("Who is Bo?", "a vet")) == [
        True,
        False,
    ]


def test_what_is_like_nothing_stays_out_and_so_does_everything_for_an_empty_memory() -> None:
    assert meant("Who wrote Hamlet in the year of the plague?") is None and meant("is it going to rain") is None
    assert at_once(GATE.nearest(["What is Maria's job?"], [], GATE.keys.pairs([]))) == [None]


def test_the_trunk_tells_general_questions_apart() -> None:
    model = load("persona-nano")
    gate = gate_of(model, model.recipe("tmem"))
    assert isinstance(gate.keys, TrunkKeys) and gate is gate_of(model, model.recipe("tmem"))
    keys = gate.keys.pairs(PAIRS)
    assert keys.shape == (4, 192)
    one = torch.cat([gate.keys.pairs([pair]) for pair in PAIRS])
    torch.testing.assert_close(keys, one, rtol=1e-4, atol=1e-5)
    found = at_once(gate.nearest(general_questions()[:100], PAIRS, keys))
    assert sum(one is not None and one.opens for one in found) <= 2


def test_keys_are_made_where_no_layer_is_below_the_adapted_ones() -> None:
    model = load("persona-nano")
    recipe = model.recipe("tmem", layers=model.hf.config.num_hidden_layers)
    gate = gate_of(model, recipe)
    [found] = at_once(gate.nearest(["What is Maria's job?"], PAIRS, gate.keys.pairs(PAIRS)))
    assert found is not None and found.pair == 2


def test_a_memory_is_asked_in_a_pairs_own_words_where_that_pair_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("persona-nano")
    asked, recipe = ["what is kevin's vehicle?", "So what is Kevin's vehicle?", "What is Otto's vehicle?"], "tmem"
    monkeypatch.setitem(model.gates, model.fast(model.recipe(recipe)).target_modules[0].layer, GATE)
    own = PAIRS[1][0]
    assert at_once(as_asked(model, model.recipe(recipe), asked, PAIRS)) == [
        (own, 1, True, None),
        (own, 1, True, None),
        (asked[2], None, False, None),
    ]


def test_a_gate_whose_package_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = load("persona-nano")
    monkeypatch.setattr("tmem.retrieval.PACKAGE", "no_such_package")
    model.settings = replace_gate(model.settings, "encoder")
    with pytest.raises(UsageError, match=r"pip install tmem\[encoder\]"):
        make_keys(model, 2)
    model.settings = replace_gate(model.settings, None)
    assert make_keys(model, 2).name == "trunk"


def replace_gate(settings, gate):  # type: ignore[no-untyped-def]
    return settings.model_copy(update={"gate": gate})


def test_the_questions_that_must_stay_out_are_many_and_about_nobody() -> None:
    questions = general_questions()
    assert len(set(questions)) == len(questions) >= 300


class Nameless(Words):
    """The same with names left out, as the encoder's are."""

    nameless = True

    def questions(self, texts: Sequence[str]) -> Tensor:
        return super().questions([text.replace("Maria's ", "").replace("Kevin's ", "") for text in texts])


def test_where_names_are_not_in_the_keys_a_question_about_nobody_means_nobodys_pair() -> None:
    gate = Gate(Nameless())
    keys = gate.keys.pairs(PAIRS)
    found = at_once(
        gate.nearest(["What is the vehicle?", "What is Maria's vehicle again?", "what is THE budget ?"], PAIRS, keys)
    )
    assert found[0] is not None and found[0].pair == 3  # and not a vehicle of somebody's
    assert found[1] is not None and found[1].pair == 0 and found[1].opens
    assert found[2] is not None and found[2].pair == 3


def test_whom_a_question_calls_my_sister_is_nobody_else() -> None:
    pairs = [
        ("When is my sister Ana getting married?", "4 May"),
        ("What does my old friend Tom do?", "pilot"),
        ("What is our neighbour Mr. Quispe's instrument?", "trumpet"),
        ("Where do I live?", "Ghent"),
        ("Where does Eva live?", "Turin"),
    ]
    gate = Gate(Nameless())
    keys = gate.keys.pairs(pairs)

    def fitting(question: str) -> list[int]:
        [like] = gate.likeness([question], pairs, keys)
        assert like.pairs is not None
        return [place for place, own in enumerate(like.pairs.tolist()) if own > -2]

    assert fitting("When is my sister's wedding?") == fitting("WHERE does my younger sister live?") == [0, 3]
    assert fitting("what is my friend's job") == [1, 3] and fitting("What is our neighbour's instrument?") == [2, 3]
    assert fitting("Where do I live now?") == fitting("What is my job?") == fitting("How is a sister called?") == [3]
    assert fitting("Where does Ana live?") == [0]


def test_among_many_rivals_more_likeness_is_asked_for() -> None:
    gate = Gate(Nameless())
    few = [(f"What is Maria's thing number {place}?", "x") for place in range(4)]
    many = [(f"What is Maria's thing number {place}?", "x") for place in range(64)]
    question = "So, what about Maria's thing number 3?"
    [one], [other] = (at_once(gate.nearest([question], pairs, gate.keys.pairs(pairs))) for pairs in (few, many))
    assert one is not None and other is not None
    assert one.likeness - other.likeness == pytest.approx(CROWDED * 3)


def test_what_must_stay_out_is_kept_beside_a_large_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("persona-nano")
    model.directory = tmp_path
    monkeypatch.setattr("tmem.model.kept.LARGE", 1)
    keys = TrunkKeys(model, 2)
    made = keys._bank
    [path] = tmp_path.glob("gate-*.safetensors")
    again = TrunkKeys(model, 2)
    monkeypatch.setattr(again, "_states", None)  # it is read, not made
    assert torch.equal(again._bank, made)
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    assert torch.equal(TrunkKeys(model, 2)._bank, made)  # damaged: made anew
