"""What users of adapters, GGUF files, tokenizers and trainers reported, tried on this one; the table: docs/log.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing

from tmem.agent.trajectory import Action, Trajectory
from tmem.errors import DataError, ModelError
from tmem.model import Model, load
from tmem.model.adapter import add_adapter, save_adapter
from tmem.model.chat import Chat
from tmem.training.advantages import ScoredTrajectory, advantages
from tmem.training.sft import read_rows

LAYER = "model.layers.1.mlp.up_proj"
USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(checkpoints.make(tmp_path_factory.mktemp("llama"), "llama"), device="cpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_rslora": True}, r"of one rank and scale \(use_rslora\)"),  # alpha / sqrt(r), not alpha / r
        ({"alpha_pattern": {"up_proj": 64}}, r"of one rank and scale \(alpha_pattern\)"),
        ({"r": 4}, "has the rank 2, its adapter_config.json says 4"),
        ({"lora_alpha": None}, "gives no rank and scale"),
    ],
)
def test_an_adapter_of_another_scale_is_refused(tiny: Model, tmp_path: Path, change: Any, said: str) -> None:
    """peft #2733, diffusers #14409, hyprstream #1551: adapters were added at a wrong strength, and nothing was said."""
    weight = tiny.hf.get_parameter(f"{LAYER}.weight")
    before = weight.clone()
    save_adapter(tmp_path, "tiny", {LAYER: (torch.ones(2, weight.shape[1]), torch.ones(weight.shape[0], 2))}, 2)
    about = tmp_path / "adapter_config.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | change))
    with pytest.raises(ModelError, match=said):
        add_adapter(tiny.hf, tmp_path)
    assert torch.equal(weight, before)


def test_an_alpha_that_is_not_the_rank_scales(tiny: Model, tmp_path: Path) -> None:
    """lattice #261: every adapter was added as if alpha were its rank."""
    weight = tiny.hf.get_parameter(f"{LAYER}.weight")
    before = weight.clone()
    save_adapter(tmp_path, "tiny", {LAYER: (torch.ones(2, weight.shape[1]), torch.ones(weight.shape[0], 2))}, 2)
    about = tmp_path / "adapter_config.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"lora_alpha": 0.5}))
    add_adapter(tiny.hf, tmp_path)
    torch.testing.assert_close(weight - before, torch.full_like(weight, 0.5))  # 0.5 / 2 of ones times ones
    with torch.no_grad():
        weight.copy_(before)


@pytest.mark.parametrize(
    ("kind", "parts", "said"),
    [
        ("model", 3, r"one of 3 parts of a model: join them \(llama-gguf-split --merge\)"),
        ("adapter", 1, r"what belongs to one \(adapter\): merge the LoRA into its model first"),
        ("mmproj", 1, r"what belongs to one \(mmproj\): it only reads images, give the model's own file"),
    ],
)
def test_a_gguf_file_that_is_no_whole_model_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, parts: int, said: str
) -> None:
    """transformers #32266, llama.cpp #3953 and #7799: parts, LoRAs and image readers were taken for models."""
    gguf = pytest.importorskip("gguf")
    monkeypatch.setenv("TMEM_CACHE", str(tmp_path / "cache"))
    writer = gguf.GGUFWriter(tmp_path / "m-00001-of-00003.gguf", "llama")
    writer.add_type(kind)
    writer.add_uint16("split.count", parts)
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((2, 32), dtype=np.float32))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        step()
    writer.close()
    with pytest.raises(ModelError, match=said) as error:
        load(tmp_path / "m-00001-of-00003.gguf")
    assert "\n" not in str(error.value)


def test_a_text_begins_once(tiny: Model) -> None:
    """OpenRLHF #393: template and tokenizer both began it."""
    token = "<|begin_of_text|>"
    number = tiny.tokenizer.convert_tokens_to_ids(token)
    own = load(tiny.directory, device="cpu").tokenizer
    own.backend_tokenizer.post_processor = TemplateProcessing(single=f"{token} $A", special_tokens=[(token, number)])
    assert own("Hi").input_ids[0] == number  # as those tokenizers do
    chat = Chat("tiny", own)
    prompt, reply = chat.reply([USER], "Hello")
    assert chat.encode_chat([USER]) == list(prompt)
    assert [*prompt, *reply].count(number) == 1 and prompt[0] == number


def test_a_reply_ends_at_any_of_several_tokens(tiny: Model) -> None:
    """vllm #4180: of Llama's two ends of a text, the one that its chats use was not known."""
    model = load(tiny.directory, device="cpu")
    model.hf.generation_config.eos_token_id = [0, 7, 9]
    assert model.stop_ids == {0, 7, 9, model.chat.end_of_turn} and model.chat.end_of_turn not in (0, 7, 9)


def rows(path: Path, model: Model, *lines: Any) -> Any:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_rows(path, model, 64)


def test_columns_that_a_table_left_empty_are_not_there(tiny: Model, tmp_path: Path) -> None:
    """trl #5376: writing rows of two forms into one table fills both with null."""
    mixed = {"messages": None, "prompt": [USER], "completion": [ASSISTANT], "tools": None}
    plain = {"messages": [USER | {"tool_calls": None}, ASSISTANT], "prompt": None, "completion": None}
    first, second = rows(tmp_path / "rows.jsonl", tiny, mixed, plain)
    assert first.branches == second.branches and first.branches[0][1][-1] == tiny.chat.end_of_turn


def test_a_call_of_a_tool_is_named(tiny: Model, tmp_path: Path) -> None:
    """Synaptic-Tuner #42: rows with calls of tools have messages without a text."""
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look"}}]}
    with pytest.raises(DataError, match=r"line 2: message 2, of the assistant, has no text as its content"):
        rows(tmp_path / "rows.jsonl", tiny, {"messages": [USER, ASSISTANT]}, {"messages": [USER, call, ASSISTANT]})


def test_a_row_is_never_cut_until_nothing_is_left_to_learn(tiny: Model, tmp_path: Path) -> None:
    """trl #6668, #3927: a completion was cut off whole, and the loss was 0."""
    with pytest.raises(DataError, match=r"line 1: \d+ tokens, more than the 64 of a step"):
        rows(tmp_path / "rows.jsonl", tiny, {"messages": [USER | {"content": "Hi " * 99}, ASSISTANT]})


def test_of_several_replies_the_last_is_learnt(tiny: Model, tmp_path: Path) -> None:
    """ART #743: whether earlier replies are learnt, too, has to be said. Here they are read only."""
    last = {"role": "assistant", "content": "Bye"}
    [row] = rows(tmp_path / "rows.jsonl", tiny, {"messages": [USER, ASSISTANT, USER, last]})
    [(prompt, reply)] = row.branches
    assert tiny.chat.decode(reply).strip() == "Bye" and "Hello" in tiny.chat.decode(prompt)


def test_groups_of_equal_rewards_are_not_divided_by_nothing() -> None:
    """trl #5773: a group without a spread, or of one usable rollout, made advantages that are no numbers."""
    trajectory = Trajectory("e", "tmem", 0, [Action("answer", (1,), (2,), (-1.0,), "", "stop", 0, None)])
    for group in ([0.3] * 4, [0.1 + 0.2, 0.3], [1.0]):
        found = advantages([ScoredTrajectory(trajectory, reward) for reward in group], scale=True)
        assert found == [[0.0]] * len(group)
