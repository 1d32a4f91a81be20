"""A text, the pairs that extraction should write of it, and questions to read it by: as rows of ``tmem train sft``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tmem.agent.extraction import QAPair
from tmem.agent.prompts import PROMPTS
from tmem.texts import NO_INFORMATION, fold

PROMPT, NOTHING = PROMPTS["english"], NO_INFORMATION


@dataclass
class Text:
    """A text with what it tells; ``pairs`` None: it is only read, not extracted from.

    ``asked``: questions with answers, :data:`NOTHING` where it does not say.
    """

    text: str
    pairs: list[tuple[str, str]] | None
    asked: list[tuple[str, str]] = field(default_factory=list)


def rows(texts: Iterable[Text]) -> Iterator[dict[str, Any]]:
    """Extraction, then each question, as prompt and completion."""
    for one in texts:
        if one.pairs is not None:
            found: dict[str, tuple[str, str]] = {}
            for question, answer in one.pairs:
                found.setdefault(fold(question), (question, answer))
            array = [QAPair(*pair).record() for pair in found.values()]
            yield row(PROMPT.extraction(one.text, None, ()), json.dumps(array, ensure_ascii=False))
        for question, answer in dict(one.asked).items():
            yield row(PROMPT.answer(question, one.text), answer)


def row(prompt: list[dict[str, str]], reply: str) -> dict[str, Any]:
    """One line of a file."""
    return {"prompt": prompt, "completion": [{"role": "assistant", "content": reply}]}
