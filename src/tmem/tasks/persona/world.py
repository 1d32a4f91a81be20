"""What one kind of persona world says: its words, how a sentence is loosened, what a phrase means on a day."""

from __future__ import annotations

import datetime
import random
from collections.abc import Sequence
from typing import Any, Literal

from tmem.tasks.persona import lexicon as lx
from tmem.tasks.persona.lexicon import Attribute

People = Literal["seen", "unseen", "train", "open"]


class World:
    """The words that one kind of world may use.

    ``train`` mixes the seen words with invented ones and with words that do not fit at all (a model then learns to
    read, not to recall the lists); ``seen`` has the seen words only; ``unseen`` has people who never spoke in training,
    values that it never gave to their attribute, and its own wordings. ``open`` is ``train`` with open words: people
    and values are made up anew every time, with invented words or words that do not fit; of the attributes and of what
    is liked or disliked it has the first three quarters.
    """

    def __init__(self, people: People, invented: float = 0.6) -> None:
        self.people = people
        self.loose = people in ("train", "open")  # facts come in any order, wordings are loosened
        self.invented = {"train": invented, "open": 1.0}.get(people, 0.0)
        self.attributes = lx.seen(lx.ATTRIBUTES) if people == "open" else lx.ATTRIBUTES
        self.traits = lx.seen(lx.TRAITS) if people == "open" else lx.TRAITS

    def part(self, items: Sequence[Any]) -> Sequence[Any]:
        return lx.unseen(items) if self.people == "unseen" else lx.seen(items)

    def wording(self, items: Sequence[str], more: Sequence[str] = ()) -> Sequence[str]:
        """The wordings of this world; ``more`` are for training alone."""
        if self.loose:
            return [*items[:-1], *more]
        return items[-1:] if self.people == "unseen" else items[:-1]

    def pick(self, items: Sequence[str], rng: random.Random) -> str:
        """One of these wordings; in training most are loosened, but not into an unseen one."""
        template = rng.choice(items)
        if self.loose and rng.random() < 0.7:
            loosened = loosen(template, rng)
            return template if loosened.lower() in lx.HELD_OUT else loosened
        return template

    def name(self, rng: random.Random) -> str:
        if self.people == "open" and rng.random() < 0.5:
            return rng.choice(lx.NO_NAMES).capitalize()
        return invent(rng).capitalize() if rng.random() < self.invented else rng.choice(self.part(lx.NAMES))

    def value(self, attribute: Attribute, rng: random.Random) -> str:
        if attribute.pool == "name":
            return self.name(rng)
        words = self.part(lx.POOLS[attribute.pool])
        if rng.random() >= self.invented or attribute.pool == "month":
            return rng.choice(words)
        if rng.random() < 2 / 3:  # any word but a value of this kind
            return rng.choice(lx.MISFITS[attribute.pool])
        word = invent(rng)
        return word.capitalize() if words[0][0].isupper() else word

    def event(self, event: Sequence[str], rng: random.Random) -> tuple[str, str]:
        """What one does and did. In training, any other word may stand for the verb or the last word."""
        base, past = (form.split() for form in event)
        if rng.random() < self.invented:
            at = rng.choice((0, -1))
            base[at] = past[at] = self.any_word(rng)
        return " ".join(base), " ".join(past)

    def filler(self, rng: random.Random) -> str:
        """Small talk. In training, any other word may stand in it."""
        words = rng.choice(self.part(lx.FILLERS)).split()
        if rng.random() < self.invented / 2:
            at = rng.randrange(len(words))
            mark = words[at][-1] if words[at][-1] in ".,!?" else ""
            words[at] = self.any_word(rng) + mark
        return " ".join(words)

    def any_word(self, rng: random.Random) -> str:
        return invent(rng) if rng.random() < 0.5 else rng.choice(lx.WORDS)

    def say(self, attribute: Attribute, value: str, rng: random.Random) -> str:
        frames = [*self.wording(attribute.says), rng.choice(self.wording(lx.SAY, lx.TRAIN_SAY))]
        return sentence(self.pick(frames, rng), noun=attribute.noun, v=value)

    def ask(self, attribute: Attribute, person: str, rng: random.Random) -> str:
        """A question in any wording but the one that extraction writes."""
        general = self.wording(lx.ASK) if self.people == "unseen" else lx.ASK[1:-1]
        return sentence(self.pick([*self.wording(attribute.asks), *general], rng), p=person, noun=attribute.noun)


