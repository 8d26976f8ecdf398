"""Instants: reading, cutting and printing."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.domain.times import format_instant, parse_instant, truncate_to_ms

TIME_MESSAGE = (
    "The time must be an ISO 8601 date and time in the years 1900 to 9998,"
    " such as 2026-04-15T14:30:05.000Z; without an offset it is read as UTC."
)

OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)
INSTANTS = st.datetimes(
    datetime(1900, 1, 2),  # noqa: DTZ001 - the strategy adds the time zone
    datetime(9998, 12, 30),  # noqa: DTZ001
    timezones=OFFSETS,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-04-15T14:30:05.000Z", "2026-04-15T14:30:05.000Z"),
        ("2026-04-15T14:30:05Z", "2026-04-15T14:30:05.000Z"),
        ("2026-04-15T14:30Z", "2026-04-15T14:30:00.000Z"),
        ("2026-04-15T14:30:05", "2026-04-15T14:30:05.000Z"),
        ("2026-04-15T14:30", "2026-04-15T14:30:00.000Z"),
        ("2026-04-15", "2026-04-15T00:00:00.000Z"),
        ("2026-04-15t14:30:05z", "2026-04-15T14:30:05.000Z"),
        ("2026-04-15 14:30:05", "2026-04-15T14:30:05.000Z"),
        ("2026-04-15 14:30:05+02:00", "2026-04-15T12:30:05.000Z"),
        ("2026-04-15T14:30:05+02:00", "2026-04-15T12:30:05.000Z"),
        ("2026-04-15T14:30:05+0530", "2026-04-15T09:00:05.000Z"),
        ("2026-04-15T14:30:05-03:30", "2026-04-15T18:00:05.000Z"),
        ("2026-04-15T00:30:05+23:59", "2026-04-14T00:31:05.000Z"),
        ("2026-04-15T14:30:05-00:00", "2026-04-15T14:30:05.000Z"),
        ("2026-04-15T14:30:05.1Z", "2026-04-15T14:30:05.100Z"),
        ("2026-04-15T14:30:05.12Z", "2026-04-15T14:30:05.120Z"),
        ("2026-04-15T14:30:05.1239Z", "2026-04-15T14:30:05.123Z"),
        ("2026-04-15T14:30:05.999999Z", "2026-04-15T14:30:05.999Z"),
        ("2026-04-15T14:30:05.999999999Z", "2026-04-15T14:30:05.999Z"),
        ("2024-02-29T23:59:59.999999+00:00", "2024-02-29T23:59:59.999Z"),
        ("1900-01-01", "1900-01-01T00:00:00.000Z"),
        ("1900-01-01T00:00:00.0009Z", "1900-01-01T00:00:00.000Z"),
        ("1899-12-31T00:01:00-23:59", "1900-01-01T00:00:00.000Z"),
        ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"),
        ("9998-12-31T23:59:59.999999999Z", "9998-12-31T23:59:59.999Z"),
        ("9999-01-01T23:58:59+23:59", "9998-12-31T23:59:59.000Z"),
    ],
)
def test_a_time_is_read_as_utc_and_cut_to_milliseconds(text: str, expected: str) -> None:
    instant = parse_instant(text)
    assert instant.tzinfo is UTC
    assert format_instant(instant) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1776263405",
        "2026",
        "2026-04",
        "2026-4-15",
        "20260415",
        "2026-W16-3",
        "2026-105",
        "15.04.2026",
        "2026-13-01",
        "2026-02-29",
        "2026-04-31T00:00:00Z",
        "0000-01-01",
        "10000-01-01",
        "-2026-04-15",
        "+2026-04-15",
        "2026-04-15T",
        "2026-04-15T14",
        "2026-04-15T1430",
        "2026-04-15T14:30:5",
        "2026-04-15T24:00",
        "2026-04-15T24:00:00Z",
        "2026-04-15T25:00:00Z",
        "2026-04-15T14:60:00Z",
        "2026-04-15T14:30:60Z",
        "2026-06-30T23:59:60Z",
        "2026-04-15T14:30:05.Z",
        "2026-04-15T14:30:05,5Z",
        "2026-04-15T14:30:05.1234567890Z",
        "2026-04-15T14:30:05 Z",
        "2026-04-15T14:30:05+02",
        "2026-04-15T14:30:05+2:00",
        "2026-04-15T14:30:05+24:00",
        "2026-04-15T14:30:05+05:60",
        "2026-04-15T14:30:05+05:99",
        "2026-04-15T14:30:05+0599",
        "2026-04-15T14:30:05+00:00:30",
        "2026-04-15T14:30:05−02:00",
        "2026-04-15T14:30:05 Europe/Paris",
        "2026-04-15T14:30:05Z[UTC]",
        "2026-04-15_14:30:05",
        "2026-04-15  14:30:05",
        " 2026-04-15T14:30:05Z",
        "2026-04-15T14:30:05Z ",
        "2026-04-15T14:30:05Z\n",
        "2026-04-15\n",
        "2026-04-15Z",
        "٢٠٢٦-٠٤-١٥",
        "２０２６-04-15T14:30:05Z",
        "2026-04-15T14:30:0٥Z",
        "2026-04-15T14:30:05.٥Z",
        "2026-04-15T14:30:05\0",
        "\ud800",
        "0001-01-01",
        "0001-01-01T00:00:00+00:01",
        "1899-12-31T23:59:59.999999Z",
        "1900-01-01T00:00:00+00:01",
        "9999-01-01",
        "9998-12-31T23:59:59-00:01",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_what_is_no_time_or_outside_the_years_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_instant(text, "createdAfter")
    assert (refused.value.message, refused.value.argument) == (TIME_MESSAGE, "createdAfter")


@given(st.text() | st.from_regex(r"[0-9T:. Zz+-]{10,30}", fullmatch=True))
def test_no_text_breaks_the_reading_of_a_time(text: str) -> None:
    try:
        instant = parse_instant(text)
    except InvalidInput:
        return
    assert instant == truncate_to_ms(instant)


@given(INSTANTS)
def test_what_is_printed_is_read_back(instant: datetime) -> None:
    assert parse_instant(format_instant(instant)) == truncate_to_ms(instant)


@given(INSTANTS)
def test_what_is_read_is_printed_as_it_was(instant: datetime) -> None:
    printed = format_instant(instant)
    assert format_instant(parse_instant(printed)) == printed
    assert len(printed) == len("2026-04-15T14:30:05.000Z")


@given(INSTANTS)
def test_every_spelling_of_an_offset_names_the_same_instant(instant: datetime) -> None:
    spelled = instant.isoformat(timespec="microseconds")
    assert parse_instant(spelled) == truncate_to_ms(instant)
    assert parse_instant(spelled.replace("T", " ")) == truncate_to_ms(instant)


@given(INSTANTS)
def test_cutting_takes_less_than_a_millisecond_and_never_adds(instant: datetime) -> None:
    cut = truncate_to_ms(instant)
    assert timedelta(0) <= instant - cut < timedelta(milliseconds=1)
    assert cut.microsecond % 1000 == 0
    assert cut.tzinfo is UTC
    assert truncate_to_ms(cut) == cut


@given(INSTANTS)
def test_printing_cuts_and_never_rounds(instant: datetime) -> None:
    assert format_instant(instant) == format_instant(truncate_to_ms(instant))


@given(INSTANTS, INSTANTS)
def test_printed_times_sort_like_the_instants(one: datetime, other: datetime) -> None:
    before = truncate_to_ms(one) < truncate_to_ms(other)
    assert before == (format_instant(one) < format_instant(other))
