"""Dates that need the verb: "on Friday", "in March", "the 3rd", "at the weekend", "Christmas" - gone or to come.

Without a verb that tells, and where today itself is such a day, they are left as they were said.
"""

from __future__ import annotations

import re
from datetime import date

from tmem.dates import MONTHS
from tmem.when.reckoning import of_month, of_weekday, of_year
from tmem.when.said import OWNED, TITLE, Said, Value, previous_word, rule, stands_alone
from tmem.when.tense import FUTURE, PAST, UNKNOWN, intends, tense
from tmem.when.words import (
    compiled,
    days_on,
    listed,
    monday,
    read_feast,
    read_month,
    read_nth,
    read_number,
    say_month,
    say_span,
    say_week,
    say_weekend,
    say_year,
    weekday_of,
)

_LEAD = re.compile(
    r"\b(?:(?P<of>(?:end|beginning|start|middle) of)|(?P<p>on|in|at|since|by|until|till|before|after|for|over|during))"
    r"(?: (?:early|late|mid))?[ \n-]$",
    re.I,
)
# Of every year, or of a year long gone: "born on 3 April" is not the last 3 April.
_YEARLY = re.compile(r"\b(?:born|birth\w*|anniversar\w+|annual\w*)\b", re.I)
_LONG_AGO = re.compile(r"\b(?:married|founded|(?:my|our|your) wedding)\b", re.I)
_NAMES = listed("april may june august jan")
# "On Friday in two weeks", "in two weeks on Friday", "on Monday after Christmas": no Friday or Monday of these days.
_WEEKS_OFF = compiled(
    r"in <num> (?:week|month)s?|the week (?:before|after)|(?:before|after) (?:<feast>|<month>|<nth>|\d{1,2})"
)
_WEEKS_OFF_BEFORE = re.compile(r"\b(?:from now|in \w{1,9} (?:weeks?|months?)),? $", re.I)
# "They moved it from Thursday to Friday": two days of one thing, and nothing that lasts.
_MOVED = re.compile(
    r"\b(?:mov(?:ed?|ing)|chang(?:ed?|ing)|postpon\w*|resched\w*|shift\w*|push\w*|switch\w*|swap\w*|delay\w*|extend\w*"
    r"|brought)\b[^.!?;\n]{0,60}$",
    re.I,
)
# "Extended it until Friday", "she has been grounded until Friday": it goes on, whatever the verb says.
_GOES_ON = re.compile(
    r"\b(?:(?:has|have|he's|she's|it's|'ve) been|extend\w*|extension|delay\w*|postpon\w*|push\w*|put|renew\w*"
    r"|gave|given|got|ground\w*|suspend\w*|banned|borrow\w*|lent|rent\w*|hired)\b[^.!?;\n]{0,60}$",
    re.I,
)
# "Decided on 5 October", "a lease starting 5 October", "pushed to 5 October", "the date: 5 October": only chosen then.
_CHOSEN = re.compile(r"\b(?:decided|settled|agreed|chose|chosen|picked|starting|beginning|ending)[ \n]$", re.I)
_SET_TO = re.compile(r"(?:\bto|\bdate\b[^.!?;:\n]{0,40}:)[ \n]$", re.I)
# After these a weekday alone is no date: "all about Friday", "it was Friday", "from Friday".
_BARE_AFTER = listed(
    "about of like love hate was is are be called named to it's than from one some another holiday into with not vs"
)


def _lead(found: re.Match[str], said: Said) -> tuple[str, int]:
    """The preposition before the phrase ("" where there is none), and where it starts."""
    before = said.text[max(0, found.start() - 24) : found.start()]
    lead = _LEAD.search(before)
    if lead is None:
        return "", found.start()
    return (lead["p"] or "of").lower(), found.start() - len(before) + lead.start()


def _side(found: re.Match[str], said: Said) -> int:
    """PAST, to come (above 0) or UNKNOWN, by the preposition and the verb."""
    lead, start = _lead(found, said)
    if lead == "since":
        return PAST
    side = tense(said.text, start, found.end())
    return UNKNOWN if side == PAST and _set_then(lead, start, said) else side


