"""Buckets of a period: hours, days and weeks of a time zone as real instants."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.domain.time_buckets import (
    BucketSize,
    TimeBucket,
    edges_of,
    parse_timezone,
    split_into_hours_of_week,
    split_period,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "America/Havana", "America/Sao_Paulo"),
    *("Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"),
)


def local_date(instant: datetime, zone: ZoneInfo, size: BucketSize) -> date:
    """Date of the day or the Monday on the clock of the zone."""
    day = instant.astimezone(zone).date()
    return day - day.weekday() * DAY if size is BucketSize.WEEK else day


@pytest.mark.parametrize(
    ("timezone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Europe/Berlin", date(2026, 10, 26), 24),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),  # the clock skips midnight
        ("America/Havana", date(2026, 11, 1), 25),  # midnight comes twice
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("UTC", date(2026, 3, 29), 24),
    ],
)
def test_day_has_the_hours_of_its_zone(timezone: str, day: date, hours: float) -> None:
    zone = ZoneInfo(timezone)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone).astimezone(UTC)
    buckets = split_period(noon - 2 * DAY, noon + 2 * DAY, BucketSize.DAY, zone)
    (bucket,) = [each for each in buckets if each.start <= noon < each.end]
    assert bucket.end - bucket.start == hours * HOUR
    assert bucket.start.astimezone(zone).date() == day


def test_day_that_a_zone_skips_has_no_bucket() -> None:
    zone = ZoneInfo("Pacific/Apia")
    start, end = datetime(2011, 12, 29, tzinfo=zone), datetime(2012, 1, 1, tzinfo=zone)
    buckets = split_period(start.astimezone(UTC), end.astimezone(UTC), BucketSize.DAY, zone)
    assert [bucket.start.astimezone(zone).day for bucket in buckets] == [29, 31]


def test_clock_set_back_over_midnight_extends_the_new_day() -> None:
    zone = ZoneInfo("America/St_Johns")  # at 00:01, the clock was set back to 23:01
    start, end = datetime(2010, 11, 6, tzinfo=zone), datetime(2010, 11, 8, tzinfo=zone)
    buckets = split_period(start.astimezone(UTC), end.astimezone(UTC), BucketSize.DAY, zone)
    assert [bucket.end - bucket.start for bucket in buckets] == [24 * HOUR, 25 * HOUR]


def test_change_of_the_clock_starts_an_hour() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")  # at 02:00, the clock is set back to 01:30
    change = datetime(2026, 4, 4, 15, tzinfo=UTC)
    buckets = split_period(change - HOUR, change + HOUR, BucketSize.HOUR, zone)
    assert edges_of(buckets) == [change + hours * HOUR for hours in (-1, 0, 0.5, 1)]
    assert [span.hour_of_week for span in split_into_hours_of_week(buckets, zone)] == [
        145,
        145,
        146,
    ]


def test_week_starts_on_monday() -> None:
    start = datetime(2026, 4, 15, tzinfo=UTC)
    buckets = split_period(start, start + 13 * DAY, BucketSize.WEEK, ZoneInfo("UTC"))
    assert [edge.date() for edge in edges_of(buckets)] == [
        date(2026, 4, 15),
        date(2026, 4, 20),
        date(2026, 4, 27),
        date(2026, 4, 28),
    ]


def test_period_without_a_size_is_one_bucket() -> None:
    start, end = datetime(1900, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)
    assert split_period(start, end, None, ZoneInfo("UTC")) == [TimeBucket(start, end)]


class CountingZone(ZoneInfo):
    """Zone that counts how often its offset is looked up."""

    lookups = 0

    def utcoffset(self, instant: datetime | None, /) -> timedelta | None:
        self.lookups += 1
        return super().utcoffset(instant)


@pytest.mark.parametrize("size", [*BucketSize])
def test_far_too_long_period_is_refused_without_a_search_for_clock_changes(
    size: BucketSize,
) -> None:
    zone = CountingZone.no_cache("UTC")
    start, end = datetime(1900, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)
    with pytest.raises(InvalidInput) as refusal:
        split_period(start, end, size, zone)
    assert (refusal.value.argument, zone.lookups) == ("interval", 0)


INSTANTS = st.timedeltas(min_value=timedelta(0), max_value=25 * 365 * DAY).map(
    lambda elapsed: datetime(2005, 1, 1, tzinfo=UTC) + elapsed
)


@given(
    INSTANTS,
    st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=60)),
    st.sampled_from(ZONES),
    st.sampled_from([*BucketSize]),
)
def test_buckets_cover_the_period_without_gaps(
    start: datetime, length: timedelta, timezone: str, size: BucketSize
) -> None:
    zone, end = ZoneInfo(timezone), start + length
    buckets = split_period(start, end, size, zone)
    assert (buckets[0].start, buckets[-1].end) == (start, end)
    assert all(left.end == right.start for left, right in pairwise(buckets))
    for bucket in buckets:
        assert bucket.start < bucket.end
        if size is not BucketSize.HOUR:
            last = bucket.end - timedelta(microseconds=1)
            assert local_date(bucket.start, zone, size) == local_date(last, zone, size)
    if size is not BucketSize.HOUR:
        dates = [local_date(bucket.start, zone, size) for bucket in buckets]
        assert dates == sorted({*dates})


@given(INSTANTS, st.integers(1, 14 * 24 * 60), st.sampled_from(ZONES))
def test_all_instants_of_a_span_have_its_hour_of_the_week(
    start: datetime, minutes: int, timezone: str
) -> None:
    zone = ZoneInfo(timezone)
    end = start + timedelta(minutes=minutes)
    buckets = split_period(start, end, BucketSize.DAY, zone)
    spans = split_into_hours_of_week(buckets, zone)
    assert (spans[0].start, spans[-1].end) == (start, end)
    assert all(left.end == right.start for left, right in pairwise(spans))
    for span in spans:
        bucket = buckets[span.bucket]
        assert bucket.start <= span.start < span.end <= bucket.end
        for instant in (span.start, span.end - timedelta(microseconds=1)):
            local = instant.astimezone(zone)
            assert local.weekday() * 24 + local.hour == span.hour_of_week


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "localtime", "../etc/passwd", "europe/berlin"]
)
def test_unknown_timezone_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_timezone(name)
    assert refusal.value.argument == "timezone"
