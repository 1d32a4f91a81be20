"""The actions of a model under a memory's weights: reading pairs out of a text, and answering."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tmem.agent.extraction import QAPair, filter_pairs, parse
from tmem.agent.prompts import PROMPTS, dated
from tmem.agent.rollout import LEAST_OUTPUT
from tmem.agent.splitting import in_parts, the_question, to_read
from tmem.dates import Moment
from tmem.errors import UsageError
from tmem.fastweights import unusable
from tmem.model import Engine, HFEngine, Request
from tmem.model.answering import Found, Unknown, answers, as_asked
from tmem.model.batch import Batch
from tmem.model.gate import read
from tmem.model.reading import gate_of
from tmem.model.request import GenerationConfig
from tmem.model.score import logprobs
from tmem.session import session
from tmem.store.contradiction import contradicted, following
from tmem.store.ledger.history import Pair, Step
from tmem.store.ledger.queries import NewPair
from tmem.store.weights.trainer import FastWeightTrainer, PairsTrainer
from tmem.texts import fold, said

State = Mapping[str, Tensor]
Extracted = tuple[list[QAPair], list[dict[str, str]], int]  # pairs, what was dropped and why, tokens
GREEDY = GenerationConfig()
REMEMBERED = 1_024  # tokens of conversations; of SmolLM2 47 MB


@dataclass(frozen=True)
class Both:
    """A text, the place of the pair that was read for it (None: no pair was), and what moved it.

    In nats of the whole text: ``memory``, how much likelier the pair made it than the documents alone, and each of the
    ``documents``, how much likelier the prompt makes it than without that one.
    """

    text: str
    pair: int | None
    memory: float | None = None
    documents: tuple[float, ...] = ()


class Actions:
    """Every call names the weights that it is made under. For one thread at a time: see the turn of :class:`Shared`.

    ``engine``: what generates, by default the trainer's model's own loop; a batch may be of a twin of that model.
    """

    def __init__(self, trainer: FastWeightTrainer, engine: Engine | None = None) -> None:
        self.trainer = trainer
        self.engine = engine or HFEngine(trainer.model)
        # A conversation's prompt begins with the one before it. What is extracted is read anew each time, so that it is
        # the same in every process.
        self.talking = engine or HFEngine(trainer.model, remember=REMEMBERED)
        self.model = engine.model if isinstance(engine, Batch) else trainer.model
        self.prompts = PROMPTS[self.model.settings.prompts]
        self.fast = self.model.fast(trainer.recipe)

    def warm(self) -> None:
        """Make now what the first calls would wait for: a memory of one pair is written and asked."""
        pair = Pair("", "What is warm?", "This is.")
        made = self.trainer.train(self.trainer.zeros(), Step((pair,), (), 0))
        if self.trainer.by_pairs:
            self.answers(made.state, [pair.question, "Who are you?"], [pair], "base")

    def reply(
        self,
        state: State,
        prompts: Sequence[list[int]],
        limit: int,
        stop: Any = "eos",
        rows: Sequence[int | None] | None = None,
        sampling: GenerationConfig = GREEDY,
        talking: bool = False,
    ) -> list[str]:
        """Replies of at most ``limit`` tokens, without thoughts; of ``sampling`` all but its limit counts.

        Raises :class:`UsageError` for a prompt that leaves them no room.

        ``rows``: the B that each is given under, None for theta_0. Without: the only one, of a recipe whose Delta is in
        force everywhere, and theta_0 where it never touches a prompt that is not a bare question. ``talking``: turns of
        a conversation, of which what was read for the last one is not read again.
        """
        if rows is None:
            rows = [None if isinstance(self.trainer, PairsTrainer) else 0] * len(prompts)
        self._check(prompts, limit)
        requests = [
            self._request(prompt, row, limit, sampling, stop=stop) for prompt, row in zip(prompts, rows, strict=True)
        ]
        engine = self.talking if talking else self.engine
        return [said(done.text) for done in engine.generate(requests, self.trainer.delta(state), self.fast)]

    def _request(
        self, prompt: Sequence[int], row: int | None, limit: int, sampling: GenerationConfig, **more: Any
    ) -> Request:
        """``more``: what a request has that ``sampling`` does not say."""
        return Request(
            tuple(prompt),
            row,
            min(limit, self.model.window - len(prompt)),
            sampling.temperature,
            sampling.top_p,
            sampling.top_k,
            seed=sampling.seed,
            stop_texts=sampling.stop_texts,
            schema=sampling.schema,
            **more,
        )

    def _check(self, prompts: Sequence[list[int]], limit: int) -> None:
        longest, window = max(map(len, prompts)), self.model.window
        if window - longest < min(LEAST_OUTPUT, limit):
            raise UsageError(
                f"this makes a prompt of {longest} tokens, too long for the window of {window} of {self.model.name}: "
                "say it in smaller parts"
            )

    def fitting(self, question: str) -> str:
        """A question; of a text that is too long for the window the last one in it."""
        if len(self.model.bare(question)) + LEAST_OUTPUT <= self.model.window:
            return question
        return the_question(question, self.model.count, self.model.window // 2)

    def answers(self, state: State, questions: Sequence[str], pairs: Sequence[Pair], unknown: Unknown) -> list[Found]:
        """What a memory of these pairs answers; only for weights that follow from pairs. Errors as :meth:`reply`."""
        trainer = self.trainer
        assert isinstance(trainer, PairsTrainer)
        self._check([self.model.bare(question) for question in questions], self.model.settings.max_new_tokens_answer)
        return answers(self.model, trainer.recipe, trainer.known(state, pairs), questions, unknown, self.engine)

    def both(
        self,
        state: State,
        question: str,
        pairs: Sequence[Pair],
        documents: Sequence[str],
        prompt: Callable[[Sequence[str]], list[int]],
        limit: int,
        sampling: GenerationConfig = GREEDY,
    ) -> Both:
        """An answer by theta_0, which reads the pair that the gate names, if it opens, and the documents.

        ``prompt`` puts texts before the conversation. Only for weights that follow from pairs. Errors as :meth:`reply`.
        """
        trainer, model = self.trainer, self.model
        assert isinstance(trainer, PairsTrainer)
        known = trainer.known(state, pairs)
        [asked] = read(as_asked(model, trainer.recipe, [question], known.pairs, known.keys), self.engine)
        meant = asked.pair if asked.opens else None
        # As a text, since a second voice that is mixed in is a compromise that nobody meant (docs/log.md, 2026-11-30).
        told = [] if meant is None else [" ".join(known.pairs[meant])]
        whole = prompt([*told, *documents])
        self._check([whole], limit)
        [done] = self.engine.generate([self._request(whole, None, limit, sampling)], known.delta, self.fast)
        if not done.ids:  # nobody listens any more
            return Both("", meant)
        others = [[*documents[:place], *documents[place + 1 :]] for place in range(len(documents))]
        prompts = [whole, *(prompt([*told, *left]) for left in others), *([prompt(documents)] if told else [])]
        with torch.no_grad():
            scores = [float(own.sum()) for own in logprobs(model, prompts, [done.ids] * len(prompts))]
        moved = tuple(scores[0] - without for without in scores[1 : 1 + len(documents)])
        return Both(said(done.text), meant, scores[0] - scores[-1] if told else None, moved)

    def read(
        self,
        state: State,
        lines: Sequence[tuple[str, str]],
        when: Moment | None,
        before: str,
        active: Collection[Pair],
        progress: Callable[[int, int], None],
    ) -> Extracted:
        """The pairs of what was said (name, text) after ``before``: as :meth:`extract`.

        A model that makes answers of the day on which something was said sees it only where something is dated by it.
        """
        if self.prompts.undated and when is not None and dated(text := session(lines, when)) == text:
            when = None
        return self.extract(state, session(lines, when, before), active, progress)

    def extract(
        self,
        state: State,
        text: str,
        active: Collection[Pair],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Extracted:
        """The extraction action: pairs, what was dropped and why, tokens.

        A text that is too long for the window is read in parts.
        """
        pairs, dropped, tokens = list[QAPair](), list[dict[str, str]](), 0
        parts = self._parts(text, active)
        for done, part in enumerate(parts):
            progress(done, len(parts))
            prompt = self._reading(part, active)
            [reply] = self.reply(state, [prompt], self.model.settings.max_new_tokens_extract, "json")
            extraction = parse(reply)
            lost = [{"reason": drop.reason, "text": drop.text} for drop in extraction.dropped]
            if extraction.status not in ("ok", "empty") and not lost:
                lost.append({"reason": f"the model's reply: {extraction.status}", "text": reply})
            pairs, dropped, tokens = (
                pairs + extraction.pairs,
                dropped + lost,
                tokens + len(prompt) + self.model.count(reply),
            )
        return pairs, dropped, tokens

    def _parts(self, text: str, active: Collection[Pair]) -> list[str]:
        """As it is read (:func:`to_read`), in parts also where the whole does not fit the window."""
        settings, window, count = self.model.settings, self.model.window, self.model.count
        room = window - min(LEAST_OUTPUT, settings.max_new_tokens_extract)
        most = min(settings.budget, window // 4)
        parts = to_read(text, count, settings.budget, most)
        if len(parts) == 1 and len(self._reading(text, active)) > room:
            return in_parts(text, count, max(16, most))
        return parts

    def _reading(self, text: str, active: Collection[Pair]) -> list[int]:
        known = [QAPair(pair.question, pair.answer) for pair in active]
        return self.model.encode_chat(self.prompts.extraction(text, None, known))

    def filter_pairs(
        self, state: State, found: Sequence[QAPair], active: Collection[Pair]
    ) -> tuple[list[NewPair], list[dict[str, str]]]:
        """Pairs that may be written, each with the active one whose place it takes; and the others, with reasons."""
        accepted, refused = filter_pairs(found, [QAPair(pair.question, pair.answer) for pair in _holding(active)])
        rejected = [{"reason": drop.reason, "text": drop.text} for drop in refused]
        usable = []
        for pair in accepted:
            reason = self.unusable(pair.question, pair.answer)
            if reason is None:
                usable.append(pair)
            else:
                rejected.append({"reason": reason, "text": pair.question})
        return self._superseding(state, usable, active), rejected

    def unusable(self, question: str, answer: str) -> str | None:
        """Why the recipe does not train on a pair; None if it does."""
        return unusable(self.trainer.example(question, answer), self.trainer.recipe)

    def _superseding(self, state: State, found: Sequence[QAPair], active: Collection[Pair]) -> list[NewPair]:
        """Each new pair with the active one that it contradicts, if there is one."""
        believed = [""] * len(found)
        if isinstance(self.trainer, PairsTrainer):
            held = list(active)[: len(state["about.places"])]  # the others come last: told, and not written yet
            if held and found:
                told = self.answers(state, [pair.question for pair in found], held, "refuse")
                believed = [one.text for one in told]
        elif active and found:
            prompts = [self.model.encode_chat(self.prompts.answer(pair.question, "")) for pair in found]
            believed = self.reply(state, prompts, self.model.settings.max_new_tokens_answer)
        new, left = [], _holding(active)
        for pair, belief in zip(found, believed, strict=True):
            old = contradicted(pair, belief, left, self.model.wordings.same)
            left = [known for known in left if known.id != old]
            new.append(NewPair(pair.question, pair.answer, old))
        return [*new, *self._following(new, active, left)]

    def _following(self, new: Sequence[NewPair], active: Collection[Pair], left: Sequence[Pair]) -> list[NewPair]:
        """What else is put right by new pairs: those ``left`` that said the same as what they take the place of."""
        if not isinstance(self.trainer, PairsTrainer):
            return []
        known = {pair.id: pair for pair in active}
        asked, found = {fold(pair.question) for pair in new}, list[NewPair]()
        for place, pair in enumerate(new):
            if pair.supersedes is not None:
                for other, answer in following(known[pair.supersedes], pair.answer, left, self.same):
                    if fold(other.question) not in asked:
                        asked.add(fold(other.question))
                        found.append(NewPair(other.question, answer, other.id, follows=place))
        return found

    def same(self, question: str, others: Sequence[str]) -> list[bool]:
        """Whether each of ``others`` asks the same: as the model's wordings say, or else by likeness."""
        keys, wordings = gate_of(self.model, self.trainer.recipe).keys, self.model.wordings
        first, *rest = keys.questions([question, *others])
        known = [wordings.same(question, other) for other in others]
        return [float(first @ own) >= keys.same if one is None else one for one, own in zip(known, rest, strict=True)]


def _holding(active: Collection[Pair]) -> list[Pair]:
    """All but those whose place one takes that is told and not written yet."""
    put_right = {pair.supersedes for pair in active}
    return [pair for pair in active if pair.id not in put_right]
