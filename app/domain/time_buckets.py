"""Buckets of a period in an IANA time zone: hours, days and weeks of its clock, as real instants.

A day lasts 23 or 25 hours when the clock of the zone changes, and an hour ends early.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from zoneinfo import ZoneInfo

from app.domain.errors import InvalidInput
from app.domain.validation.post_contents import supported_timezones

MAX_BUCKETS = 2_000

MAX_HOURS_OF_WEEK_PERIOD = timedelta(days=400)
"""Longest period whose hours are grouped by their place in the week."""

_HOUR, _DAY, _WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
_SECOND = timedelta(seconds=1)


class BucketSize(StrEnum):
    """Length of a bucket on the clock of the time zone; a week starts on Monday."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"

    @property
    def duration(self) -> timedelta:
        """Length without a change of the clock."""
        return {BucketSize.HOUR: _HOUR, BucketSize.DAY: _DAY, BucketSize.WEEK: _WEEK}[self]


@dataclass(frozen=True, slots=True)
class TimeBucket:
    """Part of a period from `start` until before `end`, both UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """Part of a bucket that statements count; all of its instants have the same hour of the week."""

    start: datetime
    end: datetime
    bucket: int
    """Index of the bucket."""
    hour_of_week: int | None
    """Hours since Monday 00:00 on the clock of the zone; None if the spans are the buckets."""


def parse_timezone(name: str) -> ZoneInfo:
    """Return the IANA time zone with this name; raises InvalidInput for an unknown one."""
    if name not in supported_timezones():
        raise InvalidInput(
            "timezone must be the name of a time zone of the IANA database, such as Europe/Berlin.",
            argument="timezone",
        )
    return ZoneInfo(name)


def check_period(start: datetime, end: datetime) -> None:
    """Raise InvalidInput for an empty period, naming the argument `to`."""
    if end <= start:
        raise InvalidInput("to must be later than from.", argument="to")


def split_period(
    start: datetime,
    end: datetime,
    size: BucketSize | None,
    zone: ZoneInfo,
    *,
    argument: str = "interval",
) -> list[TimeBucket]:
    """Return the buckets of a period in order; the first and the last end at its limits.

    Without a size, the period is one bucket. Raises InvalidInput for an empty period, and for more than
    MAX_BUCKETS buckets, naming the argument that chose the size.
    """
    check_period(start, end)
    if size is None:
        return [TimeBucket(start, end)]
    # Without the first condition, the offsets of thousands of years would be searched for changes.
    if end - start <= MAX_BUCKETS * (size.duration + _DAY):
        buckets = [*islice(_iter_buckets(start, end, size, zone), MAX_BUCKETS + 1)]
        if len(buckets) <= MAX_BUCKETS:
            return buckets
    raise InvalidInput(
        f"The period from `from` to `to` has more than {MAX_BUCKETS:,} buckets of one {size}; from 1 to"
        f" {MAX_BUCKETS:,} are allowed. Use a longer {argument} or a shorter period.",
        argument=argument,
    )


def split_into_hours_of_week(buckets: Sequence[TimeBucket], zone: ZoneInfo) -> list[TimeSpan]:
    """Return the hours of consecutive buckets; raises InvalidInput for a period that is too long."""
    start, end = buckets[0].start, buckets[-1].end
    if end - start > MAX_HOURS_OF_WEEK_PERIOD:
        raise InvalidInput(
            "groupBy HOUR_OF_WEEK allows a period of at most"
            f" {MAX_HOURS_OF_WEEK_PERIOD.days} days from `from` to `to`.",
            argument="groupBy",
        )
    starts = [bucket.start for bucket in buckets]
    return [
        TimeSpan(first, last, bisect_right(starts, first) - 1, hour.weekday() * 24 + hour.hour)
        for first, last, hour in _iter_clock_units(start, end, BucketSize.HOUR, zone)
    ]


def edges_of(spans: Sequence[TimeBucket | TimeSpan]) -> list[datetime]:
    """Return the limits of consecutive spans: one more than there are spans."""
    return [*(span.start for span in spans), spans[-1].end]


def _iter_buckets(
    start: datetime, end: datetime, size: BucketSize, zone: ZoneInfo
) -> Iterator[TimeBucket]:
    """Join the parts of a day or a week in which the clock changes.

    A clock that is set back over midnight does not return to the day before.
    """
    first, newest = start, None
    for part_start, _, label in _iter_clock_units(start, end, size, zone):
        if newest is not None and (label > newest or size is BucketSize.HOUR):
            yield TimeBucket(first, part_start)
            first = part_start
        newest = label if newest is None else max(newest, label)
    yield TimeBucket(first, end)


def _iter_clock_units(
    start: datetime, end: datetime, size: BucketSize, zone: ZoneInfo
) -> Iterator[tuple[datetime, datetime, datetime]]:
    """Yield start, end and local start of each unit; a change of the clock also starts one."""
    for period_start, period_end, offset in _iter_offsets(start, end, zone):
        part_start = period_start
        while part_start < period_end:
            label = _floor(part_start.replace(tzinfo=None) + offset, size)
            next_start = (label + size.duration - offset).replace(tzinfo=UTC)
            part_end = min(next_start, period_end)
            yield part_start, part_end, label
            part_start = part_end


def _floor(local: datetime, size: BucketSize) -> datetime:
    if size is BucketSize.HOUR:
        return local.replace(minute=0, second=0, microsecond=0)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if size is BucketSize.DAY else midnight - local.weekday() * _DAY


def _iter_offsets(
    start: datetime, end: datetime, zone: ZoneInfo
) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """Yield the parts of a period in which the zone has one UTC offset, with that offset.

    No zone changes its offset twice within a day.
    """
    part_start, offset = start, _offset(start, zone)
    day = start
    while day < end:
        next_day = min(day + _DAY, end)
        next_offset = _offset(next_day, zone)
        if next_offset != offset:
            change = _find_change(day, next_day, zone)
            if change < end:
                yield part_start, change, offset
                part_start, offset = change, next_offset
        day = next_day
    yield part_start, end, offset


def _find_change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the second in which the offset changes to that of `after`."""
    offset = _offset(after, zone)
    low, high = before.replace(microsecond=0), after.replace(microsecond=0)
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if _offset(middle, zone) == offset:
            high = middle
        else:
            low = middle
    return high


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None  # noqa: S101 - the time is aware
    return offset