def _set_then(lead: str, start: int, said: Said) -> bool:
    """Whether what was done then set a date that may be yet to come."""
    before = said.text[max(0, start - 80) : start]
    if lead == "for":  # "booked it for Friday"
        return intends(said.text, start)
    if lead in ("until", "till"):
        return bool(_GOES_ON.search(before))
    return bool(_CHOSEN.search(before) or (not lead and _SET_TO.search(before)))


def _yearly(found: re.Match[str], said: Said) -> bool:
    around = said.text[max(0, found.start() - 120) : found.end() + 120]
    return bool(_YEARLY.search(around) or (_LONG_AGO.search(around) and _side(found, said) == PAST))


def _one(side: int, latest: date, coming: date) -> Value:
    return latest if side == PAST else coming if side > UNKNOWN else None


@rule(r"(?P<d><weekdayish>)<part>?")
def _weekday(found: re.Match[str], said: Said) -> Value:
    word, (lead, start) = found["d"], _lead(found, said)
    if weekday_of(word) == said.day.weekday() or not stands_alone(said, found.end()):
        return None
    if _WEEKS_OFF.match(said.text, found.end() + 1) or _WEEKS_OFF_BEFORE.search(said.text, max(0, start - 24), start):
        return None
    if lead in ("", "of", "in", "at", "over", "during"):
        before = said.text[max(0, start - 24) : start]
        named = re.search(r"\b(?!I |I'|And |But |So |Mum |Mom |Dad )[A-Z][\w']*[ \n]$", before)  # "Ruby Tuesday"
        adjective = re.search(r"\b(?:an?|the|every|each|one|my|this|that|last|next)[ \n]\w+[ \n]$", before, re.I)
        odd = OWNED | _BARE_AFTER
        if lead or not word.lower().endswith("day") or word.islower():
            return None
        if previous_word(said, start) in odd or named or adjective:
            return None
    if lead == "for" and tense(said.text, start, found.end()) == PAST:
        return None
    return _one(_side(found, said), of_weekday(word, said.day, PAST), of_weekday(word, said.day, FUTURE))


def _moved(found: re.Match[str], said: Said) -> bool:
    return bool(_MOVED.search(said.text, max(0, found.start() - 80), found.start()))


@rule(r"(?:from |between )(?P<a><weekday>) (?:to|until|till|through|and) (?P<b><weekday>)")
def _weekdays(found: re.Match[str], said: Said) -> Value:
    side, day = tense(said.text, found.start(), found.end()), said.day
    if side == UNKNOWN or (found[0].lower().startswith("from") and re.search(r"\band\b", found[0])):
        return None
    if day.weekday() in (weekday_of(found["a"]), weekday_of(found["b"])) or _moved(found, said):
        return None
    if side == PAST:
        last = of_weekday(found["b"], day, PAST)
        return say_span(of_weekday(found["a"], last, PAST), last)
    first = of_weekday(found["a"], day, FUTURE)
    return say_span(first, of_weekday(found["b"], first, FUTURE))


@rule(
    r"(?:(?P<d><weekdayish>),? )?(?:the )?(?P<n><nth>|\d{1,2})(?: of)? (?P<m><month>)<noyear>",
    r"(?:(?P<d><weekdayish>),? )?(?:the )?(?P<n><nthword>) of (?P<m><month>)<noyear>",
    r"(?:(?P<d><weekdayish>),? )?(?P<m><month>) (?:the )?(?P<n><nth>|\d{1,2})<noyear>",
    r"(?P<d><weekdayish>),? (?:the )?(?P<n><nth>)",
    r"(?P<m><month>) the (?P<n><nthword>)<noyear>",
)
def _dated(found: re.Match[str], said: Said) -> Value:
    """A day of a month, with or without the weekday, which has to fit."""
    groups, nth = found.groupdict(), read_nth(found["n"])
    if not stands_alone(said, found.end()) or (groups.get("m") and _yearly(found, said)):
        return None
    if (said.day.day, said.day.month) == (nth, read_month(groups["m"]) if groups.get("m") else said.day.month):
        return None
    if groups.get("m"):
        latest, coming = (of_year(read_month(found["m"]), nth, said.day, one) for one in (PAST, FUTURE))
    else:
        latest, coming = (of_month(nth, said.day, one) for one in (PAST, FUTURE))
    value = _one(_side(found, said), latest, coming)
    if groups.get("d") and isinstance(value, date):
        return value if value.weekday() == weekday_of(found["d"]) else None
    return value


