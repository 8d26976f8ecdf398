"""UTC instants in whole milliseconds, their text form, and the periods of the analytics summary."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

from app.domain.errors import InvalidInput

Clock = Callable[[], datetime]
"""Returns the current time."""

_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?",
    re.ASCII,
)
_EXCESS_FRACTION = re.compile(r"(\.\d{6})\d+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)

FIRST_YEAR, LAST_YEAR = 1900, 9998
"""Years accepted from clients. Near Python's limits, PostgreSQL has its infinities and arithmetic on
times overflows."""

FIRST_INSTANT = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
"""Earliest time that is stored; the lower bound of an unbounded range."""


def truncate_to_ms(instant: datetime) -> datetime:
    """Return the instant in UTC, truncated (not rounded) to milliseconds."""
    instant = instant.astimezone(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def format_instant(instant: datetime) -> str:
    """Format as `2026-04-15T14:30:05.000Z`, the only form that this service prints."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    return f"{instant.isoformat(timespec='milliseconds')[:-6]}Z"


def format_minute(instant: datetime) -> str:
    """Format as `2026-04-15 14:30 UTC`, for sentences."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def parse_instant(text: str, argument: str | None = None) -> datetime:
    """Parse an ISO 8601 time with `Z`, an offset, or neither (= UTC); a plain date is its midnight.

    Raises InvalidInput for any other text, and for a year outside FIRST_YEAR to LAST_YEAR.
    """
    instant = _parse_utc(text)
    if instant is None or not FIRST_YEAR <= instant.year <= LAST_YEAR:
        raise InvalidInput(
            f"The time must be an ISO 8601 date and time in the years {FIRST_YEAR} to {LAST_YEAR},"
            " such as 2026-04-15T14:30:05.000Z; without an offset it is read as UTC.",
            argument=argument,
        )
    return instant


def _parse_utc(text: str) -> datetime | None:
    if not (_INSTANT.fullmatch(text) or _DATE.fullmatch(text)):
        return None
    try:
        instant = datetime.fromisoformat(_EXCESS_FRACTION.sub(r"\1", text.upper()))
        return truncate_to_ms(instant if instant.tzinfo else instant.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def parse_retry_after(text: str, now: datetime) -> timedelta | None:
    """Return the wait of a Retry-After header: seconds, or a date (RFC 9110); None if it is invalid."""
    if _SECONDS.fullmatch(text):
        return timedelta(seconds=int(text))
    date = parse_http_date(text)
    return None if date is None else max(date - now, timedelta())


def parse_http_date(text: str) -> datetime | None:
    """Return the time of a date in an HTTP header (RFC 9110, 5.6.7); None if it is invalid."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the second for a day or an offset of many digits
        return None
    return date.replace(tzinfo=date.tzinfo or UTC)


class Period(StrEnum):
    """Reporting period: `today` starts at midnight UTC; week and month are the last 7 and 30 days."""

    TODAY = "today"
    WEEK = "week"
    MONTH = "month"
    ALL = "all"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Range from `start` (None: unbounded) up to and including `end`."""

    start: datetime | None
    end: datetime


def time_range(
    period: Period, *, start: datetime | None, end: datetime | None, now: datetime
) -> TimeRange:
    """Resolve a period. `start` and `end` are for `custom` only, which requires `start`."""
    if period is not Period.CUSTOM:
        if start is not None or end is not None:
            raise InvalidInput(
                "from and to are only allowed with period custom.", argument="period"
            )
        return TimeRange(_period_start(period, now), now)
    if start is None:
        raise InvalidInput("period custom needs a start: pass from.", argument="from")
    if end is None and start > now:
        raise InvalidInput("from must not be in the future unless to is passed.", argument="from")
    end = now if end is None else end
    if end < start:
        raise InvalidInput("to must not be earlier than from.", argument="to")
    return TimeRange(start, end)


def _period_start(period: Period, now: datetime) -> datetime | None:
    if period is Period.TODAY:
        return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = {Period.WEEK: 7, Period.MONTH: 30}.get(period)
    return None if days is None else now - timedelta(days=days)
