"""Dates as people say them: "yesterday", "two weekends ago", "on Friday" made dates by the day of the message.

A grammar of what people say, one rule a form. A phrase with two readings is left as it was said, for a wrong date is
worse than none. What was settled:

- A date is as exact as the words: days give a day, "two weeks ago" the week, "two months ago" the month, "two years
  ago" the year; "about", "a few" and "a couple of" give nothing.
- "Last Friday", "last March", "last summer" and "last Christmas" are the latest before today.
- "Next Friday" is this week's to some and next week's to others: it has a date only once this week's is past, and so
  have "next weekend", "next March", "next summer". "This Friday" is the week's, or the nearest that the verb allows.
- "On Friday", "in March", "the 3rd", "at the weekend", "for Christmas" go by the verb, and are nothing on such a day
  itself.
- Weeks begin on Monday; seasons are the northern ones, and winter has both its years: winter 2022/2023.
- "The day before 1 May" is the day before; weeks and months before or after a day have no date, nor has that day there.
- "Last night at 2 am" is this morning. Without am, pm or the part of the day an hour is left out; midnight gives
  nothing.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from tmem.dates import Moment
from tmem.when import rules, told  # noqa: F401  # they fill RULES
from tmem.when.said import RULES, TITLE, Said, Value
from tmem.when.words import in_words

__all__ = ["Found", "find", "resolved"]


@dataclass(frozen=True)
class Found:
    """A phrase ``text[start:end]`` that means a date, and that date in words."""

    start: int
    end: int
    text: str


# One letter for one, so that places stay: apostrophes are made plain, and letters that differ from k, i or s in nothing
# but case are no letters of ours.
_SAME = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "ſ": "\0", "\u212a": "\0", "ı": "\0", "İ": "\0", "\t": " ", "\xa0": " "}
)
_DAY = r"\d{1,2} [A-Z][a-z]{2,8} \d{1,4}"
_BRACKET = re.compile(
    rf" \((?:\d\d:\d\d on {_DAY}|(?:the (?:week|weekend) of )?{_DAY}(?: to {_DAY})?"
    r"|(?:[A-Za-z]{3,9} )?\d{1,4}(?:/\d{1,4})?|\d{4}-\d\d-\d\d)\)"
)
_ANY_YEAR = re.compile(r"\s?\([^()\n]{0,60}(?<!\d)(?:1[5-9]|20|21)\d\d(?!\d)[^()\n]{0,60}\)")
_PROPER = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Chr|Box|New|Hal|Val|St)"
)
# What another has said was said on another day: no dates in it, only beside it.
_TOLD = r"(?:said|says|asked|told|wrote|texted|replied|shouted|answered|sang)"
_QUOTED = re.compile(
    rf"\b{_TOLD}(?: \w{{1,20}}){{0,4}}[:,]? ?(?P<a>[\"“][^\"“”\n]{{1,400}}[\"”])"
    rf"|(?P<b>[\"“][^\"“”\n]{{1,400}}[\"”],? (?:\w{{1,20}} )?{_TOLD}\b)",
    re.I,
)
# "The day before 1 May" is a date of its own; of "the week before 1 May" no part is one.
_NEIGHBOUR = re.compile(
    r"\b(?P<the>the[ \n]{1,2})?(?P<u>(?:day|night|evening|morning|afternoon|week|weekend|fortnight|month|year|hour"
    r"|minute|spring|summer|autumn|fall|winter|(?:mon|tues|wednes|thurs|fri|satur|sun)day)s?)[ \n]{1,2}"
    r"(?P<more>(?:just|right|or so|or two|shortly|before and|before or)[ \n]{1,2})?(?P<w>before|after)[ \n]{1,2}$",
    re.I,
)
_FROM = re.compile(r"\b(?:day|week|fortnight|month|year)s?[ \n]{1,2}from[ \n]{1,2}$", re.I)  # "a week from next Monday"
_CLOCK = (
    r"(?:(?P<noon>noon|midday)|(?P<midnight>midnight)"
    r"|(?P<h>\d{1,2})(?:[:.](?P<m>\d\d))?(?: ?(?P<half>[ap])(?:m|\.m\.?)(?!\w))?(?: ?o'clock)?)"
)
_AFTER = re.compile(rf",? at {_CLOCK}(?![\w:-]|[.,]\d| (?:to|or|and) \d)", re.I)
_BEFORE = re.compile(rf"(?<!\w)at {_CLOCK}(?: on)? $", re.I)


def _clock(found: re.Match[str], phrase: str) -> time | str | None:
    """The time of day; a bare hour only with the part of the day, "midnight" for it belongs to two days."""
    if found["midnight"]:
        return "midnight"
    if found["noon"]:
        return time(12)
    hour, minute = int(found["h"]), int(found["m"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (found["half"].lower() == "p")
        if hour == minute == 0:
            return "midnight"
    elif hour < 13:
        part = next((one for one in ("morning", "afternoon", "evening", "night") if one in phrase.lower()), "")
        if part == "morning" and 1 <= hour < 12:
            pass
        elif (part == "afternoon" and 1 <= hour < 7) or (part in ("evening", "night") and 5 <= hour < 12):
            hour += 12
        else:
            return None
    elif not found["m"]:
        return None
    with suppress(ValueError):
        return time(hour, minute)
    return None


def _with_clock(text: str, start: int, end: int, day: date) -> tuple[int, int, Value]:
    """The phrase with the clock time beside it, if there is one."""
    phrase = text[start:end]
    before, after = _BEFORE.search(text, max(0, start - 24), start), _AFTER.match(text, end)
    for found in (before, after):
        clock = _clock(found, phrase) if found else None
        if found is None or clock is None:
            continue
        start, end = min(start, found.start()), max(end, found.end())
        if not isinstance(clock, time):
            return start, end, None
        # after midnight the night is on the next day's date
        if "night" in phrase.lower() and clock.hour < 6:
            day = day + timedelta(1)
        return start, end, datetime.combine(day, clock)
    return start, end, day


def _beside(text: str, start: int, value: Value) -> tuple[int, Value]:
    """The day before or after, where that is what the words before ``start`` ask for."""
    if _FROM.search(text, max(0, start - 24), start):
        return start, None
    found = _NEIGHBOUR.search(text, max(0, start - 48), start)
    if found is None:
        return start, value
    the_day = found["the"] and found["u"].lower() == "day" and not found["more"]
    if not the_day or not isinstance(value, date) or isinstance(value, datetime):
        return start, None
    return found.start(), value + timedelta(-1 if found["w"].lower() == "before" else 1)


def _without_brackets(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without bracketed dates, and where each stood (in that text) and how long it was.

    So the second reading sees what the first one saw, and finds nothing new beside its brackets.
    """
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    at = length = 0
    for bracket in _BRACKET.finditer(text):
        parts.append(text[at : bracket.start()])
        length += len(parts[-1])
        places.append((length, len(bracket[0])))
        at = bracket.end()
    return "".join(parts) + text[at:], places


