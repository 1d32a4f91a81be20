"""A model that costs nothing: a real tokenizer of about Qwen's token count, and replies from a script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tmem.agent.agent import Agent
from tmem.evaluation.records.spec import Spec
from tmem.model import Completion, Model, Request

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONSTANT = "No information available"


def make_model(folder: Path, texts: Iterable[str]) -> None:
    """A Qwen3-shaped model of no use but its tokenizer's, which is trained on ``texts``."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=8000, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=special[2], chat_template=CHAT).save_pretrained(folder)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
    config = Qwen3Config(vocab_size=8000, head_dim=16, num_key_value_heads=1, max_position_embeddings=40_960, **shape)
    torch.manual_seed(0)
    Qwen3ForCausalLM(config).save_pretrained(folder)


class Script:
    """An engine that reads nothing: "[]" for extractions, a constant for all else."""

    def __init__(self) -> None:
        self.calls = self.tokens = self.longest = 0

    def generate(self, requests: Sequence[Request], *_: Any, **__: Any) -> list[Completion]:
        lengths = [len(request.prompt_ids) for request in requests]
        self.calls += len(requests)
        self.tokens += sum(lengths)
        self.longest = max(self.longest, *lengths)
        return [Completion((), "[]" if request.stop == "json" else CONSTANT, (), "stop") for request in requests]


class ScriptedSpec(Spec):
    """An evaluation like any other, but for the engine."""

    def agent(self, model: Model, memory: str, seed: int) -> Agent:
        return replace(super().agent(model, memory, seed), engine=Script())
