"""Teacher-forced scores: those of generation, in any batch, with gradients to the base weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from helpers import FAMILIES
from references import MemoryModel, merged, mixed_requests, teacher_forced

from tmem.errors import UsageError
from tmem.model import HFEngine, logprobs

WithMemories = Callable[[str], MemoryModel]


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_equal_generations_logprobs(family: str, with_memories: WithMemories) -> None:
    model, fast, delta = with_memories(family)
    requests = mixed_requests()
    completions = HFEngine(model).generate(requests, delta, fast)
    scores = logprobs(
        model,
        [request.prompt_ids for request in requests],
        [completion.ids for completion in completions],
        delta,
        fast,
        [request.memory for request in requests],
        max_tokens_per_batch=90,
    )
    for score, completion in zip(scores, completions, strict=True):
        assert score.tolist() == pytest.approx(completion.logprobs, abs=2e-4)


def test_scores_and_gradients_equal_a_merged_model(with_memories: WithMemories) -> None:
    model, fast, delta = with_memories("qwen3")
    prompts, outputs = [(5, 6, 7), (8, 9)], [(10, 11), (12, 13, 14)]
    weight = "model.layers.0.mlp.up_proj.weight"
    scored = dict(model.hf.named_parameters())[weight].requires_grad_(True)
    try:
        scores = logprobs(model, prompts, outputs, delta, fast)
        torch.cat(scores).sum().backward()
        gradient = scored.grad
    finally:
        scored.requires_grad_(False).grad = None
    assert gradient is not None
    expected = torch.zeros_like(gradient)
    for row, (start, ids) in enumerate(zip(prompts, outputs, strict=True)):
        hf = merged(model, fast, delta, row)
        other = dict(hf.named_parameters())[weight].requires_grad_(True)
        reference = teacher_forced(hf, start, ids)
        assert scores[row].tolist() == pytest.approx(reference.tolist(), abs=1e-4)
        reference.sum().backward()
        assert other.grad is not None
        expected += other.grad
    assert torch.allclose(gradient, expected, rtol=1e-3, atol=1e-4)


def test_arguments_that_do_not_fit_are_refused(with_memories: WithMemories) -> None:
    model, fast, delta = with_memories("qwen3")
    for prompts, outputs in ([(1, 2)], []), ([()], [(3,)]), ([(1,)], [()]):
        with pytest.raises(UsageError):
            logprobs(model, prompts, outputs)
    with pytest.raises(UsageError):
        logprobs(model, [(1,)], [(2,)], delta)
    with pytest.raises(UsageError):
        logprobs(model, [(1,)], [(2,)], delta, fast, [0, 1])
