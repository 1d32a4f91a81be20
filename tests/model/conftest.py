"""Checkpoints and models, made once for all tests of this folder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import checkpoints
import pytest
import torch
from helpers import tiny
from references import MemoryModel

from tmem.model import Model, Settings, load
from tmem.seeds import generator


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """family -> its checkpoint directory."""
    return functools.cache(lambda family: checkpoints.make(tmp_path_factory.mktemp(family), family))


@pytest.fixture(scope="session")
def loaded(checkpoint: Callable[[str], Path]) -> Callable[[str], Model]:
    """family -> the model loaded from its checkpoint directory."""
    return functools.cache(lambda family: load(checkpoint(family), device="cpu"))


@pytest.fixture(scope="session")
def with_memories() -> Callable[[str], MemoryModel]:
    """family -> a tiny model of any supported family, and three random memories for it."""

    @functools.cache
    def make(family: str) -> MemoryModel:
        hf = tiny(family, vocab_size=checkpoints.VOCABULARY, eos_token_id=0, pad_token_id=1, bos_token_id=2)
        model = Model(family, Path("nowhere"), hf, checkpoints.tokenizer("qwen3"), Settings())
        fast = model.fast(model.recipe("paper"))
        delta = fast.zeros(3)
        for name, b in delta.b.items():
            b.copy_(torch.randn(b.shape, generator=generator("memories", name)) * 0.1)
        return model, fast, delta

    return make
