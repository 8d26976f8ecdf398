"""Parsing, truncating and formatting instants, waits, and resolving reporting periods."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.domain.times import (
    Period,
    TimeRange,
    format_instant,
    parse_instant,
    parse_retry_after,
    time_range,
    truncate_to_ms,
)
from tests.domain.errors import TIME_MESSAGE, input_error

SECOND = timedelta(seconds=1)

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
def test_instant_is_parsed_as_utc_and_truncated_to_milliseconds(text: str, expected: str) -> None:
    instant = parse_instant(text)
    assert instant.tzinfo is UTC
    assert format_instant(instant) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "1776263405", "2026", "2026-04", "2026-4-15", "20260415", "2026-W16-3"),
        *("2026-105", "15.04.2026", "2026-13-01", "2026-02-29", "2026-04-31T00:00:00Z"),
        *("0000-01-01", "10000-01-01", "-2026-04-15", "+2026-04-15", "2026-04-15T"),
        *("2026-04-15T14", "2026-04-15T1430", "2026-04-15T14:30:5", "2026-04-15T24:00"),
        *("2026-04-15T24:00:00Z", "2026-04-15T25:00:00Z", "2026-04-15T14:60:00Z"),
        *("2026-04-15T14:30:60Z", "2026-06-30T23:59:60Z", "2026-04-15T14:30:05.Z"),
        *("2026-04-15T14:30:05,5Z", "2026-04-15T14:30:05.1234567890Z", "2026-04-15T14:30:05 Z"),
        *("2026-04-15T14:30:05+02", "2026-04-15T14:30:05+2:00", "2026-04-15T14:30:05+24:00"),
        *("2026-04-15T14:30:05+05:60", "2026-04-15T14:30:05+05:99", "2026-04-15T14:30:05+0599"),
        *("2026-04-15T14:30:05+00:00:30", "2026-04-15T14:30:05−02:00"),
        *("2026-04-15T14:30:05 Europe/Paris", "2026-04-15T14:30:05Z[UTC]", "2026-04-15_14:30:05"),
        *("2026-04-15  14:30:05", " 2026-04-15T14:30:05Z", "2026-04-15T14:30:05Z "),
        *("2026-04-15T14:30:05Z\n", "2026-04-15\n", "2026-04-15Z", "٢٠٢٦-٠٤-١٥"),
        *("２０２６-04-15T14:30:05Z", "2026-04-15T14:30:0٥Z", "2026-04-15T14:30:05.٥Z"),
        *("2026-04-15T14:30:05\0", "\ud800", "0001-01-01", "0001-01-01T00:00:00+00:01"),
        *("1899-12-31T23:59:59.999999Z", "1900-01-01T00:00:00+00:01", "9999-01-01"),
        *("9998-12-31T23:59:59-00:01", "9999-12-31T23:59:59-00:01"),
    ],
)
def test_other_text_or_year_is_rejected(text: str) -> None:
    assert input_error(parse_instant, text, "createdAfter") == ("createdAfter", TIME_MESSAGE)


@given(st.text() | st.from_regex(r"[0-9T:. Zz+-]{10,30}", fullmatch=True))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    try:
        instant = parse_instant(text)
    except InvalidInput:
        return
    assert instant == truncate_to_ms(instant)


@given(INSTANTS)
def test_formatted_instant_is_truncated_and_parsed_back(instant: datetime) -> None:
    text = format_instant(instant)
    assert parse_instant(text) == truncate_to_ms(instant)
    assert text == format_instant(truncate_to_ms(instant))
    assert len(text) == len("2026-04-15T14:30:05.000Z")


@given(INSTANTS)
def test_any_offset_is_converted_to_utc(instant: datetime) -> None:
    text = instant.isoformat(timespec="microseconds")
    assert parse_instant(text) == truncate_to_ms(instant)
    assert parse_instant(text.replace("T", " ")) == truncate_to_ms(instant)


@given(INSTANTS)
def test_truncation_never_rounds_up(instant: datetime) -> None:
    truncated = truncate_to_ms(instant)
    assert timedelta(0) <= instant - truncated < timedelta(milliseconds=1)
    assert truncated.microsecond % 1000 == 0
    assert truncated.tzinfo is UTC
    assert truncate_to_ms(truncated) == truncated


@given(INSTANTS, INSTANTS)
def test_formatted_instants_sort_chronologically(one: datetime, other: datetime) -> None:
    is_before = truncate_to_ms(one) < truncate_to_ms(other)
    assert is_before == (format_instant(one) < format_instant(other))


NOW = datetime(2026, 4, 15, 14, 30, 5, 123_000, tzinfo=UTC)
MIDNIGHT = datetime(2026, 4, 15, tzinfo=UTC)
MS = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("period", "now", "start"),
    [
        (Period.TODAY, NOW, MIDNIGHT),
        (Period.TODAY, MIDNIGHT, MIDNIGHT),
        (
            Period.TODAY,
            datetime(2026, 4, 15, 1, tzinfo=timezone(timedelta(hours=2))),
            datetime(2026, 4, 14, tzinfo=UTC),
        ),
        (Period.WEEK, NOW, NOW - timedelta(days=7)),
        (Period.MONTH, NOW, NOW - timedelta(days=30)),
        (Period.ALL, NOW, None),
    ],
)
def test_period_ends_now(period: Period, now: datetime, start: datetime | None) -> None:
    assert time_range(period, start=None, end=None, now=now) == TimeRange(start, now)


@pytest.mark.parametrize(
    ("start", "end", "expected_end"),
    [
        (NOW - MS, None, NOW),
        (NOW, None, NOW),
        (NOW - MS, NOW - MS, NOW - MS),
        (NOW - timedelta(days=900), NOW - timedelta(days=800), NOW - timedelta(days=800)),
        (NOW + MS, NOW + timedelta(days=1), NOW + timedelta(days=1)),
    ],
)
def test_custom_period_ends_now_by_default(
    start: datetime, end: datetime | None, expected_end: datetime
) -> None:
    custom = time_range(Period.CUSTOM, start=start, end=end, now=NOW)
    assert custom == TimeRange(start, expected_end)


NO_START = ("from", "period custom needs a start: pass from.")
FUTURE_START = ("from", "from must not be in the future unless to is passed.")
NOT_CUSTOM = ("period", "from and to are only allowed with period custom.")


@pytest.mark.parametrize(
    ("period", "start", "end", "error"),
    [
        (Period.CUSTOM, None, None, NO_START),
        (Period.CUSTOM, None, NOW, NO_START),
        (Period.CUSTOM, NOW, NOW - MS, ("to", "to must not be earlier than from.")),
        (Period.CUSTOM, NOW + MS, None, FUTURE_START),
        *(
            (period, start, end, NOT_CUSTOM)
            for period in (Period.TODAY, Period.WEEK, Period.MONTH, Period.ALL)
            for start, end in ((NOW, None), (None, NOW), (NOW, NOW))
        ),
    ],
)
def test_invalid_range_is_rejected(
    period: Period, start: datetime | None, end: datetime | None, error: tuple[str, str]
) -> None:
    assert input_error(time_range, period, start=start, end=end, now=NOW) == error


THREE_PM = datetime(2026, 4, 15, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("0", timedelta(0)),
        ("120", 120 * SECOND),
        ("999999999", 999_999_999 * SECOND),
        ("Wed, 15 Apr 2026 15:02:00 GMT", 120 * SECOND),
        ("Wednesday, 15-Apr-26 15:02:00 GMT", 120 * SECOND),
        ("Wed Apr 15 15:02:00 2026", 120 * SECOND),
        ("Wed, 15 Apr 2026 17:02:00 +0200", 120 * SECOND),
        ("Wed, 15 Apr 2026 15:02:00 -0000", 120 * SECOND),
        ("Wed, 15 Apr 2026 14:00:00 GMT", timedelta(0)),
        ("Mon, 01 Jan 0001 00:00:00 +2359", timedelta(0)),
        (
            "Fri, 31 Dec 9999 23:59:59 GMT",
            datetime(9999, 12, 31, 23, 59, 59, tzinfo=THREE_PM.tzinfo) - THREE_PM,
        ),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, wait: timedelta) -> None:
    assert parse_retry_after(text, THREE_PM) == wait


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-1", "1.5", "+5", "5 s", "soon", "1e3", "٣", "²", "1" * 5_000, "2026-04-15"),
        *("Wed, 15 Apr 2026", "Wed, 32 Apr 2026 15:02:00 GMT", "Wed, 15 Apr 2026 25:00:00 GMT"),
        f"Wed, 15 Apr {'9' * 30} 15:02:00 GMT",
        f"Wed, {'9' * 30} Apr 2026 15:02:00 GMT",
        f"Wed, 15 Apr 2026 15:02:00 +{'9' * 30}",
        "Wed, 15 Apr 2026 15:02:00 +9999",
    ],
)
def test_invalid_retry_after_is_ignored(text: str) -> None:
    assert parse_retry_after(text, THREE_PM) is None


_DATE_PART = st.one_of(
    st.sampled_from(["Wed,", "15", "Apr", "2026", "15:02:00", "GMT", "+0200", ":", "-", ",", "("]),
    st.integers().map(str),
    st.text(max_size=5),
)


@given(st.text(max_size=30) | st.lists(_DATE_PART, max_size=8).map(" ".join))
def test_any_retry_after_is_read_or_ignored(text: str) -> None:
    wait = parse_retry_after(text, THREE_PM)
    assert wait is None or wait >= timedelta(0)
