"""The reporting periods of the analytics summary, as ranges of instants. No counting."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from app.domain.errors import InvalidInput


class Period(StrEnum):
    """`today` starts at midnight UTC; week and month are the last 7 and 30 days."""

    TODAY = "today"
    WEEK = "week"
    MONTH = "month"
    ALL = "all"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `start` (None: from the beginning) up to and including `end`."""

    start: datetime | None
    end: datetime


def time_range(
    period: Period, *, start: datetime | None, end: datetime | None, now: datetime
) -> TimeRange:
    """Resolve a period; `start` and `end` belong to `custom` alone, which needs `start`."""
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