@rule(r"the (?P<n><nth>)")
def _nth_day(found: re.Match[str], said: Said) -> Value:
    nth, lead = read_nth(found["n"]), _lead(found, said)[0]
    if lead not in ("on", "since", "by", "until", "till", "before", "after", "for") or nth == said.day.day:
        return None
    following = re.match(r"[ \n]*(?:(?:and|of|or)\b|,? ?\d)", said.text[found.end() : found.end() + 8], re.I)
    if following or not stands_alone(said, found.end()):
        return None
    return _one(_side(found, said), of_month(nth, said.day, PAST), of_month(nth, said.day, FUTURE))


@rule(r"the (?P<n><nth>|<nthword>) of (?P<w>last|this|next) month")
def _nth_of(found: re.Match[str], said: Said) -> Value:
    side = {"last": -1, "next": 1}.get(found["w"].lower(), 0)
    year, month = divmod(said.day.year * 12 + said.day.month - 1 + side, 12)
    return date(year, month + 1, read_nth(found["n"]))


@rule(
    r"(?P<w>from|between) (?:the )?(?P<a><nth>|\d{1,2})(?: of)?(?: (?P<m0><month>))? (?P<to>to|and|until|till|through) "
    r"(?:the )?(?P<b><nth>|\d{1,2})(?: of)? (?P<m><month>)<noyear>",
    r"(?P<w>from|between) the (?P<a><nth>) (?P<to>to|and|until|till|through) the (?P<b><nth>)",
    r"(?P<w>from|between) (?P<m0><month>) (?P<a><nth>|\d{1,2}) (?P<to>to|and|until|till|through) (?:(?P<m><month>) )?"
    r"(?P<b><nth>|\d{1,2})<noyear>",
    r"(?P<a><nth>|\d{1,2}) ?(?:-|–|to|and|or) ?(?P<b><nth>|\d{1,2})(?: of)? (?P<m><month>)",
    r"(?P<m><month>) (?P<a><nth>|\d{1,2}) ?(?:-|–|to|and|or) ?(?P<b><nth>|\d{1,2})",
)
def _from_to(found: re.Match[str], said: Said) -> Value:
    """From the 3rd to the 5th; without "from" or "between" it may be two days or something else."""
    groups = found.groupdict()
    if (
        not groups.get("w")
        or (groups["w"].lower() == "from") == (groups["to"].lower() == "and")
        or _yearly(found, said)
    ):
        return None
    months = [read_month(one) for one in (groups.get("m0"), groups.get("m")) if one]
    side, a, b = tense(said.text, found.start(), found.end()), read_nth(groups["a"]), read_nth(groups["b"])
    if side == UNKNOWN or not stands_alone(said, found.end()) or _moved(found, said):
        return None

    def nearest(nth: int, at: int, day: date, side: int) -> date:
        return of_year(months[at], nth, day, side) if months else of_month(nth, day, side)

    ends = nearest(b, -1, days_on(said.day, -1), FUTURE)
    if side == PAST:
        last = nearest(b, -1, said.day, PAST)
        first = of_year(months[0], a, last, PAST) if months else last.replace(day=a)
        return say_span(first, last) if first < last and ends != said.day else None
    first = nearest(a, 0, said.day, FUTURE)
    if ends < first:  # today is one of these days
        return None
    last = of_year(months[-1], b, first, FUTURE) if months else first.replace(day=b)
    return say_span(first, last) if first < last else None


@rule(r"(?:from|between) <month> (?:to|and|until|till|through) <month>")
def _months(found: re.Match[str], said: Said) -> Value:
    return None


