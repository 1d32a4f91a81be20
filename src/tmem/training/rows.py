"""Training rows for the embedded models: one text, many questions about it, each in its own branch.

A row is a prefix (the system message with the sessions) and branches (extraction, or one question with its
answer). Every branch sees the prefix and itself, at the positions it would have alone; so one pass over the
text supervises many prompts, each exactly as the agent will build it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer

from tmem.agent.prompts import NO_MEMORY, PROMPTS
from tmem.seeds import derive
from tmem.tasks.locomo import parse_sample, render_session, render_turn
from tmem.tasks.persona import lexicon as lx
from tmem.tasks.persona import make_sample
from tmem.tasks.persona.lexicon import Attribute
from tmem.tasks.persona.world import World, canonical, invent, sentence
from tmem.texts import NO_INFORMATION
from tmem.training.branches import Row

COMPACT = PROMPTS["compact"]
# People with facts of their own, asked about without any text: what a real model knows by heart. They teach the
# layers that are written to later to keep facts by person and attribute.
FAMOUS, FACTS_EACH = lx.seen(lx.NAMES)[::2], 8
RARE = ("update", "temporal", "open", "adversarial")
NOTHING = NO_INFORMATION
# Of the bare questions: enough to be the most likely answer, not so much that a write must fight a certainty.
NOTHING_SHARE = 0.3
# From a plain list to turns of a conversation (None: with its wordings and with asides): the speaker moves away from
# the value step by step.
SPOKEN = ("{p}'s {noun} is {v}.", '{p} said, "{noun} is {v}."', '{p} said, "My {noun} is {v}."', None)


class RowMaker:
    """Makes the rows of pretraining, each a pure function of (seed, number, progress)."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self.tokenizer = tokenizer
        self.seed = seed
        self.famous = known_by_heart()
        self.plain_ids = range(8, min(2000, tokenizer.get_vocab_size()))

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def prefix(self, context: str) -> list[int]:
        return self.ids(f"<|im_start|>system\n{context}<|im_end|>")

    def branch(self, ask: str, answer: str) -> tuple[list[int], list[int]]:
        prompt = f"<|im_start|>user\n{ask}<|im_end|><|im_start|>assistant\n"
        return self.ids(prompt), self.ids(f"{answer}<|im_end|>")

    def row(self, number: int, progress: float, copying: float, ramp: float) -> Row:
        """``progress`` in [0, 1]; until ``copying`` all rows copy, until ``ramp`` copying recedes and texts grow."""
        rng = random.Random(derive(self.seed, number, "row"))
        reach = min(1.0, (progress - copying) / max(ramp - copying, 1e-9))  # grows to 1
        kind = rng.random()
        copies = 1.0 if reach < 0 else 0.3 - 0.18 * reach
        if kind < copies:
            return self.copy(rng) if rng.random() < 0.25 else self.recite(rng, min(1.0, progress / copying))
        kind = (kind - copies) / (1 - copies)
        if kind < 0.12:
            return self.bare(rng)
        if kind < 0.18:
            return self.pairs(rng, number, most=4 + int(20 * reach))
        if kind < 0.36:
            return self.session(rng, number)
        if kind < 0.56:
            return self.summary(rng, number, reach)
        if kind < 0.62:
            return self.retrieved(rng, number)
        return self.conversation(rng, number, reach)

    def copy(self, rng: random.Random) -> Row:
        """Repeat random tokens."""
        some = [rng.choice(self.plain_ids) for _ in range(rng.randint(4, 40))]
        prefix = self.ids("<|im_start|>system\n") + some + self.ids("<|im_end|>")
        prompt, end = self.branch("Repeat.", "")
        return Row(prefix, [(prompt, some + end)])

    def recite(self, rng: random.Random, reach: float) -> Row:
        """Look values up by a key of one word, or by who spoke of what; ``reach`` 1 for the longest lists."""
        most = 2 + round(10 * reach * rng.random())  # short lists stay: in them, half a key already tells apart
        if rng.random() < 0.8:
            return self.spoken(rng, most, untold=reach == 1)
        keys = self.words(rng, rng.randint(2, most))
        values = self.words(rng, len(keys))
        row = Row(self.prefix("\n".join(f"{k} is {v}." for k, v in zip(keys, values, strict=True))))
        row.branches = [self.branch(f"What is {k}?", v) for k, v in zip(keys, values, strict=True)]
        return row

    def spoken(self, rng: random.Random, most: int, untold: bool) -> Row:
        """Values by who spoke of what, and who by value.

        ``untold``: ask also what only others spoke of, and for all pairs. Not before values are found: a model that
        finds none settles on "No information available" for everything.
        """
        # Where all speak of one thing, only the owner is looked at: the half of the key that is further away.
        one_thing = rng.random() < 0.5
        owners = self.words(rng, rng.randint(2, most) if one_thing else rng.randint(2, 3))
        things = self.words(rng, 1 if one_thing else rng.randint(2, 4))
        pairs = [(owner, thing) for owner in owners for thing in things]
        rng.shuffle(pairs)
        told = pairs[: rng.randint(2, min(most, len(pairs)))]
        values = self.words(rng, len(told))
        form = rng.choice(SPOKEN)
        lines = []
        for (owner, thing), value in zip(told, values, strict=True):
            if form is None and rng.random() < 0.3:
                aside = rng.choice([rng.choice(lx.FILLERS), rng.choice(lx.GREETINGS).format(other=rng.choice(owners))])
                lines.append(f'{rng.choice(owners)} said, "{aside}"')
            said = form or '{p} said, "' + rng.choice(lx.SAY[:-1]) + '"'
            lines.append(said.format(p=owner, noun=thing, v=value))
        row = Row(self.prefix("\n".join(lines)))
        asks = lx.ASK[:1] if form else lx.ASK[:-1]

        def ask(owner: str, thing: str, answer: str) -> None:
            row.branches.append(self.branch(sentence(rng.choice(asks), p=owner, noun=thing), answer))

        for (owner, thing), value in zip(told, values, strict=True):
            ask(owner, thing, value)
            if rng.random() < 0.5:
                row.branches.append(self.branch(f"Whose {thing} is {value}?", owner))
        if untold:
            for owner, thing in pairs[len(told) :][: max(1, len(told) // 4)]:
                ask(owner, thing, NOTHING)
            row.branches.append(
                self.extraction(
                    {"question": lx.ASK[0].format(p=owner, noun=thing), "answer": value, "superseded": False}
                    for (owner, thing), value in zip(told, values, strict=True)
                )
            )
        return row

    def extraction(self, facts: Iterable[dict[str, Any]]) -> tuple[list[int], list[int]]:
        """The branch that writes all pairs."""
        return self.branch(COMPACT.extraction("", None, [])[-1]["content"], gold_extraction(facts))

    def words(self, rng: random.Random, count: int) -> list[str]:
        """Different words, invented or real ones; most of the latter are a single token, and easier to find."""
        invented = 0.8 * rng.random()
        found: list[str] = []
        while len(found) < count:
            word = invent(rng) if rng.random() < invented else rng.choice(lx.WORDS)
            if word not in found:
                found.append(word)
        return found

    def bare(self, rng: random.Random) -> Row:
        """Questions without any text: of the famous what is known, else a value of the right type or nothing."""
        world = World("train")
        row = Row([])
        for _ in range(12):
            if rng.random() < 0.5:
                person, attribute, answer = self.famous[rng.randrange(len(self.famous))]
            else:
                person = world.name(rng)
                while person in FAMOUS:
                    person = world.name(rng)
                attribute = rng.choice(lx.ATTRIBUTES)
                answer = NOTHING if rng.random() < NOTHING_SHARE else world.value(attribute, rng)
            asked = canonical(attribute, person) if rng.random() < 0.3 else world.ask(attribute, person, rng)
            row.branches.append(self.branch(asked, answer))
        return row

    def pairs(self, rng: random.Random, number: int, most: int) -> Row:
        """Questions over a list of question-answer pairs instead of the conversation."""
        sample = make_sample(self.seed, number, 1, rng.randint(2, most), "train")
        facts = [fact for fact in sample["facts"] if not fact["superseded"]]
        rng.shuffle(facts)
        row = Row(self.prefix("\n".join(f"{fact['question']} {fact['answer']}" for fact in facts)))
        row.branches = self.questions(sample, rng, 10)
        return row

    def session(self, rng: random.Random, number: int) -> Row:
        """A session with its extraction alone: to go through a text in order is harder than to find something in it."""
        sample = make_sample(self.seed, number, 1, rng.randint(2, 6), "train")
        row = Row(self.prefix(render_session(parse_sample(sample).sessions[0]).strip()))
        row.branches = [self.extraction(sample["facts"])]
        row.branches += [
            self.branch(COMPACT.extraction("", qa["question"], [])[-1]["content"], gold_extraction(meant(sample, qa)))
            for qa in rng.sample(sample["qa"], min(2, len(sample["qa"])))
        ]
        return row

    def summary(self, rng: random.Random, number: int, reach: float) -> Row:
        """A memory in text and the next session: the memory that takes its place, whole and for one question."""
        before = rng.choice((0, 1, 1, 2, 3)) if rng.random() < reach else rng.randint(0, 1)
        sample = make_sample(self.seed, number, before + 1, rng.randint(2, 5) * (before + 1), "train")
        section = render_session(parse_sample(sample).sessions[before]).strip()
        asked = rng.choice(sample["qa"])
        wanted = meant(sample, asked)
        whole = rng.random() < 0.7  # else the memory so far was kept for the question alone
        told = [fact for fact in (sample["facts"] if whole else wanted) if fact["session"] <= before]

        def update(question: str | None, facts: list[dict[str, Any]]) -> tuple[list[int], list[int]]:
            return self.branch(COMPACT.update("", "", question)[-1]["content"], memory_text(facts))

        row = Row(self.prefix(COMPACT.update(memory_text(told), section, None)[0]["content"]))
        row.branches = [update(None, sample["facts"])] if whole else []
        row.branches.append(update(asked["question"], wanted))
        return row

    def retrieved(self, rng: random.Random, number: int) -> Row:
        """Questions over a few turns that a search might find, in any order, each with its date."""
        sample = make_sample(self.seed, number, rng.randint(1, 4), rng.randint(4, 12), "train")
        turns = [
            (turn.id, render_turn(session, turn)) for session in parse_sample(sample).sessions for turn in session.turns
        ]
        found = rng.sample(turns, min(len(turns), rng.randint(3, 10)))
        ids = {name for name, _ in found}
        row = Row(self.prefix("\n".join(text for _, text in found)))
        known = [qa for qa in sample["qa"] if ids.issuperset(qa["evidence"])]
        missing = [qa for qa in sample["qa"] if ids.isdisjoint(qa["evidence"])]
        row.branches = [self.branch(qa["question"], qa.get("answer", NOTHING)) for qa in known]
        row.branches += [self.branch(qa["question"], NOTHING) for qa in missing[: 1 + len(known) // 4]]
        return row

    def conversation(self, rng: random.Random, number: int, reach: float) -> Row:
        """Sessions with their questions and, where a trigger could hold them, their extraction."""
        sessions = rng.choices(
            (1, rng.randint(2, 3), rng.randint(4, 6)), (1 - 0.5 * reach, 0.35 * reach, 0.15 * reach)
        )[0]
        per_session = rng.randint(1, 2 + int((4 if sessions == 1 else 2) * reach))
        sample = make_sample(self.seed, number, sessions, sessions * per_session, "train")
        texts = [render_session(session).strip() for session in parse_sample(sample).sessions]
        row = Row(self.prefix("\n\n".join(texts)))
        if sessions <= 2:
            row.branches.append(self.extraction(sample["facts"]))
        row.branches += self.questions(sample, rng, 8)
        return row

    def questions(self, sample: dict[str, Any], rng: random.Random, most: int) -> list[tuple[list[int], list[int]]]:
        """Branches for the sample's own questions, rare kinds first, and some in the wording of extraction."""
        asked = [
            (rng.random() * (1 if qa["kind"] in RARE else 2), qa["question"], qa.get("answer", NOTHING))
            for qa in sample["qa"]
        ]
        asked += [(2 * rng.random(), f["question"], f["answer"]) for f in sample["facts"] if not f["superseded"]]
        return [self.branch(question, answer) for _, question, answer in sorted(asked)[:most]]


def known_by_heart() -> list[tuple[str, Attribute, str]]:
    """The facts of the famous: (person, attribute, value); the same in every run, so that a grown model keeps them."""
    rng = random.Random(derive(1, "famous"))
    world = World("seen")
    return [
        (person, attribute, world.value(attribute, rng))
        for person in FAMOUS
        for attribute in rng.sample(lx.ATTRIBUTES, FACTS_EACH)
    ]


def meant(sample: dict[str, Any], qa: dict[str, Any]) -> list[dict[str, Any]]:
    """The facts that answer a question: none for one that asks the wrong person."""
    return [fact for fact in sample["facts"] if "answer" in qa and fact["dia_id"] in qa["evidence"]]


def memory_text(facts: Iterable[dict[str, Any]]) -> str:
    """The summary that holds ``facts``, one in a line: of two answers to one question, the later."""
    latest = {fact["question"]: fact["answer"] for fact in facts}
    return "\n".join(f"{question} {answer}" for question, answer in latest.items()) or NO_MEMORY


def gold_extraction(facts: Iterable[dict[str, Any]]) -> str:
    """The JSON array that extraction should write for a text that states ``facts``."""
    pairs = [{"instruction": f["question"], "output": f["answer"]} for f in facts if not f["superseded"]]
    return json.dumps(pairs, ensure_ascii=False)
