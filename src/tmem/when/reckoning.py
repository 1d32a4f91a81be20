"""The latest and the coming of what comes again: weekdays, days of a month or year, seasons."""

from __future__ import annotations

from contextlib import suppress
from datetime import date

from tmem.when.words import WEEKDAYS, days_on, say_year


def of_weekday(word: str, day: date, side: int) -> date:
    """The latest such day before ``day`` (PAST), or the first after it."""
    apart = WEEKDAYS.index(word[:3].lower()) - day.weekday()
    return days_on(day, -((-apart - 1) % 7 + 1) if side < 0 else (apart - 1) % 7 + 1)


def of_year(month: int, dom: int, day: date, side: int) -> date:
    """As :func:`of_weekday`, for a day of every year; 29 February may be years away."""
    for step in range(9):
        with suppress(ValueError):
            there = date(day.year + (step if side > 0 else -step), month, dom)
            if (there > day) if side > 0 else (there < day):
                return there
    raise ValueError("no such day")


def of_month(dom: int, day: date, side: int) -> date:
    """As :func:`of_weekday`, for a day of every month that has it."""
    for step in range(9):
        year, month = divmod(day.year * 12 + day.month - 1 + (step if side > 0 else -step), 12)
        with suppress(ValueError):
            there = date(year, month + 1, dom)
            if (there > day) if side > 0 else (there < day):
                return there
    raise ValueError("no such day")


def say_season(quarter: int, word: str) -> str:
    """The season with its year, or winter with both."""
    year, kind = divmod(quarter, 4)
    return f"{word} {say_year(year)}" if kind else f"{word} {say_year(year - 1)}/{say_year(year)}"


def quarter_of(day: date) -> int:
    """Seasons counted through: four a year, the winter that began in December first."""
    return (day.year * 12 + day.month) // 3
