"""The step that is written out is that of transformers for every family it knows; others take the forward pass."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from helpers import CONFIGS, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from references import MemoryModel, assert_same, mixed_requests, prompt, teacher_forced, with_memories
from torch import Tensor
from transformers import Qwen2Config

from tmem.model import HFEngine, Model, ModelSettings, Request, packed
from tmem.model.cache import contents, empty_cache
from tmem.model.decode_step import Written, linears

CONFIGS["qwen2"] = Qwen2Config
KNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("qwen3", {}),
    "qwen3, one head to a group, head and embedding apart": (
        "qwen3",
        {"num_key_value_heads": 4, "tie_word_embeddings": False},
    ),
    "qwen2, with biases": ("qwen2", {}),
    "llama": ("llama", {}),
    "llama, tied": ("llama", {"tie_word_embeddings": True}),
    "llama, all biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, its own rotation": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            }
        },
    ),
    "llama, yarn": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 32,
            }
        },
    ),
    "mistral without windows": ("mistral", {"sliding_window": None}),
}
UNKNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "windows": ("mistral", {}),
    "another family": ("gemma2", {}),
    "one matrix for two": ("phi3", {"sliding_window": None}),
    "another activation": ("llama", {"hidden_act": "gelu"}),
    "a rotation by length": (
        "llama",
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}},
    ),
}


def model_of(family: str, **overrides: Any) -> Model:
    hf = tiny(family, vocab_size=checkpoints.VOCABULARY, eos_token_id=0, pad_token_id=1, bos_token_id=2, **overrides)
    biased: list[Tensor] = [own.bias for own in linears(hf) if own.bias is not None]
    for number, bias in enumerate(biased):  # transformers begins with zeros
        bias.data = 0.1 * torch.randn(bias.shape, generator=torch.Generator().manual_seed(number))
    return Model(family, Path("nowhere"), hf, checkpoints.tokenizer("qwen3"), ModelSettings())


@pytest.fixture(scope="module", params=KNOWN)
def known(request: pytest.FixtureRequest) -> MemoryModel:
    family, overrides = KNOWN[request.param]
    return with_memories(model_of(family, **overrides))


@pytest.fixture
def by_forward_pass(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Inside, models generate by their own forward pass."""
    with monkeypatch.context() as patch:
        patch.setattr(Model, "written", lambda model: None)
        yield patch


@pytest.mark.parametrize("how", ["torch", "oneDNN", "packed"])
@torch.no_grad()
def test_logits_are_those_of_transformers(known: MemoryModel, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "packed" and not packed.available():
        pytest.skip("this torch has no FBGEMM")
    model: Any = known[0].hf
    if how != "torch":
        monkeypatch.setattr(packed, "LARGE" if how == "oneDNN" else "SMALL", 1)
        model = copy.deepcopy(model)
        for linear in linears(model):
            linear.weight.copy_(linear.weight.half())
    written = Written(model, "float16" if how == "packed" else "float32")
    lengths, width, steps = [3, 9, 1, 7], 9, 140  # more than a cache has room for at first
    generator = torch.Generator().manual_seed(0)
    texts = torch.randint(0, checkpoints.VOCABULARY, (4, width + steps), generator=generator)
    padding = torch.tensor([width - length for length in lengths])[:, None]
    columns = torch.arange(width + steps)[None]
    mask, positions = (columns >= padding).long(), (columns - padding).clamp_min(0)
    cache = empty_cache(model.config)
    model(
        input_ids=texts[:, :width],
        attention_mask=mask[:, :width],
        position_ids=positions[:, :width],
        past_key_values=cache,
        use_cache=True,
    )
    with written.steps(cache, lengths, {}) as step:
        found = torch.stack([step(texts[:, width + i : width + i + 1]) for i in range(steps)], 1)
    assert cache.get_seq_length() == width + steps
    for row, length in enumerate(lengths):
        own = texts[row : row + 1, width - length :]
        expected = model(input_ids=own, use_cache=False).logits[0, length:]
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-4)
    # What it left in the cache is what the forward pass would have.
    again = empty_cache(model.config)
    model(input_ids=texts, attention_mask=mask, position_ids=positions, past_key_values=again, use_cache=True)
    for one, other in zip(contents(cache), contents(again), strict=True):
        assert one is not None and other is not None
        for own, theirs in zip(one, other, strict=True):
            seen = mask[:, None, :, None].bool()
            torch.testing.assert_close(own * seen, theirs * seen, rtol=1e-4, atol=1e-4)


