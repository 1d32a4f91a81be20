"""What a write must not change: made once by the model itself, kept beside a large one, made anew if damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tmem.fastweights.basis import read_safetensors
from tmem.model import Model, load
from tmem.model.held import held_questions


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model with few held questions, that is treated as a large one in a folder of its own."""
    monkeypatch.setattr("tmem.model.held.QUESTIONS", 5)
    monkeypatch.setattr("tmem.model.kept.LARGE", 1)
    own = load("persona-nano")
    own.directory = tmp_path
    return own


def test_held_questions_are_what_the_model_says_and_are_kept(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = model.recipe("tmem")
    made = held_questions(model, recipe)
    assert made is held_questions(model, recipe) and len(made.dataset.lengths) == 5
    assert len(made.said) == sum(made.dataset.answers) and torch.allclose(
        made.shares.sum(1), torch.ones(len(made.said))
    )
    # The likeliest token at each place is the one that the model went on with.
    targets = torch.cat([made.dataset.batch([row]).targets for row in range(5)])
    assert torch.equal(made.wanted(range(5))[0][:, 0], targets)

    [path] = tmp_path.glob("held-*.safetensors")
    monkeypatch.setattr("tmem.model.held._make", None)  # it is read, not made
    model.held.clear()
    again = held_questions(model, recipe)
    assert torch.equal(again.said, made.said) and torch.equal(again.shares, made.shares)
    assert made.dataset.stored is not None and again.dataset.stored is not None
    assert torch.equal(again.dataset.stored, made.dataset.stored)

    monkeypatch.undo()
    monkeypatch.setattr("tmem.model.held.QUESTIONS", 5)
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    model.held.clear()
    assert torch.equal(held_questions(model, recipe).said, made.said)


def test_what_comes_with_a_model_needs_only_the_trunk(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = model.recipe("tmem")
    made = held_questions(model, recipe)
    [path] = tmp_path.glob("trunk-*.safetensors")
    [stored] = read_safetensors(path)[0].values()
    path.unlink()
    monkeypatch.setattr("tmem.model.held._make", None)  # what it says is read, not made
    model.held.clear()
    again = held_questions(model, recipe)
    assert torch.equal(again.said, made.said) and torch.equal(read_safetensors(path)[0]["stored"], stored)

    # Weights in other layers begin from other states, and are held to the same answers.
    deeper = recipe.model_copy(update={"layers": recipe.layers + 1})
    other = held_questions(model, deeper)
    assert torch.equal(other.said, made.said) and len(list(tmp_path.glob("trunk-*.safetensors"))) == 2
    assert len(list(tmp_path.glob("held-*.safetensors"))) == 1
    assert other.dataset.stored is not None and not torch.equal(other.dataset.stored, stored)
