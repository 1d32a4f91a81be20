"""Documents beside a question: what the memory knows is read with them, and how much each of them moved the answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from policies.test_from_zero import with_surety

from tmem import Memory
from tmem.errors import UsageError
from tmem.model import load
from tmem.model.request import GenerationConfig
from tmem.model.score import logprobs

ASKED, TOLD = "What is Maria's vehicle?", "camper"
DOCUMENTS = ["Maria sold her camper in May.", "Kevin takes the tram."]


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    folder = tmp_path_factory.mktemp("documents")
    model = load(checkpoints.make(folder / "model", "qwen3"), device="cpu")
    model.settings = model.settings.model_copy(update={"window": 2048, "max_new_tokens_memory": 6})
    with Memory(model, folder / "home") as memory:
        memory.add(pairs=[(ASKED, TOLD)], user_id="maria")
        yield memory


def read(memory: Memory, texts: list[str]) -> list[int]:
    """The prompt of a question after some texts."""
    notes: list[Any] = [{"role": "system", "content": "\n\n".join(texts)}] if texts else []
    model = memory.scope("maria").model
    return model.encode_chat([*notes, {"role": "user", "content": ASKED}])


def scored(memory: Memory, texts: list[str], ids: list[int]) -> float:
    with torch.no_grad():
        return float(logprobs(memory.scope("maria").model, [read(memory, texts)], [ids])[0].sum())


@pytest.mark.parametrize("sure", [None, True, False])
def test_what_the_memory_knows_is_read_before_the_documents(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, sure: bool | None
) -> None:
    monkeypatch.setattr("tmem.store.actions.as_asked", with_surety(sure))
    mine = memory.scope("maria")
    asked: list[Any] = []
    done: list[Any] = []
    generate = mine.actions.engine.generate

    def heard(requests: Any, *given: Any, **more: Any) -> Any:
        asked.extend(requests)
        found = generate(requests, *given, **more)
        done.extend(found)
        return found

    monkeypatch.setattr(mine.actions.engine, "generate", heard)
    reply = mine.chat(ASKED, documents=DOCUMENTS, learn=False)
    [pair] = mine.get_all()
    assert (reply.source, reply.pairs, reply.version) == ("both", [pair["id"]], mine.version)
    texts = [f"{ASKED} {TOLD}", *DOCUMENTS]
    assert list(asked[0].prompt_ids) == read(memory, texts)
    assert asked[0].voices is None and asked[0].memory is None  # by theta_0 alone
    ids = list(done[0].ids)
    whole = scored(memory, texts, ids)
    assert reply.moved is not None
    assert reply.moved["memory"] == pytest.approx(whole - scored(memory, DOCUMENTS, ids), abs=1e-2)
    expected = [whole - scored(memory, [texts[0], own], ids) for own in reversed(DOCUMENTS)]
    assert reply.moved["documents"] == pytest.approx(expected, abs=1e-2)


def test_a_question_that_the_memory_does_not_know_is_the_documents_alone(memory: Memory) -> None:
    reply = memory.chat("What is Otto's vehicle?", documents=DOCUMENTS[:1], learn=False, user_id="maria")
    assert (reply.source, reply.pairs) == ("documents", []) and reply.moved is not None
    assert reply.moved["memory"] is None and len(reply.moved["documents"]) == 1
    nobody = memory.chat(ASKED, documents=DOCUMENTS, learn=False, user_id="new", sampling=GenerationConfig())
    assert nobody.source == "documents" and nobody.version is None


def test_what_cannot_be_read_is_refused(tmp_path: Path, memory: Memory) -> None:
    with pytest.raises(UsageError, match="one of documents is blank"):
        memory.chat(ASKED, documents=[" "], user_id="maria")
    with (
        Memory("persona-nano", tmp_path) as questions,
        pytest.raises(UsageError, match="answers from its memory alone and reads no documents"),
    ):
        questions.chat(ASKED, documents=DOCUMENTS, user_id="maria")
