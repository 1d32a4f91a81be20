"""Checkpoints of a training: all that is needed to go on bit for bit, and the model as anyone can load it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors import safe_open
from torch import Tensor

from tmem.errors import DataError, ModelError
from tmem.fastweights import FastWeights
from tmem.fastweights.basis import read_safetensors, tensors_hash
from tmem.files import read_json, save_safetensors, write_bytes, write_json
from tmem.model import Model, wordings
from tmem.model.adapter import READER
from tmem.model.settings import FILE_NAME, read_settings
from tmem.training.slow_lora import merged_state

# What a training's folder holds, beside the folder model/.
CHECKPOINT, METRICS, ABOUT = "checkpoint.safetensors", "metrics.jsonl", "training.json"
BASIS = "basis.safetensors"  # the A that it was begun with, from the first checkpoint on; also in model/


def save(folder: Path, step: int, identity: str, trained: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Trained weights, optimizer and random states after ``step`` steps, in one file and at once.

    ``identity`` says what training this is of.
    """
    tensors = {f"weight.{name}": value for name, value in trained.items()}
    tensors |= optimizer_tensors(optimizer)
    tensors["torch_random"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["cuda_random"] = torch.cuda.get_rng_state()
    facts = {"step": str(step), "identity": identity, "python_random": json.dumps(random.getstate())}
    drawn: Any = numpy.random.get_state()
    kind, keys, *rest = drawn
    facts["numpy_random"] = json.dumps([kind, keys.tolist(), *rest])
    facts["checksum"] = tensors_hash(tensors.items())
    save_safetensors(folder / CHECKPOINT, tensors, facts)


def restore(folder: Path, identity: str, trained: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> int:
    """Put a checkpoint back in place; returns the steps that it has behind it, 0 if there is none.

    Raises :class:`DataError` for one that is damaged or of another training.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    tensors, facts = read_safetensors(path)
    weights = {name[7:]: value for name, value in tensors.items() if name.startswith("weight.")}
    if facts.get("identity") != identity:
        raise DataError(f"{path}: of another model or other settings, or {BASIS} is not its own; give another --out")
    shapes = {name: value.shape for name, value in weights.items()}
    if tensors_hash(tensors.items()) != facts.get("checksum") or shapes != {n: v.shape for n, v in trained.items()}:
        raise DataError(f"{path}: damaged; delete the folder and train again")
    with torch.no_grad():
        for name, value in trained.items():
            value.copy_(weights[name])
    restore_optimizer(optimizer, tensors)
    torch.set_rng_state(tensors["torch_random"])
    version, numbers, gauss = json.loads(facts["python_random"])
    random.setstate((version, tuple(numbers), gauss))
    if "numpy_random" in facts:  # not in older ones
        numpy.random.set_state(tuple(json.loads(facts["numpy_random"])))
    if "cuda_random" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda_random"])
    return int(facts["step"])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer, by ``optimizer.INDEX.KEY``."""
    states = optimizer.state_dict()["state"].items()
    return {f"optimizer.{index}.{key}": value for index, state in states for key, value in state.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put what :func:`optimizer_tensors` gave back in place; tensors of other names are passed over."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    # One that is shared by processes has a state_dict of its own, which asks for a state that there is not yet.
    groups = torch.optim.Optimizer.state_dict(optimizer)["param_groups"]
    optimizer.load_state_dict({"param_groups": groups, "state": state})


def with_basis(model: Model, folder: Path) -> Model:
    """The same model with the A that the training in ``folder`` was begun with, wherever that was computed."""
    settings = model.settings.model_copy(update={"basis": BASIS})
    begun = Model(model.name, folder, model.hf, model.tokenizer, settings)
    begun.directory = model.directory  # where all else of it lies, its wordings too
    begun.reader = begun if model.reader is model else model.reader
    return begun


def forget_after(path: Path, step: int) -> None:
    """Cut what was recorded after ``step``: these steps are made again."""
    if not path.exists():
        return
    lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    kept = [line for line in lines if json.loads(line)["step"] <= step] if step else []
    write_bytes(path, b"".join(kept))


def exported(folder: Path, counted: str = "rl_steps") -> int | None:
    """After how many steps the model in ``folder`` was written; None if there is none."""
    with suppress(ModelError):
        steps: int | None = read_settings(folder).results.get(counted)
        return steps
    return None


def export(folder: Path, model: Model, fast: FastWeights | None, about: dict[str, Any]) -> None:
    """Write the model as it is now as a directory that ``--model`` takes, in the place of an older one.

    The A that it was trained with travels along: that of the pretrained weights (paper, RL). ``about`` is added to its
    figures. A slow LoRA of a bf16 model makes it one in float32, since bf16 rounds most of a small change away.
    """
    new, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for path in (new, old):
        shutil.rmtree(path, ignore_errors=True)
    settings = model.settings.model_dump(exclude_defaults=True) | {"results": about}
    try:
        state = merged_state(model.hf)
        model.hf.save_pretrained(new, state_dict=dict(state))
        if model.hf.dtype != torch.float32 and _all_float32(state):  # what was written says the running model's type
            write_json(new / "config.json", read_json(new / "config.json") | {"dtype": "float32"})
        model.tokenizer.save_pretrained(new)
        if (model.directory / wordings.FILE_NAME).exists():  # what a write asks beside its pairs, refusals among it
            shutil.copyfile(model.directory / wordings.FILE_NAME, new / wordings.FILE_NAME)
        if model.reader is not model:
            shutil.copytree(model.directory / READER, new / READER)
        mode = (new / "config.json").stat().st_mode
        for path in new.glob("*.safetensors"):  # written as nobody else's to read
            path.chmod(mode)
        if fast is not None:
            own = {target.name: state[target.name.partition("[")[0] + ".weight"] for target in fast.target_modules}
            blocks = (
                (target.name, own[target.name][slice(*target.rows)] if target.rows else own[target.name])
                for target in fast.target_modules
            )
            _index(new)
            replace(fast.basis, weights_hash=tensors_hash(blocks)).save(new / BASIS)
            settings["basis"] = BASIS
        write_json(new / FILE_NAME, settings)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror})") from None
    shutil.rmtree(old, ignore_errors=True)


def _index(folder: Path) -> None:
    """Say which file has which tensor: without, vLLM takes every file of tensors in a folder.

    See findings/vllm_every_file.sh.
    """
    index = folder / "model.safetensors.index.json"
    if not index.exists():  # transformers writes one where there are several files
        with safe_open(folder / "model.safetensors", "pt") as file:
            write_json(index, {"metadata": {}, "weight_map": dict.fromkeys(file.keys(), "model.safetensors")})


def _all_float32(state: Mapping[str, Tensor]) -> bool:
    return all(value.dtype == torch.float32 for value in state.values() if value.is_floating_point())
