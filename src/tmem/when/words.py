"""The words of dates: the rules' vocabulary, what its words stand for, and how a date is put in words."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from tmem.dates import MONTHS, day_of


def listed(words: str) -> frozenset[str]:
    """The words of a list."""
    return frozenset(words.split())


def _counted(words: str) -> dict[str, int]:
    return {word: n for n, word in enumerate(words.split(), 1)}


_ONES = _counted(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
TO_TWELVE = f"(?:{'|'.join(list(_ONES)[:12])})"
_NUMBERS = _ONES | {"a": 1, "an": 1}
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50}
_ORDINALS = _counted(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth twentieth"
) | {"thirtieth": 30}
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# In the order in which they are looked for in a name.
FEASTS = {
    "christmas eve": (12, 24),
    "christmas": (12, 25),
    "boxing": (12, 26),
    "new year's eve": (12, 31),
    "new year's day": (1, 1),
    "halloween": (10, 31),
    "valentine": (2, 14),
    "patrick": (3, 17),
}
QUARTERS = {"winter": 0, "spring": 1, "summer": 2, "autumn": 3, "fall": 3}

YEAR = r"(?:1[5-9]|20|21)\d\d\b"
_MACROS = {
    "num": r"(?:\d{1,3}|(?:twenty|thirty|forty|fifty)(?:(?:-| )(?:one|two|three|four|five|six|seven|eight|nine))?|an?|"
    + "|".join(sorted(_ONES, key=len, reverse=True))
    + ")",
    "weekday": r"(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)",
    "weekdayish": r"(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|(?-i:Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun))",
    # "may" and "march" are verbs; the others are months however they are written
    "month": r"(?:January|February|(?-i:March|May)|April|June|July|August|September|October|November|December|"
    r"(?-i:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec))",
    "season": r"(?:spring|summer|autumn|fall|winter)",
    "feast": r"(?:Christmas(?: Eve| Day)?|Boxing Day|New Year's (?:Eve|Day)|Halloween|(?:St\.? )?Valentine's(?: Day)?|"
    r"St\.? Patrick's Day)",
    "unit": r"(?P<u>day|night|week|fortnight|month|year|hour|minute)",
    "part": r"(?: (?:morning|afternoon|evening|night))",
    "nth": r"(?:\d{1,2}(?:st|nd|rd|th))",
    "nthword": r"(?:(?:twenty|thirty)(?:-| )(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)|"
    + "|".join(sorted(_ORDINALS, key=len, reverse=True))
    + ")",
    "year": rf"(?:{YEAR}|'\d\d\b)",
    "noyear": rf"(?!(?: in|,)? (?:of )?(?:{YEAR}|'\d\d\b))",
}


def read_number(word: str) -> int:
    """The number in digits or words; "a" is one."""
    first, _, second = word.lower().replace(" ", "-").replace("\n", "-").partition("-")
    if first.isdigit():
        return int(first)
    return _TENS[first] + _NUMBERS.get(second, 0) if first in _TENS else _NUMBERS[first]


def read_nth(word: str) -> int:
    """The number of "3rd", "third" or "twenty-third"."""
    if digits := re.match(r"\d+", word):
        return int(digits[0])
    first, _, second = word.lower().replace(" ", "-").replace("\n", "-").partition("-")
    return _TENS[first] + _ORDINALS[second] if second else _ORDINALS[first]


def read_month(word: str) -> int:
    return next(n for n, name in enumerate(MONTHS, 1) if name[:3].lower() == word[:3].lower())


def read_feast(word: str) -> tuple[int, int]:
    """Its month and day."""
    word = " ".join(word.lower().split())
    return next(day for name, day in FEASTS.items() if name in word)


def in_words(value: date | str) -> str:
    """A day as "7 May 2023", a time as "21:00 on 7 May 2023"; what is in words already stays."""
    if isinstance(value, str):
        return value
    day = day_of(value)
    return f"{value.hour:02}:{value.minute:02} on {day}" if isinstance(value, datetime) else day


def say_week(day: date) -> str:
    return f"the week of {in_words(monday(day))}"


def say_weekend(saturday: date) -> str:
    return f"the weekend of {in_words(saturday)}"


def say_span(first: date, last: date) -> str:
    return f"{in_words(first)} to {in_words(last)}"


def say_month(day: date, more: int = 0) -> str:
    year, month = divmod(day.year * 12 + day.month - 1 + more, 12)
    return f"{MONTHS[month]} {date(year, 1, 1).year}"  # a year that there is not raises


def say_year(year: int) -> str:
    return str(date(year, 1, 1).year)


def monday(day: date) -> date:
    return day - timedelta(day.weekday())


def days_on(day: date, more: int) -> date:
    return day + timedelta(more)


def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern with its ``<names>`` filled in, for whole words; one or two blanks or line ends between words.

    Every repetition has its bound, so a text is read in linear time.
    """
    for name, meaning in _MACROS.items():
        pattern = pattern.replace(f"<{name}>", meaning)
    spaced = pattern.replace(" ", r"[ \n]{1,2}")
    return re.compile(rf"\b(?<!['-])(?:{spaced})(?!\w|-\w)", re.I)


def weekday_of(word: str) -> int:
    """0 for Monday."""
    return WEEKDAYS.index(word[:3].lower())
