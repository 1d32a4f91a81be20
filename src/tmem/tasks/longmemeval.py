"""LongMemEval: one question about a long history of chats between a user and an assistant.

The data is not part of this project: take ``longmemeval_s_cleaned.json`` from the Hugging Face data set
``xiaowu0162/longmemeval-cleaned`` and give its path. The file of 277 MB is read one instance at a time. What the
official scripts keep from the reader (answers, evidence marks, session ids) never gets into a text.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmem.agent.episode import Ask, Episode
from tmem.agent.prompts import Message
from tmem.dates import Moment, in_order, moment
from tmem.errors import DataError, UsageError
from tmem.files import without_surrogates
from tmem.tasks.base import Item, Task
from tmem.tasks.sources import fetched, identity

PUBLISHED = {
    "d6f21ea9d60a0d56f34a05b609c79c88a451d2ae03597821ea3d5a9678c3a442": "longmemeval_s_cleaned",
    "9d79e5524794a2e6900a3aa9cb7d9152c5a3e8319c9a87c25494ba1eacee495f": "longmemeval_m_cleaned",
}
TYPES = (
    "multi-session",
    "temporal-reasoning",
    "knowledge-update",
    "single-session-user",
    "single-session-assistant",
    "single-session-preference",
)
# What its script for histories of one's own calls them.
CUSTOM_TYPES = {
    "single_hop": "single-session-user",
    "assistant_previnfo": "single-session-assistant",
    **dict.fromkeys(("implicit_preference", "implicit_preference_v2"), "single-session-preference"),
    **dict.fromkeys(("two_hop", "multi_session_synthesis"), "multi-session"),
    **dict.fromkeys(("temp_reasoning_explicit", "temp_reasoning_implicit"), "temporal-reasoning"),
    "knowledge_update": "knowledge-update",
}
ANSWER_TOKENS = 500


@dataclass(frozen=True)
class Turn:
    role: str  # user or assistant; the order of roles is not to be relied on
    content: str


@dataclass(frozen=True)
class Instance:
    """One question with its own history; ``sessions`` are (id, date, turns) in the order of their dates."""

    id: str
    type: str
    question: str
    answer: str
    date: str
    sessions: tuple[tuple[str, str, tuple[Turn, ...]], ...]
    evidence: frozenset[str]  # ids of the sessions that hold the answer

    @property
    def abstention(self) -> bool:
        """True if the right answer is that the history does not tell."""
        return "_abs" in self.id


class LongMemEval:
    """The benchmark over a file. ``official``: the published reader's prompt (own wording), else the model's own."""

    name = "longmemeval"
    scorers: tuple[str, ...] = ("tmem_token",)

    def __init__(self, path: str | Path, official: bool) -> None:
        """Raises :class:`DataError` in one line for a file that is missing or malformed anywhere."""
        self.path, self.official = fetched(path, "longmemeval_s_cleaned.json"), official
        if self.path.is_dir():
            raise DataError(f"{path}: a folder; give the file in it, as longmemeval_s_cleaned.json")
        if not self.path.is_file():
            raise DataError(
                f"{path}: no such file; give longmemeval_s_cleaned.json, or xiaowu0162/longmemeval-cleaned to fetch it"
            )
        self._identity = identity(self.path, PUBLISHED)
        seen: set[str] = set()
        for instance in self.instances():  # reads it all once: a broken instance is noticed before the work
            if instance.id in seen:
                raise DataError(f"{path}: question_id {instance.id!r} is used twice; make the ids unique")
            seen.add(instance.id)
        self._count = len(seen)
        if not seen:
            raise DataError(f"{path}: no questions in it; give a file in the format of longmemeval_s_cleaned.json")

    def identity(self) -> dict[str, Any]:
        return self._identity

    def count(self, seed: int, limit: int | None = None) -> int:
        return self._count if limit is None else min(limit, self._count)

    def instances(self) -> Iterator[Instance]:
        """Every question of the file, read as it is needed."""
        try:
            import ijson
        except ImportError:
            raise UsageError("LongMemEval needs the extra eval: pip install 'tmem[eval]'") from None
        with open(self.path, "rb") as file:
            if file.read(3) != codecs.BOM_UTF8:
                file.seek(0)
            records = ijson.items(file, "item", use_float=True)
            number = 0
            while True:
                try:
                    record = next(records, None)
                except (ijson.JSONError, UnicodeDecodeError, ValueError) as error:
                    said = error.args[0] if error.args else error  # bytes where the file is not UTF-8
                    told = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(error)
                    reason = " ".join(told.split())[:100]
                    raise DataError(
                        f"{self.path}: not valid JSON after {number} questions ({reason}); get the file again"
                    ) from None
                if record is None:
                    return
                yield parse_instance(record, f"{self.path}: question {number}")
                number += 1

    def tasks(self, seed: int) -> Iterator[Task]:
        for instance in self.instances():
            yield task(instance, self.official)

    def prediction(self, item: Item, reply: str, seed: int) -> str:
        return reply.strip()


# ---- reading one instance; `where` names the place for an error's text ----


def parse_instance(record: Any, where: str = "question") -> Instance:
    """One object of the file. Raises :class:`DataError` naming the place and the cure."""
    if not isinstance(record, dict):
        raise DataError(f"{where}: not a JSON object; compare with the format of longmemeval_s_cleaned.json")
    name = _text(record, "question_id", where)
    where = f"{where} ({name})"
    kind = _text(record, "question_type", where)
    kind = CUSTOM_TYPES.get(kind, kind)
    if kind not in TYPES:
        raise DataError(f"{where}: question_type is {kind!r}; it must be one of {', '.join(TYPES)}")
    answer = record.get("answer")
    if not isinstance(answer, str | int | float) or isinstance(answer, bool) or not str(answer).strip():
        raise DataError(f"{where}: 'answer' must be text or a number; add it or remove the question")
    lists = [_list(record, key, where) for key in ("haystack_session_ids", "haystack_dates", "haystack_sessions")]
    if len({len(values) for values in lists}) != 1:
        raise DataError(f"{where}: haystack_session_ids, _dates and _sessions differ in length; they belong together")
    dated = [
        (
            _date(date, f"{where}: session {place}"),
            (str(identifier), str(date).strip(), _turns(turns, f"{where}: session {place}")),
        )
        for place, (identifier, date, turns) in enumerate(zip(*lists, strict=True))
    ]
    # Some fillers stand twice, with different dates; both are kept. Empty ones may be dropped, say their authors.
    told = [session for _, session in sorted(dated, key=lambda one: in_order(one[0])) if session[2]]
    if not told:
        raise DataError(f"{where}: no session has a turn; remove the question")
    return Instance(
        id=name,
        type=kind,
        question=_text(record, "question", where),
        answer=without_surrogates(str(answer)).strip(),
        date=_text(record, "question_date", where),
        sessions=tuple(told),
        evidence=frozenset(str(entry) for entry in _list(record, "answer_session_ids", where)),
    )


def _text(record: dict[str, Any], key: str, where: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {key!r} must be non-empty text; add it or remove the question")
    return without_surrogates(value).strip()


def _list(record: dict[str, Any], key: str, where: str) -> list[Any]:
    value = record.get(key)
    if not isinstance(value, list):
        raise DataError(f"{where}: {key!r} must be a list; add it or remove the question")
    return value


def _date(value: Any, where: str) -> Moment:
    """A date as the file writes it: ``2023/05/30 (Tue) 23:40``; histories of one's own write 2023/5/30 too."""
    try:
        return moment(value)
    except UsageError:
        raise DataError(
            f"{where}: its date is {value!r:.60}, it must be text like '2023/05/30 (Tue) 23:40'; correct it, or remove "
            "the session"
        ) from None


