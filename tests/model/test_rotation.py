"""Models that rotate by length: what a text gets depends neither on its neighbours nor on how it was read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from helpers import tiny
from references import assert_same, one_by_one, prompt, teacher_forced, with_memories
from transformers import AutoModelForCausalLM

from tmem.errors import UsageError
from tmem.model import HFEngine, Model, Request, load

SWITCH, LONGEST = 64, 256
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [1.0, 4.0, 16.0, 64.0],
}
BY_LENGTH: dict[str, tuple[str, dict[str, Any]]] = {
    "longrope": (
        "phi3",
        {
            "rope_parameters": LONGROPE,
            "original_max_position_embeddings": SWITCH,
            "max_position_embeddings": LONGEST,
            "sliding_window": None,
        },
    ),
    "dynamic": (
        "llama",
        {
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
            "max_position_embeddings": SWITCH,
        },
    ),
}
SHORT = Request(prompt(20), memory=1, max_new_tokens=16)
LONG = Request(prompt(100), memory=0, max_new_tokens=16)


def make(directory: Path, kind: str, window: int | None = None) -> Path:
    """A checkpoint that rotates otherwise beyond :data:`SWITCH` tokens."""
    family, settings = BY_LENGTH[kind]
    hf = tiny(family, vocab_size=checkpoints.VOCABULARY, eos_token_id=0, pad_token_id=1, bos_token_id=2, **settings)
    hf.save_pretrained(directory)
    checkpoints.tokenizer(family).save_pretrained(directory)
    if window is not None:
        (directory / "tmem.json").write_text(json.dumps({"window": window}))
    return directory


def opened(directory: Path, kind: str, window: int | None = None) -> Model:
    return load(make(directory, kind, window), device="cpu")


@pytest.mark.parametrize("kind", BY_LENGTH)
def test_a_short_text_gets_beside_a_long_one_what_it_gets_alone(kind: str, tmp_path: Path) -> None:
    own = with_memories(opened(tmp_path, kind, LONGEST))
    model, fast, delta = own
    alone = one_by_one(own, [SHORT, LONG])
    assert_same(HFEngine(model).generate([SHORT, LONG], delta, fast), alone)
    plain = [replace(SHORT, memory=None)]
    assert HFEngine(model.twin()).generate(plain) == HFEngine(model).generate(plain)


@pytest.mark.parametrize("kind", BY_LENGTH)
def test_a_text_that_grows_past_the_switch_is_read_as_it_was_made(kind: str, tmp_path: Path) -> None:
    model = opened(tmp_path, kind, LONGEST)
    [done] = HFEngine(model).generate([Request(prompt(60), max_new_tokens=40)])
    assert 60 + len(done.ids) > SWITCH
    assert done.logprobs == pytest.approx(teacher_forced(model.hf, prompt(60), done.ids).tolist(), abs=2e-4)


@pytest.mark.parametrize("kind", BY_LENGTH)
def test_texts_end_where_transformers_would_rotate_otherwise(kind: str, tmp_path: Path) -> None:
    model = opened(tmp_path, kind)
    assert model.window == SWITCH
    [done] = HFEngine(model).generate([Request(prompt(20), max_new_tokens=SWITCH - 20)])
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert done.logprobs == pytest.approx(teacher_forced(plain, prompt(20), done.ids).tolist(), abs=2e-4)
    with pytest.raises(UsageError, match=f"a window of {SWITCH} "):
        HFEngine(model).generate([LONG])


@pytest.mark.parametrize("window", [None, LONGEST])
@pytest.mark.parametrize("kind", BY_LENGTH)
def test_what_is_saved_rotates_as_what_was_published(kind: str, window: int | None, tmp_path: Path) -> None:
    model = opened(tmp_path / "published", kind, window)
    HFEngine(model).generate([Request(prompt(20), max_new_tokens=16)])
    model.hf.save_pretrained(tmp_path / "saved")
    published, saved = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("published", "saved"))
    assert saved == published
    ids = torch.tensor([prompt(100)])
    one, other = (AutoModelForCausalLM.from_pretrained(tmp_path / name)(ids) for name in ("published", "saved"))
    assert torch.equal(one.logits, other.logits)
