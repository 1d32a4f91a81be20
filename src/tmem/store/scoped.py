"""One person's memory: telling, asking, looking, changing. :class:`tmem.Memory` hands out one per scope."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

from sqlalchemy import func, select

from tmem.agent.extraction import QAPair, admit, fold, parse
from tmem.agent.life import LEAST_OUTPUT
from tmem.agent.prompts import PROMPTS
from tmem.errors import IntegrityError, NotFound, UsageError
from tmem.fastweights import unusable
from tmem.files import without_surrogates
from tmem.model import HFEngine, Request
from tmem.store import export, queries, revise
from tmem.store import schema as db
from tmem.store.contradiction import contradicted, shared_words
from tmem.store.home import Home
from tmem.store.ledger import Pair
from tmem.store.queries import NewPair
from tmem.store.trainer import FastWeightTrainer, state_digest

Messages = str | Mapping[str, Any] | Sequence[Mapping[str, Any]]
Record = dict[str, Any]
PAIR_COLUMNS = ("id", "question", "answer", "status", "supersedes", "episode", "created")


@dataclass(frozen=True)
class Receipt:
    """What a call did. ``rejected``: what was found and not written, and why; ``version`` is the one in force now."""

    kind: str
    version: str | None
    pairs: list[Record] = field(default_factory=list)
    rejected: list[dict[str, str]] = field(default_factory=list)
    reason: str | None = None  # why nothing was written, if nothing was
    tokens: int = 0  # read and written by the model
    milliseconds: float = 0.0
    details: Record = field(default_factory=dict)

    def record(self) -> Record:
        """The receipt as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Answer:
    """A reply, the version that gave it, and the ids of written pairs that the prompt showed (none by default)."""

    text: str
    version: str | None
    shown: list[str]
    milliseconds: float


@dataclass(frozen=True)
class Reply:
    """A turn of a conversation. ``text`` is "" if there was nothing to answer; ``learned``: what the message taught."""

    text: str
    version: str | None
    learned: Receipt | None
    milliseconds: float


@dataclass(frozen=True)
class Shared:
    """What the memories of one process have in common."""

    home: Home
    trainer: FastWeightTrainer
    engine: HFEngine
    # Hooks are attached to the model while it runs: one thread at a time. Whoever needs a scope's lock too takes that
    # one first.
    turn: RLock


