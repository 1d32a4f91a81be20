"""What prompts begin with alike is read once, and nothing that comes out may differ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from checkpoints import make
from hypothesis import given, settings
from hypothesis import strategies as st
from references import MemoryModel, assert_same, one_by_one, prompt, with_memories

from tmem.fastweights import Basis, Delta, FastWeights
from tmem.fastweights.target_modules import decoder
from tmem.model import HFEngine, Model, Request, load
from tmem.model.prefill import Prefill, _common


def long_model(folder: Path, family: str) -> Model:
    model = load(make(folder, family))
    model.hf.config.max_position_embeddings = 512
    return model


@pytest.fixture(scope="module", params=["qwen3", "llama", "gemma2"])
def remembering(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MemoryModel:
    model = long_model(tmp_path_factory.mktemp(request.param), request.param)
    return with_memories(model)


def requests(beginning: tuple[int, ...], count: int = 18, memories: int = 3) -> list[Request]:
    """Rests of 1 to 90 tokens, longer and shorter than the beginning; three memories and none; greedy and sampled."""
    made = []
    for row in range(count):
        rest = prompt(1 + (row * 37) % 90, seed=row)
        memory = None if row % 4 == 3 or not memories else row % memories
        made.append(Request((*beginning, *rest), memory, 5, temperature=float(row % 2), seed=row))
    return made


@contextmanager
def counted(model: Model, layer: int) -> Iterator[list[int]]:
    """Tokens, padding included, that go through a layer inside: one number per pass."""
    seen: list[int] = []
    module = decoder(model.hf).layers[layer].mlp  # type: ignore[index, union-attr]
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[0] * args[0].shape[1]))
    try:
        yield seen
    finally:
        handle.remove()


def test_shared_beginning_changes_nothing(remembering: MemoryModel) -> None:
    model, fast, delta = remembering
    # Two beginnings, of which one is also shorter than most rests, and prompts that share nothing.
    wanted = [*requests(prompt(200, 1)), *requests(prompt(70, 2)), *(Request(prompt(9 + n, n), 1, 4) for n in range(3))]
    with counted(model, 0) as trunk:
        batch = HFEngine(model).generate(wanted, delta, fast)
    assert_same(batch, one_by_one(remembering, wanted))
    whole = sum(len(request.prompt_ids) for request in wanted)
    windowed = "sliding_attention" in (getattr(model.hf.config, "layer_types", None) or [])
    assert windowed or sum(trunk) < 0.8 * whole  # these layers forget: such prompts are read whole


def test_without_memories_the_whole_model_reads_it_once(remembering: MemoryModel) -> None:
    model, _, _ = remembering
    wanted = requests(prompt(200, 1), memories=0)
    assert_same(HFEngine(model).generate(wanted), [HFEngine(model).generate([request])[0] for request in wanted])


def test_batches_of_one_share_too(remembering: MemoryModel) -> None:
    model, fast, delta = remembering
    wanted = requests(prompt(200, 3))
    with counted(model, 0) as trunk:
        small = HFEngine(model, max_tokens_per_batch=1).generate(wanted, delta, fast)
    assert_same(small, one_by_one(remembering, wanted))
    if model.hf.config.model_type == "qwen3":
        assert trunk.count(200) == 1  # the beginning; everything else is a rest or a token


def test_short_prompts_are_not_padded_to_a_long_one(remembering: MemoryModel) -> None:
    model, fast, delta = remembering
    lengths = [300, 20, 22, 19, 290, 21, 60]
    wanted = [Request(prompt(length, row), row % 3, 4, seed=row) for row, length in enumerate(lengths)]
    with counted(model, 0) as trunk:
        batch = HFEngine(model).generate(wanted, delta, fast)
    assert_same(batch, one_by_one(remembering, wanted))
    if model.hf.config.model_type == "qwen3":  # all layers keep everything: passes of their own can be joined
        assert sum(trunk) < 1.1 * (sum(lengths) + 4 * len(lengths))


def test_rows_that_leave_take_their_padding_with_them(remembering: MemoryModel) -> None:
    """The long prompt ends first: what it alone needed is no longer read."""
    model, fast, delta = remembering
    wanted = [Request(prompt(300, 1), 0, 2), *(Request(prompt(20 + row, row), row % 3, 12) for row in range(2, 6))]
    stream = HFEngine(model).stream(fast)
    numbers = stream.add(wanted, [delta] * len(wanted))
    done = dict(stream.step())
    assert list(done) == [numbers[0]]
    if model.hf.config.model_type == "qwen3":
        assert stream._cache is not None and stream._cache.get_seq_length() == 25 + 2 - 1
    while ended := stream.step():
        done |= dict(ended)
    assert_same([done[number] for number in numbers], one_by_one(remembering, wanted))


def test_same_prompt_many_times(remembering: MemoryModel) -> None:
    model, fast, delta = remembering
    wanted = [Request(prompt(150), row % 2, 6, temperature=1.0, seed=row) for row in range(12)]
    assert_same(HFEngine(model).generate(wanted, delta, fast), one_by_one(remembering, wanted))


def test_after_a_write_only_the_tail_reads_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = long_model(tmp_path_factory.mktemp("remember"), "qwen3")
    fast = FastWeights(model.hf, Basis.from_model(model.hf, layers=2))
    first = fast.zeros(1)
    second = Delta({name: torch.full_like(value, 0.05) for name, value in first.b.items()}, first.basis_digest)
    engine = HFEngine(model, remember=200)
    text = prompt(150)
    engine.generate([Request(text, 0, 2)], first, fast)
    longer = Request((*text, *prompt(5)), 0, 2)
    with counted(model, 0) as trunk, counted(model, fast.target_modules[0].layer) as tail:
        again = engine.generate([longer], second, fast)
    assert_same(again, HFEngine(model).generate([longer], second, fast))
    assert max(trunk) < 10 and max(tail) > 140

    with torch.no_grad():  # what was read with other weights is not used
        decoder(model.hf).layers[0].mlp.up_proj.weight.add_(0.01)  # type: ignore[index, union-attr]
    assert_same(engine.generate([longer], second, fast), HFEngine(model).generate([longer], second, fast))

    engine.generate([Request(prompt(180, 9), 0, 1)], first, fast)  # 149 + 179 tokens are too many: the older one goes
    with counted(model, 0) as trunk:
        engine.generate([longer], second, fast)
    assert max(trunk) > 140


def test_weights_of_another_type_are_noticed(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = long_model(tmp_path_factory.mktemp("retyped"), "qwen3")
    engine, wanted = HFEngine(model, remember=200), Request((*prompt(150), *prompt(5)), None, 2)
    engine.generate([wanted])
    model.hf.double()
    assert_same(engine.generate([wanted]), HFEngine(model).generate([wanted]))


def test_part_of_what_is_remembered_does_not_keep_the_whole(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = long_model(tmp_path_factory.mktemp("part"), "qwen3")
    reader = Prefill(model, remember=1000)
    whole, part = reader._read(prompt(150), None), reader._read(prompt(150)[:70], None)
    assert reader._read(prompt(150), None) is whole and reader._read(part.ids, None) is part
    for (key, value), (longer, _) in zip(part.keys, whole.keys, strict=True):
        assert torch.equal(key, longer[:, :, :70])
        assert {key.untyped_storage().nbytes(), value.untyped_storage().nbytes()} == {key.nbytes}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=12), min_size=1, max_size=12))
def test_groups_are_common_beginnings(short: list[list[int]]) -> None:
    prompts = [tuple(token for part in text for token in [part] * 40) for text in short]
    groups = _common(prompts)
    assert sorted(row for rows, _ in groups for row in rows) == list(range(len(prompts)))
    for rows, length in groups:
        assert len({prompts[row][:length] for row in rows}) == 1
        assert all(length < len(prompts[row]) for row in rows)
