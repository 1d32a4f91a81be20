"""Moments: every form that is no guess is read, and nothing else."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmem.dates import in_order, moment, spoken
from tmem.errors import UsageError

DAY, TIME = date(2023, 5, 8), datetime(2023, 5, 8, 13, 56)


@pytest.mark.parametrize(
    ("value", "when"),
    [
        (DAY, DAY),
        (TIME, TIME),
        ("2023-05-08", DAY),
        ("20230508", DAY),
        (" 8 May  2023 ", DAY),
        ("8 may, 2023", DAY),
        ("May 8, 2023", DAY),
        ("8 May, 2023", DAY),
        ("8th May 2023", DAY),
        ("May 8th, 2023", DAY),
        ("2023/5/8", DAY),
        ("2023-05-08T13:56", TIME),
        ("2023-05-08 13:56:00", TIME),
        ("1:56 pm on 8 May, 2023", TIME),
        ("2023/05/08 (Mon) 13:56", TIME),
        ("2023-05-08T13:56:00+02:00", TIME.replace(tzinfo=timezone(timedelta(hours=2)))),
        ("2023-05-08T13:56:00Z", TIME.replace(tzinfo=UTC)),
        ("1683554160 s", TIME.replace(tzinfo=UTC)),
        ("1683554160000ms", TIME.replace(tzinfo=UTC)),
    ],
)
def test_dates_and_times_are_read_in_every_usual_form(value: object, when: date) -> None:
    assert moment(value) == when


@pytest.mark.parametrize(
    "value",
    ["08/05/2023", "8.5.2023", "yesterday", "2023-13-45", "2023-02-30", "31 June 2023", " ", "", "2023", "1683554160"]
    + ["99999999999999999999 s", "13:56", 2024, 1683554160.0, True, None, b"2023-05-08"],
)
def test_what_would_be_a_guess_is_refused_in_one_line(value: object) -> None:
    with pytest.raises(UsageError, match=r"^when .* is no date that can be read: write 2023-05-08") as error:
        moment(value, "when")
    assert "\n" not in str(error.value)


@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)))
def test_what_is_spoken_is_read_again(when: datetime) -> None:
    assert moment(spoken(when)) == when.replace(second=0, microsecond=0)
    assert moment(when.isoformat()) == when


def test_a_day_alone_is_spoken_as_its_noon_and_comes_first() -> None:
    assert spoken(DAY) == "12:00 pm on 8 May, 2023" and spoken(TIME) == "1:56 pm on 8 May, 2023"
    moments = ["2023/10/2", "2023/5/20", "2023-05-20T00:01+09:00", "2023-05-08"]
    assert sorted(moments, key=lambda one: in_order(moment(one))) == [moments[3], moments[1], moments[2], moments[0]]
