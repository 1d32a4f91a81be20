"""TMEM itself: what is read becomes question-answer pairs, the pairs become fast weights, the text is dropped.

Under a recipe that writes from zero, Delta never touches a prompt that holds text: theta_0 extracts and reads, and the
memory is heard in a voice of its own, on the bare question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tmem.agent.episode import Ask
from tmem.agent.extraction import Dropped, Extraction, QAPair, Status, filter_pairs, parse
from tmem.agent.rollout import LEAST_OUTPUT, Rollout, Route, Steps, TailUse
from tmem.agent.splitting import to_read
from tmem.agent.trajectory import Write
from tmem.errors import DataError
from tmem.fastweights import Example, WriteAccount, unusable
from tmem.model.answering import Asked, as_asked
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

    def __init__(self, rollout: Rollout) -> None:
        super().__init__(rollout)
        self.tail: TailUse = "observed" if rollout.agent.write_tail else "shown"
        self.history: list[QAPair] = []  # accepted and written, all of them
        self.current: dict[str, tuple[QAPair, Example]] = {}  # by folded question: the latest answer

    def observe(self, units: Sequence[int]) -> Steps[None]:
        """Extract pairs from a trigger context, and write (or, as text, keep) those that are accepted."""
        rollout = self.rollout
        context = rollout.text(units)
        extraction = yield from self.extract(context, units)
        # An answer that was told before the one that holds now is a correction, not a duplicate.
        accepted, dropped = filter_pairs(extraction.pairs, [pair for pair, _ in self.current.values()])
        fresh: dict[str, tuple[QAPair, Example]] = {}
        for pair in accepted:
            example = rollout.model.example(pair.question, pair.answer)
            if reason := unusable(example, rollout.agent.recipe):
                dropped.append(Dropped(reason, pair.question))
            else:
                fresh[fold(pair.question)] = pair, example
        # A question that is answered anew leaves the rehearsal of its old answer.
        kept = [entry for question, entry in self.current.items() if question not in fresh]
        held = [(pair.question, pair.answer) for pair, _ in (*kept, *fresh.values())]
        if self.learns:
            account = yield from rollout.write([own for _, own in fresh.values()], [own for _, own in kept], held)
        else:
            account = WriteAccount.untrained(rollout.agent.recipe.name)
        pairs = [pair for pair, _ in fresh.values()]
        rollout.trajectory.writes.append(
            Write(
                action=len(rollout.trajectory.actions) - 1,
                units=tuple(units),
                tokens=rollout.model.count(context),
                status=extraction.status,
                pairs=pairs,
                dropped=[*extraction.dropped, *dropped],
                account=account,
                rows=()
                if rollout.contents is None
                else rollout.contents.places[len(rollout.contents.places) - len(pairs) :],
            )
        )
        if account.applied:
            self.history += pairs
            for question in fresh:
                self.current.pop(question, None)  # what was told last comes last
            self.current |= fresh

    def route(self, asks: Sequence[Ask]) -> Steps[list[Route]]:
        rollout, fresh = self.rollout, self.rollout.agent.recipe.fresh
        assert fresh is not None and rollout.contents is not None
        weight = fresh.voice_notes if self.retrieves else fresh.voice
        # A model whose weights are not taught to refuse is not asked where the gate is shut. A benchmark's own prompt
        # knows no refusal.
        refusal = rollout.agent.prompts.refusal if rollout.episode.answer_prompt is None else None
        routes = []
        for text, pair, opens, sure in (yield from self.asked(asks)):
            if refusal is not None and not opens:
                routes.append(Route(None, refusal=refusal))
                continue
            # A question about nobody that the memory knows is heard by some block: it has been taught to refuse.
            row = rollout.contents.places[pair or 0] if self.current else None
            voices = Voices(tuple(rollout.model.bare(text)), weight, rollout.model.refusal, opens=opens)
            routes.append(Route(row, voices, sure=sure))
        return routes

    def asked(self, asks: Sequence[Ask]) -> Steps[list[Asked]]:
        """How the memory is asked each question, as the gate decides."""
        rollout, questions = self.rollout, [ask.query or ask.text for ask in asks]
        reading = as_asked(rollout.model, rollout.agent.recipe, questions, self.pairs)
        return (yield from rollout.read_for_gate(reading))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs that hold, what was told last comes last."""
        return [(pair.question, pair.answer) for pair, _ in self.current.values()]

    def extract(self, context: str, units: Sequence[int]) -> Steps[Extraction]:
        """The extraction action: pairs by theta_0, or by theta_0 + Delta_t where Delta is in force everywhere.

        A unit that is far longer than a working context is read in parts, an action for each.
        """
        rollout, name = self.rollout, len(self.rollout.trajectory.writes)
        budget = max(rollout.agent.budget, rollout.model.settings.budget)  # 1 reads units one by one, not word by word
        parts = to_read(context, rollout.model.count, budget)
        names = [str(name) if len(parts) == 1 else f"{name} part {place}" for place in range(len(parts))]
        prompts = [self._prompt(part) for part in parts]
        found = yield from self._read(prompts, names)
        readings = [[one.pairs] for one in found]  # of each part
        for number in range(rollout.agent.extractions - 1):
            again = yield from self._read(prompts, [f"{one} again {number}" for one in names], AGAIN)
            for own, one in zip(readings, again, strict=True):
                own.append(one.pairs)
        pairs = [pair for own in readings for pair in (joined(own) if len(own) > 1 else own[0])]
        broken = [one.status for one in found if one.status not in ("ok", "empty")]
        status: Status = ("partial" if broken else "ok") if pairs else next(iter(broken), "empty")
        return Extraction(status=status, pairs=pairs, dropped=[drop for one in found for drop in one.dropped])

    def _read(
        self, prompts: Sequence[list[int]], names: Sequence[str], temperature: float | None = None
    ) -> Steps[list[Extraction]]:
        """One extraction of every part."""
        rollout = self.rollout
        limit, grammar = rollout.model.settings.max_new_tokens_extract, rollout.agent.grammar
        done = yield from rollout.say(
            "extract", prompts, names, limit, temperature=temperature, stop="json", grammar=grammar
        )
        return [parse(one.text, truncated=one.finish == "length") for one in done]

    def _prompt(self, context: str) -> list[int]:
        """Of a history that does not fit, the prompt has the newest pairs."""
        rollout, history = self.rollout, self.history
        wanted = min(rollout.model.settings.max_new_tokens_extract, rollout.model.window // 4)
        while True:
            prompt = rollout.prompt(rollout.agent.prompts.extraction(context, rollout.question, history))
            if rollout.room(prompt, wanted) == wanted or not history:
                break
            history = history[1 + len(history) // 10 :]
        if rollout.room(prompt, wanted) < min(LEAST_OUTPUT, wanted):
            raise DataError(
                f"{rollout.episode.id}: trigger context {len(rollout.trajectory.writes) + 1} makes a prompt of "
                f"{len(prompt)} tokens, too long for the window of {rollout.model.window} of {rollout.model.name}: "
                "use shorter sessions or a smaller --budget"
            )
        return prompt

    def fitting_pairs(self, asks: Sequence[Ask]) -> list[str]:
        """For every question the text of the pairs that fit it best."""
        pairs = [f"{question} {answer}" for question, answer in self.pairs]
        return ["\n".join(found) for found in lookup(self.rollout, pairs, asks)]

    def size(self) -> dict[str, int]:
        """Pairs that the weights answer for."""
        return {"pairs": len(self.current)}


class Pairs(Weights):
    """The control: the same pairs as text in the weights' place, found by retrieval and read by theta_0."""

    name = "pairs"
    learns = False

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        yield from ()
        return self.fitting_pairs(asks)


class Lookup(Pairs):
    """The control without a reader: the gate's pair gives its answer word for word, as weights that never err would.

    Nothing is trained and no answer is generated, so that RL of extraction alone takes a tenth of the time.
    """

    name = "lookup"

    def __init__(self, rollout: Rollout) -> None:
        super().__init__(rollout)
        self.tail: TailUse = "observed"

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        rollout, pairs = self.rollout, self.pairs
        for ask, (_, pair, opens, _) in zip(asks, (yield from self.asked(asks)), strict=True):
            found = pairs[pair][1] if opens and pair is not None else rollout.model.wordings.refusal
            rollout.trajectory.answers[ask.id] = found
        return [""] * len(asks)


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

    def __init__(self, rollout: Rollout) -> None:
        super().__init__(rollout)
        self.tail: TailUse = "observed"
        self.notes: list[str] = []

    def observe(self, units: Sequence[int]) -> Steps[None]:
        yield from super().observe(units)
        self.notes += self.rollout.notes(units)

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        yield from ()
        return ["\n".join(found) for found in lookup(self.rollout, self.notes, asks)]


class WeightsAndFull(Weights):
    """Weights, and the whole history in the prompt; of one that does not fit, the newest part."""

    name = "tmem+full"

    def __init__(self, rollout: Rollout) -> None:
        super().__init__(rollout)
        self.tail: TailUse = "observed"
        self.read: list[int] = []

    def observe(self, units: Sequence[int]) -> Steps[None]:
        yield from super().observe(units)
        self.read += units

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        yield from ()
        rollout, read = self.rollout, list(self.read)
        longest = max((ask.text for ask in asks), key=rollout.model.count, default="")
        room = rollout.model.window - rollout.answer_limit
        while read and len(rollout.answer_prompt(longest, rollout.raw(read), ())) > room:
            read.pop(0)
        rollout.trajectory.left_out = len(self.read) - len(read)
        return [rollout.raw(read)] * len(asks)


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
