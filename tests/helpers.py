"""Tiny random-weight models of every supported family, and example pairs for them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from tmem.fastweights import Basis, Delta, Example, FastWeights
from tmem.model.adapter import save_adapter
from tmem.seeds import derive

VOCABULARY = 128
CONFIGS: dict[str, type[PreTrainedConfig]] = {
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
    "llama": LlamaConfig,
    "mistral": MistralConfig,
    "gemma2": Gemma2Config,
    "gemma3": Gemma3TextConfig,
    "phi3": Phi3Config,
    "phi": PhiConfig,
    "smollm3": SmolLM3Config,
}
FAMILIES = list(CONFIGS)
CORE_FAMILIES = ["qwen3", "llama", "gemma2", "gemma3", "phi3"]
# A write of persona-nano in a third of its recipe's steps, which teaches a few pairs as well: for tests of what is done
# with memories, not of how well they are taught.
FEW_STEPS = {"steps": 8, "steps_per_pair": 4, "warmup": 2, "held": 0, "products": "float32"}
QUICK = {"recipes": {"tmem": {"lr": 0.03, "fresh": FEW_STEPS}}}


def tiny(family: str, seed: int = 0, **overrides: Any) -> Any:
    """A float32 model of 6 layers, width 32 and 128 tokens, in evaluation mode; equal for equal arguments.

    Typed as Any because the families' attributes differ.
    """
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.2,  # large enough for a memory to matter
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "attn_implementation": "eager" if family.startswith("gemma") else "sdpa",
        "dtype": "float32",
    }
    if family in ("qwen3", "gemma2", "gemma3"):
        settings["head_dim"] = 8
    if family in ("mistral", "gemma2", "gemma3", "phi3"):
        settings["sliding_window"] = 8
    settings |= overrides
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive("tiny", family, seed))
        config = CONFIGS[family](**settings)
        architecture: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        return architecture(config).eval()


def examples(count: int, seed: int = 0, longest: int = 9) -> list[Example]:
    """``count`` pairs of random tokens, prompts and answers of 1 to ``longest`` tokens."""
    rng = random.Random(derive("examples", seed))

    def tokens() -> tuple[int, ...]:
        return tuple(rng.randrange(3, VOCABULARY) for _ in range(rng.randint(1, longest)))

    return [Example((1, *tokens()), (*tokens(), 2), f"question {seed}.{number}") for number in range(count)]


def random_memory(model: Any, sessions: int = 1) -> tuple[FastWeights, Delta]:
    """Memories of random numbers, each another, large enough to change what is said."""
    fast = FastWeights(model, Basis.from_model(model, layers=2, rank=3))
    delta = fast.zeros(sessions)
    for number, value in enumerate(delta.b.values()):
        value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(number)) / 5)
    return fast, delta


def random_adapter(model: Any, folder: Path, layers: Sequence[str], names: Sequence[str] = ()) -> None:
    """An adapter of rank 2 for these layers that changes what is said; ``names``: what it calls them, if otherwise."""
    matrices = {}
    for number, (layer, name) in enumerate(zip(layers, names or layers, strict=True)):
        out, width = model.get_submodule(layer).weight.shape
        noise = torch.Generator().manual_seed(number)
        matrices[name] = torch.randn(2, width, generator=noise), torch.randn(out, 2, generator=noise)
    save_adapter(folder, "tiny", matrices, 2)
