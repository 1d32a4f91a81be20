"""The write card on a real model of the smallest size: every figure from what was asked, own questions, bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tmem.cli.card import table
from tmem.errors import DataError, UsageError
from tmem.evaluation.card import Asked, Harm, asked, card, figure
from tmem.model import load

PAIRS = [
    ("What is Maria's vehicle?", "camper", "How does Maria get around?"),
    ("What is Kevin's job?", "baker", "What does Kevin do for a living?"),
    ("What is Otto's PIN?", "4711", "Tell me Otto's PIN."),
]
QUESTIONS = Asked(PAIRS, ["Who wrote Hamlet?", "what is 2 + 2"], ["What is Pia's job?", "What is Maria's job?"])


def test_a_card_counts_what_was_asked() -> None:
    model = load("persona-nano")
    result = card(model, model.recipe("tmem"), [1, 3], QUESTIONS)
    one, three = result["sizes"]
    assert result["gate"] == "trunk" and (one["pairs"], three["pairs"], three["blocks"]) == (1, 3, 1)
    assert three["ask, same words"]["em"]["mean"] == 1.0 == one["ask, same words"]["em"]["mean"]
    assert three["ask, new words"]["f1"]["mean"] >= 2 / 3
    assert three["never told, refused"]["mean"] == 1.0 and three["general, as theta_0"]["mean"] == 1.0
    assert three["general, in force"]["divergence"] > 0 and three["tokens"] > one["tokens"] > 0
    shown = table(result)
    assert shown.row_count > 12 and [column.header for column in shown.columns][1:] == ["1 pairs", "3 pairs"]
    assert "never told: refused" in figure(result).svg
    json.dumps(result)


def test_a_recipe_of_sgd_has_a_card_too() -> None:
    model = load("persona-nano")
    result = card(model, model.recipe("sgd", epochs=2), [2], QUESTIONS)
    [entry] = result["sizes"]
    assert result["gate"] is None and "ask, new words" not in entry and entry["steps"] == 2
    assert table(result).row_count > 8 and figure(result).svg


def test_the_questions_of_the_package_do_not_meet() -> None:
    own = asked()
    assert len(own.pairs) == 400 and len(own.general) >= 200 and len(own.never) == 220
    written = {question for question, _, _ in own.pairs}
    assert not written & {reworded for _, _, reworded in own.pairs} and not written & set(own.never)
    assert len(written) == 400


def test_what_one_chooses_by_is_not_reported() -> None:
    chosen, own = asked(reported=False), asked()
    assert len(chosen.pairs) == 80 and not set(chosen.pairs) & set(own.pairs)
    assert len(chosen.never) == 220 and not set(chosen.never) & set(own.never)


def test_an_empty_memory_does_no_harm() -> None:
    model = load("persona-nano")
    fast, harm = model.fast(model.recipe("tmem")), Harm(model, QUESTIONS.general)
    assert harm.divergence(fast, fast.zeros(1)) == pytest.approx(0.0, abs=1e-6)


def test_what_cannot_be_asked_is_one_line(tmp_path: Path) -> None:
    model = load("persona-nano")
    with pytest.raises(UsageError, match="sizes must be from 1 to 3"):
        card(model, model.recipe("tmem"), [4], QUESTIONS)
    path = tmp_path / "own.jsonl"
    path.write_text('{"question": "a?", "answer": "b", "reworded": "c?"}\n{"question": "a?"}\n')
    with pytest.raises(DataError, match=r"own\.jsonl: row 2 needs"):
        asked(path)
    path.write_text('{"question": "a?", "answer": "b", "reworded": "c?"}\nnot json\n')
    with pytest.raises(DataError, match=r"own\.jsonl: line 2"):
        asked(path)
    path.write_text('{"question": "a?", "answer": "b", "reworded": "c?"}\n')
    assert asked(path).pairs == [("a?", "b", "c?")]
