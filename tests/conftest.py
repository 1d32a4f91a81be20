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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that slow.txt names as slow: ``make test-fast`` does without them."""
    here = Path(__file__).parent
    named = [line for line in (here / "slow.txt").read_text().splitlines() if line and not line.startswith("#")]
    for item in items:
        own = item.nodeid.removeprefix("tests/")
        if any(own == line or own.startswith((f"{line}::", f"{line}[", f"{line}/")) for line in named):
            item.add_marker("slow")


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
