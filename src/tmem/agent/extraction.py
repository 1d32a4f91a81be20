"""From a model's reply to question-answer pairs, with nothing lost silently.

The reply should be a JSON array of ``{"instruction": ..., "output": ...}``. :func:`parse` reads what can
be read and lists the rest as drops with reasons; :func:`filter_pairs` then decides which pairs may be written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from tmem.files import without_surrogates
from tmem.texts import fold, is_none, said

Status = Literal["ok", "empty", "partial", "no_array", "truncated", "bad_json", "bad_schema"]
_RUN = re.compile(r"([^\W\d]|[^\w\s.*_=#-])\1{9}")  # of what no rule or number is made of


@dataclass(frozen=True)
class QAPair:
    """One unit of memory: a question and its answer (``instruction`` and ``output`` in the model's JSON)."""

    question: str
    answer: str

    def record(self) -> dict[str, str]:
        """The pair as the model writes it."""
        return {"instruction": self.question, "output": self.answer}


@dataclass(frozen=True)
class Dropped:
    """A piece of a reply that did not become a pair, and why."""

    reason: str
    text: str


class Extraction(BaseModel):
    """What one reply gave.

    ``status``: ``ok`` (the array is closed, every item is a pair), ``empty`` (a closed array without
    items), ``partial`` (pairs, but something was dropped or the array is not closed); and without a
    single pair: ``no_array`` (nothing like an array in the text), ``truncated`` (it breaks off),
    ``bad_json`` (an object cannot be decoded), ``bad_schema`` (valid JSON that is not pairs).
    """

    status: Status
    pairs: list[QAPair]
    dropped: list[Dropped]

    @property
    def found(self) -> int:
        """Number of items found: every one is a pair or a drop."""
        return len(self.pairs) + len(self.dropped)


_START = re.compile(r"""\[\s*(?:[\[{"\]]|$)|\{\s*["']""")  # where prose ends and JSON begins: "[1]" is prose
_OBJECT = re.compile(r"""\{\s*["']""")
_TRAILING_COMMA = re.compile(r",?\s*\}")
_CLOSING = re.compile(r"\}[\s,]*\]")
_ECHO = re.compile(r"\b([a-z]\w*) (?!\1\b)([a-z]\w*) \1 \2\b")  # in no question that is asked, but for names
_AROUND = " \t\r\n`"  # white space and code fences
_NOW = re.compile(
    r"(?<=\w)(?<! for)(?<! until)(?<! till)(?<! of)(?<! by)(?<! to)(?<! from)(?<! just)(?: right)? now\?$"
)
# Big integers are an error in Python ("exceeds the limit"), big floats are not; only strings are used anyway.
_DECODER = json.JSONDecoder(strict=False, parse_int=float)
# Two limits keep the time linear in the text, whatever it is (a model in a loop writes strange things):
_LONGEST = 20_000  # characters of one object: about ten times what a write accepts
# After a failure the next object is looked for from this many characters before the point of failure.
# None would lose a pair whose beginning was swallowed by a lost quote; going back to the failed object's
# own beginning would read deeply nested text again from every brace.
_LOOK_BACK = 1000


def parse(text: str, truncated: bool = False) -> Extraction:
    """Read the pairs of a reply; never raises.

    Thoughts are read past. Around the array, prose and code fences are ignored; inside it, trailing commas and line
    breaks in strings are accepted, and complete objects are saved from a broken or unfinished array. Whatever is
    broken between two complete objects is one drop. ``truncated`` says that the reply hit its token
    limit, which only matters for the status of a reply without pairs.
    """
    text = said(without_surrogates(text))
    opening = _START.search(text)
    if opening is None:
        return Extraction(status="truncated" if truncated else "no_array", pairs=[], dropped=[])

    pairs: list[QAPair] = []
    dropped: list[Dropped] = []
    bad_json = False
    # text[:taken] is accounted for; `broken` says why an object that begins behind it could not be decoded.
    taken = opening.start()
    broken: str | None = None
    for start, end, value in _objects(text, taken):
        if end is None:
            broken, bad_json = broken or value, True
            continue
        dropped += _leftover(text[taken:start], broken)
        item = _pair_or_drop(value, text[start:end])
        if isinstance(item, QAPair):
            pairs.append(item)
        else:
            dropped.append(item)
        taken, broken = end, None

    rest = text[taken:]
    dropped += _leftover(rest, broken)
    # A bracket in the strings of a broken object does not close the array.
    closed = bool(_CLOSING.search(rest)) if broken else "]" in rest
    status: Status
    if pairs:
        status = "ok" if closed and not dropped else "partial"
    elif not dropped:
        status = "empty" if closed else "truncated"
    elif not closed and (truncated or opening.group().startswith("[")):
        status = "truncated"
    else:
        status = "bad_json" if bad_json else "bad_schema"
    return Extraction(status=status, pairs=pairs, dropped=dropped)


def places(reply: str) -> list[tuple[QAPair, int, int]]:
    """Where the pairs of a reply stand that :func:`parse` finds: each with its first character and that behind it.

    None are found in a reply with a thought in its middle.
    """
    text = said(reply)
    first = reply.find(text)
    found: list[tuple[QAPair, int, int]] = []
    if first < 0:
        return found
    for start, end, value in _objects(text, 0):
        if end is not None and isinstance(item := _pair_or_drop(value, ""), QAPair):
            found.append((item, first + start, first + end))
    return found


def _objects(text: str, position: int) -> Iterator[tuple[int, int | None, Any]]:
    """The JSON objects from a place on: where each begins, the place behind it, its value.

    Of one that cannot be decoded: where it begins, None, and why.
    """
    while candidate := _OBJECT.search(text, position):
        start = candidate.start()
        try:
            value, length = _decode_object(text[start : start + _LONGEST])
        except (json.JSONDecodeError, RecursionError) as error:
            failed_at = start + getattr(error, "pos", 2 * _LOOK_BACK)  # too deep a nesting has no position
            position = max(start + 1, failed_at - _LOOK_BACK)
            yield start, None, f"not valid JSON: {getattr(error, 'msg', 'nested too deeply')}"
            continue
        position = start + length
        yield start, position, value


def _decode_object(text: str) -> tuple[Any, int]:
    """The JSON object that ``text`` begins with, and its length. A trailing comma in it is forgiven."""
    try:
        return _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        closing = _TRAILING_COMMA.match(text, error.pos)  # Python 3.13 points at the comma, others behind it
        if closing:
            body = text[: error.pos].rstrip().removesuffix(",")
            with suppress(json.JSONDecodeError):
                return _DECODER.decode(body + "}"), closing.end()
        raise


def _leftover(text: str, broken: str | None) -> list[Dropped]:
    """What stands between two objects: a drop, unless it is separators or prose behind a closed array."""
    junk = (text if broken else text.partition("]")[0]).strip(_AROUND + ",[")
    return [Dropped(broken or "not an object with instruction and output", junk)] if junk else []


def _pair_or_drop(value: Any, text: str) -> QAPair | Dropped:
    for key in ("instruction", "output"):
        if not isinstance(value.get(key), str):
            return Dropped(f"no string under {key!r}", text)
    question, answer = (without_surrogates(value[key]).strip() for key in ("instruction", "output"))
    question = _NOW.sub("?", question)  # it is asked without, too
    if _repeats(question) or _repeats(answer) or _ECHO.search(question):
        return Dropped("it repeats itself", text)
    return QAPair(question, answer)


def filter_pairs(pairs: Iterable[QAPair], history: Iterable[QAPair]) -> tuple[list[QAPair], list[Dropped]]:
    """Choose the pairs that may be written, given the ``history`` of those already written.

    Refused, with a reason: an empty question or answer, an answer that repeats its question or is a refusal, an exact
    duplicate of an earlier pair, in the history or here (case and white space aside), and all but the last answer
    to a question here. A question of the history with another answer is kept: that is how a memory is corrected.
    """
    earlier = {(fold(pair.question), fold(pair.answer)) for pair in history}
    accepted: dict[str, QAPair] = {}  # by folded question
    refused: list[Dropped] = []
    for pair in pairs:
        question, answer = fold(pair.question), fold(pair.answer)
        if not question:
            reason = "no question"
        elif not answer:
            reason = "empty answer"
        elif question == answer:
            reason = "the answer repeats the question"
        elif is_none(answer):
            reason = "the answer says that there is none"
        elif (question, answer) in earlier or (question in accepted and fold(accepted[question].answer) == answer):
            reason = "duplicate of an earlier pair"
        else:
            before = accepted.get(question)
            accepted[question] = pair
            if before is None:
                continue
            pair, reason = before, "answered again later in the same reply"
        refused.append(Dropped(reason, json.dumps(pair.record(), ensure_ascii=False)))
    return list(accepted.values()), refused


def _repeats(text: str) -> bool:
    """Whether a model in a loop wrote it: a long run of one sign, or most groups of three words more than once."""
    if _RUN.search(text):
        return True
    words = [word.strip(".,;:?!") for word in text.split()]
    groups = [tuple(words[place : place + 3]) for place in range(len(words) - 2)]
    return len(groups) >= 6 and len(set(groups)) < 0.6 * len(groups)
