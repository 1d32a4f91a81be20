"""CL-bench (Tencent, arXiv 2602.03587): tasks to be solved from a long context, judged by rubrics.

The data is not part of this project: take ``CL-bench.jsonl`` from the Hugging Face data set ``tencent/CL-bench``. Its
licence allows evaluation only and forbids any updating of parameters with it; a memory in weights updates parameters
while it reads, so this benchmark asks for consent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmem.agent.episode import Ask, Episode
from tmem.agent.prompts import Message
from tmem.errors import DataError, UsageError
from tmem.files import without_surrogates
from tmem.tasks.base import Item, Task
from tmem.tasks.sources import identity

# The task stands at one end of the last message, with nothing to tell it from the context: both ends stay in view.
END = 2048  # characters, about 512 tokens
LONGEST_UNIT = 2000  # characters; longer paragraphs are cut at sentences
ANSWER_TOKENS = 2048
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Row:
    """One task: chat messages, the last of which is to be answered, and what a good answer does."""

    id: str
    category: str
    context_id: str
    messages: tuple[Message, ...]
    rubrics: tuple[str, ...]


class ClBench:
    """The benchmark over a file, or over the ids in ``subset`` (one a line). Answers are scored by a judge alone."""

    name = "clbench"
    scorers: tuple[str, ...] = ()

    def __init__(
        self, path: str | Path, official: bool, subset: str | Path | None = None, accept_license: bool = False
    ) -> None:
        """Raises :class:`UsageError` without consent to the licence, :class:`DataError` for a malformed file."""
        if not accept_license:
            raise UsageError(
                "CL-bench's licence is for evaluation only and forbids any form of parameter updating, which a memory "
                "in weights does while it reads: read it, and add --accept-eval-license if your use is allowed"
            )
        self.path = Path(path)
        self.subset = None if subset is None else Path(subset)
        if not self.path.is_file():
            raise DataError(f"{path}: no such file; take CL-bench.jsonl from huggingface.co/datasets/tencent/CL-bench")
        wanted = None if self.subset is None else read_ids(self.subset)
        self.ids: list[str] = []
        for row in self._all():
            if row.id in self.ids:
                raise DataError(f"{path}: task_id {row.id!r} is used twice; make the ids unique")
            self.ids.append(row.id)
        if wanted is not None:
            unknown = [name for name in wanted if name not in self.ids]
            if unknown:
                raise DataError(f"{subset}: {unknown[0]!r} is no task_id of {path} ({len(unknown)} are unknown)")
            self.ids = [name for name in self.ids if name in wanted]
        if not self.ids:
            raise DataError(f"{path}: no tasks in it; give a file in the format of CL-bench.jsonl")

    def identity(self) -> dict[str, Any]:
        return {**identity(self.path, {}), "tasks": len(self.ids), "subset": self.subset and self.subset.name}

    def count(self, seed: int, limit: int | None = None) -> int:
        return len(self.ids[:limit])

    def tasks(self, seed: int) -> Iterator[Task]:
        chosen = set(self.ids)
        return (task(row) for row in self._all() if row.id in chosen)

    def prediction(self, item: Item, reply: str, seed: int) -> str:
        return reply.rpartition("</think>")[2].strip()

    def _all(self) -> Iterator[Row]:
        with open(self.path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield parse_row(line, f"{self.path}: line {number}")


def read_ids(path: Path) -> set[str]:
    """The task ids of a file, one a line; blank lines and those that begin with # do not count."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    return {line for line in lines if line and not line.startswith("#")}


def parse_row(line: str, where: str = "row") -> Row:
    """One line of the file. Raises :class:`DataError` naming the place."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON ({getattr(error, 'msg', 'nested too deeply')})") from None
    meta = record.get("metadata") if isinstance(record, dict) else None
    if not isinstance(meta, dict) or not isinstance(meta.get("task_id"), str) or not meta["task_id"]:
        raise DataError(f"{where}: no metadata.task_id; compare with the format of CL-bench.jsonl")
    messages = record.get("messages")
    good = isinstance(messages, list) and all(
        isinstance(m, dict) and m.get("role") in ("system", "user", "assistant") and isinstance(m.get("content"), str)
        for m in messages
    )
    if not good or not messages or messages[-1]["role"] != "user":
        raise DataError(f"{where}: 'messages' must be chat messages, of which the last is the user's")
    rubrics = record.get("rubrics")
    texts = (
        [r.get("rubric_criteria") if isinstance(r, dict) else r for r in rubrics] if isinstance(rubrics, list) else [0]
    )
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{where}: 'rubrics' must be a list of texts")
    return Row(
        id=meta["task_id"],
        category=str(meta.get("context_category", "unknown")),
        context_id=str(meta.get("context_id", meta["task_id"])),
        messages=tuple({"role": m["role"], "content": without_surrogates(m["content"])} for m in messages),
        rubrics=tuple(without_surrogates(str(text)) for text in texts),
    )


def task(row: Row) -> Task:
    """A task as the agent reads it: its paragraphs are the stream, and both ends of the last message the problem.

    The system message is part of every answer prompt. A last message that is no longer than both ends is the problem
    as a whole, and not read before.
    """
    system = [message for message in row.messages if message["role"] == "system"]
    earlier = [message for message in row.messages[:-1] if message["role"] != "system"]
    last = row.messages[-1]["content"]
    problem = last if len(last) <= 2 * END else f"{last[:END]}\n[...]\n{last[-END:]}"
    texts = [f"{message['role']}: {message['content']}" for message in earlier]
    if problem is not last:
        texts.append(last)

    def prompt(question: str, context: str) -> list[Message]:
        content = f"{context}\n\n{question}" if context else question
        return [*system, {"role": "user", "content": content}]

    return Task(
        Episode(
            id=row.id,
            units=tuple(unit for text in texts for unit in paragraphs(text)),
            asks=(Ask(row.id, problem),),
            answer_prompt=prompt,
            answer_tokens=ANSWER_TOKENS,
        ),
        (
            Item(
                id=row.id,
                question=problem,
                gold=(),
                category=row.category,
                judging={"rubrics": list(row.rubrics), "context_id": row.context_id},
            ),
        ),
    )


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text, overlong ones cut at sentences, or anywhere if need be; nothing but blanks is lost."""
    units = []
    for paragraph in re.split(r"\n\s*\n", text):
        piece = ""
        for sentence in _SENTENCE.split(paragraph.strip()):
            while len(sentence) > LONGEST_UNIT:
                units += [piece] if piece else []
                piece, sentence = sentence[:LONGEST_UNIT], sentence[LONGEST_UNIT:]
            if piece and len(piece) + 1 + len(sentence) > LONGEST_UNIT:
                units.append(piece)
                piece = sentence
            else:
                piece = f"{piece} {sentence}" if piece else sentence
        units += [piece] if piece else []
    return units
