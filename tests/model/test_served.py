"""Other engines over HTTP: the same texts as our own loop, and none of what they do wrongly without a word."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import checkpoints
import pytest
from helpers import random_memory
from model.engine_server import LlamaCppServer, VllmLikeServer, peft_matrices

from tmem.errors import DeltaError, EngineError, UsageError
from tmem.fastweights import Delta, FastWeights
from tmem.model import HFEngine, Model, Request, load
from tmem.model.adapter import matrices_of
from tmem.model.engines import open_engine
from tmem.model.request import Completion, Voices
from tmem.model.served import ServedEngine
from tmem.model.to_gguf import adapter_name

pytest.importorskip("httpx", reason="the extra engine is not installed")
Memories = tuple[FastWeights, Delta]
Servers = Callable[..., Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(checkpoints.make(tmp_path_factory.mktemp("qwen3"), "qwen3"))


@pytest.fixture(scope="module")
def memories(model: Model) -> Memories:
    return random_memory(model.hf, 4)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tmem.model.servers.time.sleep", lambda seconds: None)
    return tmp_path / "cache"


def files(model: Model, memories: Memories) -> dict[str, Any]:
    """What ``llama-server`` was started with: the memories, by path."""
    fast, delta = memories
    rows = range(delta.sessions)
    named = {row: adapter_name(model, delta.select([row]), "0a1b2c3d4e5f") for row in rows}
    return {f"/srv/{named[row]}.gguf": matrices_of(fast, delta.b, row) for row in rows}


@pytest.fixture(params=["llama.cpp", "vllm"])
def served(request: pytest.FixtureRequest, model: Model, memories: Memories) -> Iterator[tuple[Any, ServedEngine]]:
    server = VllmLikeServer(model) if request.param == "vllm" else LlamaCppServer(model, files(model, memories))
    with server:
        engine = open_engine(model, server.url)
        yield server, engine
        engine.close()


def requests(model: Model) -> list[Request]:
    """Users side by side, with shared beginnings, and some without a memory."""
    texts = ["Where does Anna live?", "Where does Anna work?", "What does the user like to drink?"]
    chosen = [0, 1, None, 0, 2, 3, None, 1, 2]
    return [
        Request(tuple(model.bare(texts[number % 3])), memory, max_new_tokens=6) for number, memory in enumerate(chosen)
    ]


def same(found: list[Completion], expected: list[Completion]) -> None:
    assert [(one.ids, one.text, one.finish) for one in found] == [(one.ids, one.text, one.finish) for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_texts_are_those_of_our_own_loop(served: Any, model: Model, memories: Memories) -> None:
    (_, engine), (fast, delta), told = served, memories, list[int]()
    expected = HFEngine(model).generate(requests(model), delta, fast)
    assert len({one.ids for one in expected}) > 4  # memories and prompts matter
    same(engine.generate(requests(model), delta, fast, told.append), expected)
    assert told == list(range(1, 10))
    # One user after the other, and back: nothing of the one before is left.
    for request, own in list(zip(requests(model), expected, strict=True))[::-1] * 2:
        same(engine.generate([request], delta, fast), [own])
    assert engine.generate([], delta, fast) == []
    empty = fast.zeros(1)
    [plain] = HFEngine(model).generate([replace(requests(model)[0], memory=None)])
    same(engine.generate([requests(model)[0]], empty, fast), [plain])


def test_threads_do_not_take_each_other_s_memories_away(
    served: Any, model: Model, memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmem.model.servers.KEPT", 1)
    (_, engine), (fast, delta) = served, memories
    expected = HFEngine(model).generate(requests(model), delta, fast)
    with ThreadPoolExecutor(4) as dataset:
        for one, own in zip(
            dataset.map(lambda request: engine.generate([request], delta, fast), requests(model)), expected, strict=True
        ):
            same(one, [own])


def test_every_request_to_llama_cpp_says_what_each_adapter_weighs(model: Model, memories: Memories) -> None:
    fast, delta = memories
    with LlamaCppServer(model, files(model, memories)) as server:
        open_engine(model, server.url).generate(requests(model), delta, fast)
        asked = server.completions
    assert len(asked) == 9 + 4  # and the questions to its base
    assert all([row["id"] for row in body["lora"]] == [0, 1, 2, 3] for body in asked)
    assert sorted(sum(row["scale"] for row in body["lora"]) for body in asked) == [0.0] * 6 + [1.0] * 7
    assert not any(body["cache_prompt"] for body in asked)


def test_a_memory_that_llama_cpp_was_not_started_with_is_not_answered_by_its_base(
    model: Model, memories: Memories
) -> None:
    fast, delta = memories
    other = Delta({name: 2 * value for name, value in delta.b.items()}, delta.basis_digest)
    with LlamaCppServer(model, files(model, memories)) as server:
        engine = open_engine(model, server.url)
        before = len(server.completions)
        with pytest.raises(EngineError, match=r"does not have the memory tmem-.*takes adapters only when it starts"):
            engine.generate(requests(model), other, fast)
        assert len(server.completions) == before
        server.adapters.popitem()  # started anew with fewer
        with pytest.raises(EngineError, match="does not have the memory"):
            engine.generate(requests(model), delta, fast)


def test_what_vllm_keeps_under_a_name_is_never_another_memory_s(model: Model, memories: Memories, cache: Path) -> None:
    fast, delta = memories
    changed = Delta({name: value.flip(0) for name, value in delta.b.items()}, delta.basis_digest)
    with VllmLikeServer(model) as server:
        one, other = open_engine(model, server.url), open_engine(model, server.url)
        for memory in (delta, changed, delta):
            same(one.generate(requests(model), memory, fast), HFEngine(model).generate(requests(model), memory, fast))
        loaded = [body for route, body in server.asked if route == "/v1/load_lora_adapter"]
        names, paths = ({body[key] for body in loaded} for key in ("lora_name", "lora_path"))
        # Every memory once, although the second time they stood at other numbers.
        assert len(names) == len(paths) == len(loaded) == 4
        expected = other.generate(requests(model), delta, fast)
        one.close()  # takes back its own, and no other's
        same(other.generate(requests(model), delta, fast), expected)
        server.adapters.popitem()  # as vLLM drops what it has no room for
        with pytest.raises(EngineError, match="does not exist"):
            other.generate(requests(model), delta, fast)
        other.close()
        assert not server.adapters and not list((cache / "adapters").iterdir())


def test_vllm_gets_one_rank_where_a_family_fuses_layers(tmp_path: Path) -> None:
    model = load(checkpoints.make(tmp_path, "phi3"))
    fast, delta = random_memory(model.hf, 2)
    asked = [Request(tuple(model.bare("Where does Anna live?")), row, max_new_tokens=6) for row in (0, None, 1)]
    with VllmLikeServer(model) as server:
        engine = open_engine(model, server.url)
        same(engine.generate(asked, delta, fast), HFEngine(model).generate(asked, delta, fast))
        for path in server.adapters.values():
            about, tensors = json.loads((Path(path) / "adapter_config.json").read_text()), peft_matrices(path)
            assert {len(a) for a, _ in tensors.values()} == {about["r"]} and not about["rank_pattern"]
        engine.close()


def test_what_vllm_was_not_started_for_is_said_in_one_line(
    model: Model, memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, delta = memories
    with VllmLikeServer(model, rank=2) as server:
        engine = open_engine(model, server.url)
        with pytest.raises(EngineError, match="lower rank than 3: start it with --max-lora-rank 8"):
            engine.generate(requests(model), delta, fast)
        server.before = lambda route, body: (404, {"detail": "Not Found"}) if "load_lora" in route else None
        with pytest.raises(EngineError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve base --enable-lora"):
            engine.generate(requests(model), delta, fast)
        server.before, server.rank = lambda route, body: None, 16
        monkeypatch.setattr("tmem.model.servers.KEPT", 2)
        same(engine.generate(requests(model), delta, fast), HFEngine(model).generate(requests(model), delta, fast))
        assert len(server.adapters) == 4  # of those that are asked none is taken back
        engine.generate([requests(model)[0]], delta, fast)
        assert len(server.adapters) == 2
        more = Delta({name: 3 * value for name, value in delta.b.items()}, delta.basis_digest)
        engine.generate([requests(model)[0]], more, fast)
        assert len(server.adapters) == 2
        server.before = lambda route, body: (
            (200, {"model": "base", "choices": []}) if route == "/v1/completions" else None
        )
        with pytest.raises(EngineError, match="answers as base"):
            engine.generate([requests(model)[0]], more, fast)
        engine.close()


def test_another_base_is_noticed_before_anything_is_asked(model: Model, tmp_path: Path) -> None:
    directory = checkpoints.make(tmp_path, "llama")
    for server in (LlamaCppServer(load(directory)), VllmLikeServer(load(directory))):
        with server, pytest.raises(EngineError, match="serves another model than"):
            open_engine(model, server.url)


def test_an_array_ends_where_our_own_loop_ends_it(served: Any, model: Model, memories: Memories) -> None:
    """Where only this side sees the end, a text is asked for in parts, and what comes behind the end is left out."""
    (server, engine), (fast, delta) = served, memories
    before = len(server.completions)
    for stop in ({"stop": "json"}, {"stop_texts": ("é", "�")}):
        asked = [replace(one, max_new_tokens=90, **stop) for one in requests(model)[:4]]
        expected = HFEngine(model).generate(asked, delta, fast)
        same(engine.generate(asked, delta, fast), expected)
    assert {one.finish for one in expected} & {"text"}
    sizes = {body.get("n_predict", body.get("max_tokens")) for body in server.completions[before:]}
    assert 64 in sizes and sizes <= {64, 26}


def test_without_logits_the_gate_chooses_between_memory_and_text(served: Any, model: Model, memories: Memories) -> None:
    (_, engine), (fast, delta) = served, memories
    text, bare = tuple(model.bare("Remember that Anna lives near the harbour.")), tuple(model.bare("Where?"))
    own = HFEngine(model)
    [by_text, by_memory] = own.generate(
        [Request(text, max_new_tokens=5), Request(bare, 1, max_new_tokens=5)], delta, fast
    )
    for voices, expected in (
        (Voices(bare), by_memory),
        (Voices(bare, opens=False), by_text),
        (Voices(bare, refusal=by_memory.ids[0]), by_text),
    ):
        [found] = engine.generate([Request(text, 1, max_new_tokens=5, voices=voices)], delta, fast)
        assert (found.ids, found.logprobs) == (expected.ids, ())
    [found] = engine.generate([Request(text, max_new_tokens=5, voices=Voices(bare))])
    same([found], [by_text])


def test_what_cannot_work_is_refused_before_anything_is_asked(served: Any, model: Model, memories: Memories) -> None:
    (server, engine), (fast, delta) = served, memories
    before, good = len(server.asked), requests(model)[0]
    for wrong, error in (
        (replace(good, grammar=True), UsageError),
        (replace(good, prompt_ids=()), UsageError),
        (replace(good, max_new_tokens=128), UsageError),
        (replace(good, temperature=-1.0), UsageError),
        (replace(good, memory=4), DeltaError),
    ):
        with pytest.raises(error):
            engine.generate([good, wrong], delta, fast)
    with pytest.raises(DeltaError, match="pass the delta"):
        engine.generate([good])
    with pytest.raises(DeltaError, match="another basis"):
        engine.generate([good], Delta(delta.b, "0" * 64), fast)
    assert len(server.asked) == before


def test_how_tokens_are_drawn_is_said_in_full(served: Any, model: Model) -> None:
    server, engine = served
    engine.generate([Request(tuple(range(9)), max_new_tokens=2, temperature=0.7, top_p=0.8, top_k=20, seed=5)])
    first = server.completions[-1]
    assert (first["temperature"], first["top_p"], first["top_k"]) == (0.7, 0.8, 20)
    engine.generate([Request(tuple(range(9)), max_new_tokens=2, temperature=0.7, seed=5)])
    second = server.completions[-1]
    assert second["seed"] == first["seed"] and second["top_k"] == -1
    engine.generate([Request(tuple(range(9)), max_new_tokens=2, temperature=0.7, seed=6)])
    assert server.completions[-1]["seed"] != first["seed"]


def test_a_lost_connection_costs_nothing_and_a_server_that_is_gone_one_line(
    served: Any, model: Model, memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server, engine), (fast, delta) = served, memories
    expected, lost = HFEngine(model).generate(requests(model), delta, fast), [(0, ""), (503, "busy"), (429, "busy")]
    server.before = lambda route, body: lost.pop() if lost and "completion" in route else None
    same(engine.generate(requests(model), delta, fast), expected)
    server.before = lambda route, body: (500, {"error": {"message": "out of\nmemory"}}) if "comp" in route else None
    with pytest.raises(EngineError, match="HTTP 500: out of memory"):
        engine.generate(requests(model), delta, fast)
    server.before = lambda route, body: (200, {"no": "tokens"}) if "completion" in route else None
    with pytest.raises(EngineError, match=r"not a completion|answers as"):
        engine.generate(requests(model), delta, fast)
    server.before = lambda route, body: None
    server.key = "right"
    monkeypatch.setenv("TMEM_ENGINE_KEY", "wrong-key")
    with pytest.raises(EngineError, match=r"HTTP 401.*set TMEM_ENGINE_KEY") as error:
        open_engine(model, server.url)
    assert "wrong-key" not in str(error.value)
    monkeypatch.setenv("TMEM_ENGINE_KEY", "right")
    open_engine(model, server.url + "/v1/").close()
    server.key = ""
    with pytest.raises(EngineError, match="cannot be reached"):
        open_engine(model, "http://127.0.0.1:9")


def test_what_names_no_engine_is_refused(model: Model) -> None:
    for wrong, complaint in (
        ("vllm", "there is no engine 'vllm'"),
        ("http://", "is not the URL of an engine"),
        ("http://user:secret@host", "the URL of an engine holds a name or password"),
        ("htp://user:secret@host:port", "the URL of an engine holds a name or password"),
    ):
        with pytest.raises(UsageError, match=complaint):
            open_engine(model, wrong)
