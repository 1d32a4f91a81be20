"""A memory of your own beside TMEM's on the same episodes: ``python examples/memory_policy.py [EPISODES]``.

This one keeps the last sentence of every working context. Whatever a policy keeps, all see the same pieces of the same
streams and answer with the same model and prompt.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

from tmem.agent.episode import Ask
from tmem.agent.rollout import Rollout, Steps
from tmem.evaluation import evaluate
from tmem.model import load
from tmem.policies import make_agent
from tmem.policies.plain import Plain
from tmem.tasks.persona import Persona


class Sentences(Plain):
    name = "sentences"

    def __init__(self, rollout: Rollout) -> None:
        super().__init__(rollout)
        self.kept: list[str] = []

    def observe(self, units: Sequence[int]) -> Steps[None]:
        """Called with every full working context, whose text is dropped afterwards."""
        self.kept.append(self.rollout.text(units).rsplit(". ", 1)[-1])
        yield from ()  # asking the model: [done] = yield from self.rollout.say("notes", [prompt], [0], limit)

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        """The text that each question is answered with, to stand before the working context."""
        yield from ()
        return ["\n".join(self.kept)] * len(asks)


model = load("persona-nano")
bench = Persona(facts=4, episodes=int(sys.argv[1]) if len(sys.argv) > 1 else 4)
for name in ("none", "full", "tmem"):
    summary, _ = evaluate(make_agent(model, model.recipe("tmem"), name, write_tail=True), bench)
    print(f"{name}: F1 {summary['f1']:.2f} of {summary['n']} questions")
summary, records = evaluate(replace(make_agent(model), policy=Sentences, budget=40), bench)
print(f"{Sentences.name}: F1 {summary['f1']:.2f} of {summary['n']} questions")
