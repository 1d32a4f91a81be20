"""The reader: the same weights with an adapter beside them, asked by the gate alone, whatever engine generates."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import checkpoints
import pytest
from helpers import random_adapter, random_memory
from huggingface_hub.utils import filter_repo_objects
from model.engine_server import VllmLikeServer

from tmem.errors import DeltaError, ModelError, UsageError
from tmem.fastweights import Delta, FastWeights
from tmem.model import Engine, HFEngine, Model, Request, load
from tmem.model.adapter import READER, Adapted, add_adapter
from tmem.model.batch import Batch
from tmem.model.engines import open_engine
from tmem.model.files import _HUB_FILES, _HUB_SKIP
from tmem.training.checkpoint import export, with_basis

LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = checkpoints.make(tmp_path_factory.mktemp("reads"), "qwen3")
    random_adapter(load(made).hf, made / READER, LAYERS)
    return made


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder, device="cpu")


@pytest.fixture(scope="module")
def merged(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The model that the reader is."""
    alone = tmp_path_factory.mktemp("merged") / "model"
    shutil.copytree(folder, alone, ignore=shutil.ignore_patterns(READER))
    found = load(alone, device="cpu")
    add_adapter(found.hf, folder / READER)
    found.changed()
    return found


@pytest.fixture(scope="module")
def memories(model: Model) -> tuple[FastWeights, Delta]:
    return random_memory(model.hf, 2)


@pytest.fixture(params=["own", "batch", "server"])
def engine(request: pytest.FixtureRequest, model: Model, memories: tuple[FastWeights, Delta]) -> Iterator[Engine]:
    if request.param == "own":
        yield HFEngine(model)
    elif request.param == "batch":
        batch = Batch(HFEngine(model), memories[0])
        yield batch
        batch.close()
    else:
        pytest.importorskip("httpx", reason="the extra engine is not installed")
        with VllmLikeServer(model) as server:
            served = open_engine(model, server.url)
            yield served
            served.close()


def test_the_reader_is_asked_what_it_reads_and_nothing_else(
    model: Model, merged: Model, memories: tuple[FastWeights, Delta], engine: Engine
) -> None:
    fast, delta = memories
    prompts = [tuple(model.bare(text)) for text in ("Where does Anna live?", "Who?", "What does Anna like to drink?")]
    asked = [
        Request(prompts[place % 3], None if reads else place % 2, 6, reads=reads)
        for place, reads in enumerate([False, True, True, False, True])
    ]
    plain = [Request(one.prompt_ids, one.memory, 6) for one in asked]
    read, told = HFEngine(merged).generate([*plain[1:3], plain[4]]), HFEngine(model)
    wanted = [*told.generate(plain[:1], delta, fast), *read[:2], *told.generate(plain[3:4], delta, fast), read[2]]
    seen: list[int] = []
    found = engine.generate(asked, delta, fast, seen.append)
    assert [one.ids for one in found] == [one.ids for one in wanted] and seen == [1, 2, 3, 4, 5]
    for one, other in zip(found, wanted, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert [one.ids for one in engine.generate(asked[1:2])] == [read[0].ids] != [told.generate(plain[1:2])[0].ids]


def test_it_shares_the_weights(model: Model) -> None:
    for own in (model, model.twin()):
        pairs = zip(own.hf.parameters(), own.reader.hf.parameters(), strict=True)
        assert all(one is other for one, other in pairs) and own.reader.turn is own.turn
        assert own.reader is not own and own.reader.reader is own.reader
    assert model.twin().reader is not model.reader


def test_figures_are_of_both(model: Model, merged: Model, folder: Path) -> None:
    other = model.twin()
    assert other.identity == model.identity != model.weights_hash and merged.identity == merged.weights_hash
    next(layer for layer in other.reader.hf.modules() if isinstance(layer, Adapted)).a[0, 0] += 1
    assert other.identity != model.identity and other.weights_hash == model.weights_hash


def test_what_cannot_work_is_told_before_anything_is_taken_in(
    model: Model, memories: tuple[FastWeights, Delta]
) -> None:
    fast, delta = memories
    stream, prompt = HFEngine(model).stream(fast), tuple(model.bare("Who?"))
    for bad in (Request((), reads=True), Request(prompt, 7), Request(prompt, 0, reads=True)):
        with pytest.raises((UsageError, DeltaError)):
            stream.add([Request(prompt, 0), Request(prompt, reads=True), bad], [delta] * 3)
    assert stream.step() == [] and stream.rows == 0


def test_who_reads_does_not_wait_for_those_who_tell(model: Model, memories: tuple[FastWeights, Delta]) -> None:
    fast, delta = memories
    stream, prompt = HFEngine(model).stream(fast), tuple(model.bare("Who?"))
    [long, short] = stream.add([Request(prompt, 0, 60), Request(prompt, max_new_tokens=3, reads=True)], [delta] * 2)
    assert [number for number, _ in stream.step()] == [short] and stream.rows == 1
    assert [number for number, _ in stream.step()] == [long] and stream.step() == []


def test_a_training_that_goes_on_keeps_it(model: Model, memories: tuple[FastWeights, Delta], tmp_path: Path) -> None:
    export(tmp_path / "begun", model, memories[0], {})
    begun = with_basis(model, tmp_path / "begun")
    assert begun.reader is model.reader
    export(tmp_path / "trained", begun, memories[0], {})
    assert load(tmp_path / "trained", device="cpu").identity == model.identity


def test_of_a_repository_s_folders_the_reader_is_fetched() -> None:
    held = ["model.safetensors", "reader/adapter_model.safetensors", "onnx/model.safetensors", "original/params.json"]
    wanted = filter_repo_objects(held, allow_patterns=_HUB_FILES, ignore_patterns=_HUB_SKIP)
    assert list(wanted) == held[:2]


def test_a_model_without_one_reads_itself(merged: Model) -> None:
    assert merged.reader is merged
    prompt = tuple(merged.bare("Who?"))
    engine = HFEngine(merged)
    assert engine.generate([Request(prompt, reads=True)]) == engine.generate([Request(prompt)])


def test_it_goes_along_with_a_trained_model(model: Model, tmp_path: Path) -> None:
    export(tmp_path / "trained", model, None, {})
    again = load(tmp_path / "trained", device="cpu")
    asked = [Request(tuple(model.bare("Who?")), max_new_tokens=6, reads=True)]
    assert HFEngine(again).generate(asked)[0].ids == HFEngine(model).generate(asked)[0].ids


def test_a_reader_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken", ignore=shutil.ignore_patterns(READER))
    hf = load(broken).hf
    random_adapter(hf, broken / READER, LAYERS, (LAYERS[0], "model.layers.9.mlp.up_proj"))
    with pytest.raises(ModelError, match=r"reader: model.layers.9.mlp.up_proj is no linear layer of this model"):
        load(broken)
    random_adapter(hf, broken / READER, LAYERS, LAYERS[::-1])
    with pytest.raises(ModelError, match="is of another model: it changes"):
        load(broken)
    (broken / READER / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"its reader cannot be read .*adapter_model.safetensors"):
        load(broken)
    (broken / READER / "adapter_config.json").unlink()  # a folder of something else
    found = load(broken)
    assert found.reader is found
