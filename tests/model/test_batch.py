"""One batch for many threads: each text as it is alone, heard token by token, ended when nobody wants it any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
from references import MemoryModel, mixed_requests, prompt

from tmem.errors import UsageError
from tmem.fastweights import Delta
from tmem.model import Completion, HFEngine, Request
from tmem.model.batch import Batch, listening, unheard
from tmem.model.request import Listener

WithMemories = Callable[[str], MemoryModel]


@pytest.fixture
def batches() -> Iterator[Callable[..., Batch]]:
    made: list[Batch] = []

    def make(model: Any, fast: Any) -> Batch:
        made.append(Batch(HFEngine(model), fast))
        return made[-1]

    yield make
    for batch in made:
        batch.close()


@pytest.mark.parametrize("family", ["qwen3", "gemma3"])  # whose caches are joined, and one whose are not
def test_every_thread_gets_what_it_gets_alone(
    family: str, with_memories: WithMemories, batches: Callable[..., Batch]
) -> None:
    model, fast, delta = with_memories(family)
    requests = mixed_requests()
    alone = [HFEngine(model).generate([request], delta, fast)[0] for request in requests]
    batch = batches(model, fast)

    def ask(request: Request) -> Completion:
        memory, own = request.memory, delta
        if memory is not None:  # everybody with a Delta of their own
            own, request = (
                Delta({name: b[memory : memory + 1] for name, b in delta.b.items()}, delta.basis_digest),
                (replace(request, memory=0)),
            )
        return batch.generate([request], own, fast)[0]

    with ThreadPoolExecutor(16) as threads:
        for one, other in zip(alone, threads.map(ask, requests), strict=True):
            assert (one.ids, one.text, one.finish) == (other.ids, other.text, other.finish)
    assert batch.tokens == sum(len(one.ids) for one in alone) and batch.rows == 0


def test_who_listens_hears_every_token(with_memories: WithMemories, batches: Callable[..., Batch]) -> None:
    model, fast, delta = with_memories("qwen3")
    heard: list[Any] = []
    batch, asked = batches(model, fast), [Request(prompt(5), 0, 12)]
    with listening(Listener(lambda *token: heard.append(token), likeliest=3)):
        [done] = batch.generate(asked, delta, fast)
        with unheard():
            batch.generate(asked, delta, fast)
    ids, logprobs, _ = zip(*heard, strict=True)
    assert (ids, logprobs) == (done.ids, done.logprobs)
    for token, logprob, tokens in heard:  # greedy: the likeliest is the one that was chosen
        values = [value for _, value in tokens]
        assert tokens[0] == (token, pytest.approx(logprob, abs=1e-5)) and len(tokens) == 3
        assert values == sorted(values, reverse=True)
    batch.generate(asked, delta, fast)  # outside, nobody listens
    assert len(heard) == len(done.ids)


def test_who_has_gone_is_computed_for_no_more(with_memories: WithMemories, batches: Callable[..., Batch]) -> None:
    model, fast, delta = with_memories("qwen3")
    model_stops, model.stop_ids = model.stop_ids, frozenset()
    try:
        batch, heard = batches(model, fast), list[int]()

        def leave(token: int, *_: Any) -> None:
            heard.append(token)
            listener.gone = len(heard) == 3

        listener = Listener(leave)
        long = Request(prompt(5), 0, 100)
        with listening(listener):
            [done] = batch.generate([long], delta, fast)
        assert (len(done.ids), done.finish, len(heard)) == (3, "cancelled", 3)
        with listening(listener):  # who has gone before it begins
            [never] = batch.generate([long], delta, fast)
        assert (never.ids, never.finish, batch.tokens) == ((), "cancelled", 3)
        [whole] = batch.generate([long], delta, fast)
        assert whole.ids[:3] == done.ids and whole.finish == "length"
    finally:
        model.stop_ids = model_stops


def test_an_error_is_of_who_asked_and_the_batch_goes_on(
    with_memories: WithMemories, batches: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, fast, delta = with_memories("qwen3")
    batch = batches(model, fast)
    with pytest.raises(UsageError, match="a request needs a prompt"):
        batch.generate([Request((), 0)], delta, fast)
    with monkeypatch.context() as broken:
        broken.setattr("tmem.model.stream.Stream._finish", lambda self, row, token: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            batch.generate([Request(prompt(5), 0, 6)], delta, fast)
    assert batch.generate([Request(prompt(5), 0, 6)], delta, fast)[0].ids
    batch.close()
    with pytest.raises(UsageError, match="closed"):
        batch.generate([Request(prompt(5), 0, 6)], delta, fast)


def test_others_have_the_turn_while_it_generates(with_memories: WithMemories, batches: Callable[..., Batch]) -> None:
    model, fast, delta = with_memories("qwen3")
    batch, done = batches(model, fast), list[Completion]()
    with model.turn:  # nothing is generated while somebody has it
        thread = threading.Thread(target=lambda: done.extend(batch.generate([Request(prompt(5), 0, 6)], delta, fast)))
        thread.start()
        thread.join(0.1)
        assert not done
        [own] = batch.generate([Request(prompt(5), 0, 6)], delta, fast)  # who asks gives it away
        thread.join(10)
        assert done[0].ids == own.ids


def test_a_twin_shares_the_weights_and_nothing_else(with_memories: WithMemories) -> None:
    model, fast, delta = with_memories("qwen3")
    twin = model.twin()
    pairs = zip(model.hf.named_parameters(), twin.hf.named_parameters(), strict=True)
    assert all(one is other for (_, one), (_, other) in pairs) and twin.turn is not model.turn
    ids = torch.tensor([prompt(9)])
    other = next(iter(twin._fast.values()))
    assert other.basis is fast.basis
    with torch.no_grad():
        plain = model.hf(input_ids=ids).logits
        with other.active(delta, [0]):  # hooks of one are not the other's
            assert torch.equal(model.hf(input_ids=ids).logits, plain)
            with fast.active(delta, [1]):
                assert not torch.equal(twin.hf(input_ids=ids).logits, model.hf(input_ids=ids).logits)
        with fast.active(delta, [0]):
            mine = model.hf(input_ids=ids).logits
        with other.active(delta, [0]):
            assert torch.equal(twin.hf(input_ids=ids).logits, mine)
