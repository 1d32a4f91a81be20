"""What a write must not change: general questions, and what theta_0 says to them.

A write into a real model moves its answers to everything; a few questions do not hold the others, hundreds do. They
belong to the model: made once, by itself, and kept beside its basis.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tmem.fastweights import Example, Recipe
from tmem.fastweights.dataset import ExampleDataset
from tmem.fastweights.fresh import Held
from tmem.model import kept
from tmem.model.engine import HFEngine
from tmem.model.gate import general_questions
from tmem.model.load import Model
from tmem.model.request import Request
from tmem.model.score import answer_logits

QUESTIONS = 180  # of the general ones
TOKENS = 8  # of each answer
LIKELIEST = 16  # tokens at each place


def held_questions(model: Model, recipe: Recipe) -> Held:
    """The model's held questions, made or read when they are first needed."""
    first = model.fast(recipe).target_modules[0].layer
    if first not in model.held:
        model.held[first] = _read_or_make(model, recipe)
    return model.held[first]


def _read_or_make(model: Model, recipe: Recipe) -> Held:
    questions = general_questions()[:QUESTIONS]
    prompts = [model.bare(question) for question in questions]
    what = prompts, TOKENS, LIKELIEST
    said = kept.read(model, "held", *what)
    if said is None:
        said = _make(prompts, model)
        kept.keep(model, said, "held", *what)
    # What it says may come with a model; the trunk's states are ten times as large, quickly made, and another's for
    # every number of layers.
    trunk = kept.read(model, "trunk", *what, recipe.layers) or {}
    held = _held(model, recipe, prompts, said, trunk.get("stored"))
    if not trunk and held.dataset.stored is not None:
        kept.keep(model, {"stored": held.dataset.stored.cpu()}, "trunk", *what, recipe.layers)
    return held


def _make(prompts: list[list[int]], model: Model) -> dict[str, Tensor]:
    """Answers, one after the other, with their lengths; and what theta_0 says at each of their tokens."""
    engine, answers, likeliest = HFEngine(model), [], []
    for start in range(0, len(prompts), 32):
        part = prompts[start : start + 32]
        done = engine.generate([Request(tuple(prompt), max_new_tokens=TOKENS) for prompt in part])
        answers += [list(one.ids) for one in done]
        logits = answer_logits(model, part, [one.ids for one in done])
        likeliest += [own.log_softmax(-1).topk(min(LIKELIEST, own.shape[1])) for own in logits]
    shares = torch.cat([own.values for own in likeliest]).exp()
    return {
        "answers": torch.tensor([token for own in answers for token in own]),
        "lengths": torch.tensor([len(own) for own in answers]),
        "said": torch.cat([own.indices for own in likeliest]).cpu(),
        "shares": (shares / shares.sum(1, keepdim=True)).cpu(),
    }


def _held(
    model: Model, recipe: Recipe, prompts: list[list[int]], said: dict[str, Tensor], stored: Tensor | None
) -> Held:
    lengths = said["lengths"].tolist()
    answers = [tuple(own.tolist()) for own in said["answers"].split(lengths)]
    examples = [Example(tuple(prompt), own) for prompt, own in zip(prompts, answers, strict=True)]
    dataset = ExampleDataset(
        examples, model.device, model.replay(recipe), None if stored is None else stored.to(model.device)
    )
    firsts = [sum(lengths[:place]) for place in range(len(lengths))]
    return Held(dataset, said["said"].to(model.device), said["shares"].to(model.device), firsts)
