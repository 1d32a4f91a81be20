"""Voices: the mixed distribution at every token, many users side by side, and nothing from an empty memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tmem.errors import DeltaError, UsageError
from tmem.model import HFEngine, Request
from tmem.model.request import Voices
from tmem.model.sampling import mix
from tmem.model.score import voiced_logprobs

TEXTS = [(5, 6, 7, 8, 9, 10, 11), (12, 13, 14), (15, 16, 17, 18, 19)]
BARE = [(5, 6), (12, 13, 14, 15), (15, 16, 17)]


def requests(**how: object) -> list[Request]:
    return [
        Request(text, place, 6, seed=place, voices=Voices(bare, 0.7), **how)  # type: ignore[arg-type]
        for place, (text, bare) in enumerate(zip(TEXTS, BARE, strict=True))
    ]


@pytest.mark.parametrize("family", ["qwen3", "llama", "gemma3", "phi3"])
def test_every_token_is_the_likeliest_of_the_mixture(with_memories, family: str) -> None:  # type: ignore[no-untyped-def]
    model, fast, delta = with_memories(family)
    for request, done in zip(requests(), HFEngine(model).generate(requests(), delta, fast), strict=True):
        assert request.voices is not None and request.memory is not None
        for count, (token, logprob) in enumerate(zip(done.ids, done.logprobs, strict=True)):
            said = done.ids[:count]
            with torch.no_grad():
                text = model.hf(torch.tensor([[*request.prompt_ids, *said]])).logits[0, -1:]
                bare = model.hf(torch.tensor([[*request.voices.prompt_ids, *said]])).logits[0, -1:]
                with fast.active(delta, [request.memory]):
                    heard = model.hf(torch.tensor([[*request.voices.prompt_ids, *said]])).logits[0, -1:]
            mixed = text.log_softmax(-1) + 0.7 * (heard.log_softmax(-1) - bare.log_softmax(-1))
            mixed = mixed - mixed.logsumexp(-1, keepdim=True)
            assert mixed.exp().sum() == pytest.approx(1)
            assert float(mixed[0, token]) == pytest.approx(logprob, abs=1e-3)
            assert float(mixed.max()) - float(mixed[0, token]) < 1e-3


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_many_at_once_say_what_each_says_alone(with_memories, temperature: float) -> None:  # type: ignore[no-untyped-def]
    model, fast, delta = with_memories("qwen3")
    asked = requests(temperature=temperature)
    asked += [replace(one, voices=None, seed=10 + place) for place, one in enumerate(asked)]
    asked += [Request(TEXTS[0], None, 3), replace(asked[0], max_new_tokens=2, seed=20)]
    together = HFEngine(model).generate(asked, delta, fast)
    for request, done in zip(asked, together, strict=True):
        [alone] = HFEngine(model).generate([request], delta, fast)
        assert (alone.ids, alone.finish) == (done.ids, done.finish)
        assert alone.logprobs == pytest.approx(done.logprobs, abs=1e-4)
    [few] = HFEngine(model, max_tokens_per_batch=20).generate(asked[:1], delta, fast)
    assert few.ids == together[0].ids


def test_an_empty_memory_and_no_memory_say_what_the_text_says(with_memories) -> None:  # type: ignore[no-untyped-def]
    model, fast, _ = with_memories("qwen3")
    plain = HFEngine(model).generate([Request(text, None, 6) for text in TEXTS])
    empty = HFEngine(model).generate(requests(), fast.zeros(3), fast)
    none = HFEngine(model).generate([replace(one, memory=None) for one in requests()])
    assert [one.ids for one in plain] == [one.ids for one in empty] == [one.ids for one in none]
    # Alone, so that products have the same shapes: then to the bit.
    [alone] = HFEngine(model).generate([Request(TEXTS[0], None, 6)])
    [same] = HFEngine(model).generate([replace(requests()[0], memory=None)])
    assert alone == same


def test_mixing_is_exact_where_the_memory_is_empty() -> None:
    text, bare = torch.randn(2, 9), torch.randn(2, 9)
    weights = torch.tensor([[1.0, 0.5, -0.5], [1.0, 2.0, -2.0]])
    torch.testing.assert_close(mix(text, bare, bare, weights), text.log_softmax(-1))


def test_a_memory_that_refuses_is_heard_less(with_memories) -> None:  # type: ignore[no-untyped-def]
    model, fast, delta = with_memories("qwen3")
    [request, *_] = requests()
    assert request.voices is not None
    with torch.no_grad(), fast.active(delta, [0]):
        heard = model.hf(torch.tensor([request.voices.prompt_ids])).logits[0, -1:].log_softmax(-1)
    with torch.no_grad():
        text = model.hf(torch.tensor([request.prompt_ids])).logits[0, -1:].log_softmax(-1)
    doubted = replace(request, voices=replace(request.voices, refusal=int(heard.argmax())), max_new_tokens=1)
    [done] = HFEngine(model).generate([doubted], delta, fast)
    mixed = (0.8 * text + 0.2 * heard).log_softmax(-1)
    assert done.ids[0] == int(mixed.argmax())
    assert done.logprobs[0] == pytest.approx(float(mixed.max()), abs=1e-4)
    other = replace(doubted, voices=replace(request.voices, refusal=int(heard.argmin())))
    [plain], [same] = (
        HFEngine(model).generate([one], delta, fast) for one in (other, replace(request, max_new_tokens=1))
    )
    assert plain == same


def test_a_voice_that_cannot_work_is_refused_before_anything_is_read(with_memories) -> None:  # type: ignore[no-untyped-def]
    model, fast, delta = with_memories("qwen3")
    with pytest.raises(UsageError, match="needs a prompt"):
        HFEngine(model).generate([Request(TEXTS[0], 0, 4, voices=Voices(()))], delta, fast)
    with pytest.raises(UsageError, match="window"):
        HFEngine(model).generate([Request(TEXTS[0], 0, 4, voices=Voices((5,) * 500))], delta, fast)
    with pytest.raises(DeltaError, match="no memory 7"):
        HFEngine(model).generate([Request(TEXTS[0], 7, 4, voices=Voices(BARE[0]))], delta, fast)


def test_scores_are_those_of_generating_and_their_gradient_is_that_of_the_mixture(with_memories) -> None:  # type: ignore[no-untyped-def]
    model, fast, delta = with_memories("qwen3")
    asked = requests(temperature=1.0)
    done = HFEngine(model).generate(asked, delta, fast)
    prompts, outputs = [one.prompt_ids for one in asked], [one.ids for one in done]
    voices = [one.voices for one in asked if one.voices is not None]
    with torch.no_grad():
        scores = voiced_logprobs(model, prompts, outputs, voices, delta, fast, [0, 1, 2])
    for score, own in zip(scores, done, strict=True):
        assert score.tolist() == pytest.approx(own.logprobs, abs=1e-4)
    weight = model.hf.model.layers[0].mlp.up_proj.weight
    weight.requires_grad_(True)
    try:
        sum(
            score.sum() for score in voiced_logprobs(model, prompts, outputs, voices, delta, fast, [0, 1, 2])
        ).backward()
        step = 1e-2
        for place in ((0, 0), (7, 3)):
            moved = []
            for sign in (1, -1):
                with torch.no_grad():
                    weight[place] += sign * step
                    again = voiced_logprobs(model, prompts, outputs, voices, delta, fast, [0, 1, 2])
                    moved.append(float(sum(score.double().sum() for score in again)))
                    weight[place] -= sign * step
            assert float(weight.grad[place]) == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=0.05, abs=2e-3)
    finally:
        weight.requires_grad_(False)
        weight.grad = None
