"""llama.cpp in the process: what our own loop says, and no user's memory in another's answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import checkpoints
import pytest
import torch
from helpers import random_memory

from tmem.errors import EngineError, UsageError
from tmem.fastweights import Delta
from tmem.model import HFEngine, Model, Request, load
from tmem.model.adapter import matrices_of
from tmem.model.engines import open_engine
from tmem.model.llamacpp import LlamaCpp, base_file
from tmem.model.request import Completion
from tmem.model.served import ServedEngine
from tmem.model.servers import Client
from tmem.model.to_gguf import adapter_name, save_lora

xllamacpp = pytest.importorskip("xllamacpp", reason="the extra llamacpp is not installed")
TEXTS = (
    "Where does Anna live?",
    "Where does Anna work?",
    "Where does Anna keep her cats?",
    "What does the user like to drink in the morning?",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Model]]:
    """A loaded model of each of the families that llama.cpp reads; their files are in a cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMEM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield functools.cache(lambda name: load(checkpoints.make_llama_like(tmp_path_factory.mktemp("base"), name)))


@pytest.fixture
def engine(made: Callable[[str], Model]) -> Iterator[ServedEngine]:
    engine = open_engine(made("qwen3"), "llamacpp")
    yield engine
    engine.close()


def close(found: list[Completion], expected: list[Completion]) -> None:
    """The same tokens, at log-probabilities that rounding explains; of parts of a character it gives none."""
    assert [(one.ids, one.text, one.finish) for one in found] == [(one.ids, one.text, one.finish) for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert not one.logprobs or one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


def requests(model: Model, memories: list[int | None], new: int = 5) -> list[Request]:
    return [
        Request(tuple(model.bare(TEXTS[number % len(TEXTS)])), memory, max_new_tokens=new)
        for number, memory in enumerate(memories)
    ]


@pytest.mark.parametrize("name", list(checkpoints.LLAMA_LIKE))
def test_it_says_what_the_model_says(name: str, made: Callable[[str], Model]) -> None:
    model, prompt = made(name), tuple(range(40, 75))
    fast, delta = random_memory(model.hf)
    engine = open_engine(model, "llamacpp")
    for memory in (None, 0):
        [done] = engine.generate([Request(prompt, memory, max_new_tokens=8)], delta, fast)
        ids = torch.tensor([[*prompt, *done.ids]])
        with torch.no_grad(), fast.active(delta, [-1 if memory is None else memory]):
            own = model.hf(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        assert own.argmax(-1).tolist() == list(done.ids)
        if done.logprobs:
            torch.testing.assert_close(torch.tensor(done.logprobs), own.max(-1).values, atol=1e-3, rtol=0)
    engine.close()


def test_many_users_at_once_get_what_they_get_alone(engine: ServedEngine) -> None:
    model = engine.model
    fast, delta = random_memory(model.hf, 8)
    asked = requests(model, [*range(8), None, *range(7, -1, -1), None, 3, 3, 5])
    expected = HFEngine(model).generate(asked, delta, fast)
    assert len({one.ids for one in expected}) > 12
    found = engine.generate(asked, delta, fast)
    close(found, expected)
    assert sum(bool(one.logprobs) for one in found) > 5


def test_threads_do_not_take_each_other_s_memories_away(engine: ServedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmem.model.llamacpp.KEPT", 1)
    model = engine.model
    fast, delta = random_memory(model.hf, 4)
    asked = [requests(model, [row, None, row]) for row in range(4)]
    expected = [HFEngine(model).generate(own, delta, fast) for own in asked]
    with ThreadPoolExecutor(4) as dataset:
        found = list(dataset.map(lambda own: engine.generate(own, delta, fast), asked))
    for one, other in zip(found, expected, strict=True):
        close(one, other)


def test_nothing_of_one_user_is_left_for_the_next(engine: ServedEngine, made: Callable[[str], Model]) -> None:
    """A, B, A, nobody and B with shared beginnings: token for token and bit for bit what a fresh engine says."""
    model = engine.model
    fast, delta = random_memory(model.hf, 2)
    fresh: dict[tuple[int, int | None], list[Completion]] = {}
    asked = {
        (text, memory): requests(model, [memory] * 4)[text : text + 1] for text in range(4) for memory in (0, 1, None)
    }
    for key, own in asked.items():
        alone = open_engine(model, "llamacpp")
        fresh[key] = alone.generate(own, delta, fast)
        alone.close()
    engine.generate(requests(model, [0, 1]), delta, fast)
    for memory in (0, 1, 0, None, 1, None, 0):
        for text in range(4):
            assert engine.generate(asked[text, memory], delta, fast) == fresh[text, memory]


def test_it_is_started_anew_for_what_it_does_not_have(engine: ServedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    model, server = engine.model, engine.server
    assert isinstance(server, LlamaCpp)
    monkeypatch.setattr("tmem.model.llamacpp.KEPT", 3)
    fast, delta = random_memory(model.hf, 6)
    own = HFEngine(model)
    for memories in ([0, 1], [2], [3, 4], [0], [0, 1, 2, 3, 4, 5]):
        asked = requests(model, list(memories))
        close(engine.generate(asked, delta, fast), own.generate(asked, delta, fast))
    folder = Path(server._folder.name)
    assert len(list(folder.iterdir())) == 6
    running = server._running
    engine.generate(requests(model, [5, 0]), delta, fast)
    assert server._running is running
    longer = [replace(one, max_new_tokens=60) for one in requests(model, [5, 0])]
    assert [one.ids for one in engine.generate(longer, delta, fast)] == [
        one.ids for one in own.generate(longer, delta, fast)
    ]
    whole = [replace(one, max_new_tokens=model.window - len(one.prompt_ids)) for one in requests(model, [None, 1])]
    assert [one.ids for one in engine.generate(whole, delta, fast)] == [
        one.ids for one in own.generate(whole, delta, fast)
    ]
    engine.close()
    assert not folder.exists()


def test_a_server_of_its_own_is_reached_by_its_url(
    made: Callable[[str], Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the traps are there: without a list of adapters it sums them, and an unknown one is not missed."""
    model = made("qwen3")
    fast, delta = random_memory(model.hf, 3)
    params = xllamacpp.CommonParams()
    for row in range(2):
        path = tmp_path / f"{adapter_name(model, delta.select([row]), 'anna')}.gguf"
        save_lora(path, model, matrices_of(fast, delta.b, row))
        params.lora_adapters = [*params.lora_adapters, xllamacpp.CommonAdapterLoraInfo(str(path), 1.0)]
    params.model.path, params.port, params.n_ctx, params.verbosity = str(base_file(model, "f32")), 0, 1024, -1
    params.api_keys, params.cpuparams.n_threads = ["secret"], 1
    server = xllamacpp.Server(params)
    monkeypatch.setenv("TMEM_ENGINE_KEY", "secret")
    engine = open_engine(model, server.listening_address)
    asked = requests(model, [0, 1, None, 1, 0])
    found = engine.generate(asked, delta, fast)
    assert [one.ids for one in found] == [one.ids for one in HFEngine(model).generate(asked, delta, fast)]
    with pytest.raises(EngineError, match="does not have the memory"):
        engine.generate(requests(model, [2]), delta, fast)
    engine.close()
    both = Delta({name: value[:1] + value[1:2] for name, value in delta.b.items()}, delta.basis_digest)
    [summed] = HFEngine(model).generate(requests(model, [0]), both, fast)
    client = Client(server.listening_address)
    body = {"prompt": asked[0].prompt_ids, "n_predict": 5, "temperature": 0, "return_tokens": True}
    replies = [client.post("/completion", body | more) for more in ({}, {"lora": [{"id": 99, "scale": 1.0}]})]
    tokens = [tuple(reply["tokens"]) for reply in replies]
    [base] = HFEngine(model).generate([replace(asked[0], memory=None)])
    assert tokens == [summed.ids, base.ids] and summed.ids not in (found[0].ids, base.ids)


def test_texts_are_cut_as_the_base_says(made: Callable[[str], Model]) -> None:
    model = made("llama")
    server = LlamaCpp(model)
    with server.ready({}, 8):
        assert server._server is not None
        for text in ("Anna's 1,234 cats: ½ a dozen!", "  two  spaces\n\nand lines ", "naïve Ωμέγα 東京 🙂"):
            body = {"content": text, "add_special": False}
            assert server._server.client.post("/tokenize", body)["tokens"] == model.chat.encode(text)
    server.close()


def test_a_file_of_another_base_is_refused(made: Callable[[str], Model], tmp_path: Path) -> None:
    other = base_file(made("llama"), "f32")
    (tmp_path / "text.gguf").write_text("no model")
    for wrong, complaint in (
        (f"llamacpp:{other}", "is of another base"),
        (f"llamacpp:{tmp_path / 'text.gguf'}", "cannot be read as GGUF"),
        (f"llamacpp:{tmp_path / 'none.gguf'}", "cannot be read as GGUF"),
    ):
        with pytest.raises(EngineError, match=complaint):
            open_engine(made("qwen3"), wrong)
    with pytest.raises(UsageError, match="choose f32, f16, bf16, q8_0"):
        open_engine(made("qwen3"), "llamacpp:q2")
    half = open_engine(made("qwen3"), "llamacpp:bf16")
    half.check_base()
    half.close()


def test_sampled_texts_are_the_same_every_time(engine: ServedEngine) -> None:
    model = engine.model
    asked = [replace(one, temperature=1.0, seed=number) for number, one in enumerate(requests(model, [None] * 6, 9))]
    first, second = engine.generate(asked), engine.generate(asked[::-1])[::-1]
    assert [one.ids for one in first] == [one.ids for one in second] and len({one.ids for one in first}) > 4
    for one in first:  # at temperature 1, whatever was drawn
        if one.logprobs:
            ids = torch.tensor([[*asked[first.index(one)].prompt_ids, *one.ids]])
            own = model.hf(ids).logits[0].log_softmax(-1)[-len(one.ids) - 1 : -1]
            picked = own.gather(1, torch.tensor(one.ids)[:, None])[:, 0]
            torch.testing.assert_close(torch.tensor(one.logprobs), picked, atol=1e-3, rtol=0)
