"""Generation: a request gets the same in a batch of many memories, alone, and from plain transformers."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import FAMILIES
from references import MemoryModel, merged, mixed_requests, prompt, teacher_forced
from torch.nn.functional import one_hot

import tmem.model.engine as engine_module
from tmem.errors import DeltaError, UsageError
from tmem.model import Completion, HFEngine, Model, Request
from tmem.model.stopping import Ending, shown_text

WithMemories = Callable[[str], MemoryModel]


def assert_same(one: Completion, other: Completion) -> None:
    assert one.ids == other.ids
    assert (one.text, one.finish) == (other.text, other.finish)
    assert one.logprobs == pytest.approx(other.logprobs, abs=2e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_mixed_batch_equals_one_by_one(family: str, with_memories: WithMemories) -> None:
    model, fast, delta = with_memories(family)
    requests, engine = mixed_requests(), HFEngine(model)
    together = engine.generate(requests, delta, fast)
    for request, completion in zip(requests, together, strict=True):
        assert len(completion.logprobs) == len(completion.ids) <= request.max_new_tokens
        (alone,) = engine.generate([request], delta, fast)
        assert_same(completion, alone)
    # Memories matter: the same prompt gives different texts.
    assert together[0].ids != together[6].ids


@pytest.mark.parametrize("family", ["qwen3", "gemma3"])
def test_small_batches_and_order_change_nothing(family: str, with_memories: WithMemories) -> None:
    model, fast, delta = with_memories(family)
    requests = mixed_requests()
    reference = HFEngine(model).generate(requests, delta, fast)
    finished: list[int] = []
    small = HFEngine(model, max_tokens_per_batch=60).generate(requests[::-1], delta, fast, finished.append)
    for one, other in zip(reference, small[::-1], strict=True):
        assert_same(one, other)
    assert finished == list(range(1, len(requests) + 1))


def test_a_batch_on_a_cpu_takes_a_quarter_of_what_memory_is_left(
    with_memories: WithMemories, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, _, _ = with_memories("qwen3")
    said = tmp_path / "meminfo"
    monkeypatch.setattr(engine_module, "MEMORY", said)

    def room() -> int:
        return HFEngine(model).stream().max_tokens

    assert room() == engine_module.TOKENS  # a system that does not say
    said.write_text("MemTotal:       64 kB\nMemAvailable:       1200 kB\n")
    assert room() == 1200 * 1024 // 4 // engine_module.bytes_of_a_token(model.hf) < engine_module.TOKENS
    said.write_text("MemAvailable:   999999999 kB\n")
    assert room() == engine_module.TOKENS


def test_a_stream_does_not_go_on_after_an_error(with_memories: WithMemories, monkeypatch: pytest.MonkeyPatch) -> None:
    model, fast, delta = with_memories("qwen3")
    engine = HFEngine(model)
    stream = engine.stream(fast)
    stream.add([Request(prompt(5), 0, 6)], [delta])
    with monkeypatch.context() as broken:
        broken.setattr(stream, "_finish", lambda row, token: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stream.step()
    with pytest.raises(UsageError, match="an earlier step of this stream failed"):
        stream.step()
    with pytest.raises(UsageError, match="an earlier step of this stream failed"):
        stream.add([Request(prompt(5), 0, 6)], [delta])
    engine.generate([Request(prompt(5), 0, 6)], delta, fast)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_delta_is_plain_transformers(family: str, with_memories: WithMemories) -> None:
    model, fast, delta = with_memories(family)
    requests = [Request(prompt(length), max_new_tokens=14) for length in (4, 13, 27)]
    completions = HFEngine(model).generate(requests)
    assert completions == HFEngine(model).generate(requests, delta, fast)  # bit for bit the base model
    for request, completion in zip(requests, completions, strict=True):
        output = model.hf.generate(
            torch.tensor([request.prompt_ids]),
            do_sample=False,
            max_new_tokens=14,
            eos_token_id=sorted(model.stop_ids),
            pad_token_id=1,
        )
        assert completion.ids == tuple(output[0, len(request.prompt_ids) :].tolist())


@pytest.mark.parametrize("family", ["qwen3", "gemma2", "phi3"])
def test_logprobs_are_those_of_a_merged_model(family: str, with_memories: WithMemories) -> None:
    model, fast, delta = with_memories(family)
    requests = [dataclasses.replace(request, memory=1) for request in mixed_requests()]
    for request, completion in zip(requests, HFEngine(model).generate(requests, delta, fast), strict=True):
        expected = teacher_forced(merged(model, fast, delta, 1), request.prompt_ids, completion.ids)
        assert completion.logprobs == pytest.approx(expected.tolist(), abs=2e-4)


class Scripted(torch.nn.Module):
    """Stands in for a model and writes the given tokens, one a call, to a batch of one."""

    def __init__(self, model: Model, script: list[int]):
        super().__init__()
        self.config, self.generation_config = model.hf.config, model.hf.generation_config
        self.device, self.dtype = model.device, model.hf.dtype
        self.script = iter(script)

    def forward(self, **_: object) -> SimpleNamespace:
        return SimpleNamespace(logits=one_hot(torch.tensor([[next(self.script)]]), 384) * 5.0)


def scripted(model: Model, text: str) -> Model:
    fake = copy.copy(model)
    fake.hf = Scripted(model, model.tokenizer.encode(text))
    return fake


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            '[{"instruction": "a ] \\" b", "output": "[c]"}] and so on',
            '[{"instruction": "a ] \\" b", "output": "[c]"}]',
        ),
        ("So: [[1], [2]] and so on", "So: [[1], [2]]"),
        # Of letters that are two tokens each, so that the objects are the same token by token.
        (
            '[{"instruction": "Где?", "output": "Рига"}, {"instruction": "Кто?", "output": "Анна"}] and so on',
            '[{"instruction": "Где?", "output": "Рига"}, {"instruction": "Кто?", "output": "Анна"}]',
        ),
    ],
)
def test_stop_on_json(text: str, kept: str, loaded: Callable[[str], Model]) -> None:
    model = loaded("qwen3")
    request = Request((5, 6, 7), max_new_tokens=120, stop="json")
    (completion,) = HFEngine(scripted(model, text)).generate([request])
    assert completion.finish == "json"
    assert completion.text.startswith(kept)
    assert completion.text[len(kept) :].strip() == ""  # a token may go on after the bracket, but no further token
    json.loads(kept[kept.index("[") :])
    (completion,) = HFEngine(scripted(model, text)).generate(
        [dataclasses.replace(request, stop="eos", max_new_tokens=20)]
    )
    assert (completion.finish, len(completion.ids)) == ("length", 20)


def test_stop_texts_stay_in_the_reply_and_nothing_follows_them(loaded: Callable[[str], Model]) -> None:
    model = loaded("qwen3")
    told = "I think <search>green tea</search> and then <answer>no</answer>"
    for stops, kept in (
        (("</search>", "</answer>"), "I think <search>green tea</search>"),
        (("</answer>",), told),
        (("tea",), "I think <search>green tea"),
    ):
        request = Request((5, 6, 7), max_new_tokens=100, stop_texts=stops)
        (completion,) = HFEngine(scripted(model, told)).generate([request])
        assert (completion.text, completion.finish) == (kept, "text")
        assert len(completion.logprobs) == len(completion.ids)
    (completion,) = HFEngine(scripted(model, told)).generate([Request((5,), max_new_tokens=6, stop_texts=("</x>",))])
    assert completion.finish == "length"


@pytest.mark.parametrize(
    ("told", "stop", "kept"),
    [
        ("now here we are", "here we", "now here we"),
        ("now here we are", "nowhere", None),
        ("wie schön", "ö", "wie schö"),
        ("wie schön", "\ufffd", None),
    ],
)
def test_stop_texts_are_of_the_text_and_not_of_single_tokens(
    told: str, stop: str, kept: str | None, loaded: Callable[[str], Model]
) -> None:
    model = copy.copy(loaded("qwen3"))
    ids, plain = model.tokenizer.encode(told), model.decode
    # As SentencePiece's: what comes first has no space before it.
    model.__dict__ |= {"decode": lambda ids: plain(ids).removeprefix(" "), "_pieces": {}}
    request = Request((5,), max_new_tokens=len(ids), stop_texts=(stop,))
    ending = Ending(model, request)
    found = [ending.after(token) for token in ids]
    if kept is None:
        assert found == [None] * (len(ids) - 1) + ["length"]
    else:
        assert shown_text(model, request, ids[: found.index("text") + 1], "text") == kept


def test_stop_at_the_end_of_the_turn(loaded: Callable[[str], Model]) -> None:
    model = loaded("qwen3")
    (completion,) = HFEngine(scripted(model, "green tea<|im_end|>\nmore")).generate([Request((5, 6, 7))])
    assert (completion.text, completion.finish) == ("green tea", "stop")
    assert completion.ids == tuple(model.tokenizer.encode("green tea<|im_end|>"))
    assert len(completion.logprobs) == len(completion.ids)


def test_a_prompt_that_is_too_long_is_refused(with_memories: WithMemories) -> None:
    model, _, _ = with_memories("qwen3")
    HFEngine(model).generate([Request(prompt(100), max_new_tokens=28)])
    with pytest.raises(UsageError, match="has 101 tokens but only 100 fit"):
        HFEngine(model).generate([Request(prompt(101), max_new_tokens=28)])


@pytest.mark.parametrize(
    "change",
    [{"prompt_ids": ()}, {"max_new_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_k": -1}],
)
def test_requests_that_cannot_work_are_refused(change: dict[str, object], with_memories: WithMemories) -> None:
    model, _, _ = with_memories("qwen3")
    with pytest.raises(UsageError):
        HFEngine(model).generate([dataclasses.replace(Request(prompt(3)), **change)])  # type: ignore[arg-type]


def test_memories_that_are_not_there_are_refused(with_memories: WithMemories) -> None:
    model, fast, delta = with_memories("qwen3")
    with pytest.raises(DeltaError, match="no memory 3"):
        HFEngine(model).generate([Request(prompt(3), memory=3)], delta, fast)
    with pytest.raises(DeltaError, match="pass the delta"):
        HFEngine(model).generate([Request(prompt(3), memory=0)])


def test_nothing_to_do(with_memories: WithMemories) -> None:
    assert HFEngine(with_memories("qwen3")[0]).generate([]) == []
