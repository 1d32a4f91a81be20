"""TMEM itself: what is read becomes question-answer pairs, the pairs become fast weights, the text is dropped."""

from __future__ import annotations

from collections.abc import Sequence

from tmem.agent.episode import Ask
from tmem.agent.extraction import Dropped, Extraction, QAPair, admit, fold, parse
from tmem.agent.life import LEAST_OUTPUT, Life, Steps
from tmem.agent.trajectory import Write
from tmem.errors import DataError
from tmem.fastweights import Example, unusable
from tmem.memory.plain import Plain
from tmem.memory.rag import lookup


class Weights(Plain):
    """Weights only: answers see Delta and the last working context."""

    name = "tmem"
    learns = True
    question_aware = True

    def __init__(self, life: Life) -> None:
        super().__init__(life)
        self.tail = "observed" if life.agent.write_tail else "shown"
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
        old = [example for question, (_, example) in self.current.items() if question not in fresh]
        account = yield from life.write([example for _, example in fresh.values()], old)
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
            )
        )
        if account.applied:
            self.history += pairs
            self.current |= fresh

    def extract(self, context: str, units: Sequence[int]) -> Steps[Extraction]:
        """The extraction action: pairs sampled from theta_0 + Delta_t."""
        life = self.life
        prompt = self._prompt(context)
        [done] = yield from life.say(
            "extract",
            [prompt],
            [len(life.trajectory.writes)],
            life.model.settings.max_new_tokens_extract,
            stop="json",
            grammar=life.agent.grammar,
        )
        return parse(done.text, truncated=done.finish == "length")

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

    def size(self) -> dict[str, int]:
        """Pairs that the weights answer for."""
        return {"pairs": len(self.current)}


class WeightsAndPairs(Weights):
    """Weights, and the written pairs that fit the question in the prompt."""

    name = "tmem+explicit"

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        yield from ()
        pairs = [f"{pair.question} {pair.answer}" for pair, _ in self.current.values()]
        return ["\n".join(found) for found in lookup(self.life, pairs, asks)]
