"""LoCoMo: long conversations of two speakers in dated sessions, and questions about them.

The data is not part of this project (CC BY-NC 4.0): take ``data/locomo10.json`` from
github.com/snap-research/locomo and give its path. Files of the same shape, such as generated ones, load too.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tmem.agent.episode import Ask, Episode
from tmem.errors import DataError, UsageError
from tmem.files import read_json, without_surrogates
from tmem.seeds import derive
from tmem.tasks.base import Item, Task
from tmem.tasks.sources import identity
from tmem.texts import NO_INFORMATION, first_line

LOCOMO10_SHA256 = "79fa87e90f04081343b8c8debecb80a9a6842b76a7aa537dc9fdf651ea698ff4"
NOT_MENTIONED = "not mentioned"  # gold of any other question that comes without an answer
KINDS = {1: "multi-hop", 2: "temporal", 3: "open", 4: "single-hop", 5: "adversarial"}
ADVERSARIAL = 5
TEMPORAL = 2


@dataclass(frozen=True)
class Turn:
    """What one speaker says; ``caption`` describes the image shared with it, if any."""

    id: str  # "D<session>:<turn>", named by a question's evidence; "" if the file gives none
    speaker: str
    text: str
    caption: str | None


@dataclass(frozen=True)
class Session:
    """One dated sitting; ``index`` is the number in the file (from 1)."""

    index: int
    date: str
    turns: list[Turn]


@dataclass(frozen=True)
class Question:
    """A question; ``id`` is "<conversation>:<index>", with the question's index in its sample (from 0)."""

    id: str
    conversation: str
    index: int
    text: str
    gold: str
    category: int  # 1 to 5, see KINDS
    kind: str
    evidence: list[str]  # turn ids, as the file has them: some are malformed
    distractor: str | None  # the tempting wrong answer of an adversarial question


@dataclass(frozen=True)
class Conversation:
    """One sample: sessions in chronological order and the questions asked about them."""

    id: str
    speakers: tuple[str, str]
    sessions: list[Session]
    questions: list[Question]
    facts: list[dict[str, Any]] = field(default_factory=list)  # gold facts that generated files carry along


def load(path: str | Path) -> list[Conversation]:
    """Read a file of LoCoMo's shape. Raises :class:`DataError`: one line with file, sample and cure."""
    path = Path(path)
    if os.path.isdir(path):
        raise DataError(f"{path}: a folder; give the file in it, as locomo10.json")
    if not os.path.isfile(path):
        raise DataError(f"{path}: no such file; take data/locomo10.json from github.com/snap-research/locomo")
    samples = read_json(path)
    if not isinstance(samples, list) or not samples:
        raise DataError(f"{path}: not a JSON list of samples; give a file in the format of locomo10.json")
    conversations: dict[str, Conversation] = {}
    for number, sample in enumerate(samples):
        where = f"{path}: sample {number}"
        conversation = parse_sample(sample, where)
        if conversation.id in conversations:
            raise DataError(f"{where}: sample_id {conversation.id!r} is used twice; make the ids unique")
        conversations[conversation.id] = conversation
    return list(conversations.values())


# ---- reading one sample; `where` names the place for an error's text ----


def _get(record: Any, key: str, kind: type[Any], where: str) -> Any:
    """``record[key]`` of type ``kind``; a string must not be blank."""
    if not isinstance(record, dict):
        raise DataError(f"{where}: not a JSON object; compare with the format of locomo10.json")
    value = record.get(key)
    if not isinstance(value, kind) or (isinstance(value, str) and not value.strip()):
        wanted = "non-empty text" if kind is str else "a list" if kind is list else "an object"
        raise DataError(f"{where}: {key!r} must be {wanted}; add it or remove the record")
    return without_surrogates(value) if isinstance(value, str) else value


def parse_sample(sample: Any, where: str = "sample") -> Conversation:
    """One sample of a LoCoMo file; ``where`` names its place in the text of an error."""
    name = _get(sample, "sample_id", str, where)
    where = f"{where} ({name})"
    talk = _get(sample, "conversation", dict, where)
    records = _get(sample, "qa", list, where)
    # Only the session lists count: conv-26 has sixteen dates without a session.
    told = [key for key, turns in talk.items() if re.fullmatch(r"session_[0-9]+", key) and turns != []]
    numbers = sorted(int(key[8:]) for key in told)
    if not numbers:
        raise DataError(f"{where}: no sessions; add 'session_1' and its date, or remove the sample")
    facts = sample.get("facts") or []
    if not isinstance(facts, list) or not all(isinstance(fact, dict) for fact in facts):
        raise DataError(f"{where}: 'facts' must be a list of objects; correct or remove it")
    return Conversation(
        id=name,
        speakers=(_get(talk, "speaker_a", str, where), _get(talk, "speaker_b", str, where)),
        sessions=[_session(talk, number, where) for number in numbers],
        questions=[_question(qa, name, i, f"{where}: qa {i}") for i, qa in enumerate(records)],
        facts=facts,
    )


