"""A memory for elsewhere: as adapters for peft, vLLM and llama.cpp, or as the ledger, which another home takes in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmem.dates import Moment, moment
from tmem.errors import DataError, UsageError
from tmem.files import check_folder, without_surrogates, write_text
from tmem.store import validation
from tmem.store.ledger import queries
from tmem.store.ledger.history import History, Pair
from tmem.store.ledger.queries import NewPair

if TYPE_CHECKING:
    from torch import Tensor

    from tmem.fastweights import Delta, FastWeights
    from tmem.model import Model

LONGEST_LINE = 64_000_000  # bytes
LONGEST_PAIR = 1_000_000  # characters; a write takes pairs of a few hundred tokens


def save_peft(folder: Path, fast: FastWeights, b: Mapping[str, Tensor], base: str, row: int = 0) -> None:
    """Write a memory as a LoRA of the base model, in PEFT's format. ``row``: of every B, the block that is written."""
    from tmem.model.adapter import matrices_of, save_adapter

    check_folder(folder)
    save_adapter(folder, base, matrices_of(fast, b, row), fast.basis.rank)


def save_gguf(
    folder: Path, model: Model, fast: FastWeights, delta: Delta, scope: str, base: str | None = None
) -> list[Path]:
    """Write every block of a memory as a LoRA for llama.cpp, and the base model if a type is given for it.

    Names say what is in a file, so one that is there already is the same.
    """
    from tmem.model.adapter import matrices_of
    from tmem.model.to_gguf import adapter_name, base_name, save_base, save_lora, type_named

    check_folder(folder)
    kind = None if base is None else type_named(base)
    made = []
    for row in range(delta.sessions):
        own = delta.select([row])
        made.append(folder / f"{adapter_name(model, own, scope)}.gguf")
        if not made[-1].exists():
            save_lora(made[-1], model, matrices_of(fast, own.b))
    if kind is not None:
        made.append(folder / base_name(model, kind))
        if not made[-1].exists():
            save_base(made[-1], model, kind)
    return made


def save_readme(folder: Path, model: Model) -> None:
    """Say beside an adapter which base model it is of."""
    base = json.dumps(model.origin)
    write_text(
        folder / "README.md",
        f"""---
library_name: peft
base_model: {base}
---

A memory that tmem wrote: a LoRA adapter of {model.name}. It is personal data, like the text that it was made from.
It has no gate: where tmem asks a memory only what it was told of, this one answers everything that it is given.

    base = AutoModelForCausalLM.from_pretrained({base}, dtype="float32")
    model = PeftModel.from_pretrained(base, "the folder of this file")

Memories of one base share their A: join them with `combination_type="cat"`, never "linear", which sums A and B apart.
It fits no other base. This one has {model.hf.num_parameters():,} parameters, and the sha256 over them as float32
(`tmem.fastweights.basis.tensors_hash(base.named_parameters())`) is {model.weights_hash}.
""",
    )


def save_ledger(path: Path, history: History, pending: Sequence[Sequence[Pair]], sources: Mapping[str, Any]) -> None:
    """Write what a version follows from, a pair a line: its write, question, answer, and the line that it replaces.

    One that was put right with another has the line of that as ``follows``.
    ``pending``: writes that were told and not trained on, which come last. ``sources``: rows of
    :func:`tmem.store.ledger.queries.sources`, by pair. What a write's pairs are from is in the line of its first.
    """
    lines: list[dict[str, Any]] = []
    places: dict[str, int] = {}
    for number, own in enumerate([*(step.new for _, step in history.steps()), *pending], start=1):
        for place, pair in enumerate(own):
            source = sources[pair.id]
            supersedes, follows = places.get(pair.supersedes or ""), places.get(source.follows or "")
            line = {"write": number, "question": pair.question, "answer": pair.answer, "supersedes": supersedes}
            line |= {} if follows is None else {"follows": follows}
            more = {"created": source.created, "extracted": source.extracted, "pending": source.status == "pending"}
            if place == 0:
                repeats = [places[one] for one in json.loads(source.repeats or "[]") if one in places]
                more |= {"text": source.text, "timestamp": source.told, "repeats": repeats}
                more |= {"metadata": json.loads(source.meta or "null")}
            places[pair.id] = len(lines)
            lines.append(line | {key: value for key, value in more.items() if value})
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


