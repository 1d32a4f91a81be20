"""An answer as it is made: token by token out of the batch, as text that can be shown, and what is to be said of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from fastapi import Request

from tmem.dates import now
from tmem.errors import ModelError
from tmem.model.batch import listening
from tmem.model.load import Model
from tmem.model.request import GenerationConfig, Likeliest, Listener
from tmem.server import traces
from tmem.server.dependencies import Served
from tmem.server.likelihoods import Likelihoods
from tmem.server.replies import Refusal
from tmem.server.visible import CLOSE, OPEN, visible
from tmem.store.checked import CheckedMemory
from tmem.store.results import Receipt, Reply

R = TypeVar("R")
SOON = 2.0  # seconds; an error that comes before has its own status, though the answer is a stream
Turns = Sequence[dict[str, str]]
Token = tuple[int, float, Likeliest]


@dataclass(frozen=True)
class Said:
    """What there is to say of an answer that has ended. ``finish``: stop or length."""

    finish: str
    usage: tuple[int, int]  # tokens of the conversation and of the answer
    tmem: dict[str, Any]


class Speech:
    """One answer. Made when it is its user's turn; :meth:`pieces` gives it, :attr:`said` what it was, once it ended.

    Who closes the iterator, or is cancelled in it, has nothing more computed. ``likeliest``: tokens to be told beside
    each, with log-probabilities; None: of no token anything.
    """

    def __init__(
        self,
        own: Served,
        memory: CheckedMemory,
        user: str,
        turns: Turns,
        sampling: GenerationConfig,
        likeliest: int | None = None,
        documents: Sequence[str] = (),
    ) -> None:
        self.own, self.memory, self.user, self.turns, self.sampling = own, memory, user, turns, sampling
        self.documents = documents
        self.said: Said | None = None
        self.learned: list[dict[str, Any]] | None = None
        self._heard_at, self._began = 0.0, time.perf_counter()
        self._shown = ""
        self._likelihoods = None if likeliest is None else Likelihoods(self.model.piece, likeliest, self._thinks)
        self._tokens: asyncio.Queue[Token | None] = asyncio.Queue()  # None: no more
        self._first = asyncio.Event()
        loop = asyncio.get_running_loop()

        def heard(*token: Any) -> None:
            with suppress(RuntimeError):  # the loop was closed: nobody is there any more
                loop.call_soon_threadsafe(self._put, token)

        self._span = traces.of_answer(own.model, sampling)
        self._listener = Listener(heard, likeliest or 0)
        self._future = own.talk.start(self._answer, user)
        self._future.add_done_callback(lambda _: self._put(None))

    async def begun(self) -> None:
        """Wait until something is said, or a little. Raises what has gone wrong by then."""
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._first.wait(), SOON)
            if self._future.done():
                self._future.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Have nothing more computed."""
        self._listener.gone = True
        if not self._future.done():
            self._future.cancel()
        if self._span.is_recording():
            self._trace()

    async def pieces(self) -> AsyncIterator[str]:
        """What is shown, in parts. Raises what goes wrong."""
        model, stops, limit = self.model, self.sampling.stop_texts, self.sampling.max_new_tokens
        ids, ended, stopped = list[int](), False, False
        try:
            while not (ended or stopped or len(ids) == limit) and (heard := await self._tokens.get()) is not None:
                ended = heard[0] in model.stop_ids
                if not ended:
                    ids.append(heard[0])
                    text = model.decode(ids)
                    if self._likelihoods is not None:
                        self._likelihoods.hear(text, *heard)
                    now, stopped = visible(text, stops, thinking=self._thinks)
                    if piece := self._show(now):
                        yield piece
            self._listener.gone = True
            reply, asked = await self._future
            told = not ids  # what nobody generated: the text of a pair, or a refusal
            if told:
                ids = model.chat.encode(model.chat.literal(reply.text))
            full = limit is not None and len(ids) >= limit + told
            now, stopped = visible(model.decode(ids[:limit]), stops, ended=True, thinking=self._thinks and not told)
            if piece := self._show(now):
                yield piece
            unfinished = full or not (told or ended)  # the model's own limit
            for kind, count in (("read", asked), ("answered", len(ids[:limit]))):
                self.own.metrics.tokens.labels(kind).inc(count)
            details: dict[str, Any] = {"source": reply.source, "pairs": reply.pairs, "version": reply.version}
            details |= {} if reply.moved is None else {"moved": reply.moved}
            self.said = Said("length" if unfinished and not stopped else "stop", (asked, len(ids[:limit])), details)
        finally:
            self.stop()

    def likelihoods(self) -> list[dict[str, Any]] | None:
        """Of the tokens shown since this was asked last; None if it is not wanted, or nobody generated them."""
        return None if self._likelihoods is None else self._likelihoods.take(self._shown) or None

    async def learn(self) -> None:
        """Have what the last message tells kept, and written after the answer."""

        def call() -> Receipt | None:
            return self.memory.learn(self.turns, timestamp=now(), absorb=False)

        with self.own.metrics.writes.labels("learn").time():
            receipt = await self.own.work.run(call, self.user)
        rows = [] if receipt is None else receipt.pairs
        self.learned = [{key: row[key] for key in ("id", "question", "answer")} for row in rows]
        if rows:
            self.own.work.later(self.memory.absorb)

    def _trace(self) -> None:
        """End the span with what there is to say of the answer."""
        if self.said is not None:
            traces.said(self._span, self.own.model, self.said.finish, *self.said.usage, self.said.tmem["source"])
        else:
            error = None if self._future.cancelled() or not self._future.done() else self._future.exception()
            traces.failed(self._span, "cancelled" if error is None else type(error).__name__)
        self._span.end()

    @property
    def model(self) -> Model:
        return self.memory.model

    @property
    def _thinks(self) -> bool:
        return begins_thought(self.model)

    def _answer(self) -> tuple[Reply, int]:
        """The answer, and how many tokens the conversation has; in a thread of its own."""
        self.memory.settle()
        with listening(self._listener):
            reply = self.memory.chat(self.turns, learn=False, sampling=self.sampling, documents=self.documents)
        read = sum(map(self.model.count, self.documents))
        try:
            return reply, read + len(self.model.encode_chat(self.turns))
        except ModelError:  # a template that takes only some orders of turns
            return reply, read + sum(self.model.count(turn["content"]) for turn in self.turns)

    def _show(self, now: str) -> str:
        """What is new in what can be shown."""
        before, self._shown = self._shown, max(self._shown, now, key=len)
        return now[len(before) :]

    def _put(self, token: Token | None) -> None:
        if token is not None:
            now, metrics = time.perf_counter(), self.own.metrics
            if self._heard_at:
                metrics.between.observe(now - self._heard_at)
            else:
                metrics.first.observe(now - self._began)
            self._heard_at = now
        self._tokens.put_nowait(token)
        self._first.set()


@lru_cache(maxsize=1)
def begins_thought(model: Model) -> bool:
    """Whether the model's chat template leaves a thought open for the answer to end."""
    prompt = str(model.tokenizer.decode(model.encode_chat([{"role": "user", "content": "?"}])))
    return prompt.rfind(OPEN) > prompt.rfind(CLOSE)


async def whole(speech: Speech) -> str:
    """All of an answer."""
    return "".join([piece async for piece in speech.pieces()])


async def while_there(request: Request, made: Awaitable[R]) -> R:
    """What is awaited, given up when the caller goes. Raises :class:`Refusal` then, which nobody hears."""
    task = asyncio.ensure_future(made)

    async def leave() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    gone = asyncio.ensure_future(leave())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Refusal(499, "the caller has gone")
    finally:
        for one in (task, gone):
            one.cancel()
