"""The episode: read, and whenever the working context is full, extract, write, clear; in the end, answer.

Many episodes run in lockstep as one batch; each has its own Delta, and its result is the one it would have alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from tmem.agent.context import Packed, pack
from tmem.agent.extraction import Dropped, QAPair, admit, fold, parse
from tmem.agent.prompts import PROMPTS, PromptSet
from tmem.agent.trajectory import Action, Trajectory, Write
from tmem.errors import DataError
from tmem.fastweights import Delta, Example, Recipe, unusable, write
from tmem.model import Completion, Engine, HFEngine, Model, Request
from tmem.seeds import derive

Memory = Literal["tmem", "none", "tail", "full"]
JOINER = "\n\n"
LEAST_OUTPUT = 16  # tokens of room that an extraction needs to make sense


@dataclass(frozen=True)
class Ask:
    """A question to answer at the end of an episode; ``text`` is what the model is asked."""

    id: str
    text: str


@dataclass(frozen=True)
class Episode:
    """A stream of units (sessions, turns, tool results) and the questions that follow it."""

    id: str
    units: tuple[str, ...]
    asks: tuple[Ask, ...]
    preamble: str = ""  # said before the raw text that an answer sees


@dataclass(frozen=True)
class Agent:
    """How episodes are lived: the model, what it remembers by, and every setting that changes a result.

    ``memory``: ``tmem`` (fast weights and the last working context), ``none`` (the question alone), ``tail``
    (the last working context, or the one just cleared), ``full`` (the whole history; the oldest units are left out
    if it does not fit).
    ``question_known``: extraction sees the question, so every question is an episode of its own (paper).
    ``write_tail``: the last working context is written too, and answers see nothing but Delta.
    ``temperature`` 0 is greedy, for extraction and answers alike.
    """

    model: Model
    recipe: Recipe
    prompts: PromptSet
    budget: int
    question_known: bool
    memory: Memory = "tmem"
    write_tail: bool = False
    seed: int = 0
    temperature: float = 0.0
    grammar: bool = False
    keep_deltas: bool = False
    at_once: int = 64  # episodes in one batch; does not change results
    engine: Engine | None = None  # None: the model's own decode loop

    @staticmethod
    def of(model: Model, recipe: Recipe | None = None, **changes: object) -> Agent:
        """The agent that a model's own settings describe, with ``changes`` to any field."""
        settings = model.settings
        prompts = PROMPTS[settings.prompts]
        known = prompts.question_known if settings.question_known is None else settings.question_known
        agent = Agent(model, recipe or model.recipe("paper"), prompts, settings.budget, known)
        return replace(agent, **changes)  # type: ignore[arg-type]

    def run(
        self,
        episodes: Sequence[Episode],
        progress: Callable[[str, int, int], None] | None = None,
        on_write: Callable[[Trajectory], None] | None = None,
    ) -> list[Trajectory]:
        """Live through episodes; trajectories come back in their order, one per question if questions are known.

        ``progress`` gets (what is going on, done, total); ``on_write`` a trajectory right after each of its writes.
        Raises :class:`DataError` for a unit that does not fit the model's window.
        """
        if self.memory == "tmem" and self.question_known:
            episodes = [replace(episode, asks=(ask,)) for episode in episodes for ask in episode.asks]
        trajectories: list[Trajectory] = []
        for start in range(0, len(episodes), self.at_once):
            batch = _Batch(self, episodes[start : start + self.at_once], on_write)
            trajectories += batch.run(progress)
            if progress is not None:
                progress("episodes", min(start + self.at_once, len(episodes)), len(episodes))
        return trajectories


@dataclass
class _Life:
    """One episode while it is lived."""

    episode: Episode
    packed: Packed
    trajectory: Trajectory
    key: str  # names the episode in seeds
    history: list[QAPair] = field(default_factory=list)  # admitted pairs, all of them
    current: dict[str, Example] = field(default_factory=dict)  # by folded question: the latest answer