@dataclass
class Write:
    """A write of a file: each pair with the line of the one that it replaces, and what they are from.

    ``first``: the line of its first pair.
    """

    first: int
    pending: bool
    text: str | None
    told: str | None
    meta: dict[str, Any] | None
    repeats: list[int]  # lines
    pairs: list[tuple[NewPair, int | None]] = field(default_factory=list)

    def arguments(self, ids: Sequence[str]) -> dict[str, Any]:
        """How it is told to a home in which earlier lines have these ids."""
        new = [replace(pair, supersedes=None if line is None else ids[line]) for pair, line in self.pairs]
        repeats = [ids[line] for line in self.repeats]
        return {"new": new, "text": self.text, "told": self.told, "meta": self.meta, "repeats": repeats}


def load_ledger(path: Path) -> list[Write]:
    """The writes of a file, pending ones last. Raises :class:`DataError` naming the line; blank ones may end it."""
    writes: dict[int, Write] = {}
    count = last = 0
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
                where = f"{path}: line {number}"
                if len(line) > LONGEST_LINE:
                    raise DataError(f"{where}: longer than a pair and its text can be; is this a ledger?")
                if not line.strip():
                    continue
                if count + 1 != number:
                    raise DataError(f"{path}: line {count + 1}: empty; write one object per line")
                record = _record(line, where)
                if record["write"] < last:
                    raise DataError(f"{where}: 'write' goes backwards; keep the lines in their order")
                if record["write"] not in writes:
                    write = _write(record, count, where)
                    if last and writes[last].pending and not write.pending:
                        raise DataError(f"{where}: 'pending' pairs come last; keep the lines in their order")
                    writes[record["write"]] = write
                last = record["write"]
                pair, write = _new_pair(record, where), writes[last]
                follows = _line(record.get("follows"), count, where, "follows")
                if follows is not None:
                    if follows < write.first:
                        raise DataError(f"{where}: 'follows' must be an earlier line of the same write")
                    pair = replace(pair, follows=follows - write.first)
                write.pairs.append((pair, _line(record.get("supersedes"), write.first, where)))
                count += 1
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the file that tmem export wrote") from None
    return list(writes.values())


def _record(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise DataError(f"{where}: cannot be read as UTF-8") from None
    except (ValueError, RecursionError):
        raise DataError(f"{where}: not valid JSON; write one object per line") from None
    if not isinstance(record, dict) or type(record.get("write")) is not int:
        raise DataError(f"{where}: not a pair with 'write', 'question' and 'answer'")
    return record


def _new_pair(record: dict[str, Any], where: str) -> NewPair:
    question, answer = (_text(record.get(key)) for key in ("question", "answer"))
    if not question or not answer:
        raise DataError(f"{where}: 'question' and 'answer' must be text")
    if len(question) + len(answer) > LONGEST_PAIR:
        raise DataError(f"{where}: longer than a pair can be; is this a ledger?")
    pair = NewPair(question, answer, extracted=record.get("extracted") is True)
    created = _date(record, "created", where)
    return pair if created is None else replace(pair, created=queries.as_text(created))


def _write(record: dict[str, Any], count: int, where: str) -> Write:
    repeats = record.get("repeats", [])
    try:
        meta = validation.metadata(record.get("metadata"), "'metadata'")
    except UsageError as error:
        raise DataError(f"{where}: {error}") from None
    lines = [_line(one, count, where, "repeats") for one in repeats] if isinstance(repeats, list) else []
    known = [line for line in lines if line is not None]
    told, text = _date(record, "timestamp", where), _text(record.get("text")) or None
    when = None if told is None else told.isoformat()
    return Write(count, record.get("pending") is True, text, when, meta or None, known)


def _text(value: Any) -> str:
    """A text as it can be stored, "" for anything else."""
    return without_surrogates(value).replace("\0", "").strip() if isinstance(value, str) else ""


def _date(record: dict[str, Any], key: str, where: str) -> Moment | None:
    value = record.get(key)
    try:
        return None if value is None else moment(value, f"'{key}'")
    except UsageError as error:
        raise DataError(f"{where}: {error}") from None


def _line(value: Any, count: int, where: str, key: str = "supersedes") -> int | None:
    """The number of one of the first ``count`` lines."""
    if value is not None and not (type(value) is int and 0 <= value < count):
        raise DataError(f"{where}: {key!r} must be the number of an earlier line, from 0")
    return value