class ScopedMemory:
    """The memory of one scope; see :class:`tmem.Memory`. Errors are :class:`~tmem.errors.TmemError` in one line."""

    def __init__(self, shared: Shared, scope: str) -> None:
        self.id = scope
        self.home, self.trainer = shared.home, shared.trainer
        self._engine, self._turn = shared.engine, shared.turn
        self.model = self.trainer.model
        self.prompts = PROMPTS[self.model.settings.prompts]

    # ---- telling ----

    def add(
        self,
        messages: Messages = "",
        *,
        pairs: Sequence[tuple[str, str]] = (),
        infer: bool = True,
        absorb: bool = True,
        timestamp: str | None = None,
        metadata: Record | None = None,
    ) -> Receipt:
        """Read what was said, extract question-answer pairs and write them; the receipt says what became of each.

        A message is ``{"role": "user", "content": ..., "name": ...}``; only what users say is read. ``pairs`` are
        written as they are, and with ``infer=False`` nothing is extracted beside them. ``absorb=False`` commits the
        pairs and leaves the training to :meth:`absorb`.
        """
        began = time.perf_counter()
        text = render(messages, timestamp)
        with self.home.lock(self.id), self._turn:
            active = self._active()
            found, rejected, tokens = [QAPair(clean(q), clean(a)) for q, a in pairs], list[dict[str, str]](), 0
            if infer and text:
                extracted, rejected, tokens = self._extract(text, active)
                found += extracted
            admitted, refused = admit(found, [QAPair(pair.question, pair.answer) for pair in active])
            rejected += [{"reason": drop.reason, "text": drop.text} for drop in refused]
            usable = []
            for pair in admitted:
                reason = unusable(self.model.example(pair.question, pair.answer), self.trainer.recipe)
                if reason is None:
                    usable.append(pair)
                else:
                    rejected.append({"reason": reason, "text": pair.question})
            _, ids = self.home.tell(self.id, self._superseding(usable, active), text or None, timestamp, metadata)
            if absorb:
                self.home.absorb(self.id)
            rows = self._rows(ids)
            problem = None if rows else "nothing was found that could be written"
            if rows and all(row["status"] == "quarantined" for row in rows):
                problem = self._why_quarantined()
            return Receipt("add", self._version(), rows, rejected, problem, tokens, milliseconds(began))

    def absorb(self) -> Receipt:
        """Train on all that was told and not yet written."""
        began = time.perf_counter()
        with self.home.lock(self.id), self._turn:
            made = [version.id for version in self.home.absorb(self.id)]
            return Receipt("absorb", self._version(), milliseconds=milliseconds(began), details={"versions": made})

    def update(self, pair_id: str, answer: str) -> Receipt:
        """Give a pair another answer: a new pair takes its place, and the old one is no longer rehearsed."""
        began = time.perf_counter()
        with self.home.lock(self.id), self._turn:
            old = self.get(pair_id)
            if old["status"] != "active":
                raise UsageError(f"pair {pair_id} is {old['status']}: only an active pair can be updated")
            new = NewPair(old["question"], clean(answer), pair_id)
            if not new.answer or fold(new.answer) == fold(old["answer"]):
                raise UsageError(f"pair {pair_id}: the new answer is empty, or the one that it has")
            _, ids = self.home.tell(self.id, [new])
            self.home.absorb(self.id, "update")
            return Receipt("update", self._version(), self._rows(ids), milliseconds=milliseconds(began))

    # ---- answering ----

    def ask(self, question: str, *, version: str | int | None = None, show_pairs: int = 0) -> Answer:
        """Answer from the weights of a version, the head by default; ``show_pairs``: fitting pairs in the prompt."""
        began = time.perf_counter()
        self.home.check_engine(self.id)
        shown = self.search(question, top_k=show_pairs) if show_pairs else []
        texts = [f"{row['question']} {row['answer']}" for row in shown]
        prompt = self.model.encode_chat(self.prompts.answer(clean(question), "\n".join(texts)))
        number = self.home.head(self.id) if version is None else self._number(version)
        with self._turn:
            [text] = self._generate([prompt], self.model.settings.max_new_tokens_answer, number=number)
        return Answer(text.strip(), self._version(number), [row["id"] for row in shown], milliseconds(began))

    def search(self, query: str, *, top_k: int = 10) -> list[Record]:
        """The active pairs that fit the query best, by BM25. Needs the extra ``eval``."""
        from tmem.retrieval import BM25

        active = self._active()
        best = BM25([f"{pair.question} {pair.answer}" for pair in active]).top(query, top_k) if active else []
        return self._rows([active[place].id for place in best])

    def chat(
        self, messages: Messages, *, name: str | None = None, timestamp: str | None = None, learn: bool = True
    ) -> Reply:
        """Learn from the last message, at once, then answer it; see :func:`tmem.store.chat.chat`."""
        from tmem.store.chat import chat

        return chat(self, messages, name, timestamp, learn)

    # ---- looking ----

    def get(self, pair_id: str) -> Record:
        """One pair. Raises :class:`~tmem.errors.NotFound`."""
        for row in self._rows([pair_id]):
            return row
        raise NotFound(f"there is no pair {pair_id} in this memory")

    def get_all(self, *, status: str | None = "active") -> list[Record]:
        """All pairs with a status (None: with any), in the order in which they were told."""
        chosen = select(db.pairs.c.id).where(db.pairs.c.scope == self.id).order_by(db.pairs.c.number)
        if status is not None:
            chosen = chosen.where(db.pairs.c.status == status)
        with self.home.db.read() as connection:
            ids = list(connection.execute(chosen).scalars())
        return self._rows(ids)

    def history(self, pair_id: str) -> list[Record]:
        """A pair and those whose place it took, newest first."""
        found = [self.get(pair_id)]
        while found[-1]["supersedes"] is not None:
            found.append(self.get(found[-1]["supersedes"]))
        return found

    def versions(self) -> list[Record]:
        """All versions, oldest first; the last one is in force."""
        keys = ("id", "kind", "tag", "created", "weights", "account")
        return [{key: getattr(version, key) for key in keys} for version in self.home.versions(self.id)]

    def diff(self, first: str | int, second: str | int) -> dict[str, list[Record]]:
        """The pairs that hold in the second version and not in the first, and the other way round."""
        one, other = (self.home.history(self.id, self._number(version)).current for version in (first, second))
        return {
            "added": self._rows([pair_id for pair_id in other if pair_id not in one]),
            "removed": self._rows([pair_id for pair_id in one if pair_id not in other]),
        }

    def stats(self) -> Record:
        """Pairs by status, versions, files, and the bytes of one state."""
        counted = select(db.pairs.c.status, func.count()).where(db.pairs.c.scope == self.id)
        with self.home.db.read() as connection:
            pairs = {status: count for status, count in connection.execute(counted.group_by(db.pairs.c.status))}
        found = self.home.versions(self.id)
        return {
            "pairs": pairs,
            "versions": len(found),
            "snapshots": sum(version.snapshot is not None for version in found),
            "snapshot_bytes": sum(v.numel() * v.element_size() for v in self.trainer.zeros().values()),
        }

    # ---- changing what was written ----

    def rollback(self, version: str | int) -> Receipt:
        """Put the pairs of an earlier version in force again, as a new version; what was forgotten stays forgotten."""
        began = time.perf_counter()
        with self.home.lock(self.id), self._turn:
            made = revise.rollback(self.home, self.id, self._number(version))
        return Receipt("rollback", made.id, milliseconds=milliseconds(began))

    def tag(self, version: str | int, name: str) -> None:
        """Name a version; its weights stay on disk."""
        with self.home.lock(self.id), self._turn:
            revise.tag(self.home, self.id, self._number(version), name)

    def forget(self, ids: Sequence[str]) -> Receipt:
        """Forget pairs: weights as if they had never been told, and no byte of them left in the home.

        The limit: what was told later was extracted by a model that had them.
        """
        began = time.perf_counter()
        with self.home.lock(self.id), self._turn:
            details = revise.forget(self.home, self.id, ids)
        return Receipt("forget", self._version(), milliseconds=milliseconds(began), details=details)

    def delete(self, pair_id: str) -> Receipt:
        """:meth:`forget` of one pair."""
        return self.forget([pair_id])

    def delete_all(self) -> Receipt:
        """:meth:`forget` of everything that this scope was told."""
        return self.forget([row["id"] for row in self.get_all(status=None) if row["status"] != "forgotten"])

    def verify(self, *, deep: bool = False) -> Record:
        """Whether the weights in force are those that the ledger says; ``deep``: trained anew from the first pair.

        Raises :class:`~tmem.errors.IntegrityError` where they are not.
        """
        with self.home.lock(self.id), self._turn:
            self.home.drop_states(self.id)
            weights = state_digest(self.home.state(self.id))
            history = self.home.history(self.id, self.home.head(self.id))
            if deep and state_digest(self.home.replay(history)) != weights:
                raise IntegrityError("the weights trained anew from the ledger are not those in force")
            return {"version": self._version(), "weights": weights, "steps": len(history), "deep": deep}

    def rebuild(self, *, adopt: bool = False) -> Receipt:
        """Train the version in force anew from the first pair and write its file again, whatever the files are like.

        ``adopt``: a memory that was made with another model, recipe or torch becomes one of this model and recipe.
        Raises :class:`~tmem.errors.IntegrityError` if the result is not what was published.
        """
        began = time.perf_counter()
        with self.home.lock(self.id, any_engine=adopt), self._turn:
            steps = revise.adopt(self.home, self.id) if adopt else revise.rebuild(self.home, self.id)
        return Receipt("rebuild", self._version(), milliseconds=milliseconds(began), details={"steps": steps})

    # ---- for elsewhere ----

    def save_pretrained(self, folder: str | Path, *, version: str | int | None = None) -> None:
        """Write the weights as a LoRA adapter that ``peft.PeftModel.from_pretrained`` loads onto the base model.

        It is personal data, like the text that it was made from, and no forgetting reaches it.
        """
        number = self.home.head(self.id) if version is None else self._number(version)
        with self._turn:
            export.save_peft(Path(folder), self.trainer.fast, self.home.state(self.id, number), self.model.name)

    def export(self, path: str | Path, *, version: str | int | None = None) -> int:
        """Write the ledger of a version as JSON lines, for :meth:`import_`; returns the number of steps."""
        number = self.home.head(self.id) if version is None else self._number(version)
        history = self.home.history(self.id, number)
        export.save_ledger(Path(path), history)
        return len(history)

    def import_(self, path: str | Path) -> Receipt:
        """Take in an exported ledger, whole or not at all; only a memory that was told nothing yet can.

        The same model and recipe make the same weights of it, bit for bit.
        """
        began = time.perf_counter()
        writes = export.load_ledger(Path(path))
        with self.home.lock(self.id), self._turn:
            if self.home.versions(self.id) or self.stats()["pairs"]:
                raise UsageError("this memory has pairs already: import into one that was told nothing")
            ids = self.home.tell_writes(self.id, [partial(export.new_pairs, write) for write in writes])
            self.home.absorb(self.id, "import")
        return Receipt("import", self._version(), self._rows(ids), milliseconds=milliseconds(began))

    # ---- why ----

    def why(self, question: str, *, answer: str | None = None, most: int = 5) -> list[Record]:
        """Which pairs moved an answer: its log-probability per token with each of them, and trained without it.

        ``answer``: by default what the memory says now. The ``most`` pairs that share words with question and answer
        are tried, each by training without it; the one that the answer needs most comes first.
        """
        with self.home.lock(self.id), self._turn:
            text = self.ask(question).text if answer is None else clean(answer)
            if not text:
                return []
            asked = Pair("", clean(question), text)
            [now] = self.trainer.likelihood(self.home.state(self.id), [asked])
            words = shared_words(f"{question} {text}")
            likely = sorted(self._active(), key=lambda p: -len(words & shared_words(f"{p.question} {p.answer}")))
            found = []
            for pair in likely[:most]:
                [without] = self.trainer.likelihood(self.home.state_without(self.id, {pair.id}), [asked])
                row = self.get(pair.id) | {"with": now, "without": without, "moved": now - without}
                found.append(row)
        return sorted(found, key=lambda row: -row["moved"])

    # ---- parts ----

    @property
    def version(self) -> str | None:
        """The id of the version in force, None if nothing was written yet."""
        return self._version()

    def say(self, prompt: list[int], limit: int) -> str:
        """A reply to a chat prompt, from the weights in force."""
        self.home.check_engine(self.id)
        with self._turn:
            [text] = self._generate([prompt], limit)
        return text.strip()

    def _active(self) -> list[Pair]:
        return list(self.home.book(self.id).current().values())

    def _rows(self, ids: Sequence[str]) -> list[Record]:
        columns = [db.pairs.c[name] for name in PAIR_COLUMNS]
        rows: dict[str, Record] = {}
        with self.home.db.read() as connection:
            for start in range(0, len(ids), 500):  # SQLite takes only so many values at once
                part = db.pairs.c.id.in_(ids[start : start + 500])
                for row in connection.execute(select(*columns).where(db.pairs.c.scope == self.id, part)):
                    rows[row.id] = dict(row._mapping)
        return [rows[pair_id] for pair_id in ids if pair_id in rows]

    def _version(self, number: int | None = None) -> str | None:
        number = self.home.head(self.id) if number is None else number
        return None if number is None else self.home.version(self.id, number).id

    def _number(self, version: str | int) -> int:
        """The number of a version that is named by number, id or tag."""
        for known in self.home.versions(self.id):
            if version in (known.number, str(known.number), known.id, known.tag):
                return known.number
        raise NotFound(f"there is no version {version!r} in this memory")

    def _why_quarantined(self) -> str:
        with self.home.db.read() as connection:
            return "quarantined: " + queries.newest_receipt(connection, self.id, "quarantine")["reason"]

    def _generate(
        self, prompts: Sequence[list[int]], limit: int, stop: Any = "eos", number: int | None = None
    ) -> list[str]:
        """Replies under the weights of a version, the head's by default."""
        longest, window = max(map(len, prompts)), self.model.window
        if window - longest < min(LEAST_OUTPUT, limit):
            raise UsageError(
                f"this makes a prompt of {longest} tokens, too long for the window of {window} of {self.model.name}: "
                "say it in smaller parts"
            )
        delta = self.trainer.delta(self.home.state(self.id, number))
        requests = [Request(tuple(prompt), 0, min(limit, window - len(prompt)), stop=stop) for prompt in prompts]
        return [done.text for done in self._engine.generate(requests, delta, self.trainer.fast)]

    def _extract(self, text: str, active: Sequence[Pair]) -> tuple[list[QAPair], list[dict[str, str]], int]:
        """The extraction action, from the weights in force: pairs, what was dropped and why, tokens."""
        known = [QAPair(pair.question, pair.answer) for pair in active]
        prompt = self.model.encode_chat(self.prompts.extraction(text, None, known))
        [reply] = self._generate([prompt], self.model.settings.max_new_tokens_extract, "json")
        extraction = parse(reply)
        dropped = [{"reason": drop.reason, "text": drop.text} for drop in extraction.dropped]
        if extraction.status not in ("ok", "empty") and not dropped:
            dropped.append({"reason": f"the model's reply: {extraction.status}", "text": reply})
        return extraction.pairs, dropped, len(prompt) + self.model.count(reply)

    def _superseding(self, found: Sequence[QAPair], active: Sequence[Pair]) -> list[NewPair]:
        """Each new pair with the active one that it contradicts, if there is one."""
        believed = [""] * len(found)
        if active and found:
            prompts = [self.model.encode_chat(self.prompts.answer(pair.question, "")) for pair in found]
            believed = self._generate(prompts, self.model.settings.max_new_tokens_answer)
        new, left = [], list(active)
        for pair, belief in zip(found, believed, strict=True):
            old = contradicted(pair, belief, left)
            left = [known for known in left if known.id != old]
            new.append(NewPair(pair.question, pair.answer, old))
        return new


def render(messages: Messages, timestamp: str | None) -> str:
    """What users said, as the text of a dated session. Raises :class:`UsageError` for what is no message."""
    several: Sequence[Any] = [messages] if isinstance(messages, str | Mapping) else messages
    lines = []
    for message in several:
        content = message.get("content") if isinstance(message, Mapping) else message
        if not isinstance(content, str):
            raise UsageError("a message is a text, or {'role': ..., 'content': a text}")
        if isinstance(message, Mapping) and message.get("role", "user") != "user":
            continue  # what the assistant said is no news about the user
        name = message.get("name") if isinstance(message, Mapping) else None
        if text := clean(content):
            lines.append(f'{clean(str(name))} said, "{text}"' if name else text)
    told = "\n".join(lines)
    return f"DATE: {clean(timestamp)}\nCONVERSATION:\n{told}" if timestamp and told else told


def clean(text: str) -> str:
    """Text that can be tokenized and stored: no half surrogates, no NUL, no white space around."""
    return without_surrogates(text).replace("\0", "").strip()


def milliseconds(began: float) -> float:
    """Since ``began``, to a tenth."""
    return round(1000 * (time.perf_counter() - began), 1)
