"""Attention on CPUs gives what transformers' gives, and a beginning that is held once changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoints import make
from helpers import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from references import MemoryModel, assert_same, one_by_one, prompt, with_memories
from torch.nn.functional import scaled_dot_product_attention

from tmem.model import Completion, HFEngine, Request, attention, cache, load
from tmem.model.prefill import Prefill
from tmem.seeds import generator


@pytest.fixture(scope="module", params=["qwen3", "llama"])
def remembering(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MemoryModel:
    model = load(make(tmp_path_factory.mktemp(request.param), request.param))
    model.hf.config.max_position_embeddings = 512
    return with_memories(model)


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_logits_and_gradients_are_those_of_sdpa(family: str) -> None:
    model = tiny(family)
    ids = torch.randint(90, (3, 12), generator=generator("ids"))
    mask = torch.ones_like(ids)
    mask[0, :5], mask[1, -4:] = 0, 0
    results = []
    for name in ("sdpa", attention.NAME):
        model.set_attn_implementation(name)
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask).logits
        model.zero_grad()
        model(input_ids=ids, attention_mask=mask).logits[mask.bool()].square().sum().backward()
        results.append([logits[mask.bool()], *(weight.grad for weight in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_only_sdpa_on_a_cpu_is_replaced(remembering: MemoryModel) -> None:
    assert remembering[0].hf.config._attn_implementation == attention.NAME
    eager = tiny("qwen3", attn_implementation="eager")
    attention.use_cpu_attention(eager)
    assert eager.config._attn_implementation == "eager"


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 4),
    groups=st.integers(1, 3),
    each=st.integers(1, 3),
    t=st.integers(1, 5),
    width=st.integers(1, 9),
    shared=st.booleans(),
    masked=st.booleans(),
    scores=st.sampled_from([1, 100, 2**24]),
)
def test_a_beginning_beside_is_one_in_front(
    rows: int, groups: int, each: int, t: int, width: int, shared: bool, masked: bool, scores: int
) -> None:
    rng = generator("attention", rows, t)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng)

    own = t + 2
    query = random(rows, groups * each, t, 8)
    beginning = tuple(random(1 if shared else rows, groups, width, 8) for _ in range(2))
    key, value = random(rows, groups, own, 8), random(rows, groups, own, 8)
    mask = torch.rand(rows, 1, t, width + own, generator=rng) < 0.5
    mask[..., :width] = True
    whole = [torch.cat([a.expand(rows, -1, -1, -1), b], 2) for a, b in zip(beginning, (key, value), strict=True)]
    wanted = scaled_dot_product_attention(query, *whole, attn_mask=mask if masked else None, enable_gqa=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "SCORES", scores)
        key.beginning = beginning  # type: ignore[attr-defined]
        done, _ = attention.cpu_attention(torch.nn.Module(), query, key, value, mask if masked else None)
    torch.testing.assert_close(done.transpose(1, 2), wanted, atol=1e-5, rtol=1e-5)


def texts(beginning: tuple[int, ...], seed: int, count: int = 9, memories: bool = True) -> list[Request]:
    """Short rests, limits of 1 to 9 tokens, all three memories and none."""
    return [
        Request(
            (*beginning, *prompt(1 + (row * 7) % 23, seed=seed + row)),
            row % 4 if memories and row % 4 < 3 else None,
            1 + (row * 5) % 9,
            temperature=float(row % 2),
            seed=row,
        )
        for row in range(count)
    ]


@pytest.mark.parametrize("memories", [True, False])
def test_rows_leave_a_beginning_and_others_join_it(remembering: MemoryModel, memories: bool) -> None:
    model, fast, delta = remembering
    first = texts(prompt(150, seed=1), 10, memories=memories)
    later = [*texts(prompt(140, seed=2), 40, memories=memories), *texts((), 70, count=5)]
    stream = HFEngine(model).stream(fast)
    stream.add(first, [delta] * len(first))
    done: dict[int, Completion] = dict(stream.step())
    held = stream._cache
    assert held is not None
    assert cache.begun(held) == 150
    seen = [len(layer.beginning[0]) for layer in held.layers if isinstance(layer, cache.BegunLayer)]
    assert seen[0] == 1  # below Delta for all rows
    assert seen[-1] == (len(stream._rows) if memories else 1)
    stream.add(later, [delta] * len(later))
    while ended := stream.step():
        done.update(ended)
    wanted = [*first, *later]
    assert_same([done[number] for number in range(len(wanted))], one_by_one(remembering, wanted))


def test_long_rests_are_read_as_usual(remembering: MemoryModel) -> None:
    model, fast, delta = remembering
    beginning = prompt(80, seed=3)
    wanted = [Request((*beginning, *prompt(100, seed=row)), row % 3, 3) for row in range(16)]
    stream = HFEngine(model).stream(fast)
    stream.add(wanted, [delta] * len(wanted))
    stream._let_in()
    assert stream._cache is not None
    assert cache.begun(stream._cache) == 0


def test_a_model_that_loses_the_beginning_is_noticed(remembering: MemoryModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model, fast, delta = remembering
    wanted = texts(prompt(150, seed=4), 20)
    assert Prefill(model)._can_hold
    monkeypatch.setattr(cache.BegunLayer, "update", cache.RoomyLayer.update)
    assert not Prefill(model)._can_hold
    assert_same(HFEngine(model).generate(wanted, delta, fast), one_by_one(remembering, wanted))


def test_saved_models_do_not_name_it(remembering: MemoryModel, tmp_path: Path) -> None:
    remembering[0].hf.save_pretrained(tmp_path)
    assert attention.NAME not in (tmp_path / "config.json").read_text()
