"""What is said in the midst of a chat: what it tells, and what is answered to it.

A small model that was only taught single prompts finds what was said before a message once more, and takes whatever
follows a short answer for a question about it (docs/log.md, 2026-12-01).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tmem.agent.extraction import QAPair
from tmem.dates import moment
from tmem.files import read_jsonl
from tmem.seeds import derive
from tmem.session import context, session
from tmem.tasks.written import taught
from tmem.training.sources.everyday import Who, World, capital, fill
from tmem.training.sources.rows import NOTHING, PROMPT, row
from tmem.training.sources.topics import CORRECTIONS, EVENTS, OWN, PERSONAL, SMALL_TALK, THANKS, THINGS, Topic

REPLIES = Path(__file__).with_name("replies.jsonl")  # to some of what was written by hand
EARLIER = 3  # exchanges before a message, at most
SHE = ("sister", "mother", "aunt", "grandmother", "girlfriend", "niece")
HE = ("brother", "father", "uncle", "grandfather", "boyfriend", "nephew")
KNOWN = ("Thanks!", "Great, thank you.", "Right.", "Good.", "Okay.", "Perfect, thanks.", "Exactly.", "I see.")
YES = ("Yes.", "Yes, that's right.", "Yes, exactly.", "Yep.", "Right.", "That is right.")
Exchange = tuple[str, str]  # what the user said, what was answered
Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Fact:
    """Something about somebody or something, as it is said, without an end, and a reply to it."""

    topic: Topic
    who: Who
    value: str
    said: str
    reply: str

    def ask(self, number: int = 0) -> str:
        """One of its questions, as who speaks asks it; the first is the one that extraction writes."""
        return fill(self.topic.asks[number % len(self.topic.asks)], self.who, "", asked=True)


def turns(seed: int, count: int, general: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """So many rows; ``general``: requests of no memory as rows, of which some have an exchange before them."""
    texts = [line for line in taught() if len(line["said"]) == 1 and not line["said"][0][0]]
    written = [(line["said"], line["reply"]) for _, line in read_jsonl(REPLIES)]
    for number in range(count):
        yield Talk(seed, number, general, texts, written).row()


class Talk:
    """What is drawn for one row."""

    def __init__(
        self,
        seed: int,
        number: int,
        general: Sequence[dict[str, Any]],
        texts: Sequence[dict[str, Any]],
        written: Sequence[Exchange],
    ) -> None:
        self.world = World(derive(seed, "turns"), number)
        self.draw, self.general, self.texts, self.written = self.world.draw, general, texts, written

    def row(self) -> dict[str, Any]:
        """One of all kinds."""
        kind = self.draw.random()
        if kind < 0.22:
            return self._extraction(*self.stands())
        if kind < 0.44:
            return self._extraction(*self.leans())
        earlier = [self.exchange() for _ in range(self.draw.randint(0, EARLIER))]
        if kind < 0.62:
            said, reply = self.told()
        elif kind < 0.9:
            return self.requested(earlier)
        else:
            earlier, said, reply = self.asked(earlier)
        return row([*_messages(earlier), {"role": "user", "content": said}], reply)

    # ---- what is answered ----

    def fact(self, who: Who | None = None, personal: bool = False) -> Fact:
        """Of ``who``; else of anybody, or, if it is not to be ``personal``, of a thing."""
        kind = self.draw.random()
        topic = self.draw.choice(PERSONAL if who or personal or kind < 0.65 else THINGS if kind < 0.95 else OWN)
        who = who or (self.world.who(None) if topic in PERSONAL else Who("I", "I"))
        value = self.world.value(topic.kind)
        said = fill(self.draw.choice(topic.says), who, value, asked=False)
        reply = capital(self.draw.choice(topic.replies).format(v=value))
        return Fact(topic, who, value, said, reply)

    def saying(self, fact: Fact) -> str:
        """Most as they are, some as people begin and end them."""
        return f"{fact.said}." if self.draw.random() < 0.6 else self.world.sentence(fact.said)

    def otherwise(self, fact: Fact) -> str:
        """Another value that it might have."""
        others = (self.world.value(fact.topic.kind) for _ in range(9))
        return next((one for one in others if one != fact.value), "something else")

    def told(self) -> Exchange:
        """Something that a person tells, and a few words to it."""
        kind = self.draw.random()
        if kind < 0.55:
            fact = self.fact()
            return self.saying(fact), fact.reply
        if kind < 0.65:
            event = self.draw.choice(EVENTS)
            when = self.draw.choice(("yesterday", "last week", "on Monday", "this morning", "last weekend"))
            return f"I {event.past} {when}.", event.reply
        if kind < 0.75:
            return self.corrected(self.fact()), self.draw.choice(THANKS)
        return self.draw.choice(self.written)

    def corrected(self, fact: Fact) -> str:
        """Another value of a fact was meant."""
        return capital(self.draw.choice(CORRECTIONS).format(v=fact.value, old=self.otherwise(fact)))

    def remembered(self) -> Exchange:
        """What a memory answers: a few words, or that it does not know."""
        fact = self.fact()
        return fact.ask(self.draw.randrange(3)), fact.value if self.draw.random() < 0.7 else NOTHING

    def exchange(self) -> Exchange:
        """Any."""
        kind = self.draw.random()
        if kind < 0.4:
            return self.told()
        if kind < 0.75:
            return self.remembered()
        *_, asked = (one := self.draw.choice(self.general))["prompt"]
        return asked["content"], one["completion"][0]["content"]

    def requested(self, earlier: Sequence[Exchange]) -> dict[str, Any]:
        """A request of no memory is answered as it is alone."""
        one = self.draw.choice(self.general)
        return row([*_messages(earlier), *one["prompt"]], one["completion"][0]["content"])

    def asked(self, earlier: Sequence[Exchange]) -> tuple[list[Exchange], str, str]:
        """A question about what was told or answered before, or never."""
        fact, ask = self.fact(), self.draw.randrange(3)
        turns = list(earlier)
        if self.draw.random() < 0.4:
            return turns, fact.ask(ask), NOTHING
        said = (self.saying(fact), fact.reply) if self.draw.random() < 0.6 else (fact.ask(), fact.value)
        turns.insert(self.draw.randint(0, len(turns)), said)
        return turns[-EARLIER:] if said in turns[-EARLIER:] else [said], fact.ask(ask), fact.value

    # ---- what is learnt: (what was said before, the message, its pairs, its date) ----

    def stands(self) -> tuple[str, str, Pairs, str]:
        """A message that says itself what it means, or nothing."""
        before, kind = before_of(*self.exchange()), self.draw.random()
        if kind < 0.5:
            line = self.draw.choice(self.texts)
            return before, line["said"][0][1], [(one["ask"][0], one["answer"]) for one in line["pairs"]], line["date"]
        when = self.world.day(2021)
        if kind < 0.6:
            said, pairs, _ = self.world.event(self.world.who(None), when)
            return before, f"{said}.", pairs, when.isoformat()
        if kind < 0.85:
            fact = self.fact()
            return before, self.saying(fact), [(fact.ask(), fact.value)], self.dated(when)
        return before, self.draw.choice((*KNOWN, *SMALL_TALK)), [], self.dated(when)

    def leans(self) -> tuple[str, str, Pairs, str]:
        """A message that needs what was said before it."""
        draw, kind, date = self.draw, self.draw.random(), self.dated(self.world.day(2021))
        if kind < 0.2:
            return *self.follows(), date
        fact = self.fact(personal=kind >= 0.75)
        said = draw.choice((f"{capital(fact.value)}.", f"{capital(fact.value)}.", fact.value, f"{fact.said}."))
        asked, other = fact.ask(draw.randrange(3)), self.otherwise(fact)
        if kind < 0.4:  # it was asked and not known
            before = before_of(asked, NOTHING)
        elif kind < 0.65:  # it was known otherwise
            said = draw.choice((self.corrected(fact), self.corrected(fact), self.no(fact)))
            before = before_of(asked, other)
        elif kind < 0.75:  # it was said otherwise
            before = before_of(fill(draw.choice(fact.topic.says), fact.who, other, asked=False) + ".", fact.reply)
            said = self.corrected(fact)
        elif kind < 0.88:  # it is asked for
            before = self.answered(fill(draw.choice(fact.topic.asks), _yours(fact.who), "", asked=True))
        else:  # it is guessed
            right = draw.random() < 0.6
            guess = fill(draw.choice(fact.topic.says), _yours(fact.who), fact.value if right else other, asked=False)
            before = self.answered(f"So {self.world.inner(guess)}?")
            said = draw.choice(YES) if right else draw.choice((f"No, {fact.value}.", self.no(fact)))
        return before, said, [(fact.ask(), fact.value)], date

    def follows(self) -> tuple[str, str, Pairs]:
        """More is told of a person who was named before."""
        pronoun, near = self.draw.choice((("she", SHE), ("he", HE)))
        relative = self.draw.choice(near)
        who = Who(f"my {relative}", f"my {relative}")
        first, second = self.fact(who), self.fact(Who(pronoun, who.asked))
        return before_of(self.saying(first), first.reply), self.saying(second), [(second.ask(), second.value)]

    def no(self, fact: Fact) -> str:
        """It is put right in a sentence."""
        return f"No, {self.world.inner(fact.said)}."

    def answered(self, asked: str) -> str:
        """An exchange whose reply goes on with a question."""
        said, reply = self.told()
        return before_of(said, f"{reply} {asked}")

    def dated(self, when: datetime) -> str:
        """Mostly it is known when it is said."""
        return when.isoformat() if self.draw.random() < 0.6 else ""

    def _extraction(self, before: str, said: str, pairs: Pairs, date: str) -> dict[str, Any]:
        own = {question: QAPair(question, answer).record() for question, answer in pairs}
        prompt = PROMPT.extraction(session([("", said)], moment(date) if date else None, before), None, ())
        return row(prompt, json.dumps(list(own.values()), ensure_ascii=False))


def before_of(said: str, answered: str) -> str:
    """An exchange as a message is read after it."""
    return context([("user", said), ("assistant", answered)])


def _yours(who: Who) -> Who:
    """Whom the assistant calls what the user calls so."""
    said = {"I": "you", "we": "you"}.get(who.said, who.said)
    return Who(*[f"your {said[3:]}" if said.startswith("my ") else said] * 2)


def _messages(exchanges: Sequence[Exchange]) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": role, "content": text} for one in exchanges for role, text in zip(roles, one, strict=True)]
