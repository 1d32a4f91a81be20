"""Loading: every family from a directory; whatever is missing or broken is refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, normalizers, pre_tokenizers

from tmem import assets
from tmem.errors import ModelError, UsageError
from tmem.fastweights import RECIPES
from tmem.model import Model, ModelSettings, load

Checkpoint = Callable[[str], Path]


@pytest.fixture
def copy(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A checkpoint that a test may break."""
    shutil.copytree(checkpoint("qwen3"), tmp_path / "copy")
    return tmp_path / "copy"


def refusal(name: str | Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(name, device="cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("family", checkpoints.FAMILIES)
def test_loads_each_family(family: str, loaded: Callable[[str], Model]) -> None:
    model = loaded(family)
    assert model.settings == ModelSettings()
    assert not model.hf.training
    assert {parameter.dtype for parameter in model.hf.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in model.hf.parameters())
    assert model.window == 128
    assert model.stop_ids == {0, model.tokenizer.convert_tokens_to_ids(checkpoints.END_OF_TURN[family])}
    assert model.count("green tea") == len(model.tokenizer.encode("green tea"))
    assert model.decode(model.tokenizer.encode("Anna , isn't")) == "Anna , isn't"


def test_half_precision_is_loaded_as_float32(copy: Path, loaded: Callable[[str], Model]) -> None:
    weights = load_file(copy / "model.safetensors")
    save_file({name: value.half() for name, value in weights.items()}, copy / "model.safetensors", {"format": "pt"})
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    model = load(copy, device="cpu")
    assert {parameter.dtype for parameter in model.hf.parameters()} == {torch.float32}
    assert model.weights_hash != loaded("qwen3").weights_hash
    assert load(copy, device="cpu", dtype="bfloat16").hf.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["GPT2Tokenizer", "Qwen2Tokenizer", "TokenizersBackend"])
def test_texts_are_cut_as_the_file_says_whatever_the_class_has(kind: str, copy: Path) -> None:
    """Seen in transformers 5.23: of a class that it knows only vocabulary and merges are read."""
    path = copy / "tokenizer.json"
    filed = Tokenizer.from_file(str(path))
    digits, joined = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    filed.pre_tokenizer = pre_tokenizers.Sequence([digits, joined])
    filed.normalizer = normalizers.Lowercase()
    filed.save(str(path))
    config = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": kind}))
    model = load(copy, device="cpu")
    assert model.chat.encode("GREEN 2023") == filed.encode("GREEN 2023", add_special_tokens=False).ids
    assert model.decode(model.chat.encode("Green 2023")) == "green 2023"


def test_settings_are_read(copy: Path) -> None:
    settings: dict[str, Any] = {
        "prompts": "compact",
        "window": 99,
        "lr": 0.25,
        "recipes": {"paper": {"epochs": 7}},
    }
    (copy / "tmem.json").write_text(json.dumps(settings))
    model = load(copy, device="cpu")
    assert model.settings.prompts == "compact"
    assert model.window == 99
    assert (model.recipe("paper").lr, model.recipe("paper").epochs) == (0.25, 7)
    assert model.recipe("paper", lr=0.5, epochs=1).lr == 0.5
    assert model.recipe("sgd").epochs == RECIPES["sgd"].epochs
    with pytest.raises(UsageError):
        model.recipe("none such")


def test_fast_weights_and_replay_are_made_once(loaded: Callable[[str], Model]) -> None:
    model = loaded("llama")
    recipe, other = model.recipe("paper"), model.recipe("paper", lr=0.5, epochs=1)
    assert model.fast(recipe) is model.fast(other)
    assert model.fast(recipe) is not model.fast(model.recipe("paper", rank=2))
    assert model.replay(recipe) is model.replay(other)
    assert model.replay(recipe).exact


@pytest.mark.parametrize("name", ["no-such-model", "./no/such/directory", "/no/such"])
def test_refuses_an_unknown_name(name: str) -> None:
    assert refusal(name).startswith(f"unknown model '{name}'")


def test_refuses_a_hub_model_that_cannot_be_fetched() -> None:
    assert "the hub cannot be reached" in refusal("no-such-owner/no-such-model")


def test_refuses_pickled_weights(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    assert "convert them to safetensors" in refusal(copy)
    (copy / "pytorch_model.bin").unlink()
    assert "no *.safetensors" in refusal(copy)


def test_refuses_a_model_without_chat_template(copy: Path) -> None:
    (copy / "chat_template.jinja").unlink()
    assert "no chat template" in refusal(copy)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_refuses_a_damaged_file(file: str, copy: Path) -> None:
    (copy / file).write_text("{ not json")
    assert refusal(copy).startswith(str(copy))


def test_refuses_a_config_of_no_known_model(copy: Path) -> None:
    (copy / "config.json").write_text('{"model_type": "no_such_model"}')
    assert "no_such_model" in refusal(copy)


def test_refuses_an_incomplete_checkpoint(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert "incomplete checkpoint, 1 tensors are missing (first: model.norm.weight)" in refusal(copy)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not valid JSON"),
        ("[]", "valid dictionary"),
        ('{"colour": 1}', "unknown key 'colour'"),
        ('{"prompts": "loud"}', "prompts: "),
        ('{"budget": "many"}', "budget: "),
    ],
)
def test_refuses_malformed_settings(content: str, complaint: str, copy: Path) -> None:
    (copy / "tmem.json").write_text(content)
    message = refusal(copy)
    assert complaint in message
    assert message.startswith(str(copy / "tmem.json"))


def test_embedded_models_come_first(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "_HERE", copy.parent)
    assert assets.names() == ["copy"]
    assert assets.path("../copy") is None
    assert load("copy", device="cpu").directory == copy
