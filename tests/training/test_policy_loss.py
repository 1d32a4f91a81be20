"""The policy gradient: a hand-computed example, separately merged models, and nothing but the output tokens in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from helpers import FAMILIES
from references import MemoryModel, merged, prompt, teacher_forced
from torch import Tensor

from tmem.fastweights import FastWeights
from tmem.model import Model, Voices, logprobs
from tmem.model.score import score_batch, voiced_logprobs
from tmem.training.advantages import Sample
from tmem.training.policy_loss import Objective, backward, batches, shared, token_loss

WithMemories = Callable[[str], MemoryModel]


def sample(length: int, tokens: int, advantage: float, weight: float = 0.1, logprob: float = -2.0) -> Sample:
    ids = prompt(tokens, seed=length)
    return Sample("answer", prompt(length), ids, (logprob,) * tokens, (advantage,) * tokens, weight, None)


def gradients(model: Model, fast: FastWeights, found: Sequence[Sample], **how: object) -> dict[str, Tensor]:
    """The gradient of every parameter."""
    objective = how.pop("objective", Objective())
    model.hf.requires_grad_(True)
    try:
        backward(model, fast, found, objective, **how)  # type: ignore[arg-type]
        return {
            name: torch.zeros_like(value) if value.grad is None else value.grad.clone()
            for name, value in model.hf.named_parameters()
        }
    finally:
        model.hf.requires_grad_(False)
        model.hf.zero_grad(set_to_none=True)


@pytest.fixture
def mixed(with_memories: WithMemories) -> tuple[Model, FastWeights, list[Sample]]:
    """Actions of several lengths under three memories and none, whose acting policy is the model itself."""
    model, fast, delta = with_memories("qwen3")
    rows = [0, None, 2, 1, 0, 2]
    found = [
        sample(length, tokens, advantage, weight)
        for length, tokens, advantage, weight in [
            *((5, 9, 0.5, 0.02), (23, 4, -0.25, 0.01), (11, 6, -1.0, 0.02)),
            *((2, 3, 0.75, 0.03), (17, 12, 0.1, 0.01), (9, 2, -0.4, 0.02)),
        ]
    ]
    with torch.no_grad():
        outputs = [s.output_ids for s in found]
        scores = logprobs(model, [s.prompt_ids for s in found], outputs, delta, fast, rows)
    singles = [delta.select([row]) for row in range(3)]
    return (
        model,
        fast,
        [
            replace(s, logprobs=tuple(own.tolist()), delta=None if row is None else singles[row])
            for s, own, row in zip(found, scores, rows, strict=True)
        ],
    )


def test_two_actions_by_hand() -> None:
    batch = [
        replace(sample(3, 1, 2.0, weight=0.5), logprobs=(math.log(0.2),)),
        replace(sample(3, 2, -1.0, weight=0.25), logprobs=(math.log(0.4), math.log(0.1))),
    ]
    scores = torch.tensor([math.log(0.3), math.log(0.2), math.log(0.15)], requires_grad=True)
    loss, sums = token_loss(scores, batch, Objective(clip=0.2))
    # Ratios 1.5, 0.5 and 1.5: the first gains min(1.5, 1.2) x 2; the second loses at least 0.8, the third 1.5.
    assert loss.item() == pytest.approx(-(0.5 * 2.4 + 0.25 * -0.8 + 0.25 * -1.5))
    assert (sums.clipped, sums.tokens) == (2, 3)
    assert sums.kl == pytest.approx(sum(r - 1 - math.log(r) for r in (1.5, 0.5, 1.5)), abs=1e-6)
    loss.backward()
    # d(-w r a)/d log pi = -w r a where it is not clipped.
    assert scores.grad is not None
    assert scores.grad.tolist() == pytest.approx([0.0, 0.0, 0.25 * 1.5])


def test_divergence_from_the_start_by_hand() -> None:
    batch = [replace(sample(3, 1, 0.0, weight=1.0), logprobs=(-1.0,))]
    scores = torch.tensor([-1.0], requires_grad=True)
    loss, sums = token_loss(scores, batch, Objective(kl=0.5), reference=torch.tensor([-1.5]))
    expected = math.exp(-0.5) + 0.5 - 1
    assert loss.item() == pytest.approx(0.5 * expected)
    assert sums.kl_start == pytest.approx(expected)
    loss.backward()
    assert scores.grad is not None
    assert scores.grad.item() == pytest.approx(0.5 * (1 - math.exp(-0.5)))


def test_gradient_equals_that_of_separately_merged_models(mixed: tuple[Model, FastWeights, list[Sample]]) -> None:
    model, fast, found = mixed
    expected: dict[str, Tensor] = {}
    for one in found:
        hf = model.hf if one.delta is None else merged(model, fast, one.delta, 0)
        hf.requires_grad_(True)
        scores = teacher_forced(hf, one.prompt_ids, one.output_ids)
        assert scores.tolist() == pytest.approx(one.logprobs, abs=1e-4)
        # The ratio is one: its gradient is that of the log-probability.
        (-one.weight * one.advantage[0] * scores.sum()).backward()
        take(hf, expected)
    actual = gradients(model, fast, found)
    assert actual.keys() == expected.keys()
    assert apart(actual, expected) < 1e-4


def take(hf: torch.nn.Module, total: dict[str, Tensor]) -> None:
    """Add a model's gradients to a total, by name, and leave it without."""
    for name, value in hf.named_parameters():
        if value.grad is not None:
            total[name] = total.get(name, torch.zeros_like(value)) + value.grad
    hf.requires_grad_(False)
    hf.zero_grad(set_to_none=True)


