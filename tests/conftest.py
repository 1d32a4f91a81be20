"""Shared by all tests: one thread each, so that nothing depends on the machine's cores, and no network."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["TMEM_MODEL"] = "persona-nano"  # of memories, whatever is installed
os.environ.setdefault("OMP_NUM_THREADS", "1")  # also in the processes that tests start
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def quick_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a persona-nano whose writes take a third of the steps, and whose gate is there at once."""
    from helpers import QUICK

    from tmem.model import load
    from tmem.model.reading import gate_of

    folder = tmp_path_factory.mktemp("quick") / "persona-nano"
    shutil.copytree(load("persona-nano").directory, folder)
    settings = json.loads((folder / "tmem.json").read_text()) | QUICK
    (folder / "tmem.json").write_text(json.dumps(settings))
    model = load(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tmem.model.kept.LARGE", 1)  # its size
        gate_of(model, model.recipe("tmem")).keys.questions(["What?"])
    assert list(folder.glob("gate-*.safetensors"))
    return folder


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
