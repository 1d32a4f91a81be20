"""A memory for elsewhere: as an adapter that peft loads, or as the ledger in JSON lines that another home takes in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmem.errors import DataError
from tmem.files import check_folder, save_safetensors, without_surrogates, write_json, write_text
from tmem.store.ledger import History
from tmem.store.queries import NewPair
from tmem.store.states import Tensors

if TYPE_CHECKING:
    from torch import Tensor

    from tmem.fastweights import FastWeights

LONGEST_LINE = 1_000_000  # characters; a write takes pairs of a few hundred tokens


def save_peft(folder: Path, fast: FastWeights, state: Tensors, base: str, row: int = 0) -> None:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors``: a LoRA of the base model, unscaled.

    ``row``: of B, the block that is written.
    Where a family fuses gate and up into one matrix, its A's are stacked and its B's stand in a diagonal of blocks.
    """
    import torch

    check_folder(folder)
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for linear, group in groupby(fast.sites, key=lambda site: site.module):
        sites = list(group)
        name = sites[0].name.partition("[")[0]
        tensors[f"base_model.model.{name}.lora_A.weight"] = torch.cat([fast.basis.a[site.name] for site in sites])
        tensors[f"base_model.model.{name}.lora_B.weight"] = torch.block_diag(*(state[site.name][row] for site in sites))
        ranks[name] = fast.basis.rank * len(sites)
        assert linear.out_features == tensors[f"base_model.model.{name}.lora_B.weight"].shape[0]
    other = {name: rank for name, rank in ranks.items() if rank != fast.basis.rank}
    folder.mkdir(parents=True, exist_ok=True)
    save_safetensors(folder / "adapter_model.safetensors", tensors, {"format": "pt"})
    write_json(
        folder / "adapter_config.json",
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": fast.basis.rank,
            "lora_alpha": fast.basis.rank,
            "rank_pattern": other,
            "alpha_pattern": other,
            "target_modules": sorted(ranks),
            "bias": "none",
            "lora_dropout": 0.0,
            "inference_mode": True,
        },
    )


def save_ledger(path: Path, history: History) -> None:
    """Write what a version follows from, a pair a line: its write, question, answer, and the line that it replaces."""
    lines: list[dict[str, Any]] = []
    places: dict[str, int] = {}
    for number, step in history.steps():
        for pair in step.new:
            supersedes = places.get(pair.supersedes or "")
            places[pair.id] = len(lines)
            own = {"write": number, "question": pair.question, "answer": pair.answer, "supersedes": supersedes}
            lines.append(own)
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def load_ledger(path: Path) -> list[list[tuple[str, str, int | None]]]:
    """Writes of (question, answer, line of the pair that it replaces). Raises :class:`DataError` naming the line."""
    writes: dict[int, list[tuple[str, str, int | None]]] = {}
    last = 0
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), "")):
                where = f"{path}: line {number + 1}"
                if len(line) > LONGEST_LINE:
                    raise DataError(f"{where}: longer than a pair can be; is this a ledger?")
                record = _record(line, where)
                supersedes = record.get("supersedes")
                if supersedes is not None and not (type(supersedes) is int and 0 <= supersedes < number):
                    raise DataError(f"{where}: 'supersedes' must be the number of an earlier line, from 0")
                if record["write"] < last:
                    raise DataError(f"{where}: 'write' goes backwards; keep the lines in their order")
                last = record["write"]
                own = record["question"], record["answer"], supersedes
                writes.setdefault(last, []).append(own)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    return list(writes.values())


def _record(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError(f"{where}: not valid JSON; write one object per line") from None
    texts = ("question", "answer")
    if not isinstance(record, dict) or type(record.get("write")) is not int:
        raise DataError(f"{where}: not a pair with 'write', 'question' and 'answer'")
    own = {key: record[key] for key in texts if isinstance(record.get(key), str)}
    own = {key: without_surrogates(text).replace("\0", "").strip() for key, text in own.items()}
    if not all(own.get(key) for key in texts):
        raise DataError(f"{where}: 'question' and 'answer' must be text")
    return {**record, **own}


def new_pairs(write: Sequence[tuple[str, str, int | None]], ids: Sequence[str]) -> list[NewPair]:
    """A write of :func:`load_ledger` for a home in which its earlier lines have these ids."""
    return [NewPair(question, answer, None if line is None else ids[line]) for question, answer, line in write]
