"""One episode while it runs (a rollout), written as a sequence of steps.

What a rollout does reads top to bottom; wherever the model has to generate or Delta has to be trained, it yields the
work and gets the result back. So many rollouts can be driven at once, each batch holding what they all wait for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeVar

from tmem.agent.context import Packed
from tmem.agent.episode import JOINER, Ask, Episode
from tmem.agent.prompts import Message, PromptSet
from tmem.agent.sharing import Shared
from tmem.agent.trajectory import Action, Trajectory
from tmem.errors import DataError
from tmem.fastweights import Delta, Example, Recipe, WriteAccount
from tmem.model import Completion, Engine, Model, Request
from tmem.model.contents import Contents
from tmem.model.gate import Reading
from tmem.model.request import GREEDY, Sampling, Voices
from tmem.seeds import derive

T = TypeVar("T")
TailUse = Literal["shown", "observed", "dropped"]
LEAST_OUTPUT = 16  # tokens of room that a reply needs to make sense
ANSWERS = ("answer", "step")  # kinds of actions that act; the others work on the memory
GATE = "gate"  # theta_0 reads for a gate, greedily: no action that is learnt from
QUERIES = (*ANSWERS, "keywords", "retrieve", GATE)  # kinds that a question costs; the others build the memory


@dataclass(frozen=True)
class Call:
    """Texts to generate under the rollout's Delta; the result is a list of completions."""

    kind: str
    requests: list[Request]


@dataclass(frozen=True)
class WriteJob:
    """Pairs to write into the rollout's Delta, and earlier ones to rehearse; the result is a WriteAccount.

    A recipe that writes from zero takes ``pairs`` instead, all that hold, the last ``len(new)`` of them new.
    """

    new: list[Example]
    old: list[Example]
    seed: int
    pairs: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Route:
    """How a reply hears the memory: under this row of the Delta (None: theta_0), or in a voice beside the text.

    ``refusal``: what is said instead of a reply where there is no text, since the memory was never told. ``sure``:
    whether it answers where there is text, alone, or the text does; None: both voices do.
    """

    row: int | None
    voices: Voices | None = None
    refusal: str | None = None
    sure: bool | None = None


Steps = Generator[Call | WriteJob, Any, T]


class MemoryPolicy(Protocol):
    """What a memory does. One object per rollout, made with the rollout as its argument.

    ``learns``: it has a Delta. ``question_aware``: what it keeps depends on the question, where that is known.
    ``packs``: it gets the stream in full working contexts; else all of it is the last one. ``tail``, the last working
    context, is shown to answers as raw text, observed like the others, or dropped. ``alone``: it changes the model
    itself, so that no other episode can run beside it.
    """

    name: str
    learns: bool
    question_aware: bool
    packs: bool
    tail: TailUse
    alone: bool

    def __init__(self, rollout: Rollout) -> None: ...

    def observe(self, units: Sequence[int]) -> Steps[None]:
        """Take in a full working context, of which the raw text is dropped afterwards."""
        ...

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        """The text of the memory that each question is answered with, to stand before the raw text of ``tail``."""
        ...

    def route(self, asks: Sequence[Ask]) -> Steps[list[Route]]:
        """How each question's answer hears a memory that was written from zero."""
        ...

    def keep(self, turns: list[int]) -> list[int]:
        """Of a search's turns in the working context, those that stay in it."""
        ...

    def size(self) -> dict[str, int]:
        """How much is held: numbers by unit."""
        ...

    def close(self) -> None:
        """The rollout is over, or was broken off."""
        ...


@dataclass(frozen=True)
class AgentConfig:
    """How episodes run: the model, its memory, and every setting that changes a result.

    ``question_known``: a memory that can use it sees the question while it reads, so that every question is an
    episode of its own (paper). ``write_tail``: fast weights take in the last working context too, and answers see
    nothing but Delta. ``building`` decides the tokens of extractions and all other work on the memory, ``answering``
    those of answers. ``extractions``: how often each context is read for pairs, after the first time by sampling: more
    of what it says is found, and more that it does not say. ``top_k``: what a memory that retrieves shows to an answer;
    ``whole_units``: its notes are the units themselves (sessions) instead of what a benchmark cuts them into (turns).
    ``write_once``: a memory that is written from zero, and that nothing hears while a stream is read, is trained when
    the stream has ended. Its B, which follows from its pairs alone, is the same. Not where ``keep_deltas`` wants each.
    ``shared``: what other agents of this model and recipe have had made, to have it again.
    """

    model: Model
    recipe: Recipe
    prompts: PromptSet
    policy: type[MemoryPolicy]
    budget: int
    question_known: bool
    write_tail: bool = False
    seed: int = 0
    building: Sampling = GREEDY
    answering: Sampling = GREEDY
    grammar: bool = False
    extractions: int = 1
    top_k: int = 10
    whole_units: bool = False
    write_once: bool = False
    retriever: Callable[[Sequence[str]], Any] | None = None  # makes an index of texts; None: BM25
    keep_deltas: bool = False
    shared: Shared | None = None
    at_once: int = 16  # episodes in one batch; does not change results
    engine: Engine | None = None  # None: the model's own decode loop
    strict: bool = True  # an episode that cannot be run ends all; else it ends alone, and says why

    @property
    def split(self) -> bool:
        """True if every question is an episode of its own."""
        return self.question_known and self.policy.question_aware