def _turns(turns: Any, where: str) -> tuple[Turn, ...]:
    """The turns that say something: a few of the real file are blank."""
    if not isinstance(turns, list):
        raise DataError(f"{where}: not a list of turns")
    found = []
    for turn in turns:
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        if role not in ("user", "assistant") or not isinstance(content, str):
            raise DataError(f"{where}: a turn needs a role, user or assistant, and a content")
        if content.strip():
            found.append(Turn(role, without_surrogates(content)))
    return tuple(found)


# ---- what the agent reads ----


def task(instance: Instance, official: bool) -> Task:
    """An instance as the agent reads it: a unit per session, a note per round, all before the question is asked.

    The question's date is told but never used to leave sessions out: its minutes are not reliable.
    """
    units, notes = [], []
    for place, (_, date, turns) in enumerate(instance.sessions):
        units.append(render_session(place + 1, date, turns))
        notes += [(f"{date}\n{text}", place) for text in rounds(turns)]

    def prompt(question: str, context: str) -> list[Message]:
        return [{"role": "user", "content": reader_prompt(question, context, instance.date)}]

    return Task(
        Episode(
            id=instance.id,
            units=tuple(units),
            asks=(Ask(instance.id, instance.question),),
            notes=tuple(notes),
            answer_prompt=prompt if official else None,
            answer_tokens=ANSWER_TOKENS if official else None,
        ),
        (
            Item(
                id=instance.id,
                question=instance.question,
                gold=(instance.answer,),
                category=instance.type,
                evidence=tuple(i for i, (name, _, _) in enumerate(instance.sessions) if name in instance.evidence),
                judging={"question_type": instance.type, "abstention": instance.abstention},
            ),
        ),
    )


def render_session(number: int, date: str, turns: tuple[Turn, ...]) -> str:
    """A session as the official reader shows it, its turns as JSON; only that letters beyond ASCII are not escaped."""
    content = json.dumps([{"role": turn.role, "content": turn.content} for turn in turns], ensure_ascii=False)
    return f"### Session {number}:\nSession Date: {date}\nSession Content:\n\n{content}"


def rounds(turns: tuple[Turn, ...]) -> list[str]:
    """A user's turn with what the assistant says to it; turns of one role in a row stay together."""
    found: list[list[Turn]] = []
    for turn in turns:
        new = not found or (turn.role == "user" and found[-1][-1].role == "assistant")
        if new:
            found.append([])
        found[-1].append(turn)
    return ["\n".join(f"{turn.role}: {turn.content}" for turn in own) for own in found]


def reader_prompt(question: str, context: str, date: str) -> str:
    """The published reader's prompt in our own words, without the chats if no raw text is left."""
    asked = f"Current Date: {date}\nQuestion: {question}\nAnswer:"
    if not context:
        return (
            f"Answer the question from what you remember of earlier chats between an assistant and a user.\n\n{asked}"
        )
    return (
        "Below are several history chats between an assistant and a user. Answer the question from the relevant "
        f"history.\n\n\nHistory Chats:\n\n{context}\n\n{asked}"
    )