class _Batch:
    """Episodes in lockstep: trigger t of all of them is one extraction batch and one write."""

    def __init__(
        self, agent: Agent, episodes: Sequence[Episode], on_write: Callable[[Trajectory], None] | None
    ) -> None:
        self.agent, self.model, self.on_write = agent, agent.model, on_write
        self.engine: Engine = agent.engine or HFEngine(agent.model)
        self.seconds = {"extract": 0.0, "write": 0.0, "answer": 0.0}
        self.lives = [self._life(episode) for episode in episodes]

    def _life(self, episode: Episode) -> _Life:
        agent = self.agent
        packed = pack(episode.units, agent.budget, self.model.count, JOINER)
        if agent.memory == "tmem" and agent.write_tail and packed.tail:
            packed = Packed([*packed.triggers, packed.tail], [])
        if agent.memory == "tail" and not packed.tail and packed.triggers:
            packed = Packed(packed.triggers[:-1], packed.triggers[-1])  # it was cleared only a moment ago
        trajectory = Trajectory(episode.id, agent.memory, agent.seed, tail=tuple(packed.tail))
        known = agent.memory == "tmem" and agent.question_known
        return _Life(episode, packed, trajectory, f"{episode.id}/{episode.asks[0].id}" if known else episode.id)

    def run(self, progress: Callable[[str, int, int], None] | None) -> list[Trajectory]:
        agent = self.agent
        delta = None
        if agent.memory == "tmem":
            delta = self.model.fast(agent.recipe).zeros(len(self.lives))
            self._keep(delta, range(len(self.lives)))
            triggers = max((len(life.packed.triggers) for life in self.lives), default=0)
            for trigger in range(triggers):
                delta = self._trigger(trigger, delta)
                if progress is not None:
                    progress("triggers", trigger + 1, triggers)
        self._answer(delta)
        for life in self.lives:
            life.trajectory.seconds = dict(self.seconds)
        return [life.trajectory for life in self.lives]

    def _trigger(self, trigger: int, delta: Delta) -> Delta:
        """Extract from the next trigger context of every episode that has one, and write."""
        rows = [row for row, life in enumerate(self.lives) if trigger < len(life.packed.triggers)]
        lives = [self.lives[row] for row in rows]
        contexts = [_text(life, life.packed.triggers[trigger]) for life in lives]
        requests = [
            self._extraction(life, context, trigger, row)
            for row, life, context in zip(rows, lives, contexts, strict=True)
        ]
        fast = self.model.fast(self.agent.recipe)
        with self._clock("extract"):
            completions = self.engine.generate(requests, delta, fast)

        extracted = [parse(done.text, truncated=done.finish == "length") for done in completions]
        new: list[list[QAPair]] = []
        fresh: list[dict[str, Example]] = []
        rejected = []
        for life, extraction in zip(lives, extracted, strict=True):
            admitted, refused = admit(extraction.pairs, life.history)
            examples = {pair: self.model.example(pair.question, pair.answer) for pair in admitted}
            reasons = {pair: unusable(example, self.agent.recipe) for pair, example in examples.items()}
            new.append([pair for pair in admitted if reasons[pair] is None])
            fresh.append({fold(pair.question): examples[pair] for pair in new[-1]})
            too_long = [Dropped(reason, pair.question) for pair, reason in reasons.items() if reason is not None]
            rejected.append([*extraction.dropped, *refused, *too_long])
        # A question that is answered anew leaves the rehearsal of its old answer.
        old = [
            [example for question, example in life.current.items() if question not in latest]
            for life, latest in zip(lives, fresh, strict=True)
        ]
        with self._clock("write"):
            written, accounts = write(
                fast,
                delta.select(rows),
                [list(examples.values()) for examples in fresh],
                self.agent.recipe,
                [derive(self.agent.seed, life.key, trigger, "write") for life in lives],
                old,
                self.model.replay(self.agent.recipe),
            )
        for place, (life, request, done) in enumerate(zip(lives, requests, completions, strict=True)):
            version = len(life.trajectory.writes)
            life.trajectory.actions.append(_action("extract", request, done, version))
            life.trajectory.writes.append(
                Write(
                    units=tuple(life.packed.triggers[trigger]),
                    tokens=self.model.count(contexts[place]),
                    status=extracted[place].status,
                    pairs=new[place],
                    dropped=rejected[place],
                    account=accounts[place],
                )
            )
            if accounts[place].applied:
                life.history += new[place]
                life.current |= fresh[place]
        after = delta.clone()
        for name, value in written.b.items():
            after.b[name][rows] = value
        self._keep(after, rows)
        if self.on_write is not None:
            for life in lives:
                self.on_write(life.trajectory)
        return after

    def _extraction(self, life: _Life, context: str, trigger: int, row: int) -> Request:
        agent = self.agent
        question = life.episode.asks[0].text if agent.question_known else None
        wanted = min(self.model.settings.max_new_tokens_extract, self.model.window // 4)
        history, room = life.history, -1
        while True:  # of a history that does not fit, the newest pairs
            prompt = self.model.encode_chat(agent.prompts.extraction(context, question, history))
            room = self.model.window - len(prompt)
            if room >= wanted or not history:
                break
            history = history[1 + len(history) // 10 :]
        if room < LEAST_OUTPUT:
            raise DataError(
                f"{life.episode.id}: trigger context {trigger + 1} makes a prompt of {len(prompt)} tokens, "
                f"too long for the window of {self.model.window} of {self.model.name}: "
                "use shorter sessions or a smaller --budget"
            )
        return Request(
            tuple(prompt),
            memory=row,
            max_new_tokens=min(room, self.model.settings.max_new_tokens_extract),
            temperature=agent.temperature,
            seed=derive(agent.seed, life.key, trigger, "extract"),
            stop="json",
            grammar=agent.grammar,
        )

    def _answer(self, delta: Delta | None) -> None:
        agent = self.agent
        requests, owners = [], []
        for row, life in enumerate(self.lives):
            context = self._answer_context(life)
            for ask in life.episode.asks:
                prompt = self._answer_prompt(life, ask.text, context)
                requests.append(
                    Request(
                        tuple(prompt),
                        memory=None if delta is None else row,
                        max_new_tokens=self.model.settings.max_new_tokens_answer,
                        temperature=agent.temperature,
                        seed=derive(agent.seed, life.key, ask.id, "answer"),
                    )
                )
                owners.append((life, ask))
        fast = None if delta is None else self.model.fast(agent.recipe)
        with self._clock("answer"):
            completions = self.engine.generate(requests, delta, fast)
        for (life, ask), request, done in zip(owners, requests, completions, strict=True):
            version = len(life.trajectory.writes)
            life.trajectory.actions.append(_action("answer", request, done, version, ask.id))
            life.trajectory.answers[ask.id] = done.text

    def _answer_context(self, life: _Life) -> str:
        """The raw text an answer sees. A full history loses its oldest units until every question fits."""
        if self.agent.memory == "none":
            return ""
        units = list(life.packed.tail)
        if self.agent.memory == "full":
            units = list(range(len(life.episode.units)))
            longest = max((ask.text for ask in life.episode.asks), key=self.model.count, default="")
            room = self.model.window - self.model.settings.max_new_tokens_answer
            while units and len(self._answer_prompt(life, longest, _text(life, units))) > room:
                units.pop(0)
                life.trajectory.left_out += 1
        context = _text(life, units)
        life.trajectory.context_tokens = self.model.count(context)
        return context

    def _answer_prompt(self, life: _Life, question: str, context: str) -> list[int]:
        if context and life.episode.preamble:
            context = life.episode.preamble + JOINER + context
        return self.model.encode_chat(self.agent.prompts.answer(question, context))

    def _keep(self, delta: Delta, rows: Sequence[int]) -> None:
        if self.agent.keep_deltas:
            for row in rows:
                self.lives[row].trajectory.deltas.append(delta.select([row]).to("cpu"))

    @contextmanager
    def _clock(self, phase: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[phase] += time.perf_counter() - started


def _text(life: _Life, units: Sequence[int]) -> str:
    return JOINER.join(life.episode.units[unit] for unit in units)


def _action(
    kind: Literal["extract", "answer"],
    request: Request,
    done: Completion,
    delta: int,
    question: str | None = None,
) -> Action:
    return Action(kind, request.prompt_ids, done.ids, done.logprobs, done.text, done.finish, delta, question)