def _session(talk: dict[str, Any], number: int, where: str) -> Session:
    key = f"session_{number}"
    records = _get(talk, key, list, where)
    turns = []
    for position, record in enumerate(records, start=1):
        spot = f"{where}: {key} turn {position}"
        speaker, text = _get(record, "speaker", str, spot), _get(record, "text", str, spot)
        caption = record.get("blip_caption")
        if not isinstance(caption, str | None):
            raise DataError(f"{spot}: 'blip_caption' must be text; correct or remove it")
        turns.append(Turn(_text(record.get("dia_id")), speaker, text, None if caption is None else _text(caption)))
    return Session(number, _get(talk, f"{key}_date_time", str, where), turns)


def _question(qa: Any, conversation: str, index: int, where: str) -> Question:
    text = _get(qa, "question", str, where).strip()
    category = qa.get("category")
    if type(category) is not int or category not in KINDS:  # True is an int too
        raise DataError(f"{where}: category is {category!r}; it must be a number from 1 to 5")
    answer, wrong = (_answer(qa, key, where) for key in ("answer", "adversarial_answer"))
    evidence = qa.get("evidence") or []
    if not isinstance(evidence, list):
        raise DataError(f"{where}: 'evidence' must be a list of turn ids; correct or remove it")
    gold = answer or NOT_MENTIONED
    distractor = None
    if category == ADVERSARIAL:
        gold = NO_INFORMATION
        # The official scripts take the distractor from `answer`, which 444 of LoCoMo-10's 446 do not have.
        distractor = wrong or answer or None
    return Question(
        id=f"{conversation}:{index}",
        conversation=conversation,
        index=index,
        text=text,
        gold=gold,
        category=category,
        kind=str(qa.get("kind", KINDS[category])),
        evidence=[text for text in map(_text, evidence) if text],
        distractor=distractor,
    )


def _answer(qa: dict[str, Any], key: str, where: str) -> str:
    value = qa.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float | None) or value != value:
        raise DataError(f"{where}: {key!r} is {value!r:.40}; it must be text or a number")
    return _text(value)


def _text(value: Any) -> str:
    """A text or number of the file as text, "" for null."""
    return "" if value is None else without_surrogates(str(value)).strip()


# ---- the official text of sessions, questions and replies (LoCoMo's own task_eval/hf_llm_utils.py) ----


def preamble(conversation: Conversation) -> str:
    """The sentences that stand before the sessions (own wording of the official ones)."""
    first, second = conversation.speakers
    return (
        f"Below is a conversation between two people, {first} and {second}. It takes place over several "
        "days, and the date of each conversation is written at its beginning."
    )


def render_session(session: Session) -> str:
    """One session as text: its date, then its turns with the captions of shared images."""
    lines = [f"DATE: {session.date}", "CONVERSATION:"]
    for turn in session.turns:
        lines.append(f'{turn.speaker} said, "{turn.text}"')
        # As in the official text, a caption takes the place of the empty line behind a turn.
        lines.append("" if turn.caption is None else f" and shared {turn.caption}.")
    return "\n".join(lines) + "\n"


def render_turn(session: Session, turn: Turn) -> str:
    """One turn on its own, as a search finds it: with the date of its session."""
    shared = "" if turn.caption is None else f" and shared {turn.caption}."
    return f'{session.date}: {turn.speaker} said, "{turn.text}"{shared}'


def _options(question: Question, seed: int) -> tuple[str, str]:
    """The options (a) and (b); their order is a function of the seed, the sample's id and the index alone."""
    pair = (NO_INFORMATION, question.distractor or "")
    return pair if derive(seed, question.conversation, question.index, "options") % 2 else pair[::-1]


def question_prompt(question: Question, official: bool, seed: int) -> str:
    """The text to ask. ``official`` adds a hint to temporal questions and two options to adversarial ones."""
    if official and question.category == TEMPORAL:
        return f"{question.text} Use DATE of CONVERSATION to answer with an approximate date."
    if official and question.distractor:
        first, second = _options(question, seed)
        return f"{question.text} (a) {first} (b) {second}. Select the correct answer by writing (a) or (b)."
    return question.text


