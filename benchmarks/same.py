"""Which pairs a correction is carried over to without a sentence encoder: how often that is right, and how often not.

    python benchmarks/same.py [MODEL ...]     # by default persona-nano and persona-small; half a minute

Two questions of the persona world about one person, with the same answer, so that only the questions tell whether one
is to be put right with the other: one thing in two wordings, or two things whose answers are of one kind (two cities,
two names). `follows`: the one is put right with the other; `contradicted`: told with another answer, the one takes the
other's place. `past`: one of two wordings of one thing asks of the past, which stays as it is.
"""

from __future__ import annotations

import random
import sys

from tmem.agent.extraction import QAPair
from tmem.model import Model, load
from tmem.store.actions import Actions
from tmem.store.contradiction import contradicted, following, is_past
from tmem.store.ledger.history import Pair
from tmem.store.weights.trainer import make_trainer
from tmem.tasks.persona import lexicon
from tmem.tasks.persona.world import canonical

EACH = 200
PEOPLE = lexicon.NAMES


def wordings(attribute: lexicon.Attribute, person: str) -> list[str]:
    return [canonical(attribute, person), *(ask.replace("{p}", person) for ask in attribute.asks)]


def drawn(rng: random.Random) -> dict[str, list[tuple[str, str]]]:
    """Pairs of questions of each kind."""
    by_kind = dict[str, list[lexicon.Attribute]]()
    for attribute in lexicon.ATTRIBUTES:
        by_kind.setdefault(attribute.pool, []).append(attribute)
    several = [own for own in by_kind.values() if len(own) > 1]
    found: dict[str, list[tuple[str, str]]] = {"one thing": [], "two things": [], "past": []}
    while min(map(len, found.values())) < EACH:
        person, other = rng.choice(PEOPLE), rng.sample(rng.choice(several), 2)
        one, two = rng.sample(wordings(rng.choice(lexicon.ATTRIBUTES), person), 2)
        found["past" if is_past(one) or is_past(two) else "one thing"].append((one, two))
        one, two = (rng.choice(wordings(attribute, person)) for attribute in other)
        if not is_past(one) and not is_past(two):
            found["two things"].append((one, two))
    return {kind: pairs[:EACH] for kind, pairs in found.items()}


def measured(model: Model) -> None:
    actions = Actions(make_trainer(model, model.recipe("tmem")))
    for kind, pairs in drawn(random.Random(7)).items():
        follow = against = 0
        for one, two in pairs:
            follow += bool(following(Pair("1", one, "Rome"), "Oslo", [Pair("2", two, "Rome")], actions.same))
            same = actions.model.wordings.same
            against += contradicted(QAPair(one, "Oslo"), "", [Pair("2", two, "Rome")], same) is not None
        print(f"| {model.name} | {kind} | {follow} | {against} | {len(pairs)} |", flush=True)


if __name__ == "__main__":
    print("| model | questions | follows | contradicted | of |\n|---|---|---|---|---|")
    for name in sys.argv[1:] or ("persona-nano", "persona-small"):
        measured(load(name))
