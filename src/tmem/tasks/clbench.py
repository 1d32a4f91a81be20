"""CL-bench (Tencent, arXiv 2602.03587): tasks to be solved from a long context, judged by rubrics.

The data is not part of this project: take ``CL-bench.jsonl`` from the Hugging Face data set ``tencent/CL-bench``. Its
licence allows evaluation only and forbids any updating of parameters with it; a memory in weights updates parameters
while it reads, so this benchmark asks for consent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmem.agent.episode import Ask, Episode
from tmem.agent.prompts import Message
from tmem.errors import DataError, UsageError
from tmem.files import read_jsonl, without_surrogates
from tmem.tasks.base import Item, Task
from tmem.tasks.sources import fetched, identity

# The task stands at one end of the last message, with nothing to tell it from the context: both ends stay in view.
END = 2048  # characters, about 512 tokens
LONGEST_UNIT = 2000  # characters; longer paragraphs are cut
ANSWER_TOKENS = 2048
_BLANK_LINES = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"[.!?]\s|[。！？\n]")


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
        self.path = fetched(path, "CL-bench.jsonl")
        if not self.path.is_file():
            raise DataError(f"{path}: no such file; give CL-bench.jsonl, or tencent/CL-bench to fetch it")
        self._identity: dict[str, Any] = identity(self.path)
        ids: dict[str, None] = {}  # in the order of the file
        for row in self._all():  # reads it all once: a broken row is noticed before the work
            if row.id in ids:
                raise DataError(f"{path}: task_id {row.id!r} is used twice; make the ids unique")
            ids[row.id] = None
        if not ids:
            raise DataError(f"{path}: no tasks in it; give a file in the format of CL-bench.jsonl")
        if subset is not None:
            self._identity["subset"] = identity(subset)
            chosen = read_ids(subset)
            unknown = [name for name in chosen if name not in ids]
            if unknown:
                raise DataError(f"{subset}: {unknown[0]!r} is no task_id of {path} ({len(unknown)} are unknown)")
            ids = dict.fromkeys(chosen)
        self.ids = frozenset(ids)

    def identity(self) -> dict[str, Any]:
        return {**self._identity, "tasks": len(self.ids)}

    def count(self, seed: int, limit: int | None = None) -> int:
        return len(self.ids) if limit is None else min(limit, len(self.ids))

    def tasks(self, seed: int) -> Iterator[Task]:
        return (task(row) for row in self._all() if row.id in self.ids)

    def prediction(self, item: Item, reply: str, seed: int) -> str:
        return reply.strip()

    def _all(self) -> Iterator[Row]:
        return (parse_row(record, where) for where, record in read_jsonl(self.path))


def read_ids(path: str | Path) -> list[str]:
    """The task ids of a file, one a line; blank lines and those that begin with # do not count."""
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not valid UTF-8; give a text of one id a line") from None
    ids = [line for line in lines if line and not line.startswith("#")]
    if not ids:
        raise DataError(f"{path}: no ids in it; write one task_id per line")
    return ids


def parse_row(record: dict[str, Any], where: str = "row") -> Row:
    """One object of the file. Raises :class:`DataError` naming the place."""
    meta = record.get("metadata")
    if not isinstance(meta, dict) or not isinstance(meta.get("task_id"), str) or not meta["task_id"].strip():
        raise DataError(f"{where}: no metadata.task_id; compare with the format of CL-bench.jsonl")
    messages = record.get("messages")
    good = isinstance(messages, list) and all(
        isinstance(m, dict) and m.get("role") in ("system", "user", "assistant") and isinstance(m.get("content"), str)
        for m in messages
    )
    if not good or not messages or messages[-1]["role"] != "user" or not messages[-1]["content"].strip():
        raise DataError(f"{where}: 'messages' must be chat messages, of which the last is the user's and not empty")
    rubrics = record.get("rubrics")
    entries = rubrics if isinstance(rubrics, list) else [None]
    texts: list[Any] = [entry.get("rubric_criteria") if isinstance(entry, dict) else entry for entry in entries]
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{where}: 'rubrics' must be a list of texts")
    return Row(
        id=without_surrogates(meta["task_id"]).strip(),
        category=without_surrogates(str(meta.get("context_category", "unknown"))),
        context_id=without_surrogates(str(meta.get("context_id", meta["task_id"]))),
        messages=tuple({"role": m["role"], "content": without_surrogates(m["content"])} for m in messages),
        rubrics=tuple(without_surrogates(text).strip() for text in texts if text.strip()),  # as the official judge
    )


def task(row: Row) -> Task:
    """A task as the agent reads it: its paragraphs are the stream, and both ends of the last message the problem.

    The system message is part of every answer prompt. A last message that is no longer than both ends is the problem
    as a whole, and not read before.
    """
    system = [message for message in row.messages if message["role"] == "system"]
    earlier = [message for message in row.messages[:-1] if message["role"] != "system"]
    texts = [f"{message['role']}: {message['content']}" for message in earlier]
    problem = last = row.messages[-1]["content"]
    if len(last) > 2 * END:
        problem = f"{last[:END]}\n[...]\n{last[-END:]}"
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
    """The paragraphs of a text as they stand; overlong ones are cut at the end of a sentence or line.

    Without one in reach they are cut at a space, or anywhere. Nothing but white space at cuts and ends is lost.
    """
    units = []
    for paragraph in _BLANK_LINES.split(text):
        rest = paragraph.strip("\n").rstrip()
        while len(rest) > LONGEST_UNIT:
            reach = rest[:LONGEST_UNIT]
            ends = [match.end() for match in _SENTENCE_END.finditer(reach)]
            end = ends[-1] if ends else reach.rfind(" ") + 1 or LONGEST_UNIT
            units.append(rest[:end].rstrip())
            rest = rest[end:].lstrip("\n")
        units.append(rest)
    return [unit for unit in units if unit.strip()]
