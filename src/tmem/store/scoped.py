"""One person's memory: telling, asking, looking, changing. :class:`tmem.Memory` hands out one per scope."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tmem.dates import Moment, moment
from tmem.errors import IntegrityError, UsageError
from tmem.session import session
from tmem.store import revise
from tmem.store.care import export
from tmem.store.compare import distance, influence
from tmem.store.home import AsOf
from tmem.store.ledger.history import Pair
from tmem.store.ledger.queries import NewPair, Version
from tmem.store.loaded import Loaded
from tmem.store.messages import Messages, clean, heard
from tmem.store.results import Answer, PairRecord, Receipt, Record, Reply, WhyRecord, milliseconds
from tmem.store.view import fitting
from tmem.store.weights.states import state_digest
from tmem.texts import fold, is_none

if TYPE_CHECKING:
    from tmem.model.answering import Unknown
    from tmem.model.request import GenerationConfig


class ScopedMemory(Loaded):
    """The memory of one scope; see :class:`tmem.Memory`. Errors are :class:`~tmem.errors.TmemError` in one line.

    What only looks at it is in :class:`~tmem.store.view.View`.
    """

    # ---- telling ----

    def add(
        self,
        messages: Messages = "",
        *,
        pairs: Sequence[tuple[str, str]] = (),
        infer: bool = True,
        absorb: bool = True,
        timestamp: str | Moment | None = None,
        metadata: Record | None = None,
        roles: Sequence[str] = ("user",),
        context: str = "",
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Receipt:
        """Read what was said, extract question-answer pairs and write them; the receipt says what became of each.

        A message is ``{"role": "user", "content": ..., "name": ...}``; only what ``roles`` say is read. ``timestamp``:
        when it was said, as :func:`tmem.dates.moment` reads it. A text that is too long for the model is cut between
        sentences, and ``progress`` is told how many parts are read and how many there are. ``pairs`` are written as
        they are, and with ``infer=False`` nothing is extracted beside them. ``absorb=False`` commits the
        pairs and leaves the training to :meth:`absorb`. ``context``: what was said before that, read with it and not
        kept.
        """
        from tmem.agent.extraction import QAPair

        began = time.perf_counter()
        when = None if timestamp is None else moment(timestamp)
        lines, passed_over = heard(messages, roles)
        text = session(lines, when)
        with self.home.lock(self.id), self._turn:
            active, state = self._active() + self._pending(), self.home.state(self.id)
            given, rejected, tokens = [QAPair(clean(q), clean(a)) for q, a in pairs], list[dict[str, str]](), 0
            found = given
            if infer and text:
                before = clean(context)
                extracted, rejected, tokens = self.actions.read(state, lines, when, before, active, progress)
                found = given + extracted
            new, refused = self.actions.filter_pairs(state, found, active)
            leads = [pair if pair.follows is None else new[pair.follows] for pair in new]
            new = [
                replace(pair, extracted=QAPair(lead.question, lead.answer) not in given)
                for pair, lead in zip(new, leads, strict=True)
            ]
            said = {(fold(pair.question), fold(pair.answer)) for pair in found}
            repeats = [pair.id for pair in active if (fold(pair.question), fold(pair.answer)) in said]
            # A text that gave nothing is not kept: no forgetting would reach it.
            kept = text if text and new else None
            _, ids = self.home.tell(self.id, new, kept, None if when is None else when.isoformat(), metadata, repeats)
            made = self.home.absorb(self.id) if absorb else []
            rows, problem = self._written(ids, made, "nothing was found that could be written")
            rejected = passed_over + rejected + refused
            return Receipt("add", self._version(), rows, rejected, problem, tokens, milliseconds(began))

    def absorb(self) -> Receipt:
        """Train on all that was told and not yet written."""
        began = time.perf_counter()
        with self.home.lock(self.id), self._turn:
            ids = [pair.id for pair in self._pending()]
            made = self.home.absorb(self.id)
            rows, problem = self._written(ids, made, "nothing was left to be written")
            took, details = milliseconds(began), {"versions": [version.id for version in made]}
            return Receipt("absorb", self._version(), rows, reason=problem, milliseconds=took, details=details)

    def settle(self) -> None:
        """Have everything written that was told, so that the next answer knows it; nothing if it is."""
        if self._pending():
            self.absorb()

    def update(self, pair_id: str, answer: str) -> Receipt:
        """Give a pair another answer: a new one, with its date and metadata, takes its place and is rehearsed."""
        began = time.perf_counter()
        with self.home.lock(self.id), self._turn:
            self.settle()  # a correction that waits takes its place
            old = self.get(pair_id)
            if old["status"] != "active":
                raise UsageError(f"pair {pair_id} is {old['status']}: only an active pair can be updated")
            new = NewPair(old["question"], clean(answer), pair_id)
            if not new.answer or fold(new.answer) == fold(old["answer"]):
                raise UsageError(f"pair {pair_id}: the new answer is empty, or the one that it has")
            if is_none(new.answer):
                raise UsageError(f"pair {pair_id}: the new answer says that there is none: forget the pair instead")
            reason = self.actions.unusable(new.question, new.answer)
            if reason is not None:
                raise UsageError(f"pair {pair_id}: the new answer cannot be written: {reason}")
            _, ids = self.home.tell(self.id, [new], None, old["timestamp"], old["metadata"])
            rows, problem = self._written(ids, self.home.absorb(self.id, "update"))
            return Receipt("update", self._version(), rows, reason=problem, milliseconds=milliseconds(began))

    # ---- answering ----

    def ask(
        self, question: str, *, version: str | int | None = None, show_pairs: int = 0, unknown: Unknown = "refuse"
    ) -> Answer:
        """Answer from the memory of a version, the head by default.

        Of a text that is too long for the model the last question is asked.
        ``unknown``: what was never told is refused ("refuse") or asked of the model without a memory ("base").
        ``show_pairs``: instead, answer from a prompt that shows this many fitting pairs.
        """
        began = time.perf_counter()
        self.home.check_engine(self.id)
        if unknown not in ("refuse", "base"):
            raise UsageError(f"unknown={unknown!r}: choose refuse or base")
        question = self.actions.fitting(clean(question))
        if self.by_pairs and not show_pairs:
            with self._turn:
                known = self._as_of(version)
                [found] = self.actions.answers(known.state, [question], known.pairs, unknown)
            meant = [known.pairs[place].id for place in found.pairs]
            return Answer(found.text, known.version_id, [], milliseconds(began), found.source, meant)
        with self._turn:
            known = self._as_of(version)
            shown = fitting(question, known.pairs, show_pairs)
            texts = "\n".join(f"{pair.question} {pair.answer}" for pair in shown)
            prompt = self.model.encode_chat(self.prompts.answer(question, texts))
            [text] = self.actions.reply(known.state, [prompt], self.model.settings.max_new_tokens_answer)
        # Weights that follow from pairs are in force only where the gate opens: here theta_0 reads what is shown.
        source = "weights" if not self.by_pairs else "text" if shown else "base"
        return Answer(text.strip(), known.version_id, [pair.id for pair in shown], milliseconds(began), source)

    def chat(
        self,
        messages: Messages,
        *,
        name: str | None = None,
        timestamp: str | Moment | None = None,
        learn: bool = True,
        sampling: GenerationConfig | None = None,
        documents: Sequence[str] = (),
    ) -> Reply:
        """Learn from the last message, at once, then answer it; see :func:`tmem.store.chat.chat`."""
        from tmem.store.chat import chat

        return chat(self, messages, name, timestamp, learn, sampling, documents)

    def learn(
        self,
        messages: Messages,
        *,
        name: str | None = None,
        timestamp: str | Moment | None = None,
        absorb: bool = True,
    ) -> Receipt | None:
        """Learn from the last message of a conversation as :meth:`chat` does, without an answer."""
        from tmem.store.chat import learn_from

        return learn_from(self, messages, name, timestamp, absorb)

    # ---- changing what was written ----

    def rollback(self, version: str | int) -> Receipt:
        """Put the pairs of an earlier version in force again, as a new version; what was forgotten stays forgotten."""
        began, number = time.perf_counter(), self._number(version)
        with self.home.lock(self.id), self._turn:
            made = revise.rollback(self.home, self.id, number)
        return Receipt("rollback", made.id, milliseconds=milliseconds(began))

    def tag(self, version: str | int, name: str) -> None:
        """Name a version; its weights stay on disk."""
        number = self._number(version)
        with self.home.lock(self.id), self._turn:
            revise.tag(self.home, self.id, number, name)

    def forget(self, ids: Sequence[str], *, mode: str = "replay") -> Receipt:
        """Forget pairs: weights as if they had never been told, and no byte of them left in the home.

        What only followed one of them goes with it: ``followers`` of the receipt's details has the ids, which are among
        ``ids``. What they had taken the place of holds again: ``restored``.
        The limit: what was told later was extracted by a model that had them. With ``mode="reextract"`` the later texts
        are read again without them, which may give other pairs: ``pairs`` of the receipt are those that are new.
        """
        from tmem.store.reextract import reextract

        began = time.perf_counter()
        if mode not in ("replay", "reextract"):
            raise UsageError(f"there is no way to forget called {mode!r}: choose replay or reextract")
        with self.home.lock(self.id), self._turn:
            if mode == "replay" or not ids:
                details = revise.forget(self.home, self.id, ids)
                return Receipt("forget", self._version(), milliseconds=milliseconds(began), details=details)
            details, reading = reextract(self.home, self.actions, self.id, ids)
            new, took = self._rows(reading.new), milliseconds(began)
            return Receipt("forget", self._version(), new, reading.rejected, None, reading.tokens, took, details)

    def delete(self, pair_id: str) -> Receipt:
        """:meth:`forget` of one pair."""
        return self.forget([pair_id])

    def delete_all(self) -> Receipt:
        """:meth:`forget` of everything that this scope was told."""
        with self.home.lock(self.id), self._turn:
            return self.forget([row["id"] for row in self.get_all(status=None) if row["status"] != "forgotten"])

    def erase(self) -> bool:
        """Remove all of this memory and whose it was: nothing of it is left in the home. False if there was nothing."""
        return self.home.erase(self.id)

    def verify(self, *, deep: bool = False) -> Record:
        """Whether the weights in force are those that the ledger says; ``deep``: trained anew from the first pair.

        On another kind of processor than the one that made them, which rounds otherwise, ``deep`` says how far apart
        both are (``distance``, as a share of the weights' size) and how many pairs have another answer (``differ``).
        Raises :class:`~tmem.errors.IntegrityError` where they should be the same and are not.
        """
        with self.home.lock(self.id, looks=True), self._turn:
            self.home.drop_states(self.id)
            state, head = self.home.state(self.id), self.home.head(self.id)
            history, weights = self.home.history(self.id, head), state_digest(state)
            found = {"version": self._version(), "weights": weights, "steps": len(history), "deep": deep}
            if deep and head is not None:
                anew, version = self.home.replay(history), self.home.version(self.id, head)
                made_on = self.home.made_on(version)
                if state_digest(anew) != weights and made_on is None:
                    raise IntegrityError("the weights trained anew from the ledger are not those in force")
                if made_on is not None:
                    found |= {"made_on": made_on, **distance(self.trainer, self._active(), state, anew)}
            return found

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

    def import_(self, path: str | Path) -> Receipt:
        """Take in an exported ledger, whole or not at all; only a memory that holds nothing can.

        The same model and recipe make the same weights of it, bit for bit. What was pending is so again.
        """
        began = time.perf_counter()
        writes = export.load_ledger(Path(path))
        with self.home.lock(self.id), self._turn:
            if self.stats()["pairs"].keys() - {"forgotten"}:
                raise UsageError("this memory has pairs already: import into one that was told nothing")
            ids = self.home.tell_writes(self.id, [write.arguments for write in writes])
            made = self.home.absorb(self.id, "import", sum(not write.pending for write in writes))
            rows, problem = self._written(ids, made, "there was no pair in it")
        return Receipt("import", self._version(), rows, reason=problem, milliseconds=milliseconds(began))

    # ---- why ----

    def why(self, question: str, *, answer: str | None = None, most: int = 5) -> list[WhyRecord]:
        """Which pairs moved an answer: its log-probability per token with each of them, and trained without it.

        ``answer``: by default what the memory says now. The ``most`` pairs that share words with question and answer
        are tried, each by training without it; the one that the answer needs most comes first.
        """
        with self.home.lock(self.id, looks=True), self._turn:
            text = self.ask(question).text if answer is None else clean(answer)
            if not text:
                return []
            likely = influence(self.home, self.trainer, self.id, Pair("", clean(question), text), self._active(), most)
            found: list[WhyRecord] = [{**self.get(pair_id), **moved} for pair_id, moved in likely.items()]
        return sorted(found, key=lambda row: -row["moved"])

    # ---- parts ----

    def _as_of(self, version: str | int | None) -> AsOf:
        """What an answer is given from, the head by default: what is written meanwhile is no part of it."""
        return self.home.as_of(self.id, None if version is None else self._number(version))

    def _pending(self) -> list[Pair]:
        """Pairs that were told and not trained on yet."""
        rows = self.get_all(status="pending")
        return [Pair(row["id"], row["question"], row["answer"], row["supersedes"]) for row in rows]

    def _written(
        self, ids: Sequence[str], made: Sequence[Version], nothing: str = ""
    ) -> tuple[list[PairRecord], str | None]:
        """What became of pairs in the versions that were made, and why they were not written, if they were not.

        ``recalled``: the weights give the answer; None if the pair was not trained on, or nobody looked.
        """
        known = {pair_id for version in made for pair_id in version.account.get("recalled", ())}
        looked = any("recalled" in version.account for version in made)
        rows = self._rows(ids)
        if not rows:
            return rows, nothing
        for row in rows:
            trained = looked and row["status"] in ("active", "superseded")
            row["recalled"] = row["id"] in known if trained else None
        refused = [row["id"] for row in rows if row["status"] == "quarantined"]
        return rows, self._why_quarantined(refused) if refused else None

    def read_beside(
        self,
        question: str,
        documents: Sequence[str],
        prompt: Callable[[Sequence[str]], list[int]],
        sampling: GenerationConfig | None = None,
    ) -> Reply:
        """What documents and the memory answer together; see :meth:`tmem.store.actions.Actions.both`."""
        from tmem.store.actions import GREEDY

        sampling, began = sampling or GREEDY, time.perf_counter()
        limit = sampling.max_new_tokens or self.model.settings.max_new_tokens_memory
        self.home.check_engine(self.id)
        question = self.actions.fitting(clean(question))
        with self._turn:
            known = self._as_of(None)
            found = self.actions.both(known.state, question, known.pairs, documents, prompt, limit, sampling)
        meant = [] if found.pair is None else [known.pairs[found.pair].id]
        moved = {"memory": found.memory, "documents": list(found.documents)}
        source = "both" if meant else "documents"
        return Reply(found.text.strip(), known.version_id, None, milliseconds(began), source, meant, moved)

    def say(self, prompt: list[int], sampling: GenerationConfig | None = None) -> str:
        """A reply to a chat prompt, from the weights in force: greedy, and as long as the model's settings say.

        ``sampling`` says otherwise.
        """
        from tmem.store.actions import GREEDY

        sampling = sampling or GREEDY
        limit = sampling.max_new_tokens or self.model.settings.max_new_tokens_memory
        self.home.check_engine(self.id)
        with self._turn:
            [text] = self.actions.reply(self.home.state(self.id), [prompt], limit, sampling=sampling, talking=True)
        return text.strip()
