"""An everyday world in free wording: people tell of themselves and others, of plans and things, correct and deny.

Every text is a pure function of (seed, number). Names and values are drawn from lists and made up of syllables, numbers
and letters, so that what is told has to be read and cannot be known.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from tmem.dates import MONTHS, spoken
from tmem.seeds import derive
from tmem.training.sources.rows import NOTHING, Text
from tmem.training.sources.topics import (
    COMMON,
    CORRECTIONS,
    EVENTS,
    LEADS,
    PERSONAL,
    RELATIVES,
    SMALL_TALK,
    SYLLABLES,
    TAILS,
    THINGS,
    VALUES,
    Topic,
)
from tmem.when.words import in_words, monday, say_month, say_week, say_weekend

SMALL = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
VERBS = re.compile(r"\b([A-Za-z']+)\|([A-Za-z']+)\b")


@dataclass(frozen=True)
class Who:
    """Somebody, as the speaker says it and as a question does: ("I", "Maria"), ("my sister", "Maria's sister")."""

    said: str
    asked: str


# What "I", "we", "you", "he", "she" and everybody else need in the places of a wording.
FORMS = {
    "I": {
        "{am}": "am",
        "{have}": "have",
        "{was}": "was",
        "{o}": "me",
        "{own}": "my",
        "{refl}": "myself",
        "whose": "my",
    },
    "we": {
        "{am}": "are",
        "{have}": "have",
        "{was}": "were",
        "{o}": "us",
        "{own}": "our",
        "{refl}": "ourselves",
        "whose": "our",
    },
    "you": {
        "{am}": "are",
        "{have}": "have",
        "{was}": "were",
        "{o}": "you",
        "{own}": "your",
        "{refl}": "yourself",
        "whose": "your",
    },
    "": {"{am}": "is", "{have}": "has", "{was}": "was", "{own}": "their", "{refl}": "themselves"},
}
FORMS["he"] = {**FORMS[""], "{o}": "him", "{own}": "his", "{refl}": "himself", "whose": "his"}
FORMS["she"] = {**FORMS[""], "{o}": "her", "{own}": "her", "{refl}": "herself", "whose": "her"}
PLAIN = ("I", "we", "you")  # the verb has no ending


def fill(text: str, who: Who, value: str, asked: bool) -> str:
    """A wording with who and what it is about in place."""
    name = who.asked if asked else who.said
    forms = FORMS.get(name, FORMS[""])
    whose = forms.get("whose") or (f"{name}'" if name.endswith("s") else f"{name}'s")
    text = VERBS.sub(lambda verb: verb[1 if name in PLAIN else 2], text)
    places = {
        "{s}": name,
        "{p}": whose,
        "{S}": capital(name),
        "{P}": capital(whose),
        "{o}": name,
        "{v}": value,
        **forms,
    }
    for key, form in places.items():
        text = text.replace(key, form) if key != "whose" else text
    return capital(text)


def capital(text: str) -> str:
    """Beginning with a capital letter."""
    return text[:1].upper() + text[1:]


class World:
    """What is drawn for one text."""

    def __init__(self, seed: int, number: int) -> None:
        self.draw = random.Random(derive(seed, number, "everyday"))

    # ---- values ----

    def made_up(self) -> str:
        return "".join(self.draw.choices(SYLLABLES, k=self.draw.randint(2, 3))).capitalize()

    def name(self) -> str:
        return self.made_up() if self.draw.random() < 0.3 else self.draw.choice(VALUES["name"])

    def value(self, kind: str) -> str:
        draw = self.draw
        if kind == "name":
            return self.name()
        if kind in ("city", "petname", "firm") and draw.random() < 0.25:
            return self.made_up()
        if kind in VALUES:
            return draw.choice(VALUES[kind])
        number = draw.randint
        if kind == "small":
            return draw.choice(SMALL) if draw.random() < 0.7 else str(number(1, 9))
        if kind == "age":
            return str(number(1, 99))
        if kind == "height":
            return draw.choice((f"{number(140, 205)} cm", f"1.{number(40, 99)} m", f"{number(4, 6)}'{number(0, 11)}\""))
        if kind == "weight":
            return draw.choice((f"{number(40, 120)} kg", f"{number(100, 260)} pounds"))
        if kind == "day":
            day, month = number(1, 28), draw.choice(MONTHS)
            return draw.choice((f"{day} {month}", f"{month} {day}", f"the {ordinal(day)} of {month}"))
        if kind == "year":
            return str(number(1950, 2025))
        if kind == "code":
            letters = "".join(draw.choices("abcdefghkmnprstuvwxyzABCDEFGHKMNPRSTUVWXYZ23456789", k=number(5, 9)))
            return draw.choice(
                (str(number(1000, 9999)), str(number(100000, 999999)), letters, f"{self.made_up()}{number(10, 99)}")
            )
        if kind == "phone":
            return draw.choice(
                (f"555-{number(1000, 9999)}", f"0{number(20, 99)} {number(100, 999)} {number(1000, 9999)}")
            )
        if kind == "size":
            return draw.choice((str(number(35, 47)), f"{number(4, 12)}.5"))
        if kind == "price":
            sign = draw.choice("$€£")
            return draw.choice(
                (
                    f"{sign}{number(10, 999)}",
                    f"{sign}{number(1, 99)},{number(100, 999)}",
                    f"{sign}{number(5, 900)}.{number(10, 99)}",
                )
            )
        if kind == "time":
            return draw.choice(
                (
                    f"{number(5, 23)}:{number(10, 59)}",
                    f"{number(1, 12)} {draw.choice(('am', 'pm'))}",
                    f"half past {draw.choice(SMALL)}",
                )
            )
        if kind == "number":
            return draw.choice((str(number(1, 900)), f"{draw.choice('ABCDEF')}{number(1, 60)}"))
        if kind == "length":
            return draw.choice((f"{number(10, 300)} cm", f"{number(1, 9)}.{number(1, 9)} m", f"{number(4, 90)} inches"))
        assert kind == "email", kind
        return f"{self.made_up().lower()}@{draw.choice(('mail', 'office', 'post'))}.example"

    # ---- sayings: (what is said, pairs, what else may be asked) ----

    def who(self, speaker: str | None) -> Who:
        """The speaker, somebody near, or somebody known by name."""
        kind = self.draw.random()
        if kind < 0.52:
            return Who("I", speaker or "I")
        if kind < 0.6 and speaker is None:
            return Who("we", "we")
        if kind < 0.8:
            relative, name = self.draw.choice(RELATIVES), f" {self.name()}" if self.draw.random() < 0.3 else ""
            near = "my" if speaker is None else f"{speaker}'s"
            return Who(f"my {relative}{name}", f"{near} {relative}{name}")
        name = self.name()
        return Who(name, name)

    def told(self, topic: Topic, who: Who, value: str) -> tuple[str, list[tuple[str, str]], list[tuple[str, str]]]:
        said = fill(self.draw.choice(topic.says), who, value, asked=False)
        asks = [fill(ask, who, value, asked=True) for ask in topic.asks]
        return said, [(asks[0], value)], [(ask, value) for ask in asks[1:]]

    def fact(self, topic: Topic, who: Who) -> tuple[str, list[tuple[str, str]], list[tuple[str, str]]]:
        """What is the case; or what is so now and was otherwise before."""
        value = self.value(topic.kind)
        said, pairs, asked = self.told(topic, who, value)
        if self.draw.random() < 0.12:
            old = self.value(topic.kind)
            form = self.draw.choice(
                (
                    "{said}, not {old} any more",
                    "{said}, it used to be {old}",
                    "{said}, no longer {old}",
                    "It was {old} before, but now: {said}",
                    "Not {old}: {said}",
                )
            )
            said = form.format(said=said, old=old)
        return said, pairs, asked

    def event(self, who: Who, when: datetime) -> tuple[str, list[tuple[str, str]], list[tuple[str, str]]]:
        """Something that happened or will, with its date in brackets, in the words of :mod:`tmem.when`."""
        event, phrase = self.draw.choice(EVENTS), self.phrase(when)
        words, date, future = phrase
        if future:
            said = self.draw.choice(("{S} {am} {going} {words}", "{words} {s} {am} {going}")).replace(
                "{going}", event.going
            )
            asks = [f"When {{am}} {{s}} {event.going}?", f"On what date {{am}} {{s}} {event.going}?"]
            second = (f"What {{am}} {{s}} doing {words}?", event.going)
        else:
            said = self.draw.choice(("{S} {past} {words}", "{words} {s} {past}", "{words}, {s} {past}")).replace(
                "{past}", event.past
            )
            asks = [f"When did {{s}} {event.base}?", f"What day was it that {{s}} {event.past}?"]
            second = (f"What did {{s}} do {words}?", event.past)
        said = fill(said.replace("{words}", f"{words} ({date})"), who, "", asked=False)
        first, other = (fill(ask, who, "", asked=True) for ask in asks)
        more = [(fill(second[0], who, "", asked=True), second[1])] if self.draw.random() < 0.3 else []
        return said, [(first, date)], [(other, date), *more]

    def phrase(self, when: datetime) -> tuple[str, str, bool]:
        """Words for a day, month or year, what they mean, and whether that is to come."""

        def after(days: int) -> str:
            return in_words(today + timedelta(days))

        today, some = when.date(), self.draw.randint(2, 9)
        weekday = today - timedelta(self.draw.randint(1, 6))
        choices = (
            ("yesterday", after(-1), False),
            ("last night", after(-1), False),
            ("this morning", after(0), False),
            ("today", after(0), False),
            ("the day before yesterday", after(-2), False),
            (f"{some} days ago", after(-some), False),
            ("a week ago", after(-7), False),
            ("two weeks ago", after(-14), False),
            (f"last {weekday:%A}", in_words(weekday), False),
            (f"on {weekday:%A}", in_words(weekday), False),
            ("last month", say_month(today, -1), False),
            ("last year", str(when.year - 1), False),
            (f"{some} years ago", str(when.year - some), False),
            ("last weekend", say_weekend(monday(today) - timedelta(2)), False),
            ("last week", say_week(today - timedelta(7)), False),
            ("tomorrow", after(1), True),
            ("tonight", after(0), True),
            ("the day after tomorrow", after(2), True),
            (f"in {some} days", after(some), True),
            ("in two weeks", after(14), True),
            ("next month", say_month(today, 1), True),
            ("next year", str(when.year + 1), True),
            ("next week", say_week(today + timedelta(7)), True),
        )
        return self.draw.choice(choices)

    def denial(self, who: Who) -> tuple[str, list[tuple[str, str]], list[tuple[str, str]]]:
        """What is not so, or not any more."""
        what = self.value(self.draw.choice(("music", "food", "drink", "hobby", "sport")))
        forms = (
            ("{S} don't|doesn't like {v} any more", "Do|Does {s} like {v}?", "No"),
            ("{S} {have} never liked {v}", "Do|Does {s} like {v}?", "No"),
            ("{S} stopped with {v}", "Do|Does {s} still do {v}?", "No"),
            ("{S} gave up {v}", "What did {s} give up?", "{v}"),
            ("it is not true that {s} like|likes {v}", "Do|Does {s} like {v}?", "No"),
        )
        said, ask, answer = self.draw.choice(forms)
        filled = fill(said, who, what, asked=False)
        return filled, [(fill(ask, who, what, asked=True), answer.replace("{v}", what))], []

    def saying(
        self, speaker: str | None, when: datetime | None
    ) -> tuple[str, list[tuple[str, str]], list[tuple[str, str]]]:
        """Something worth remembering."""
        kind = self.draw.random()
        if when is not None and kind < 0.4:
            return self.event(self.who(speaker), when)
        if kind < 0.7:
            return self.fact(self.draw.choice(PERSONAL), self.who(speaker))
        if kind < 0.9:
            return self.fact(self.draw.choice(THINGS), Who("I", "I"))
        return self.denial(self.who(speaker))

    def inner(self, said: str) -> str:
        """As it stands within a sentence: only names and "I" keep their capital letter."""
        first = said.split()[0].removesuffix("'s").rstrip("',")
        common = first.lower() in COMMON
        return said[0].lower() + said[1:] if common else said

    def sentence(self, said: str) -> str:
        """With a beginning as people have it, and an end."""
        lead = self.draw.choice(LEADS)
        if lead:
            said = self.inner(said)
        said = lead + said + self.draw.choice(TAILS) + self.draw.choice((".", ".", ".", "!", "..."))
        if self.draw.random() < 0.1 and not re.search(r"\d", said):
            said = said.lower()
        return said if self.draw.random() < 0.75 else f"{self.draw.choice(SMALL_TALK)} {said}"

    # ---- texts ----

    def day(self, year: int) -> datetime:
        """When something is said, in this year or one of the six after it."""
        return datetime(year, 1, 1, 8) + timedelta(self.draw.randint(0, 2500), seconds=60 * self.draw.randint(0, 800))

    def message(self) -> Text:
        """What one person says at once: mostly one to four facts, sometimes none."""
        draw = self.draw
        when = self.day(2019)
        dated, speaker = draw.random() < 0.5, self.name() if draw.random() < 0.4 else None
        count = draw.choices((0, 1, 2, 3, 4), (0.15, 0.4, 0.25, 0.12, 0.08))[0]
        told = [self.saying(speaker, when if dated else None) for _ in range(count)]
        pairs = [pair for _, own, _ in told for pair in own]
        if len({question for question, _ in pairs}) < len(pairs):
            told, pairs = told[:1], told[0][1]
        sayings = [one for one, _, _ in told]
        if len(sayings) > 1 and draw.random() < 0.3:
            first, second, *rest = sayings
            sayings = [f"{first} {draw.choice(('and', 'but', 'because'))} {self.inner(second)}", *rest]
        said = " ".join(map(self.sentence, sayings))
        said = said or " ".join(draw.sample(SMALL_TALK, draw.randint(1, 3)))
        line = f'{speaker} said, "{said}"' if speaker else said
        text = f"DATE: {spoken(when)}\nCONVERSATION:\n{line}" if dated else line
        return Text(text, pairs, self.asked(told, pairs, speaker))

    def correction(self) -> Text:
        """Something is put right: the turns before it stand above, as a chat shows them."""
        topic = self.draw.choice((*PERSONAL, *THINGS))
        who = self.who(None) if topic in PERSONAL else Who("I", "I")
        old, new = self.value(topic.kind), self.value(topic.kind)
        said, _, _ = self.told(topic, who, old)
        _, pairs, asked = self.told(topic, who, new)
        put = capital(self.draw.choice(CORRECTIONS).format(v=new, old=old))
        reply = self.draw.choice(("Got it.", "Okay!", "Thanks, I will remember that.", "That sounds good."))
        return Text(f"user: {said}.\nassistant: {reply}\n\n{put}", pairs, asked)

    def conversation(self) -> Text:
        """Two people, several turns, each with or without something told."""
        draw = self.draw
        people = [self.name(), self.name()]
        if people[0] == people[1]:
            return self.message()
        when = self.day(2019)
        lines, told, seen = [], [], set[str]()
        shared = draw.choice(PERSONAL)  # both speak of it
        for turn in range(draw.randint(4, 10)):
            speaker = people[turn % 2]
            if turn in (0, 1):
                own = self.fact(shared, Who("I", speaker))
            elif draw.random() < 0.55:
                own = self.saying(speaker, when)
            else:
                lines.append(f'{speaker} said, "{draw.choice(SMALL_TALK)}"')
                continue
            if own[1][0][0] in seen:
                continue
            seen.add(own[1][0][0])
            told.append(own)
            lines.append(f'{speaker} said, "{self.sentence(own[0])}"')
        pairs = [pair for _, own, _ in told for pair in own]
        text = f"DATE: {spoken(when)}\nCONVERSATION:\n" + "\n".join(lines)
        return Text(text, pairs, self.asked(told, pairs, people[0]))

    def asked(
        self,
        told: list[tuple[str, list[tuple[str, str]], list[tuple[str, str]]]],
        pairs: list[tuple[str, str]],
        speaker: str | None,
    ) -> list[tuple[str, str]]:
        """Some questions about what was told, in other words too, and one or two about what was not."""
        draw = self.draw
        known = [one for _, own, more in told for one in (more or own)] + pairs
        asked = draw.sample(known, min(len(known), draw.randint(1, 3)))
        questions = {question for _, own, more in told for question, _ in (*own, *more)}
        for _ in range(draw.randint(1, 2) if told else 1):
            topic = draw.choice(PERSONAL)
            ask = fill(draw.choice(topic.asks), self.who(speaker), "", asked=True)
            first = [fill(one, Who("I", speaker or "I"), "", asked=True) for one in topic.asks]
            if ask not in questions and not questions.intersection(first):
                asked.append((ask, NOTHING))
        return asked


def everyday(seed: int, count: int) -> list[Text]:
    """The first ``count`` texts of a seed."""
    made = []
    for number in range(count):
        world = World(seed, number)
        kind = world.draw.random()
        made.append(world.message() if kind < 0.6 else world.correction() if kind < 0.72 else world.conversation())
    return made


def ordinal(day: int) -> str:
    """1st, 2nd, 3rd, 4th ..."""
    last = day % 10 if day // 10 != 1 else 0
    return f"{day}{('th', 'st', 'nd', 'rd')[last] if last < 4 else 'th'}"