def find(text: str, when: Moment) -> list[Found]:
    """The phrases of ``text`` that mean a date relative to ``when``, in order, none over another.

    A moment with a zone is the speaker's own clock. A phrase that has its date in brackets already is not found, and
    neither is a date with its year. Nothing raises, whatever the text.
    """
    plain, places = _without_brackets(text)
    said = Said(plain.translate(_SAME), when)
    forms = [_QUOTED, *(form for form, _ in RULES)]
    spans = [
        (one.start(0 if number else one.lastgroup or 0), -one.end(), number, one)
        for number, form in enumerate(forms)
        for one in form.finditer(said.text)
    ]
    found: list[Found] = []
    reached = shift = place = 0
    # The first and longest first: what it covers is its own, also where it means no date.
    for start, ending, number, match in sorted(spans, key=lambda span: span[:3]):
        if start < reached:
            continue
        free, end, value = reached, -ending, None
        with suppress(ValueError, OverflowError):  # a day that there is not: 31 June, the year 0
            value = RULES[number - 1][1](match, said) if number else None
            if value is not None:
                start, value = _beside(said.text, start, value)
            if isinstance(value, date) and not isinstance(value, datetime):
                start, end, value = _with_clock(said.text, start, end, value)
            # "Take Me Home Tonight": words that have no capital of their own
            first, second = said.text[start], said.text[start + 1 : start + 2]
            if first.isupper() and second.islower() and not _PROPER.match(said.text, start):
                value = None if TITLE.search(said.text, max(0, start - 24), start) else value
        reached = end
        while place < len(places) and places[place][0] <= start:
            shift += places[place][1]
            place += 1
        dated = (place < len(places) and places[place][0] <= end) or _ANY_YEAR.match(text, end + shift)
        if value is not None and start >= free and not dated:
            found.append(Found(start + shift, end + shift, in_words(value)))
    return found


def resolved(text: str, when: Moment) -> str:
    """The text with the date of each phrase in brackets behind it: "I saw a whale yesterday (7 May 2023)."."""
    parts, at = [], 0
    for one in find(text, when):
        parts.append(f"{text[at : one.end]} ({one.text})")
        at = one.end
    return "".join(parts) + text[at:]
