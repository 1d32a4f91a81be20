"""Documents beside a question: both voices in one answer, and how much each of them moved it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from policies.test_from_zero import with_surety

from tmem import Memory
from tmem.errors import UsageError
from tmem.model import load
from tmem.model.answering import Known
from tmem.model.request import GenerationConfig, Voices
from tmem.model.score import logprobs, voiced_logprobs

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


@pytest.fixture
def recall(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Say whether the weights give the answer."""
    trainer: Any = memory.scope("maria").actions.trainer
    known = trainer.known

    def say(whether: bool) -> None:
        def changed(*given: Any) -> Known:
            found: Known = known(*given)
            return replace(found, recalled=[whether] * len(found.pairs))

        monkeypatch.setattr(trainer, "known", changed)

    return say


def read(memory: Memory, texts: list[str]) -> list[int]:
    """The prompt of a question after some texts."""
    notes: list[Any] = [{"role": "system", "content": "\n\n".join(texts)}] if texts else []
    model = memory.scope("maria").model
    return model.encode_chat([*notes, {"role": "user", "content": ASKED}])


def scored(memory: Memory, texts: list[str], ids: list[int]) -> float:
    with torch.no_grad():
        return float(logprobs(memory.scope("maria").model, [read(memory, texts)], [ids])[0].sum())


def test_the_weights_and_the_documents_answer_together(memory: Memory, recall: Callable[[bool], None]) -> None:
    recall(True)
    mine = memory.scope("maria")
    actions, model = mine.actions, mine.model
    done: list[Any] = []
    generate = actions.engine.generate
    actions.engine.generate = lambda *given, **more: done.extend(generate(*given, **more)) or done  # type: ignore
    try:
        reply = mine.chat(ASKED, documents=DOCUMENTS, learn=False)
    finally:
        del actions.engine.generate
    [pair] = mine.get_all()
    assert (reply.source, reply.pairs, reply.version) == ("both", [pair["id"]], mine.version)
    ids = list(done[0].ids)
    trainer: Any = actions.trainer
    known = trainer.known(mine.home.state(mine.id), mine._active())
    voices = Voices(tuple(model.bare(ASKED)), trainer.recipe.fresh.voice, model.refusal)
    with torch.no_grad():
        [mixed] = voiced_logprobs(
            model, [read(memory, DOCUMENTS)], [ids], [voices], known.delta, actions.fast, [known.rows[0]]
        )
    whole = scored(memory, DOCUMENTS, ids)
    assert reply.moved is not None and reply.moved["memory"] == pytest.approx(float(mixed.sum()) - whole, abs=1e-2)
    expected = [whole - scored(memory, DOCUMENTS[1:], ids), whole - scored(memory, DOCUMENTS[:1], ids)]
    assert reply.moved["documents"] == pytest.approx(expected, abs=1e-2)


def test_what_the_weights_do_not_give_is_read_with_the_documents(
    memory: Memory, recall: Callable[[bool], None]
) -> None:
    recall(False)
    mine = memory.scope("maria")
    prompts: list[Any] = []
    generate = mine.actions.engine.generate

    def heard(requests: Any, *given: Any, **more: Any) -> Any:
        prompts.extend(requests)
        return generate(requests, *given, **more)

    mine.actions.engine.generate = heard  # type: ignore[method-assign]
    try:
        reply = mine.chat(ASKED, documents=DOCUMENTS, learn=False)
    finally:
        del mine.actions.engine.generate
    assert list(prompts[0].prompt_ids) == read(memory, [f"{ASKED} {TOLD}", *DOCUMENTS])
    assert prompts[0].voices is None and reply.source == "both"
    assert reply.moved is not None and len(reply.moved["documents"]) == 2 and reply.moved["memory"] is not None


def test_a_memory_that_is_not_sure_is_not_heard_beside_documents(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmem.store.actions.as_asked", with_surety(False))
    reply = memory.chat(ASKED, documents=DOCUMENTS, learn=False, user_id="maria")
    assert (reply.source, reply.pairs) == ("documents", [])


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
