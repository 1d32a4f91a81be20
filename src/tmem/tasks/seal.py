"""SEAL's knowledge incorporation (arXiv 2506.10943): a passage is learnt, then asked about without it.

A file has SQuAD passages with their questions, and what a model wrote of each passage before it was trained on it
(``completions``). Where that are questions and answers of its own, they are the pairs that are given to a memory. The
peer, a LoRA by peft (``lora``), is trained on the same and on the passage.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmem.agent.episode import Ask, Episode
from tmem.agent.prompts import Message
from tmem.errors import DataError
from tmem.files import without_surrogates
from tmem.tasks.base import Item, Task
from tmem.tasks.sources import identity
from tmem.texts import fold

ANSWER_TOKENS = 64
NAMED = 16  # up to so many passages after one another, questions are reported by their passage's place
_NEXT = re.compile(r"\n\s*(?=Question\s*\d*\s*:)")
_ANSWER = re.compile(r"\n\s*(?:Answer|A)\s*\d*\s*:|\n\s*\n")
_NUMBER = re.compile(r"^(?:Question\s*\d*\s*:)?\s*(?:\d+\.\s*)?")


@dataclass(frozen=True)
class Passage:
    """A passage, human questions about it with their answers, and what a model wrote of it."""

    title: str
    context: str
    questions: tuple[tuple[str, str], ...]
    completions: tuple[str, ...]


class Seal:
    """The benchmark over a file, JSON or JSON in gzip.

    ``passages``: how many are learnt, one after the other, before all their questions are asked; 0 is all of them.
    ``completions``: how many of the texts that were written of each passage are given, from the first on.
    """

    name = "seal"
    scorers: tuple[str, ...] = ("said", "squad")

    def __init__(self, path: str | Path, official: bool, passages: int = 1, completions: int = 1) -> None:
        """Raises :class:`DataError` naming the passage that cannot be read."""
        self.path = Path(path)
        self.all = load(self.path)
        self.passages = passages or len(self.all)
        self.completions = completions

    def identity(self) -> dict[str, Any]:
        return {**identity(self.path), "passages": self.passages, "completions": self.completions}

    def count(self, seed: int, limit: int | None = None) -> int:
        return sum(len(passage.questions) for passage in self.all[: None if limit is None else limit * self.passages])

    def tasks(self, seed: int) -> Iterator[Task]:
        for start in range(0, len(self.all), self.passages):
            yield self._task(start, self.all[start : start + self.passages])

    def prediction(self, item: Item, reply: str, seed: int) -> str:
        return reply.strip()

    def _task(self, start: int, passages: Sequence[Passage]) -> Task:
        asks, items, gold, texts = [], [], [], []
        for place, passage in enumerate(passages):
            kind = f"passage {place + 1}" if 1 < len(passages) <= NAMED else "question"
            for number, (question, answer) in enumerate(passage.questions):
                name = f"{start + place}:{number}"
                asks.append(Ask(name, question))
                items.append(Item(name, question, (answer,), kind, (place,)))
            texts.append((f"{passage.title}\n{passage.context}", place))
            for completion in passage.completions[: self.completions]:
                pairs = questions_and_answers(completion)
                gold += [(question, answer, place) for question, answer in pairs]
                lines = [] if pairs else [line.strip() for line in completion.splitlines() if line.strip()]
                texts += [(f"{passage.title}\n{line}", place) for line in lines]
        return Task(
            Episode(
                id=f"passages {start + 1} to {start + len(passages)}" if len(passages) > 1 else f"passage {start + 1}",
                units=tuple(f"{passage.title}\n{passage.context}" for passage in passages),
                asks=tuple(asks),
                answer_prompt=answer_prompt,
                answer_tokens=ANSWER_TOKENS,
                gold=tuple(gold),
                texts=tuple(texts),
            ),
            tuple(items),
        )


def answer_prompt(question: str, context: str) -> list[Message]:
    """The question alone, as pairs are written; after a text with a word on how to answer."""
    content = f"{context}\n\nAnswer in a few words: {question}" if context else question
    return [{"role": "user", "content": content}]


def load(path: Path) -> list[Passage]:
    """Read a file of SEAL's evaluation. Raises :class:`DataError` in one line with the passage and what it lacks."""
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read()
        records = json.loads(data.decode("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; give one of SEAL's, such as self_qa of its evaluation passages"
        ) from None
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:  # no file, no gzip, no text, no JSON
        raise DataError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(records, list) or not records:
        raise DataError(f"{path}: not a list of passages; give a file in the format of SEAL's evaluation")
    return [parse(record, f"{path}: passage {number}") for number, record in enumerate(records, start=1)]


def parse(record: Any, where: str = "passage") -> Passage:
    """One object of the file. Raises :class:`DataError` naming the place."""
    own = record if isinstance(record, dict) else {}
    questions, completions = own.get("questions"), own.get("completions", [])
    if not isinstance(questions, list) or not questions or not isinstance(completions, list):
        raise DataError(f"{where}: it needs a list of questions, and completions if any as a list")
    asked = [entry if isinstance(entry, dict) else {} for entry in questions]
    try:
        return Passage(
            _text(own, "title"),
            _text(own, "context"),
            tuple((_text(entry, "question"), _text(entry, "answer")) for entry in asked),
            tuple(_text({"completion": entry}, "completion", empty=True) for entry in completions),
        )
    except ValueError as error:
        raise DataError(f"{where}: {error} must be a text; correct or remove it") from None


def _text(record: dict[str, Any], key: str, empty: bool = False) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not (value.strip() or empty):
        raise ValueError(key)
    return without_surrogates(value).strip()


def questions_and_answers(completion: str) -> list[tuple[str, str]]:
    """The pairs that a model wrote, each question once; none where it wrote no answers, or something else.

    The prompt began the first question, so its number is missing; answers are headed ``Answer 2:``, ``Answer:``, ``A:``
    or by an empty line alone, and what stands after the last one's line is no part of it.
    """
    found: dict[str, tuple[str, str]] = {}
    for part in _NEXT.split(completion.strip()):
        question, *rest = _ANSWER.split(part.strip(), maxsplit=1)
        question = _NUMBER.sub("", question.strip()).strip()
        answer = next((line.strip() for line in (rest[0].splitlines() if rest else []) if line.strip()), "")
        if question.endswith("?") and "\n" not in question and answer:
            found.setdefault(fold(question), (question, answer))
    return list(found.values())
