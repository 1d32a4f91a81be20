"""TMEM itself: what is read becomes question-answer pairs, the pairs become fast weights, the text is dropped.

Under a recipe that writes from zero, Delta never touches a prompt that holds text: theta_0 extracts and reads, and the
memory is heard in a voice of its own, on the bare question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tmem.agent.episode import Ask
from tmem.agent.extraction import Dropped, Extraction, QAPair, admit, parse
from tmem.agent.rollout import LEAST_OUTPUT, Heard, Life, Steps, TailUse
from tmem.agent.trajectory import Write
from tmem.errors import DataError
from tmem.fastweights import Example, unusable
from tmem.model.answering import as_asked
from tmem.model.request import Voices
from tmem.policies.plain import Plain
from tmem.policies.rag import lookup
from tmem.texts import fold

AGAIN = 0.8  # temperature of a context that is read again


class Weights(Plain):
    """Weights only: answers see Delta and the last working context."""

    name = "tmem"
    learns = True
    question_aware = True
    retrieves = False  # an answer sees what was retrieved, and not the whole text

    def __init__(self, life: Life) -> None:
        super().__init__(life)
        self.tail: TailUse = "observed" if life.agent.write_tail else "shown"
        self.history: list[QAPair] = []  # admitted and written, all of them
        self.current: dict[str, tuple[QAPair, Example]] = {}  # by folded question: the latest answer

    def observe(self, units: Sequence[int]) -> Steps[None]:
        """Extract pairs from a trigger context and write those that are admitted."""
        life = self.life
        context = life.text(units)
        extraction = yield from self.extract(context, units)
        admitted, dropped = admit(extraction.pairs, self.history)
        fresh: dict[str, tuple[QAPair, Example]] = {}
        for pair in admitted:
            example = life.model.example(pair.question, pair.answer)
            if reason := unusable(example, life.agent.recipe):
                dropped.append(Dropped(reason, pair.question))
            else:
                fresh[fold(pair.question)] = pair, example
        # A question that is answered anew leaves the rehearsal of its old answer.
        kept = [entry for question, entry in self.current.items() if question not in fresh]
        held = [(pair.question, pair.answer) for pair, _ in (*kept, *fresh.values())]
        account = yield from life.write([own for _, own in fresh.values()], [own for _, own in kept], held)
        pairs = [pair for pair, _ in fresh.values()]
        life.trajectory.writes.append(
            Write(
                action=len(life.trajectory.actions) - 1,
                units=tuple(units),
                tokens=life.model.count(context),
                status=extraction.status,
                pairs=pairs,
                dropped=[*extraction.dropped, *dropped],
                account=account,
                rows=() if life.contents is None else life.contents.places[len(life.contents.places) - len(pairs) :],
            )
        )
        if account.applied:
            self.history += pairs
            for question in fresh:
                self.current.pop(question, None)  # what was told last comes last
            self.current |= fresh

    def hear(self, asks: Sequence[Ask]) -> list[Heard]:
        life, fresh = self.life, self.life.agent.recipe.fresh
        assert fresh is not None and life.contents is not None
        pairs = [(pair.question, pair.answer) for pair, _ in self.current.values()]
        weight = fresh.voice_notes if self.retrieves else fresh.voice
        # A model whose weights are not taught to refuse is not asked where the gate is shut. A benchmark's own prompt
        # knows no refusal.
        refusal = life.agent.prompts.refusal if life.episode.answer_prompt is None else None
        heard, questions = [], [ask.query or ask.text for ask in asks]
        for text, pair, opens in as_asked(life.model, life.agent.recipe, questions, pairs):
            if refusal is not None and not opens:
                heard.append(Heard(None, refusal=refusal))
                continue
            # A question about nobody that the memory knows is heard by some block: it has been taught to refuse.
            row = life.contents.places[pair or 0] if pairs else None
            heard.append(Heard(row, Voices(tuple(life.model.bare(text)), weight, life.model.refusal, opens=opens)))
        return heard

    def extract(self, context: str, units: Sequence[int]) -> Steps[Extraction]:
        """The extraction action: pairs sampled from theta_0 + Delta_t."""
        life = self.life
        prompt = self._prompt(context)
        limit, name = life.model.settings.max_new_tokens_extract, len(life.trajectory.writes)
        how: dict[str, Any] = {"stop": "json", "grammar": life.agent.grammar}
        [done] = yield from life.say("extract", [prompt], [name], limit, **how)
        extraction = parse(done.text, truncated=done.finish == "length")
        more = life.agent.extractions - 1
        if more > 0:
            names = [f"{name} again {number}" for number in range(more)]
            again = yield from life.say("extract", [prompt] * more, names, limit, temperature=AGAIN, **how)
            extraction.pairs = joined([extraction.pairs, *(parse(one.text).pairs for one in again)])
        return extraction

    def _prompt(self, context: str) -> list[int]:
        """Of a history that does not fit, the prompt has the newest pairs."""
        life, history = self.life, self.history
        wanted = min(life.model.settings.max_new_tokens_extract, life.model.window // 4)
        while True:
            prompt = life.prompt(life.agent.prompts.extraction(context, life.question, history))
            if life.room(prompt, wanted) == wanted or not history:
                break
            history = history[1 + len(history) // 10 :]
        if life.room(prompt, wanted) < min(LEAST_OUTPUT, wanted):
            raise DataError(
                f"{life.episode.id}: trigger context {len(life.trajectory.writes) + 1} makes a prompt of "
                f"{len(prompt)} tokens, too long for the window of {life.model.window} of {life.model.name}: "
                "use shorter sessions or a smaller --budget"
            )
        return prompt

    def fitting_pairs(self, asks: Sequence[Ask]) -> list[str]:
        """For every question the text of the pairs that fit it best."""
        pairs = [f"{pair.question} {pair.answer}" for pair, _ in self.current.values()]
        return ["\n".join(found) for found in lookup(self.life, pairs, asks)]

    def size(self) -> dict[str, int]:
        """Pairs that the weights answer for."""
        return {"pairs": len(self.current)}


class Pairs(Weights):
    """The control: the same pairs as text in the weights' place, found by retrieval and read by theta_0."""

    name = "pairs"
    learns = False

    def observe(self, units: Sequence[int]) -> Steps[None]:
        """Extract pairs from a trigger context and keep those that are admitted."""
        context = self.life.text(units)
        extraction = yield from self.extract(context, units)
        admitted, _ = admit(extraction.pairs, self.history)
        self.history += admitted
        for pair in admitted:
            self.current.pop(fold(pair.question), None)
            self.current[fold(pair.question)] = pair, self.life.model.example(pair.question, pair.answer)

    def hear(self, asks: Sequence[Ask]) -> list[Heard]:
        return [Heard(None)] * len(asks)

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        yield from ()
        return self.fitting_pairs(asks)