class Rollout:
    """An episode that is running, with what its memory works with."""

    def __init__(self, agent: AgentConfig, episode: Episode, packed: Packed, key: str) -> None:
        self.agent, self.episode, self.packed = agent, episode, packed
        self.key = key  # names the rollout in seeds
        self.model = agent.model
        self.units = list(episode.units)
        self.delta: Delta | None = None  # of this rollout alone
        self.contents: Contents | None = None  # whose Delta that is, under a recipe that writes from zero
        self._put_off: WriteJob | None = None  # all that is to be written before it is asked
        self.trajectory = Trajectory(episode.id, agent.policy.name, agent.seed)
        self.seconds: dict[str, float] = {}  # of the rollout's own work, by kind
        self.policy = agent.policy(self)

    # ---- what policies use ----

    @property
    def question(self) -> str | None:
        """The question, where the memory may know it: a search always shows it."""
        known = self.agent.question_known or self.episode.search is not None
        return self.episode.asks[0].text if known else None

    def text(self, units: Sequence[int]) -> str:
        """The raw text of some units."""
        return JOINER.join(self.units[unit] for unit in units)

    def raw(self, units: Sequence[int]) -> str:
        """The raw text of some units as an answer sees it, with what is said before it."""
        text = self.text(units)
        return self.episode.preamble + JOINER + text if text and self.episode.preamble else text

    def notes(self, units: Sequence[int]) -> list[str]:
        """The notes that these units consist of."""
        chosen = set() if self.agent.whole_units else set(units)
        found = [text for text, unit in self.episode.notes if unit in chosen]
        return found or [self.units[unit] for unit in units]

    def prompt(self, messages: Sequence[Message], begun: str = "") -> list[int]:
        """The tokens of a chat prompt; ``begun`` is what the reply begins with."""
        return self.model.encode_chat(messages, begun)

    def room(self, prompt: Sequence[int], wanted: int) -> int:
        """Tokens that a reply to ``prompt`` may have, at most ``wanted``."""
        return min(wanted, self.model.window - len(prompt))

    def say(
        self,
        kind: str,
        prompts: Sequence[Sequence[int]],
        names: Sequence[object],
        limit: int,
        asks: Sequence[str | None] | None = None,
        routes: Sequence[Route] | None = None,
        temperature: float | None = None,
        *,
        stop: Literal["eos", "json"] = "eos",
        stop_texts: tuple[str, ...] = (),
        grammar: bool = False,
    ) -> Steps[list[Completion]]:
        """Generate a reply to every prompt and record it. ``names`` make the seed of each reply its own.

        ``temperature``: another one than the agent's; the last three as in :class:`Request`.
        ``routes``: how each hears the memory. Without, all are given
        under the rollout's Delta; under a recipe that writes from zero, by theta_0.

        Raises :class:`DataError` for a prompt that leaves no room for a reply.
        """
        agent = self.agent
        sampling = agent.answering if kind in ANSWERS else agent.building
        requests = []
        plain = Route(None if self.delta is None or self.contents is not None else 0)
        for prompt, name, own in zip(prompts, names, routes or [plain] * len(prompts), strict=True):
            room = self.room(prompt, limit)
            if room < min(LEAST_OUTPUT, limit):
                raise DataError(
                    f"{self.episode.id}: its {kind} prompt has {len(prompt)} tokens, too long for the window of "
                    f"{self.model.window} of {self.model.name}: use shorter sessions or a smaller --budget"
                )
            requests.append(
                Request(
                    tuple(prompt),
                    memory=own.row,
                    voices=own.voices,
                    max_new_tokens=room,
                    temperature=sampling.temperature if temperature is None else temperature,
                    top_p=sampling.top_p,
                    top_k=sampling.top_k,
                    seed=derive(agent.seed, self.key, name, kind),
                    stop=stop,
                    stop_texts=stop_texts,
                    grammar=grammar,
                    reads=kind == GATE,
                )
            )
        completions: list[Completion] = yield Call(kind, requests)
        version = len(self.trajectory.writes)
        for request, done, ask in zip(requests, completions, asks or [None] * len(requests), strict=True):
            self.trajectory.actions.append(
                Action(
                    kind,
                    request.prompt_ids,
                    done.ids,
                    done.logprobs,
                    done.text,
                    done.finish,
                    version,
                    ask,
                    request.memory,
                    request.voices,
                )
            )
        return completions

    def read_for_gate(self, reading: Reading[T]) -> Steps[T]:
        """What a gate decides, theta_0 reading for it beside what all other rollouts generate."""
        try:
            asked = next(reading)
            while True:
                prompts, limit = [one.prompt_ids for one in asked], max(one.max_new_tokens for one in asked)
                done = yield from self.say(GATE, prompts, range(len(prompts)), limit, temperature=0.0)
                asked = reading.send(done)
        except StopIteration as end:
            decided: T = end.value
            return decided

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Count the time inside as work of this kind."""
        started = time.perf_counter()
        yield
        self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - started

    def write(
        self, new: list[Example], old: list[Example], pairs: Sequence[tuple[str, str]] = ()
    ) -> Steps[WriteAccount]:
        """Write pairs into this rollout's Delta; the caller records it as a Write of the trajectory."""
        seed = derive(self.agent.seed, self.key, len(self.trajectory.writes), "write")
        job = WriteJob(new, old, seed, pairs)
        agent, waiting = self.agent, [] if self._put_off is None else self._put_off.new
        if agent.write_once and not agent.keep_deltas and self.contents is not None and self.episode.search is None:
            self._put_off = replace(job, new=[*waiting, *new])
            return WriteAccount.untrained(self.agent.recipe.name)
        account: WriteAccount = yield job
        return account

    def _write_now(self) -> Steps[None]:
        """Write what was put off; the last Write of the trajectory says what that did.

        Raises :class:`DataError` where it cannot be trained.
        """
        if self._put_off is None or not self._put_off.new:
            return
        account: WriteAccount = yield self._put_off
        if not account.applied:
            raise DataError(f"{self.episode.id}: its memory cannot be written: {account.reason}")
        writes = self.trajectory.writes
        writes[-1] = replace(writes[-1], account=account)

    # ---- reading a stream ----

    def read(self) -> Steps[None]:
        """Take in the stream, one full working context after the other, then answer."""
        policy, triggers, tail = self.policy, self.packed.triggers, self.packed.tail
        if tail and policy.tail == "observed":
            triggers = [*triggers, tail]
        if policy.tail != "shown":
            tail = []
        for trigger in triggers:
            self.trajectory.triggers += 1
            yield from policy.observe(trigger)
        yield from self._write_now()
        asks = self.episode.asks
        memories = yield from policy.recall(asks, tail)
        tail = self._that_fits(tail, memories)
        self.trajectory.tail = tuple(tail)
        self.trajectory.context_tokens = self.model.count(memories[0]) + self.model.count(self.text(tail))
        prompts = [self.answer_prompt(ask.text, memory, tail) for ask, memory in zip(asks, memories, strict=True)]
        routes = (yield from policy.route(asks)) if self.contents is not None else []
        answers = self.trajectory.answers
        for place, one in enumerate(routes):
            text = bool(memories[place] or tail)
            if text and one.sure is None:  # both voices answer
                continue
            if text and not one.sure:
                routes[place] = Route(None)
            elif one.voices is not None:  # the memory answers alone, the bare question
                prompts[place] = list(one.voices.prompt_ids)
                routes[place] = Route(one.row)
            elif one.refusal is not None:
                answers[asks[place].id] = one.refusal
        left = [place for place, ask in enumerate(asks) if ask.id not in answers]
        if left:
            ids, own = [asks[place].id for place in left], [routes[place] for place in left] if routes else None
            replies = yield from self.say("answer", [prompts[i] for i in left], ids, self.answer_limit, ids, own)
            answers |= {name: done.text for name, done in zip(ids, replies, strict=True)}

    @property
    def answer_limit(self) -> int:
        """The longest answer in tokens."""
        return self.episode.answer_tokens or self.model.settings.max_new_tokens_answer

    def answer_prompt(self, question: str, memory: str, tail: Sequence[int]) -> list[int]:
        """The prompt of an answer: the memory's text, then the raw text of ``tail``, then the question."""
        make = self.episode.answer_prompt or self.agent.prompts.answer
        return self.prompt(make(question, JOINER.join(part for part in (memory, self.raw(tail)) if part)))

    def _that_fits(self, tail: Sequence[int], memories: Sequence[str]) -> list[int]:
        """The raw units that an answer can see; the oldest are left out until every question fits, and counted."""
        tail = list(tail)
        if not tail:
            return tail
        asks = self.episode.asks
        longest = max(range(len(asks)), key=lambda i: self.model.count(asks[i].text) + self.model.count(memories[i]))
        room = self.model.window - self.answer_limit
        everything = len(tail)
        # Counted apart the units have about the tokens that they have together: the exact count comes last.
        counts = [self.model.count(self.units[unit]) for unit in tail]
        while sum(counts[everything - len(tail) :]) > room and tail:
            tail.pop(0)
        while tail and len(self.answer_prompt(asks[longest].text, memories[longest], tail)) > room:
            tail.pop(0)
        self.trajectory.left_out = everything - len(tail)
        return tail
