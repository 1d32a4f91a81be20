"""A memory whose answers another engine gives: the same as from our own loop, and writes stay here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from model.engine_server import VllmLikeServer

from tmem import Memory
from tmem.errors import EngineError, UsageError
from tmem.model import Model

COLOUR, JOB = "What is Kevin's favourite colour?", "What is Maria's job?"
TOLD = 'Maria said, "I bought a camper to get around."'
ASKED = ("What is Maria's vehicle?", COLOUR, JOB, "Where does Bo live?")


@pytest.fixture(params=["llamacpp", "vllm"])
def engine(request: pytest.FixtureRequest, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The name of an engine that serves the model."""
    pytest.importorskip("httpx", reason="the extra engine is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMEM_CACHE", str(tmp_path_factory.getbasetemp() / "engine-cache"))
        if request.param == "vllm":
            with VllmLikeServer(model, rank=32) as server:
                yield server.url
        else:
            pytest.importorskip("xllamacpp", reason="the extra llamacpp is not installed")
            yield request.param


def test_answers_are_the_same_and_corrections_hold_at_once(quick: Model, engine: str, tmp_path: Path) -> None:
    with Memory(quick, tmp_path / "own") as own, Memory(quick, tmp_path / "other", engine=engine) as other:
        for memory in (own, other):
            memory.add(TOLD, user_id="maria")
            memory.add(pairs=[(COLOUR, "silver"), (JOB, "baker")], user_id="kevin")
        for user in ("maria", "kevin", "maria"):
            for question in ASKED:
                mine, theirs = (memory.ask(question, user_id=user, unknown="base") for memory in (own, other))
                assert (theirs.text, theirs.source) == (mine.text, mine.source)
        assert other.ask(COLOUR, user_id="maria").source == "nothing"  # the gate is here
        assert other.verify(user_id="maria")["weights"] == own.verify(user_id="maria")["weights"]
        other.add(pairs=[(COLOUR, "red")], user_id="kevin")
        assert other.ask(COLOUR, user_id="kevin").text == "red"
        assert [other.chat(turn, user_id="maria").text for turn in (f"{TOLD} {ASKED[0]}", "Hello there.")] == [
            own.chat(turn, user_id="maria").text for turn in (f"{TOLD} {ASKED[0]}", "Hello there.")
        ]


def test_an_engine_that_cannot_be_is_refused_when_the_memory_is_opened(model: Model, tmp_path: Path) -> None:
    for wrong, kind in (("vllm", UsageError), ("http://127.0.0.1:9", EngineError)):
        with pytest.raises(kind):
            Memory(model, tmp_path, engine=wrong)
