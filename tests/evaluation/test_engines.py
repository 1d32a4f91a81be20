"""Evaluations on another engine: the records of our own loop, and which engine it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluation.test_runner import checkpoint, lines, model, spec
from model.engine_server import VllmLikeServer

from tmem.errors import DataError
from tmem.evaluation import runner
from tmem.model import Model

__all__ = ["checkpoint", "model"]  # fixtures


@pytest.fixture(params=["llamacpp", "vllm"])
def engine(request: pytest.FixtureRequest, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The name of an engine that serves the model."""
    pytest.importorskip("httpx", reason="the extra engine is not installed")
    monkeypatch.setenv("TMEM_CACHE", str(tmp_path / "cache"))
    if request.param == "vllm":
        with VllmLikeServer(model) as server:
            yield server.url
    else:
        pytest.importorskip("xllamacpp", reason="the extra llamacpp is not installed")
        yield request.param


def test_episodes_run_alike(model: Model, checkpoint: Path, engine: str, tmp_path: Path) -> None:
    memories = ["none", "tmem"]
    runner.run(spec(checkpoint), model, memories, [1], tmp_path / "own", limit=2)
    runner.run(spec(checkpoint, engine=engine), model, memories, [1], tmp_path / "other", limit=2)
    own, other = lines(tmp_path / "own"), lines(tmp_path / "other")
    assert own == other and len({json.loads(line).get("reply") for line in own.values()}) > 3
    settings = json.loads((tmp_path / "other" / "run.json").read_text())["settings"]
    assert settings["engine"] == engine
    with pytest.raises(DataError, match="holds another run"):
        runner.run(spec(checkpoint, engine=engine), model, memories, [1], tmp_path / "own", limit=2)
