"""Generating where the model is served by another engine: llama.cpp, or vLLM. Memories are its adapters.

Prompts go there as token ids and come back as token ids, so texts are those of tmem's own loop. What an engine takes
without a word and answers wrongly is settled here once: every adapter's name holds a digest of the memory and its base,
an adapter that is not there is an error, and writes, gates (with their reader, if the model has one) and refusals stay
on this side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from tmem.errors import EngineError, UsageError
from tmem.fastweights import Delta, FastWeights
from tmem.model.adapter import Matrices, matrices_of
from tmem.model.engine import HFEngine
from tmem.model.load import Model
from tmem.model.request import Completion, Request, check
from tmem.model.stopping import Ending, shown_text
from tmem.model.to_gguf import adapter_name
from tmem.seeds import derive

FIRST = 64  # tokens that are asked for at once where only this side sees the end of a text; twice as many each time
PROBES = ("What is the capital of France?", "Where does Maria live?", "Tell me a story.", "How are you?")
# Nats that the base may be apart from ours, on average of the probes' first tokens: 8 bits make hundredths, another
# model whole ones.
APART = 0.5


@dataclass(frozen=True)
class Part:
    """What an engine gave of a text; ``logprobs`` are empty where it gave none, or not of every token."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


class Server(Protocol):
    """An engine elsewhere. Adapters are called by names that no two memories share."""

    name: str
    at_once: int  # requests that it works on side by side

    def ready(self, adapters: Mapping[str, Callable[[], Matrices]], longest: int) -> AbstractContextManager[None]:
        """Inside, these adapters are there, and room for texts of ``longest`` tokens, whatever other threads ask.

        Raises :class:`EngineError`.
        """
        ...

    def complete(self, request: Request, adapter: str | None, seed: int) -> Part:
        """At most ``request.max_new_tokens`` more tokens under one adapter and no other, None: under none."""
        ...

    def learn(self, folder: Path) -> None:
        """Put the weights of a checkpoint of the same model in the place of the base's; nobody generates meanwhile.

        Raises :class:`EngineError` where an engine takes none while it runs.
        """
        ...

    def close(self) -> None:
        """Take back what was put there."""
        ...


