"""What the model is asked: one prompt set for instruction-tuned models, one for the small embedded models.

A prompt is a list of chat messages ``{"role": ..., "content": ...}``. Under both sets a written pair is
trained on as the chat ``user: question -> assistant: answer``, without any system message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Protocol

from tmem.agent.extraction import QAPair
from tmem.agent.splitting import PIECE
from tmem.dates import Moment, moment
from tmem.errors import UsageError
from tmem.texts import NO_INFORMATION
from tmem.when import resolved

Message = dict[str, str]
_DATE = re.compile(r"DATE: (.+)")


class PromptSet(Protocol):
    """The prompts of the two actions, and what they expect."""

    name: str
    question_known: bool  # by default the extraction sees the question that will be asked in the end
    converses: bool  # the model can be talked to; else it only answers questions
    official_questions: bool  # benchmark questions keep their official suffixes and (a)/(b) options
    taught: tuple[str, ...] | None  # memories that the model was trained to use; None: it follows instructions
    refusal: str | None  # what a memory says to what it was never told; None: that is left to its weights
    undated: bool  # shown the day of a message, it makes answers of it: shown where something is dated by it alone

    def extraction(self, context: str, question: str | None, history: Sequence[QAPair]) -> list[Message]:
        """Messages that ask for a trigger context's pairs; ``question`` is ``None`` when not known yet."""
        ...

    def update(self, memory: str, section: str, question: str | None) -> list[Message]:
        """Messages that ask for the memory that takes the place of ``memory`` once ``section`` is read."""
        ...

    def answer(self, question: str, context: str) -> list[Message]:
        """Messages that ask ``question``; ``context`` is the last working context, "" if nothing is left."""
        ...


class PaperPrompts:
    """Our own wording of what the paper's prompts require; the answer prompt is close to LoCoMo's."""

    name = "paper"
    question_known = True
    converses = True
    official_questions = True
    taught: tuple[str, ...] | None = None
    refusal: str | None = None
    undated = False

    def extraction(self, context: str, question: str | None, history: Sequence[QAPair]) -> list[Message]:
        given = "the question-answer pairs written so far and one session of the conversation"
        blocks = [
            _block("qa_history", json.dumps([pair.record() for pair in history], ensure_ascii=False)),
            _block("session", context),
        ]
        if question is not None:
            given = f"one problem to solve, {given}"
            blocks.insert(0, _block("question", question))
        role = (
            f"You write the training data of a memory. You are given {given}. Create high-quality "
            "question-answer pairs for supervised fine-tuning, grounded ONLY in this session."
        )
        return [_message("system", "\n\n".join([role, *blocks])), _message("user", _WRITE_MEMORY)]

    def update(self, memory: str, section: str, question: str | None) -> list[Message]:
        given, use = "a section of a conversation and a previous memory", "anything worth remembering"
        blocks = [_block("memory", memory), _block("section", section)]
        if question is not None:
            given = f"a problem, {given}; the section may help to solve the problem"
            use = "what helps to solve the problem"
            blocks.insert(0, _block("problem", question))
        role = (
            f"You are given {given}. Read the section and update the memory with {use}. Keep all "
            "relevant details of the previous memory and add the new useful ones."
        )
        return [_message("user", "\n\n".join([role, *blocks, "Updated memory:"]))]

    def answer(self, question: str, context: str) -> list[Message]:
        ask = f"{_SHORT_ANSWER}\n\nQuestion: {question}"
        return [
            _message("system", _HONEST_ASSISTANT),
            _message("user", f"{context}\n\n{ask}" if context else ask),
        ]


class CompactPrompts:
    """Few tokens, for models that were trained on exactly these prompts."""

    name = "compact"
    question_known = False
    converses = False
    official_questions = False
    # All but A-MEM's and MEM1's, and the two that write running text: training has it in no answer's place.
    taught: tuple[str, ...] | None = (
        "none",
        "tail",
        "full",
        "memagent",
        "rag",
        "pairs",
        "lookup",
        "tmem",
        "tmem+explicit",
        "tmem+rag",
        "tmem+full",
        "gold",
    )
    refusal: str | None = None
    undated = False

    def extraction(self, context: str, question: str | None, history: Sequence[QAPair]) -> list[Message]:
        ask = "Write question-answer pairs"
        ask += "." if question is None else f" for: {question}"
        return [_message("system", context), _message("user", ask)]

    def update(self, memory: str, section: str, question: str | None) -> list[Message]:
        ask = "Update the memory"
        ask += "." if question is None else f" for: {question}"
        return [_message("system", f"{memory}\n\n{section}"), _message("user", ask)]

    def answer(self, question: str, context: str) -> list[Message]:
        ask = _message("user", question)
        return [_message("system", context), ask] if context else [ask]


class EnglishPrompts(CompactPrompts):
    """The same few tokens, for chat models that were trained on them: what is no question of the memory they answer.

    Dates that are said by the day of the message stand in brackets behind the words (:mod:`tmem.when`).
    """

    name = "english"
    converses = True
    refusal: str | None = NO_INFORMATION
    undated = True
    taught: tuple[str, ...] | None = tuple(memory for memory in CompactPrompts.taught or () if memory != "memagent")

    def extraction(self, context: str, question: str | None, history: Sequence[QAPair]) -> list[Message]:
        return super().extraction(dated(context), question, history)

    def answer(self, question: str, context: str) -> list[Message]:
        return super().answer(question, dated(context))


NO_MEMORY = "No previous memory"  # what a summary is before anything was read (MemAgent)

PROMPTS: dict[str, PromptSet] = {"paper": PaperPrompts(), "compact": CompactPrompts(), "english": EnglishPrompts()}


_WRITE_MEMORY = """\
Turn the session into question-answer pairs that are worth remembering.

- Let the evidence decide how many: many pairs for a rich session, few for one with little evidence, and an \
empty array if there is nothing to keep.
- Write down facts, and also lessons that help in later interactions: preferences, plans, events, times.
- Every question must be answerable from what the session says explicitly.
- Every answer must be concise, factual and directly supported by the session.
- Vary the questions: who, what, when, where, preferences, plans, events, details of time.
- Avoid near-duplicates, of each other and of the pairs written so far, and use natural wording.

Return ONLY a JSON array of objects with the string keys "instruction" (the question) and "output" (the \
answer), and no other text."""

_HONEST_ASSISTANT = (
    "You are a helpful, respectful and honest assistant. Understand the conversation and answer questions "
    "about it. If you do not know the answer to a question, do not share false information."
)

_SHORT_ANSWER = (
    "Write a short answer to the following question, in a few words and not as a complete or lengthy "
    "sentence. Use exact words from the conversation whenever possible."
)


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _block(tag: str, content: str) -> str:
    return f"<{tag}>\n{content}\n</{tag}>"


@lru_cache(maxsize=64)  # many questions are asked of the same text
def dated(text: str) -> str:
    """Sessions with what they say of time made dates, by the day that stands above each."""
    when: Moment | None = None
    lines = []
    for piece in PIECE.finditer(text):
        line = piece.group()
        if header := _DATE.fullmatch(line):
            when = None
            with suppress(UsageError):
                when = moment(header[1])
        elif when is not None:
            # What a person quotes is another's, what a line quotes is said that day.
            name, said = piece["name"], piece["said"]
            line = f'{name} said, "{resolved(said, when)}"' if name else resolved(line, when)
        lines.append(line)
    return "\n".join(lines)