def apart(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """How far gradients are from those that are expected, as a share of their size."""
    norm = torch.cat([value.flatten() for value in expected.values()]).norm()
    return float(torch.cat([(actual[name] - expected[name]).flatten() for name in expected]).norm() / norm)


def voiced(with_memories: WithMemories) -> tuple[Model, FastWeights, list[Sample]]:
    """Answers that hear a memory beside their text; the last one's begins with a refusal, and is doubted."""
    model, fast, delta = with_memories("qwen3")
    found = [
        sample(length, tokens, advantage) for length, tokens, advantage in ((9, 4, 0.5), (21, 3, -1.0), (5, 6, 0.25))
    ]
    heard = [said(merged(model, fast, delta, row), prompt(6, seed=row), found[row]) for row in range(3)]
    refusals = [int(heard[0][0].argmin()), None, int(heard[2][0].argmax())]
    voices = [Voices(prompt(6, seed=row), 0.7, refusal) for row, refusal in enumerate(refusals)]
    with torch.no_grad():
        scores = voiced_logprobs(
            model, [s.prompt_ids for s in found], [s.output_ids for s in found], voices, delta, fast, [0, 1, 2]
        )
    return (
        model,
        fast,
        [
            replace(s, logprobs=tuple(own.tolist()), delta=delta.select([row]), voices=voices[row])
            for row, (s, own) in enumerate(zip(found, scores, strict=True))
        ],
    )


def said(hf: torch.nn.Module, prompt_ids: Sequence[int], one: Sample) -> Tensor:
    """The distribution of every output token behind a prompt, (K, V)."""
    logits: Tensor = hf(torch.tensor([[*prompt_ids, *one.output_ids]])).logits
    return logits[0, len(prompt_ids) - 1 : -1].log_softmax(-1)


def test_gradient_through_voices_equals_that_of_separately_merged_models(with_memories: WithMemories) -> None:
    model, fast, found = voiced(with_memories)
    plain = replace(sample(12, 5, 1.0), logprobs=(-3.0,) * 5)
    expected: dict[str, Tensor] = {}
    for place, one in enumerate(found):
        assert one.delta is not None and one.voices is not None
        memory = merged(model, fast, one.delta, 0)
        for hf in (model.hf, memory):
            hf.requires_grad_(True)
        text, heard, bare = (
            said(model.hf, one.prompt_ids, one),
            said(memory, one.voices.prompt_ids, one),
            said(model.hf, one.voices.prompt_ids, one),
        )
        mixed = text + 0.7 * heard - 0.7 * bare if place < 2 else 0.8 * text + 0.2 * heard
        scores = mixed.log_softmax(-1).gather(1, torch.tensor(one.output_ids)[:, None])[:, 0]
        assert scores.tolist() == pytest.approx(one.logprobs, abs=1e-4)
        (-one.weight * one.advantage[0] * scores.sum()).backward()
        for hf in (model.hf, memory):
            take(hf, expected)
    actual = gradients(model, fast, found)
    assert apart(actual, expected) < 1e-4
    alone = gradients(model, fast, [plain])
    both = gradients(model, fast, [found[0], plain, *found[1:]], recompute=True)
    assert all(torch.allclose(both[name], actual[name] + alone[name], rtol=1e-3, atol=1e-6) for name in both)


def test_neither_padding_nor_other_episodes_contribute(mixed: tuple[Model, FastWeights, list[Sample]]) -> None:
    model, fast, found = mixed
    together = gradients(model, fast, found)
    alone = [gradients(model, fast, [one], max_tokens=1) for one in found]
    for name, value in together.items():
        assert torch.allclose(value, sum(own[name] for own in alone), rtol=1e-3, atol=1e-6), name  # type: ignore[arg-type]


def test_recomputed_activations_give_the_same_gradient(mixed: tuple[Model, FastWeights, list[Sample]]) -> None:
    model, fast, found = mixed
    calls: list[int] = []
    handle = model.hf.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        plain, once = gradients(model, fast, found), len(calls)
        again = gradients(model, fast, found, recompute=True)
    finally:
        handle.remove()
    assert len(calls) == 3 * once
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert not any(module.training for module in model.hf.modules())


def test_advantages_of_zero_cost_and_change_nothing(mixed: tuple[Model, FastWeights, list[Sample]]) -> None:
    model, fast, found = mixed
    none = [replace(one, advantage=(0.0,) * len(one.output_ids)) for one in found]
    assert all(not value.any() for value in gradients(model, fast, none).values())


def test_at_the_start_the_divergence_has_no_gradient(mixed: tuple[Model, FastWeights, list[Sample]]) -> None:
    model, fast, found = mixed
    objective = Objective(kl=1.0, start=model, start_fast=fast)
    none = [replace(one, advantage=(0.0,) * len(one.output_ids)) for one in found]
    pulled = gradients(model, fast, none, objective=objective)
    assert max(float(value.abs().max()) for value in pulled.values()) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_said_to_one_prompt_is_learnt_from_as_if_alone(family: str, with_memories: WithMemories) -> None:
    model, fast, delta = with_memories(family)
    memory = delta.select([1])
    short, long = sample(4, 2, 1.0), sample(9, 3, 1.0)  # within a window of 8, and not, and rows of like lengths
    said = [
        replace(one, output_ids=prompt(count, seed=count), logprobs=(-2.0,) * count, advantage=(worth,) * count)
        for one in (short, long, replace(short, delta=memory), replace(long, delta=memory))
        for count, worth in ((1, 0.5), (3, -1.0), (4, 0.25))
    ]
    windowed = bool(getattr(model.hf.config, "sliding_window", None))
    masked = model.hf.config._attn_implementation != "eager"
    rows = sorted(len(row) for row in shared(said, model))
    assert rows == ([3] * 4 if masked and not windowed else [1] * 6 + [3] * 2 if masked else [1] * 12)
    together = gradients(model, fast, said)
    alone = [gradients(model, fast, [one]) for one in said]
    total = {name: sum((own[name] for own in alone), torch.zeros_like(value)) for name, value in together.items()}
    assert apart(together, total) < 1e-5
    assert apart(gradients(model, fast, said, recompute=True), total) < 1e-5
    assert apart(gradients(model, fast, said, max_tokens=12), total) < 1e-5  # not all replies at once


def test_batches_hold_similar_lengths() -> None:
    found = [[sample(length, 5, 1.0)] for length in (5, 100, 7, 90, 40, 6)]
    lengths = [[len(row[0].prompt_ids) + 5 for row in batch] for batch in batches(found, 300)]
    assert lengths == [[105, 95], [45], [12, 11, 10]]
    assert [len(batch) for batch in batches(found, 1)] == [1] * 6


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_alone_in_pieces_is_the_models_own(family: str, with_memories: WithMemories) -> None:
    model, _, _ = with_memories(family)
    texts, starts = [list(prompt(12)), list(prompt(7))], [4, 1]
    whole, entropies = score_batch(model, texts, starts)
    pieces, entropies_too = score_batch(model, texts, starts, chunk=3)
    logits = [model.hf(input_ids=torch.tensor([text]), use_cache=False).logits[0].log_softmax(-1) for text in texts]
    own = torch.cat([own[start - 1 : -1] for own, start in zip(logits, starts, strict=True)])
    targets = torch.tensor([token for text, start in zip(texts, starts, strict=True) for token in text[start:]])
    assert torch.allclose(whole, own.gather(1, targets[:, None])[:, 0], atol=1e-4)
    assert torch.allclose(entropies, -(own.exp() * own).sum(-1), atol=1e-4)
    assert torch.allclose(whole, pieces, atol=1e-5)
    assert torch.allclose(entropies, entropies_too, atol=1e-5)