def _words(text: str) -> tuple[str, ...]:
    """A comma-separated list."""
    return tuple(word.strip() for word in text.split(","))


SMALL_WORDS = _words(
    "a, about, am, and, are, as, at, by, did, do, does, for, had, has, have, i, in, is, it, me, my, of, on, our, so, "
    "that, the, to, was, we, what, when, where, which, who, will, with, would, you"
)
ASKING = ("i", "what", "when", "where", "which", "who")  # one more of them would change what is said
OPENERS = _words(
    "about that, again, all in all, always, and, and you, at home, at last, at work, believe me, but, by the way, "
    "each day, even so, ever since, for me, for years, funny, hear this, here, hey, honestly, i think, in short, "
    "it is like this, just so, let me see, listen, look, maybe, most days, no, now, of course, oh, oh well, ok, "
    "on top of that, once more, one thing, or, please, really, right, see, since then, so, some say, still, sure, "
    "the thing is, then, there, these days, this is it, to be honest, true, truth be told, was it, we all know, "
    "well, what else, with me, yes, yet, you know, you see"
)


def loosen(template: str, rng: random.Random) -> str:
    """The same in other words, as far as that goes without knowing any: words move, small ones come and go.

    A model that reads only whole sentences as they stand in a list does not find what is said in a new one.
    """
    words, mark = template[:-1].split(), template[-1]
    words = [word for word in words if word.lower() not in SMALL_WORDS or rng.random() < 0.75]
    if len(words) > 2 and rng.random() < 0.5:
        at = rng.randrange(len(words) - 1)
        words[at : at + 2] = words[at + 1], words[at]
    if rng.random() < 0.25:  # the end comes first
        at = rng.randrange(len(words))
        words = words[at:] + words[:at]
    while rng.random() < 0.3:
        words.insert(rng.randrange(len(words) + 1), rng.choice([w for w in SMALL_WORDS if w not in ASKING]))
    if rng.random() < 0.5:  # what is said does not show in the first word
        words.insert(0, rng.choice(OPENERS).capitalize() + rng.choice(["", ",", ":"]))
    if mark == "." and rng.random() < 0.25:
        mark = rng.choice("!?")
    return " ".join(words) + mark


def invent(rng: random.Random) -> str:
    """A made-up word of two or three syllables."""
    syllables = ["".join((rng.choice("bdfghjklmnprstvwz"), rng.choice("aeiou"))) for _ in range(rng.randint(1, 2))]
    word = (
        "".join(syllables) + rng.choice("bdfgklmnprst") + rng.choice("aeiou") + rng.choice(["", "", "n", "r", "l", "s"])
    )
    return invent(rng) if word.capitalize() in lx.NAMES else word  # "dora"


def sentence(template: str, **fields: str) -> str:
    """Fill a template; its first letter becomes a capital one."""
    text = template.format(**fields)
    return text[0].upper() + text[1:]


def canonical(attribute: Attribute, person: str) -> str:
    """The question that extraction writes for an attribute."""
    return lx.ASK[0].format(p=person, noun=attribute.noun)


def day_text(day: datetime.date) -> str:
    return f"{day.day} {day.strftime('%B')} {day.year}"


def when_answer(when: str, day: datetime.date) -> str:
    """What ``when`` means on ``day``, in the words LoCoMo's golds use."""
    if when == "today":
        return day_text(day)
    if when == "yesterday":
        return day_text(day - datetime.timedelta(days=1))
    if when == "last week":
        return f"The week before {day_text(day)}"
    last_month = day.replace(day=1) - datetime.timedelta(days=1)
    return last_month.strftime("%B %Y")