class WeightsAndPairs(Weights):
    """Weights, and the written pairs that fit the question in the prompt."""

    name = "tmem+explicit"
    retrieves = True

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        yield from ()
        return self.fitting_pairs(asks)


class WeightsAndRag(Weights):
    """Weights, and the notes of the stream that fit the question in the prompt."""

    name = "tmem+rag"
    retrieves = True

    def __init__(self, life: Life) -> None:
        super().__init__(life)
        self.tail: TailUse = "observed"
        self.notes: list[str] = []

    def observe(self, units: Sequence[int]) -> Steps[None]:
        yield from super().observe(units)
        self.notes += self.life.notes(units)

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        yield from ()
        return ["\n".join(found) for found in lookup(self.life, self.notes, asks)]


class WeightsAndFull(Weights):
    """Weights, and the whole history in the prompt; of one that does not fit, the newest part."""

    name = "tmem+full"

    def __init__(self, life: Life) -> None:
        super().__init__(life)
        self.tail: TailUse = "observed"
        self.read: list[int] = []

    def observe(self, units: Sequence[int]) -> Steps[None]:
        yield from super().observe(units)
        self.read += units

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        yield from ()
        life, read = self.life, list(self.read)
        longest = max((ask.text for ask in asks), key=len, default="")
        room = life.model.window - life.answer_limit
        while read and len(life.answer_prompt(longest, life.raw(read), ())) > room:
            read.pop(0)
        life.trajectory.left_out = len(self.read) - len(read)
        return [life.raw(read)] * len(asks)


def joined(readings: Sequence[Sequence[QAPair]]) -> list[QAPair]:
    """The pairs of several readings of one context: of a question the answer that most gave, the earliest of equals."""
    votes: dict[str, Counter[str]] = {}
    first: dict[tuple[str, str], QAPair] = {}
    for pairs in readings:
        for pair in {(fold(pair.question), fold(pair.answer)): pair for pair in pairs}.values():
            question, answer = fold(pair.question), fold(pair.answer)
            votes.setdefault(question, Counter())[answer] += 1
            first.setdefault((question, answer), pair)
    return [first[question, counts.most_common(1)[0][0]] for question, counts in votes.items()]
