"""Dates as people say them: each phrase has its date, and what is no date has none."""

from __future__ import annotations

import re
import time
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmem.dates import MONTHS, Moment, moment
from tmem.when import find, resolved

MONDAY = datetime(2023, 5, 8, 13, 56)
DATA = Path(__file__).parent / "data"

PHRASES = [
    ("I saw a whale yesterday.", "7 May 2023"),
    ("What shall we eat tonight?", "8 May 2023"),
    ("I slept badly last night.", "7 May 2023"),
    ("I missed the bus this morning.", "8 May 2023"),
    ("The interview is tomorrow.", "9 May 2023"),
    ("We swam the day before yesterday.", "6 May 2023"),
    ("We swim the day after tomorrow.", "10 May 2023"),
    ("We met three days ago.", "5 May 2023"),
    ("We met two weeks ago.", "the week of 24 April 2023"),
    ("We met two months ago.", "March 2023"),
    ("We met 3 years ago.", "2020"),
    ("We met a year and a half ago.", "November 2021"),
    ("He left half an hour ago.", "13:26 on 8 May 2023"),
    ("We met a fortnight ago.", "the week of 24 April 2023"),
    ("We are moving in two weeks.", "the week of 22 May 2023"),
    ("The trial is two weeks from today.", "22 May 2023"),
    ("The trial is a week from Friday.", "19 May 2023"),
    ("It rained last week.", "the week of 1 May 2023"),
    ("It rained last month.", "April 2023"),
    ("I graduate next year.", "2024"),
    ("We camped last weekend.", "the weekend of 6 May 2023"),
    ("We camped last summer.", "summer 2022"),
    ("We will camp this summer.", "summer 2023"),
    ("I saw her last Friday.", "5 May 2023"),
    ("I saw her last Monday.", "1 May 2023"),
    ("I see her next Monday.", "15 May 2023"),
    ("We went there on Friday.", "5 May 2023"),
    ("We are going there on Friday.", "12 May 2023"),
    ("We went there on Friday last week.", "5 May 2023"),
    ("We went there two weekends ago.", "the weekend of 29 April 2023"),
    ("We went there two Sundays ago.", "30 April 2023"),
    ("We went there the week before last.", "the week of 24 April 2023"),
    ("We paid on the 3rd.", "3 May 2023"),
    ("We paid on April 3rd.", "3 April 2023"),
    ("We moved in March.", "March 2023"),
    ("We camped at the weekend.", "the weekend of 6 May 2023"),
    ("We fought last Christmas.", "25 December 2022"),
    ("We were away from Tuesday to Thursday.", "2 May 2023 to 4 May 2023"),
    ("We were away this time last year.", "May 2022"),
    ("He called yesterday at 5 pm.", "17:00 on 7 May 2023"),
]
UNDATED = [line for line in (DATA / "undated.txt").read_text().splitlines() if not line.startswith("#")]


def table(name: str) -> list[tuple[Moment, str]]:
    """The moment and the sentence, with its dates in square brackets, of each line."""
    rows, when = [], moment("2023-05-08")
    for line in (DATA / name).read_text().splitlines():
        if line.startswith("@"):
            when = moment(line[2:])
        elif not line.startswith("#"):
            rows.append((when, line))
    return rows


SAID = ("said.txt", "said_fresh.txt", "said_again.txt", "said_tricky.txt", "said_misread.txt")
TABLES = [row for name in SAID for row in table(name)]


@pytest.mark.parametrize(("text", "words"), PHRASES)
def test_what_people_say_on_a_monday(text: str, words: str | None) -> None:
    assert [one.text for one in find(text, MONDAY)] == ([words] if words else [])


@pytest.mark.parametrize(("when", "line"), TABLES)
def test_sentences_get_the_dates_a_reader_would_give_them(when: Moment, line: str) -> None:
    assert resolved(re.sub(r" \[[^]]*\]", "", line), when) == line.replace("[", "(").replace("]", ")")


@pytest.mark.parametrize("text", UNDATED)
@pytest.mark.parametrize("when", [MONDAY, date(2024, 2, 29), datetime(2022, 12, 31, 23, 59)])
def test_what_is_no_date_gets_none(text: str, when: Moment) -> None:
    assert resolved(text, when) == text


def test_a_phrase_with_its_date_is_left_alone() -> None:
    for text in (
        "We met yesterday (7 May 2023).",
        "We met yesterday (2023-05-07) at 5 pm.",
        "We met yesterday (7/5/2023).",
    ):
        assert resolved(text, MONDAY) == text
    assert resolved("Yesterday (we were late) it rained.", MONDAY) == "Yesterday (7 May 2023) (we were late) it rained."
    both = "I saw him yesterday (7 May 2023) and will see him tomorrow."
    assert resolved(both, MONDAY) == both[:-1] + " (9 May 2023)."


def test_a_zone_is_the_speakers_own_clock() -> None:
    late = datetime(2023, 5, 8, 23, 30, tzinfo=timezone(timedelta(hours=-9)))
    assert resolved("He left an hour ago, and I leave tomorrow.", late) == (
        "He left an hour ago (22:30 on 8 May 2023), and I leave tomorrow (9 May 2023)."
    )


def test_the_ends_of_the_calendar_raise_nothing() -> None:
    for when in (date.min, date.max, datetime.min, datetime.max):
        for text in [text for text, _ in PHRASES] + ["We met 999 years ago.", "Back in 999 weeks' time."]:
            resolved(text, when)


PIECES = [re.sub(r" \[[^]]*\]", "", line) for _, line in TABLES] + [text for text, _ in PHRASES] + UNDATED
WORDS = sorted({word for line in PIECES for word in line.split()}) + [
    " (7 May 2023)",
    "(2020)",
    "\n",
    "’s",
    "“",
    "(",
    ")",
]
texts = st.one_of(
    st.text(),
    st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=4).map(" ".join),
)
moments = st.one_of(st.dates(), st.datetimes())


@given(texts, moments)
def test_finds_lie_in_the_text_in_order_and_once_is_enough(text: str, when: Moment) -> None:
    at = 0
    for one in find(text, when):
        assert at <= one.start < one.end <= len(text) and one.text
        at = one.end
    once = resolved(text, when)
    assert resolved(once, when) == once


@given(st.sampled_from(["yesterday", "two days ago", "last Friday", "the day after tomorrow"]), st.integers(0, 9999))
def test_a_week_later_it_is_a_week_later(phrase: str, days: int) -> None:
    def day(when: date) -> date:
        [one] = find(f"It was {phrase}.", when)
        number, month, year = one.text.split()
        return date(int(year), MONTHS.index(month) + 1, int(number))

    when = date(2000, 1, 1) + timedelta(days)
    assert day(when + timedelta(7)) == day(when) + timedelta(7)


@pytest.mark.parametrize(
    "piece", ["on Friday ", "the last ", "a", "1 May 2023 (", "at 5 pm on ", " ", "in two weeks", "'", "(2020"]
)
def test_long_texts_take_no_time(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    start = time.process_time()
    resolved(text, MONDAY)
    assert time.process_time() - start < 20