def resolve(question: Question, reply: str, official: bool, seed: int) -> str:
    """The prediction to score: the reply's first non-empty line.

    ``official`` post-processing (for replies to official prompts): an adversarial question's reply
    becomes the text of option (a) if it names (a) and of option (b) otherwise, whatever it says; any
    other reply loses option marks and ``answer:`` and is lower-cased.
    """
    line = first_line(reply)
    if not official:
        return line
    line = line.lower()
    if question.distractor:
        first, second = _options(question, seed)
        return first if "(a)" in line else second
    for mark in ("(a)", "(b)", "a)", "b)", "answer:"):
        line = line.replace(mark, "")
    return line.strip()


def task(conversation: Conversation, questions: Sequence[Question], official: bool, seed: int) -> Task:
    """A conversation as the agent reads it: one unit per session, in order, one note per turn; then the questions."""
    units = {session.index: place for place, session in enumerate(conversation.sessions)}
    places = {turn.id: units[session.index] for session in conversation.sessions for turn in session.turns}
    told = {"question", "answer", "session"}  # what a fact of a file must have to be of use here
    facts = [fact for fact in conversation.facts if told <= fact.keys() and fact["session"] in list(units)]
    return Task(
        Episode(
            id=conversation.id,
            units=tuple(render_session(session).strip() for session in conversation.sessions),
            asks=tuple(Ask(q.id, question_prompt(q, official, seed), q.text) for q in questions),
            preamble=preamble(conversation) if official else "",
            notes=tuple(
                (render_turn(session, turn), units[session.index])
                for session in conversation.sessions
                for turn in session.turns
            ),
            gold=tuple((fact["question"], fact["answer"], units[fact["session"]]) for fact in facts),
        ),
        tuple(
            Item(
                id=q.id,
                question=q.text,
                gold=(q.gold,),
                category=q.kind,
                # Some ids are malformed ("D8:6; D9:17", "D"): what names no turn is no evidence.
                evidence=tuple(sorted({places[entry] for entry in q.evidence if entry in places})),
            )
            for q in questions
        ),
        tuple(facts),
    )


class LoCoMo:
    """The benchmark: every conversation of a file with all its questions. ``official``: prompts as published."""

    name = "locomo"

    def __init__(
        self, path: str | Path, official: bool, questions: int | None = None, samples: Sequence[str] | None = None
    ) -> None:
        """``questions``: only the first of each category of a conversation; ``samples``: only these, None: all.

        Errors as :func:`load`, and :class:`UsageError` for a sample that is not there.
        """
        self.path, self.official, self.questions = Path(path), official, questions
        self.samples = None if samples is None else tuple(samples)
        self.conversations = load(path)
        there = [conversation.id for conversation in self.conversations]
        for name in self.samples or ():
            if name not in there:
                raise UsageError(f"sample {name}: {path} has {', '.join(there)}")
        if self.samples is not None:
            self.conversations = [one for one in self.conversations if one.id in self.samples]
        self._asked = [one for one in self.conversations if one.questions]
        self._by_id = {question.id: question for c in self.conversations for question in c.questions}
        # LoCoMo's own scorer has rules for its five categories only; a generated file may have others.
        own = {question.kind for question in self._by_id.values()} <= set(KINDS.values())
        self.scorers: tuple[str, ...] = ("tmem_token", *(["locomo_official"] if own else []), "amem_set")

    def identity(self) -> dict[str, Any]:
        chosen = {} if self.samples is None else {"samples": list(self.samples)}
        return {**identity(self.path, {LOCOMO10_SHA256: "LoCoMo-10"}), "questions": self.questions, **chosen}

    def count(self, seed: int, limit: int | None = None) -> int:
        return sum(len(first_of_each(c.questions, self.questions)) for c in self._asked[:limit])

    def tasks(self, seed: int) -> Iterator[Task]:
        for conversation in self._asked:
            yield task(conversation, first_of_each(conversation.questions, self.questions), self.official, seed)

    def prediction(self, item: Item, reply: str, seed: int) -> str:
        return resolve(self._by_id[item.id], reply, self.official, seed)


def first_of_each(questions: Sequence[Question], count: int | None = None) -> list[Question]:
    """The first ``count`` questions of each category, all of them for None."""
    seen: Counter[int] = Counter()
    chosen = []
    for question in questions:
        seen[question.category] += 1
        if count is None or seen[question.category] <= count:
            chosen.append(question)
    return chosen
