"""When something was said: as callers and data files write it, and as models read it."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime

from tmem.errors import UsageError

Moment = datetime | date  # a day alone, or with the time
# Day before month or month before day is never guessed: 08/05/2023 is refused.
_TIMES = ("%I:%M %p on %d %B, %Y", "%Y/%m/%d (%a) %H:%M", "%Y/%m/%d %H:%M")
_DAYS = ("%d %B, %Y", "%d %B %Y", "%d %b %Y", "%B %d, %Y", "%b %d, %Y", "%Y/%m/%d")
_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d|\d{8}")
_ORDINAL = re.compile(r"\b(\d?1(?=st)|\d?2(?=nd)|\d?3(?=rd)|\d\d?(?=th))[a-z]{2}\b", re.IGNORECASE)
_EPOCH = re.compile(r"(\d+(?:\.\d+)?) ?(s|ms)")
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


def moment(value: object, name: str = "timestamp") -> Moment:
    """A date, or date and time: ISO, in words (``1:56 pm on 8 May, 2023``), or an epoch with its unit.

    Raises :class:`UsageError` naming the value for all else, also for a date that there is not.
    """
    if isinstance(value, date):
        return value
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if _ISO_DAY.fullmatch(text):
        with suppress(ValueError):
            return date.fromisoformat(text)
    elif epoch := _EPOCH.fullmatch(text):
        with suppress(ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(float(epoch[1]) / (1000 if epoch[2] == "ms" else 1), UTC)
    elif len(text) > len("2023-05-08"):
        with suppress(ValueError):
            return datetime.fromisoformat(text)
    text = _ORDINAL.sub(r"\1", text)
    for form in _TIMES:
        with suppress(ValueError):
            return datetime.strptime(text, form)
    for form in _DAYS:
        with suppress(ValueError):
            return datetime.strptime(text, form).date()
    raise UsageError(
        f"{name} {value!r:.60} is no date that can be read: write 2023-05-08, 2023-05-08T13:56, 8 May 2023 or "
        "1683547200 s"
    )


def now() -> datetime:
    """When something is said that is said now, by this machine's clock: to the minute, without its zone."""
    return datetime.now().replace(second=0, microsecond=0)


def day_of(when: Moment) -> str:
    """A day in words: ``8 May 2023``."""
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}"


def spoken(when: Moment) -> str:
    """The moment as the models' training has it: ``1:56 pm on 8 May, 2023``.

    A day alone is spoken as its noon: without a time persona-nano makes the right day of "yesterday" 5 times in 40,
    with one 40 times.
    """
    hour, minute = (when.hour, when.minute) if isinstance(when, datetime) else (12, 0)
    day = f"{when.day} {MONTHS[when.month - 1]}, {when.year}"
    return f"{(hour - 1) % 12 + 1}:{minute:02} {'am' if hour < 12 else 'pm'} on {day}"


def in_order(when: Moment) -> datetime:
    """What moments are sorted by: a day alone comes first of its day, and zones are left out of account."""
    return when.replace(tzinfo=None) if isinstance(when, datetime) else datetime(when.year, when.month, when.day)
