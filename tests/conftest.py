"""Shared by all tests: one thread each, so that nothing depends on the machine's cores, and no network."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["TMEM_MODEL"] = "persona-nano"  # of memories, whatever is installed
os.environ.setdefault("OMP_NUM_THREADS", "1")  # also in the processes that tests start
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def with_memories() -> Callable[[str], Any]:
    """family -> a tiny model of any supported family, and three random memories for it."""

    import checkpoints
    from helpers import tiny

    from tmem.model import Model, ModelSettings
    from tmem.seeds import generator

    @functools.cache
    def make(family: str) -> Any:
        hf = tiny(family, vocab_size=checkpoints.VOCABULARY, eos_token_id=0, pad_token_id=1, bos_token_id=2)
        model = Model(family, Path("nowhere"), hf, checkpoints.tokenizer("qwen3"), ModelSettings())
        fast = model.fast(model.recipe("paper"))
        delta = fast.zeros(3)
        for name, b in delta.b.items():
            b.copy_(torch.randn(b.shape, generator=generator("memories", name)) * 0.1)
        return model, fast, delta

    return make