@rule(r"(?P<m><month>)<noyear>")
def _month(found: re.Match[str], said: Said) -> Value:
    name, month, (lead, _) = found["m"].lower(), read_month(found["m"]), _lead(found, said)
    if (
        lead not in ("in", "since", "by", "until", "till", "during", "before", "after", "of", "for")
        or month == said.day.month
    ):
        return None
    side = _side(found, said)
    named = (
        name in _NAMES
        and lead not in ("in", "since", "of")
        and not (side > UNKNOWN and lead in ("by", "until", "till"))
    )
    believed = re.search(
        r"(?:believ\w+|interest\w+|faith|confid\w+|trust\w*) in $",
        said.text[max(0, found.start() - 16) : found.start()],
    )
    if side == PAST and lead == "for":  # "paid the rent for September"
        return None
    if named or believed or not stands_alone(said, found.end()) or _yearly(found, said):
        return None
    if side == PAST:
        return f"{MONTHS[month - 1]} {say_year(said.day.year - (month > said.day.month))}"
    return f"{MONTHS[month - 1]} {say_year(said.day.year + (month < said.day.month))}" if side > UNKNOWN else None


@rule(r"the (?P<e>beginning|start|end) of (?:the|this) (?P<u>week|month|year)")
def _edge(found: re.Match[str], said: Said) -> Value:
    """The beginning or end of a week, month or year: the one that holds it, if today is well away from it."""
    side, day = _side(found, said), said.day
    unit, ending = found["u"].lower(), found["e"].lower() == "end"
    whole = {"week": 7, "month": 30, "year": 365}[unit]
    gone = {"week": day.weekday(), "month": day.day - 1, "year": day.timetuple().tm_yday - 1}[unit] / whole
    if (
        side == UNKNOWN
        or not _lead(found, said)[0]
        or (gone > 0.75 if ending and side == PAST else gone < 0.15 and not (ending or side == PAST))
    ):
        return None
    more = (
        (-1 if side == PAST and ending else 1 if side > UNKNOWN and not ending else 0) if " the " in found[0][8:] else 0
    )
    if unit == "week":
        return say_week(days_on(day, 7 * more))
    return say_month(day, more) if unit == "month" else say_year(day.year + more)


@rule(r"the(?: whole)? weekend(?! before| after| of)")
def _the_weekend(found: re.Match[str], said: Said) -> Value:
    side, day = _side(found, said), said.day
    fits = _lead(found, said)[0] in ("at", "on", "over", "during", "for", "since") and stands_alone(said, found.end())
    if not fits or side == UNKNOWN or day.weekday() > 4:
        return None
    return say_weekend(days_on(monday(day), -2 if side == PAST else 5))


@rule(r"(?P<f><feast>)<noyear>")
def _feast(found: re.Match[str], said: Said) -> Value:
    month, dom = read_feast(found["f"])
    lead, start = _lead(found, said)
    if not lead and TITLE.search(said.text, max(0, start - 24), start):  # "The Dog Who Saved Christmas"
        return None
    previous = previous_word(said, found.start())
    if previous in OWNED | {
        "merry",
        "happy",
        "father",
        "white",
        "love",
        "like",
        "first",
        "about",
        "was",
        "is",
        "it's",
    } or _yearly(found, said):
        return None
    if (month, dom) == (said.day.month, said.day.day) or not stands_alone(said, found.end()):
        return None
    return _one(_side(found, said), of_year(month, dom, said.day, PAST), of_year(month, dom, said.day, FUTURE))


@rule(r"the (?P<w>last|past|next) (?P<n><num>) (?P<u>day|week)s")
def _stretch(found: re.Match[str], said: Said) -> Value:
    """From three days ago to today for "the last three days", which holds both ways of counting them."""
    coming = found["w"].lower() == "next"  # "the next two days were long" are none to come
    if not stands_alone(said, found.end()) or (coming and _side(found, said) <= UNKNOWN):
        return None
    days = read_number(found["n"]) * (7 if found["u"].lower() == "week" else 1)
    first, last = (said.day, days_on(said.day, days)) if coming else (days_on(said.day, -days), said.day)
    return say_span(first, last)
