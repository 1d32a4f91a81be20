"""Models and memories as GGUF files: what another reader makes of them is what was written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from helpers import random_memory, tiny
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tmem.errors import DataError, ModelError, UsageError
from tmem.model import Model, load
from tmem.model.adapter import matrices_of
from tmem.model.to_gguf import CUTS, cut_name, save_base, save_lora, type_named

gguf = pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """A loaded model of each of the families that can be written."""
    return functools.cache(lambda name: load(checkpoints.make_llama_like(tmp_path_factory.mktemp("base"), name)))


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_a_base_is_read_back_as_the_model_that_it_was(
    name: str, made: Callable[[str], Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By transformers, which knows nothing of how it was written (and of Qwen3 not how wide heads are)."""
    monkeypatch.setenv("TMEM_CACHE", str(tmp_path / "cache"))
    model = made(name)
    save_base(tmp_path / "base.gguf", model)
    again = load(tmp_path / "base.gguf")
    assert {key for key, _ in again.hf.named_parameters()} == {key for key, _ in model.hf.named_parameters()}
    for key, value in model.hf.named_parameters():
        assert torch.equal(again.hf.get_parameter(key), value), key
    text = "Where does Anna live? Near the harbour, 12½ miles."
    assert again.count(text) == model.count(text) and again.bare(text) == model.bare(text)


def test_a_memory_is_written_in_full_force(made: Callable[[str], Model], tmp_path: Path) -> None:
    model = made("llama")
    fast, delta = random_memory(model.hf, 2)
    queries = torch.randn(3, 32), torch.randn(32, 3)
    matrices = {**matrices_of(fast, delta.b, 1), "model.layers.5.self_attn.q_proj": queries}
    save_lora(tmp_path / "one.gguf", model, matrices)
    reader = gguf.GGUFReader(tmp_path / "one.gguf")
    told = {name: field.contents() for name, field in reader.fields.items()}
    assert told["general.type"] == "adapter" and told["general.architecture"] == "llama"
    assert told["adapter.type"] == "lora" and told["adapter.lora.alpha"] == 3.0
    assert told["tmem.base"] == model.weights_hash and told["tmem.type"] == "float32"
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    target = "model.layers.5.mlp.down_proj"
    np.testing.assert_array_equal(tensors["blk.5.ffn_down.weight.lora_a"], fast.basis.a[target])
    np.testing.assert_array_equal(tensors["blk.5.ffn_down.weight.lora_b"], delta.b[target][1])
    # Row 0 of a head's two halves, then row 1 of both: heads are 8 wide.
    np.testing.assert_array_equal(tensors["blk.5.attn_q.weight.lora_b"][:4], queries[1][[0, 4, 1, 5]])
    assert len(tensors) == 2 * len(matrices)


def test_what_cannot_be_written_is_refused_and_leaves_nothing(made: Callable[[str], Model], tmp_path: Path) -> None:
    model = made("llama")
    fast, delta = random_memory(model.hf)
    matrices = matrices_of(fast, delta.b)
    layer = "model.layers.5.mlp.up_proj"
    a, b = matrices[layer]
    for wrong, complaint in (
        ({layer: (a, b.clone().fill_(float("nan")))}, "not finite"),
        ({layer: (a.clone().fill_(float("inf")), b)}, "not finite"),
        ({"vision.layers.5.up": (a, b)}, "no name for the layer"),
    ):
        with pytest.raises((DataError, ModelError), match=complaint):
            save_lora(tmp_path / "x.gguf", model, {**matrices, **wrong})
    with pytest.raises(UsageError, match="choose f32, f16, bf16, q8_0"):
        type_named("q4_0")
    for family, change, complaint in (
        ("gemma2", {}, "of the kind gemma2"),
        ("qwen3", {"attention_bias": True}, "attention with biases"),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}, "a sliding window"),
        ("llama", {"hidden_act": "gelu"}, "the activation gelu"),
        ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}, "scaled by linear"),
    ):
        other = Model(family, tmp_path, tiny(family, **change), model.tokenizer, model.settings)
        with pytest.raises(ModelError, match=complaint):
            save_base(tmp_path / "x.gguf", other)
    large = Model("large", tmp_path, tiny("llama", vocab_size=checkpoints.VOCABULARY), model.tokenizer, model.settings)
    with torch.no_grad():
        large.hf.get_input_embeddings().weight[3] = 1e5
    with pytest.raises(ModelError, match="F16 cannot hold: write f32 or bf16"):
        save_base(tmp_path / "x.gguf", large, "f16")
    assert not list(tmp_path.iterdir())
    save_lora(tmp_path / "x.gguf", model, matrices)
    before = (tmp_path / "x.gguf").read_bytes()
    with pytest.raises(DataError, match="nothing is overwritten"):
        save_lora(tmp_path / "x.gguf", model, {layer: (a, 2 * b)})
    assert (tmp_path / "x.gguf").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


DIGITS, PLAIN = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
BARE = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
LLAMA3_WORDS, QWEN2_WORDS = CUTS


@pytest.mark.parametrize(
    ("cut", "name"),
    [
        ([PLAIN], "gpt-2"),
        ([DIGITS, PLAIN], "smollm"),
        ([pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"), PLAIN], "smollm"),
        ([pre_tokenizers.Split(Regex(LLAMA3_WORDS), "isolated"), BARE], "llama-bpe"),
        ([pre_tokenizers.Split(Regex(QWEN2_WORDS), "isolated"), BARE], "qwen2"),
        ([pre_tokenizers.Split(Regex(r"\w+"), "isolated"), BARE], None),
        ([PLAIN, DIGITS], None),
        ([pre_tokenizers.ByteLevel(add_prefix_space=True)], None),
        ([BARE], None),
    ],
)
def test_how_texts_are_cut_has_llama_cpp_s_name_or_none(cut: list[Any], name: str | None) -> None:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = cut[0] if len(cut) == 1 else pre_tokenizers.Sequence(cut)
    assert cut_name(PreTrainedTokenizerFast(tokenizer_object=raw)) == name
    raw.normalizer = normalizers.NFC()
    assert cut_name(PreTrainedTokenizerFast(tokenizer_object=raw)) == name
    raw.normalizer = normalizers.Lowercase()
    assert cut_name(PreTrainedTokenizerFast(tokenizer_object=raw)) is None


def test_a_cut_without_a_name_is_said(made: Callable[[str], Model], tmp_path: Path) -> None:
    said = list[str]()
    save_base(tmp_path / "a.gguf", made("llama"), notice=said.append)
    assert not said
    nano = load("persona-nano")
    save_base(tmp_path / "b.gguf", nano, "f16", said.append)
    assert ["give it token ids" in line for line in said] == [True]
    assert "tokenizer.ggml.pre" not in gguf.GGUFReader(tmp_path / "b.gguf").fields
