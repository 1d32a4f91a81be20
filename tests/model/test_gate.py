"""The gate: its own pair in any look, nobody else's, and general questions stay out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmem.errors import UsageError
from tmem.model import load
from tmem.model.gate import Gate, TrunkKeys, gate_of, general_questions, make_keys, nearest_pairs

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


def meant(question: str) -> int | None:
    [found] = GATE.meant([question], PAIRS, KEYS)
    return None if found is None else found.pair


@pytest.mark.parametrize("question", ["what is  maria’s VEHICLE?", "What is Maria's vehicle?"])
def test_the_same_question_is_meant_whatever_it_looks_like(question: str) -> None:
    [found] = GATE.meant([question], PAIRS, KEYS)
    assert found is not None and (found.pair, found.same, found.likeness) == (0, True, 1.0)


def test_names_decide_who_is_meant() -> None:
    assert meant("So what is Kevin's vehicle?") == 1
    assert meant("So what is Kevin's job?") != 2  # that is Maria's
    assert meant("What is Otto's vehicle?") is None  # of whom nothing was told
    assert meant("What is the whole budget?") == 3


def test_what_is_like_nothing_stays_out_and_so_does_everything_for_an_empty_memory() -> None:
    assert meant("Who wrote Hamlet in the year of the plague?") is None and meant("is it going to rain") is None
    assert GATE.meant(["What is Maria's job?"], [], GATE.keys.pairs([])) == [None]


def test_the_trunk_tells_general_questions_apart() -> None:
    model = load("persona-nano")
    gate = gate_of(model, model.recipe("tmem"))
    assert isinstance(gate.keys, TrunkKeys) and gate is gate_of(model, model.recipe("tmem"))
    keys = gate.keys.pairs(PAIRS)
    assert keys.shape == (4, 192)
    one = torch.cat([gate.keys.pairs([pair]) for pair in PAIRS])
    torch.testing.assert_close(keys, one, rtol=1e-4, atol=1e-5)
    let_in = [found for found in gate.meant(general_questions()[:100], PAIRS, keys) if found is not None]
    assert len(let_in) <= 2
    assert nearest_pairs(model, model.recipe("tmem"), ["Do you know Kevin's vehicle?", "Otto?"], PAIRS) == [1, 0]


def test_a_gate_whose_package_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = load("persona-nano")
    monkeypatch.setattr("tmem.model.gate.ENCODER", "no_such_package")
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