def test_texts_are_those_of_the_forward_pass(known: MemoryModel, by_forward_pass: pytest.MonkeyPatch) -> None:
    """Alone, in a batch, with memories and without, sampled and greedy, and after a beginning that is shared."""
    model, fast, delta = known
    beginning = tuple(5 + number % 40 for number in range(70))
    shared = [Request((*beginning, *prompt(2 + row, row)), (row % 4) - 1 if row % 4 else None, 9) for row in range(20)]
    for wanted in (mixed_requests(), shared):
        expected = HFEngine(model).generate(wanted, delta, fast)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Model, "written", WRITTEN)
            assert model.written() is not None
            assert_same(HFEngine(model).generate(wanted, delta, fast), expected)
            assert_same([HFEngine(model).generate([own], delta, fast)[0] for own in wanted], expected)


WRITTEN = Model.written


@pytest.fixture(scope="module")
def qwen3() -> MemoryModel:
    return with_memories(model_of("qwen3"))


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(1, 40), st.integers(-1, 2), st.integers(1, 12)),
        min_size=1,
        max_size=6,
    )
)
def test_any_batch_gives_what_each_row_has_alone(qwen3: MemoryModel, rows: list[tuple[int, int, int]]) -> None:
    model, fast, delta = qwen3
    wanted = [
        Request(prompt(length, row), None if memory < 0 else memory, new)
        for row, (length, memory, new) in enumerate(rows)
    ]
    assert model.written() is not None
    together = HFEngine(model).generate(wanted, delta, fast)
    assert_same(together, [HFEngine(model).generate([own], delta, fast)[0] for own in wanted])
    for own, done in zip(wanted, together, strict=True):
        if own.memory is None:
            scores = teacher_forced(model.hf, own.prompt_ids, done.ids)
            assert done.logprobs == pytest.approx(scores.tolist(), abs=1e-4)


@pytest.mark.parametrize("what", UNKNOWN)
def test_other_models_take_their_forward_pass(what: str) -> None:
    family, overrides = UNKNOWN[what]
    model = model_of(family, **overrides)
    assert not linears(model.hf)
    assert model.written() is None
    assert len(HFEngine(model).generate([Request(prompt(4), None, 3)])) == 1


def test_a_wrapped_layer_or_another_type_is_not_known() -> None:
    model = model_of("llama")
    assert linears(model.hf)
    layers: Any = model.hf.model.layers
    plain = layers[2].mlp.up_proj
    layers[2].mlp.up_proj = torch.nn.Sequential(plain)
    assert model.written() is None
    layers[2].mlp.up_proj = plain
    assert model.written() is not None
    model.hf.bfloat16()
    assert model.written() is None


def test_weights_that_were_trained_further_are_used() -> None:
    model = model_of("qwen3")
    before = HFEngine(model).generate([Request(prompt(6), None, 12)])
    layers: Any = model.hf.model.layers
    with torch.no_grad():
        layers[1].mlp.up_proj.weight.mul_(-1)
    [done] = HFEngine(model).generate([Request(prompt(6), None, 12)])
    assert [done] != before
    assert done.logprobs == pytest.approx(teacher_forced(model.hf, prompt(6), done.ids).tolist(), abs=1e-4)


def test_a_model_of_the_family_that_does_something_else_is_noticed_once(recwarn: pytest.WarningsRecorder) -> None:
    model = model_of("llama")
    model.hf.model.layers[3].register_forward_hook(lambda module, args, output: output * 1.5)  # type: ignore[union-attr]
    [done] = HFEngine(model).generate([Request(prompt(6), None, 12)])
    HFEngine(model).generate([Request(prompt(6), None, 12)])
    assert done.logprobs == pytest.approx(teacher_forced(model.hf, prompt(6), done.ids).tolist(), abs=1e-4)
    told = [str(warning.message) for warning in recwarn if "written out" in str(warning.message)]
    assert len(told) == 1 and told[0].startswith("llama: ")
