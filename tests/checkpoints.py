"""Whole checkpoint directories made on the spot: random weights, a small tokenizer and a chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from helpers import tiny
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3TextConfig,
    GPT2Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3NextConfig,
)

VOCABULARY = 384  # a little more than the tokenizer has, as in real checkpoints

SENTENCES = [
    "Anna lives in a small house near the harbour and keeps two grey cats.",
    "What does the user like to drink in the morning? Green tea with lemon.",
    '[{"instruction": "Where does Anna live?", "output": "Near the harbour."}]',
    "Remember that the meeting on Friday has been moved to half past three.",
]

# Each in the manner of its family; <think> is an ordinary added token there, not a special one.
TEMPLATES = {
    "qwen3": (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
        "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
        "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
        "{% if enable_thinking is defined and not enable_thinking %}"
        "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
    ),
    "llama": (
        "{{ '<|begin_of_text|>' }}{% for m in messages %}"
        "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
    "gemma2": (
        "{{ '<bos>' }}{% for m in messages %}"
        "{% if m.role == 'system' %}{{ raise_exception('no system role here') }}{% endif %}"
        "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
        "{{ m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
    ),
    # The system text is passed over in silence, and a space comes before the answer.
    "mistral": (
        "{{ '<s>' }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
        "{% elif m.role == 'assistant' %}{{ ' ' + m.content + '</s>' }}{% endif %}{% endfor %}"
    ),
    "phi3": (
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ '<|endoftext|>' }}{% endif %}"
    ),
}
FAMILIES = list(TEMPLATES)
END_OF_TURN = {
    "qwen3": "<|im_end|>",
    "llama": "<|eot_id|>",
    "gemma2": "<end_of_turn>",
    "mistral": "</s>",
    "phi3": "<|end|>",
}
_SPECIAL = {
    "qwen3": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama": [
        "<|end_of_text|>",
        "<|begin_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ],
    "gemma2": ["<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"],
    "mistral": ["</s>", "<s>", "[INST]", "[/INST]"],
    "phi3": ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"],
}


def tokenizer(family: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE with the family's special tokens (the first is eos, id 0) and chat template."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=_SPECIAL[family],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(SENTENCES, trainer)
    if family == "qwen3":
        raw.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=_SPECIAL[family][0])
    made.chat_template = TEMPLATES[family]
    return made


def make(directory: Path, family: str) -> Path:
    """Write a checkpoint of ``family`` into ``directory``."""
    model = tiny(family, vocab_size=VOCABULARY, eos_token_id=0, pad_token_id=1, bos_token_id=2)
    model.save_pretrained(directory)
    tokenizer(family).save_pretrained(directory)
    return directory


LLAMA3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA_LIKE: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama with biases": {"attention_bias": True, "tie_word_embeddings": False},
    "llama 3.1": {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 16}},
    "qwen2": {},
    "qwen3": {"tie_word_embeddings": True},
}


def make_llama_like(directory: Path, name: str) -> Path:
    """A checkpoint of what llama.cpp reads, in one of its variants; biases are random, too."""
    family = name.split()[0]
    model = tiny(family, vocab_size=VOCABULARY, eos_token_id=0, **LLAMA_LIKE[name])
    for key, value in model.named_parameters():
        if key.endswith(".bias"):
            value.data.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(len(key))))
    model.save_pretrained(directory)
    tokenizer("qwen3" if family == "qwen2" else family).save_pretrained(directory)
    return directory


def published(name: str) -> PreTrainedConfig:
    """Tiny configurations of other layouts: one with an image tower, one that keeps states, one without a stack."""
    narrow = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4}
    narrow |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256}
    if name == "gemma3":
        text = Gemma3TextConfig(**narrow, sliding_window=16, initializer_range=0.2)
        tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
        return Gemma3Config(text_config=text, vision_config=tower | {"image_size": 28, "patch_size": 14})
    if name == "qwen3_next":
        return Qwen3NextConfig(**narrow, num_experts=2, num_experts_per_tok=1)
    return GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=4, n_head=4)


def make_published(directory: Path, name: str, family: str) -> Path:
    """A checkpoint of :func:`published`, with the tokenizer of ``family``."""
    AutoModelForCausalLM.from_config(published(name)).save_pretrained(directory)
    tokenizer(family).save_pretrained(directory)
    return directory