class ServedEngine:
    """An :class:`~tmem.model.engine.Engine` over a :class:`Server`.

    Where a request has voices, no token is mixed, since no engine gives its logits: the gate chooses between the
    memory, asked the bare question, and the text; a memory that begins with a refusal leaves it to the text, too.
    May be used by several threads at once.
    Sampled texts are not those of tmem's own loop, which draws otherwise, but the same every time.
    """

    def __init__(self, model: Model, server: Server) -> None:
        self.model, self.server = model, server
        self._reader = None if model.reader is model else HFEngine(model.reader)

    def check_base(self) -> None:
        """Raise :class:`EngineError` where the engine's model says other things than ours to a few questions."""
        prompts = [self.model.bare(text) for text in PROBES]
        with self.server.ready({}, max(map(len, prompts)) + 1):
            parts = [self.server.complete(Request(tuple(prompt), max_new_tokens=1), None, 0) for prompt in prompts]
        apart = []
        for prompt, found in zip(prompts, parts, strict=True):
            if not found.logprobs:  # of half a character, or of an engine that gives none
                continue
            with torch.no_grad():
                ids = torch.tensor([prompt], device=self.model.device)
                own = self.model.hf(ids, logits_to_keep=1).logits[0, -1].float().log_softmax(-1)
            if not 0 <= found.ids[0] < len(own):
                apart.append(float("inf"))
                continue
            apart.append(abs(float(own[found.ids[0]]) - found.logprobs[0]))
        if not apart or sum(apart) / len(apart) > APART:
            said = f"{sum(apart) / len(apart):.1f} nats apart" if apart else "without log-probabilities"
            raise EngineError(
                f"{self.server.name}: serves another model than {self.model.name} (its first tokens are {said}): "
                "start it with the memories' own base"
            )

    def generate(
        self,
        requests: Sequence[Request],
        delta: Delta | None = None,
        fast: FastWeights | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """See :class:`~tmem.model.engine.Engine`.

        Raises as :class:`~tmem.model.engine.HFEngine` does, and :class:`EngineError` for what the engine cannot do.
        """
        if self._reader is not None and (reads := [request for request in requests if request.reads]):
            with self.model.turn:
                read = iter(self._reader.generate(reads, progress=progress))
            others = [request for request in requests if not request.reads]
            further = None if progress is None else lambda done: progress(len(reads) + done)
            told = iter(self.generate(others, delta, fast, further) if others else [])
            return [next(read if request.reads else told) for request in requests]
        for request in requests:
            check(request, self.model, delta, fast)
            if request.grammar or request.schema:
                raise UsageError(f"{self.server.name}: texts are held to a grammar by tmem's own loop alone")
        names: dict[int, str | None] = {}
        adapters: dict[str, Callable[[], Matrices]] = {}
        for row in sorted({request.memory for request in requests if request.memory is not None}):
            assert delta is not None and fast is not None
            fast.check(delta)
            own = delta.select([row])
            name = names[row] = None if own.is_zero else adapter_name(self.model, own)
            if name is not None:
                adapters[name] = partial(matrices_of, fast, own.b)
        longest = max((len(_asked(request)) + request.max_new_tokens for request in requests), default=0)
        found: dict[int, Completion] = {}
        with self.server.ready(adapters, longest), ThreadPoolExecutor(self.server.at_once) as dataset:
            jobs = {dataset.submit(self._answer, request, names): place for place, request in enumerate(requests)}
            try:
                for job in as_completed(jobs):
                    found[jobs[job]] = job.result()
                    if progress is not None:
                        progress(len(found))
            except BaseException:
                dataset.shutdown(wait=False, cancel_futures=True)
                raise
        return [found[place] for place in range(len(requests))]

    def learn(self, folder: Path) -> None:
        """See :meth:`Server.learn`."""
        self.server.learn(folder)

    def close(self) -> None:
        """Take the memories back from the engine."""
        self.server.close()

    def _answer(self, request: Request, names: Mapping[int, str | None]) -> Completion:
        if request.voices is None or request.memory is None:
            adapter = None if request.memory is None else names[request.memory]
            return self._text(request, adapter if request.voices is None else None)
        # What comes of one voice is not what the mixture would have said: no log-probabilities for those who learn.
        if request.voices.opens:
            asked = replace(request, prompt_ids=request.voices.prompt_ids, voices=None)
            done = self._text(asked, names[request.memory])
            if done.ids[0] != request.voices.refusal:
                return replace(done, logprobs=())
        return replace(self._text(request, None), logprobs=())

    def _text(self, request: Request, adapter: str | None) -> Completion:
        """A whole text, in parts where the engine does not see its end."""
        ending, ids, logprobs, whole = Ending(self.model, request), list[int](), list[float](), True
        seen_here = request.stop == "json" or bool(request.stop_texts)
        room = FIRST if seen_here else request.max_new_tokens
        while True:
            left = min(room, request.max_new_tokens - len(ids))
            asked = replace(request, prompt_ids=(*request.prompt_ids, *ids), max_new_tokens=left)
            part = self.server.complete(asked, adapter, derive(request.seed, len(ids)) % 2**31)
            if not part.ids:
                raise EngineError(f"{self.server.name}: gave no token")
            whole = whole and len(part.logprobs) == len(part.ids)
            for place, token in enumerate(part.ids):
                ids.append(token)
                logprobs += part.logprobs[place : place + 1]
                if finish := ending.after(token):
                    text = shown_text(self.model, request, ids, finish)
                    return Completion(tuple(ids), text, tuple(logprobs) if whole else (), finish)
            room *= 2


def _asked(request: Request) -> Sequence[int]:
    """The longer of a request's prompts."""
    other = () if request.voices is None else request.voices.prompt_ids
    return max(request.prompt_ids, other, key=len)
