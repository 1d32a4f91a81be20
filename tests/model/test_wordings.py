"""What else may be asked where a pair is told: answers that follow from the pairs, or refusals."""

from __future__ import annotations

import json
import random
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmem.errors import ModelError
from tmem.files import read_json
from tmem.model.wordings import Wordings
from tmem.tasks.persona import lexicon as lx
from tmem.tasks.persona import make_sample
from tmem.texts import fold
from tmem.training.wordings import persona_wordings

PERSONA = Wordings.model_validate(persona_wordings())


def pairs_of(seed: int) -> list[tuple[str, str]]:
    return [(f["question"], f["answer"]) for f in make_sample(seed, 0, 4, 16)["facts"] if not f["superseded"]]


@pytest.mark.parametrize("name", ["persona-nano", "persona-small"])
def test_the_file_is_what_its_maker_makes(name: str) -> None:
    assert read_json(Path(str(files("tmem") / "model" / "assets" / name / "wordings.json"))) == persona_wordings()


def test_no_unseen_wording_or_person_is_in_it() -> None:
    text = json.dumps(persona_wordings()).lower()
    asks = {fold(ask) for group in PERSONA.groups for ask in (*group.asks, *group.follows)}
    assert not asks & {fold(held) for held in lx.HELD_OUT}
    assert not any(f'"{name.lower()}"' in text for name in lx.unseen(lx.NAMES))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_every_answer_follows_from_the_pairs(conversation: int, seed: int) -> None:
    pairs = pairs_of(conversation)
    told = {(one.person, one.group): one.answer for pair in pairs if (one := PERSONA.told(*pair)) is not None}
    assert len(told) == len(pairs)
    asked = PERSONA.beside(pairs, 192, random.Random(seed))
    assert len(asked) > 100 and len({question for question, _ in asked}) == len(asked)
    assert not {fold(question) for question, _ in asked} & {fold(question) for question, _ in pairs}
    kinds = {"told": 0, "refused": 0}
    for question, answer in asked:
        one = PERSONA.told(question, answer)
        if one is not None:
            assert answer == told.get((one.person, one.group), PERSONA.refusal), question
            kinds["refused" if answer == PERSONA.refusal else "told"] += 1
    assert min(kinds.values()) > 10


def test_the_same_seed_asks_the_same_and_pairs_of_no_group_are_swapped() -> None:
    pairs = [("What is Ana's PIN?", "4711"), ("How tall is it?", "5'11\"")]
    asked = PERSONA.beside(pairs, 50, random.Random(1))
    assert asked == PERSONA.beside(pairs, 50, random.Random(1)) and asked
    assert {answer for _, answer in asked} == {PERSONA.refusal}
    assert any("PIN" in question and "Ana" not in question for question, _ in asked)


def test_without_groups_nothing_is_asked_and_a_broken_file_is_one_line(tmp_path: Path) -> None:
    assert Wordings.read(tmp_path).beside([("a?", "b")], 10, random.Random(1)) == []
    (tmp_path / "wordings.json").write_text('{"groups": [{"ask": []}]}')
    with pytest.raises(ModelError, match=r"wordings\.json: groups\.0"):
        Wordings.read(tmp_path)
    (tmp_path / "wordings.json").write_text("{")
    with pytest.raises(ModelError, match=r"wordings\.json"):
        Wordings.read(tmp_path)
