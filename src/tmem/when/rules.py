"""Dates whose words tell past from future: "yesterday", "two weeks ago", "last Friday", "the week before last"."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from tmem.dates import MONTHS
from tmem.when.reckoning import of_weekday, of_year, quarter_of, say_season
from tmem.when.said import OWNED, Said, Value, previous_word, rule, stands_alone
from tmem.when.tense import FUTURE, PAST, UNKNOWN, tense
from tmem.when.words import (
    FEASTS,
    QUARTERS,
    WEEKDAYS,
    compiled,
    days_on,
    listed,
    monday,
    read_feast,
    read_month,
    read_nth,
    read_number,
    say_month,
    say_week,
    say_weekend,
    say_year,
    weekday_of,
)

_VAGUE = listed(
    "or to about around almost nearly over under roughly approximately maybe perhaps some like than probably "
    "least most circa every another hundred thousand million twenty thirty forty fifty sixty seventy eighty "
    "ninety couple first"
)
# "A better tomorrow", "the world we live in today", "like it was yesterday"
_NO_DAY = listed("the a no better brighter like usa in kids people world society")
_FIGURATIVE = re.compile(r"(?:n't|not) born $|\blike it (?:was|were) $|\bif it (?:was|were) $")
_QUOTES = ('"', "“", "”")
_UNIT = r"(?:week|weekend|month|year|<weekdayish>|<season>|<month>|<feast>)"
# "The week before last Christmas" is no week before last.
_ALONE = rf"(?! (?:{_UNIT}|night|evening)(?!\w))"
# "Last week of July", "last night of the festival"
_LAST_OF = re.compile(r"[ \n]of[ \n](?!course\b|all\b)", re.I)
_LAST_IN = compiled(r"in <month>")


def _which(which: str, unit: str, said: Said, start: int, end: int) -> Value:
    """What last, this or next is with a unit, a weekday, a month, a season or a feast.

    The last is the latest before today. The next has two readings, and so none, while this week's or year's is to come.
    """
    day, unit, which = said.day, " ".join(unit.lower().split()), which.lower().split()[-1]
    which = {"past": "last", "coming": "coming"}.get(which, which)
    side = {"last": -1, "next": 1, "coming": 1}.get(which, 0)
    spoken_of = tense(said.text, start, end) if which == "this" else UNKNOWN
    if unit == "week":
        return say_week(days_on(day, 7 * side))
    if unit == "month":
        return say_month(day, side)
    if unit == "year":
        return say_year(day.year + side)
    if unit == "weekend":
        if which in ("next", "coming") and (day.weekday() < 5) == (which == "next"):
            return None
        if which == "this" and day.weekday() < 5 and spoken_of == UNKNOWN:
            return None
        back = which == "last" or (which == "this" and spoken_of == PAST and day.weekday() < 5)
        return say_weekend(days_on(monday(day), -2 if back else 12 if which == "next" else 5))
    if unit in QUARTERS:
        return _which_season(which, unit, day, spoken_of)
    if unit[:3] in WEEKDAYS and unit not in FEASTS:
        latest, coming = (of_weekday(unit, day, one) for one in (PAST, FUTURE))
        this = days_on(monday(day), WEEKDAYS.index(unit[:3]))
        if which == "this":
            return {PAST: latest, UNKNOWN: this if this > day else None}.get(spoken_of, coming)
        return latest if side < 0 else coming if which == "coming" or this <= day else None
    if any(name in unit for name in FEASTS):
        latest, coming = (of_year(*read_feast(unit), day, one) for one in (PAST, FUTURE))
        if which == "this":
            one = latest if spoken_of == PAST else coming
            return one if spoken_of != UNKNOWN and abs(one - day) < timedelta(200) else None
        return latest if side < 0 else coming if which == "coming" or coming.year > day.year else None
    month = read_month(unit)
    if which == "last":
        return f"{MONTHS[month - 1]} {say_year(day.year - (month >= day.month))}"
    if which == "this":
        against = (spoken_of == PAST and month > day.month) or (spoken_of > 0 and month < day.month)
        return None if against else f"{MONTHS[month - 1]} {day.year}"
    return f"{MONTHS[month - 1]} {say_year(day.year + 1)}" if month <= day.month else None


def _which_season(which: str, word: str, day: date, spoken_of: int) -> str | None:
    now, kind = quarter_of(day), QUARTERS[word]
    coming = now + (kind - now - 1) % 4 + 1
    if which == "last":
        return say_season(now - ((now - kind - 1) % 4 + 1), word)
    if which == "this":
        this = now - 1 if kind == 0 and spoken_of == PAST and now % 4 == 1 else day.year * 4 + kind
        if now % 4 == kind:
            return say_season(now, word)
        if kind == 0 and this != now - 1:
            return say_season(coming, word) if now % 4 == 3 and spoken_of != PAST else None
        return None if (this > now and spoken_of == PAST) or (this < now and spoken_of > 0) else say_season(this, word)
    if which == "next" and (coming // 4 <= day.year or (kind == 0 and now % 4 == 3)):
        return None
    return say_season(coming, word)


@rule(
    r"(?:<weekday>,? )?(?:the )?(?:\d{1,2}(?:st|nd|rd|th)?|<nthword>)(?: of)? <month>,? (?:of |in )?<year>",
    r"(?:<weekday>,? )?<month> (?:the )?(?:\d{1,2}(?:st|nd|rd|th)?|<nthword>),? (?:of |in )?<year>",
    r"(?:<month>|<season>|<feast>),? (?:of |in )?<year>",
    r"(?:<weekday>,? )?(?:\d{4}-\d\d(?:-\d\d)?|\d{1,4}[/.]\d{1,2}[/.]\d{1,4})",
    r"<weekday> Weld|Christmas Island|<num> <weekday>s|(?:Black|Cyber|Good|Ash|Shrove|Easter|Palm|Ruby) <weekday>",
    r"a (?:week|month|year) ago,? (?:on )?<weekday>",
    r"<num> (?:day|week|month|year)s? ago (?:yesterday|tomorrow|tonight|(?:last|this) \w+)",
    r"<num> weeks? (?:on|last|next) <weekday>",
    r"<weekday> (?:to|through|till|until) <weekday>",
)
def _left_alone(found: re.Match[str], said: Said) -> Value:
    """Full dates and what only looks like a date: no part of these is looked at."""
    return None


@rule(
    r"(?P<d>today|tonight|yesterday|tomorrow)(?P<p><part>)?(?:'s)?",
    r"(?:the )?day (?P<d>before yesterday|after tomorrow)",
    r"(?P<d>last (?:night|evening))(?:'s)?|(?P<d2>this (?:morning|afternoon|evening))(?:'s)?",
    rf"the night (?P<d>before last){_ALONE}",
)
def _named(found: re.Match[str], said: Said) -> Value:
    groups = found.groupdict()
    named = " ".join((groups["d"] or groups["d2"]).lower().split())
    before, after = said.text[max(0, found.start() - 16) : found.start()], said.text[found.end() : found.end() + 12]
    if previous_word(said, found.start()) in _NO_DAY or _FIGURATIVE.search(before):
        return None
    if named.startswith("last") and _LAST_OF.match(said.text, found.end()):
        return None
    if (before[-1:] in _QUOTES and after[:1] in _QUOTES) or re.match(r" (?:world|society|youth|age)\b", after):
        return None
    apart = {"yesterday": -1, "tomorrow": 1, "before yesterday": -2, "after tomorrow": 2, "before last": -2}
    return days_on(said.day, -1 if named.startswith("last") else apart.get(named, 0))


@rule(r"(?P<w>today|tomorrow|<weekday>) week", r"a week (?P<w>today|tomorrow)")
def _week_on(found: re.Match[str], said: Said) -> Value:
    """A week after the coming one: "Friday week"."""
    word = found["w"].lower()
    first = {"today": 0, "tomorrow": 1}.get(word)
    return days_on(of_weekday(word, said.day, FUTURE) if first is None else days_on(said.day, first), 7)


def _away(n: int, unit: str, half: bool, said: Said, side: int) -> Value:
    """``n`` units (and a half) before or after: a day for days, the week for weeks, the month, the year.

    Who says "two weeks ago" counts weeks, not fourteen days.
    """
    day, unit = said.day, unit.lower()
    if unit in ("hour", "minute"):
        if not isinstance(said.when, datetime) or (unit == "minute" and (half or n == 1)):
            return None
        return said.when + side * timedelta(minutes=n * 60 + 30 * half if unit == "hour" else n)
    if unit == "year":
        return say_month(day, side * (12 * n + 6)) if half else say_year(day.year + side * n)
    if unit == "month":
        year, month = divmod(day.year * 12 + day.month - 1 + side * n, 12)
        there = date(year, month + 1, min(day.day, 28))
        return say_month(days_on(there, 15 * side) if half else there)
    if half:
        return None
    if unit in ("week", "fortnight"):
        return say_week(days_on(day, side * n * (7 if unit == "week" else 14)))
    return days_on(day, side * n) if unit in ("day", "night") else None


@rule(
    r"(?P<n><num>)(?P<half> and a half)? <unit>s?(?P<half2> and a half)? ago"
    r"(?P<today> today)?(?:,?(?: on)? (?P<w><weekday>))?",
    r"(?P<half>half) (?P<n>an?) (?P<u>year|hour) ago",
)
def _ago(found: re.Match[str], said: Said) -> Value:
    groups, start = found.groupdict(), found.start()
    previous = previous_word(said, start)
    compound = re.search(
        r"(?:days?|weeks?|months?|years?|hours?|minutes?|\d|one),? and $", said.text[max(0, start - 16) : start]
    )
    marked = said.text[max(0, start - 1) : start] in tuple(".,/–—~$<>+±")  # "2.5 years", "2–3 years"
    if previous in _VAGUE or compound or marked or _or(said, found.end()):
        return None
    n, unit = read_number(groups["n"]), groups["u"].lower()
    half = bool(groups["half"] or groups.get("half2"))
    if found[0].lower().startswith("half"):
        n = 0
    if groups.get("w"):
        week = monday(days_on(said.day, -7 * n))
        return days_on(week, weekday_of(groups["w"])) if unit == "week" else None
    if groups.get("today"):
        return _same_day(-n, unit, said) if not half else None
    return _away(n, unit, half, said, -1)


def _or(said: Said, end: int) -> bool:
    """Whether it goes on "or two", "or so"."""
    return bool(re.match(r" or\b", said.text[end : end + 4]))


def _same_day(n: int, unit: str, said: Said) -> Value:
    """The very day: "a year ago today", "two weeks from today"."""
    if unit in ("month", "year"):
        year, month = divmod(said.day.year * 12 + said.day.month - 1 + n * (12 if unit == "year" else 1), 12)
        return said.day.replace(year=year, month=month + 1)
    return days_on(said.day, n * {"day": 1, "night": 1, "week": 7, "fortnight": 14}[unit])


@rule(
    r"(?:in )?(?P<n><num>) <unit>s?(?: and a half)? from (?P<w>now|today|tomorrow|<weekday>)",
    r"in (?P<n><num>) <unit>s?(?P<time>'? time|'s time)?(?! ago| and a half)",
    r"in (?P<half>half) (?P<n>an?) (?P<u>year|hour)",
)
def _ahead(found: re.Match[str], said: Said) -> Value:
    groups, unit, n = found.groupdict(), found["u"].lower(), read_number(found["n"])
    start, whence = found.start(), (groups.get("w") or "").lower()
    if "and a half" in found[0] or _or(said, found.end()) or previous_word(said, start) in _VAGUE:
        return None
    if whence == "today":
        return _same_day(n, unit, said)
    if whence not in ("", "now"):
        first = days_on(said.day, 1) if whence == "tomorrow" else of_weekday(whence, said.day, FUTURE)
        each = {"day": 1, "week": 7, "fortnight": 14}.get(unit)
        return days_on(first, n * each) if each else None
    # "Written in two weeks" is how long it took: without "time" or "from now" only what is sure to come.
    adjacent = re.search(
        r"\b(?:is|are|'s|'re|'m|leaves?|starts?|begins?|back|due) $", said.text[max(0, start - 8) : start]
    )
    sure = adjacent or tense(said.text, start, found.end()) == FUTURE
    if not (groups.get("time") or whence or (sure and stands_alone(said, found.end()))):
        return None
    return _away(0 if groups.get("half") else n, unit, bool(groups.get("half")), said, 1)


@rule(rf"(?P<w>last|next|this(?: past| coming)?|(?:the )?coming) (?P<u>{_UNIT})<part>?(?:'s)?<noyear>")
def _last_this_next(found: re.Match[str], said: Said) -> Value:
    which, unit = found["w"], found["u"]
    previous = previous_word(said, found.start())
    # "I saw her last week", but "in her last year"; "I did that last week", but "That last week"
    hers = previous in ("her", "that") and re.search(
        r"(?:\b(?:in|during|of|for|was|is|until|since|and)[ \n]her|\bHer|\bThat)[ \n]$",
        said.text[max(0, found.start() - 16) : found.start()],
    )
    owned = previous in OWNED or hers
    if _LAST_OF.match(said.text, found.end()):
        return None
    shorter = unit.lower() in ("week", "weekend") or unit[:3].lower() in WEEKDAYS
    if shorter and which.lower() == "last" and _LAST_IN.match(said.text, found.end() + 1):
        return None
    if owned or (which.lower().endswith("past") and unit.lower() in ("week", "month", "year")):
        return None
    return _which(which, unit, said, found.start(), found.end())


@rule(
    r"(?P<d><weekdayish>)<part>?,? (?:of )?(?P<w>last|this|next) week",
    r"(?P<w>last|this|next) week,? (?:on )?(?P<d><weekday>)<part>?",
)
def _day_of_week(found: re.Match[str], said: Said) -> Value:
    side = {"last": -1, "next": 1}.get(found["w"].lower(), 0)
    return days_on(monday(said.day), 7 * side + weekday_of(found["d"]))


@rule(
    r"(?P<u><month>|<season>|<feast>),? (?:of )?(?P<w>last|this|next) year",
    r"(?P<w>last|this|next) year,? (?:in|at|on|over) (?P<u><month>|<season>|<feast>)",
    r"(?:the )?(?P<n><nth>|<nthword>|\d{1,2}) (?:of )?(?P<u><month>),? (?:of )?(?P<w>last|this|next) year",
    r"(?P<u><month>) (?:the )?(?P<n><nth>|\d{1,2}),? (?:of )?(?P<w>last|this|next) year",
)
def _of_that_year(found: re.Match[str], said: Said) -> Value:
    year, unit = said.day.year + {"last": -1, "next": 1}.get(found["w"].lower(), 0), found["u"].lower()
    if dom := found.groupdict().get("n"):
        return date(year, read_month(unit), read_nth(dom))
    if unit in QUARTERS:
        return say_season(year * 4 + QUARTERS[unit], unit) if unit != "winter" else None
    if any(name in " ".join(unit.split()) for name in FEASTS):
        return date(year, *read_feast(unit))
    return f"{MONTHS[read_month(unit) - 1]} {say_year(year)}"


@rule(r"this time (?P<w>last|next) (?P<u>week|month|year)")
def _this_time(found: re.Match[str], said: Said) -> Value:
    side = -1 if found["w"].lower() == "last" else 1
    return (
        say_month(said.day, 12 * side) if found["u"].lower() == "year" else _which(found["w"], found["u"], said, 0, 0)
    )


@rule(
    rf"(?:the )?(?P<u>{_UNIT}) (?P<w>before last|after next){_ALONE}",
    r"(?P<n><num>) (?P<u>weekend|<weekday>|<season>|Christmase?)s ago",
)
def _second(found: re.Match[str], said: Said) -> Value:
    """The last but one, or "two Fridays ago"."""
    day, unit = said.day, " ".join(found["u"].lower().split())
    n = read_number(found["n"]) if "n" in found.re.groupindex else 2
    if "n" in found.re.groupindex and previous_word(said, found.start()) in _VAGUE:
        return None
    if "w" in found.re.groupindex and found["w"].lower().startswith("after"):
        if unit in ("week", "month", "year"):
            return _away(2, unit, False, said, 1)
        weekend = unit == "weekend" and day.weekday() > 4
        if weekend or (unit[:3] in WEEKDAYS and WEEKDAYS.index(unit[:3]) <= day.weekday()):
            return say_weekend(days_on(monday(day), 19)) if weekend else days_on(of_weekday(unit, day, FUTURE), 7)
        return None
    if unit in ("week", "month", "year"):
        return _away(n, unit, False, said, -1)
    if unit == "weekend":
        return say_weekend(days_on(monday(day), 5 - 7 * n))
    if unit in QUARTERS:
        now = quarter_of(day)
        return say_season(now - ((now - QUARTERS[unit] - 1) % 4 + 1) - 4 * (n - 1), unit)
    if unit[:3] in WEEKDAYS:
        return days_on(of_weekday(unit, day, PAST), -7 * (n - 1))
    if any(name in unit for name in FEASTS):
        latest = of_year(*read_feast(unit), day, PAST)
        return latest.replace(year=latest.year - n + 1)
    return f"{MONTHS[read_month(unit) - 1]} {say_year(day.year - (read_month(unit) >= day.month) - n + 1)}"
