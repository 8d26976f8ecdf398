"""The reporting periods."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.domain.errors import InvalidInput
from app.domain.times import Period, TimeRange, time_range

NOW = datetime(2026, 4, 15, 14, 30, 5, 123_000, tzinfo=UTC)
MS = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("period", "start"),
    [
        (Period.TODAY, datetime(2026, 4, 15, tzinfo=UTC)),
        (Period.WEEK, NOW - timedelta(days=7)),
        (Period.MONTH, NOW - timedelta(days=30)),
        (Period.ALL, None),
    ],
)
def test_a_period_ends_now(period: Period, start: datetime | None) -> None:
    assert time_range(period, start=None, end=None, now=NOW) == TimeRange(start, NOW)


def test_today_is_the_day_of_utc() -> None:
    early = datetime(2026, 4, 15, 1, tzinfo=timezone(timedelta(hours=2)))
    assert time_range(Period.TODAY, start=None, end=None, now=early) == TimeRange(
        datetime(2026, 4, 14, tzinfo=UTC), early
    )


def test_today_at_midnight_is_an_instant_long() -> None:
    midnight = datetime(2026, 4, 15, tzinfo=UTC)
    today = time_range(Period.TODAY, start=None, end=None, now=midnight)
    assert today == TimeRange(midnight, midnight)


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
def test_a_custom_period_is_taken_as_it_is_given_and_ends_now_without_an_end(
    start: datetime, end: datetime | None, expected_end: datetime
) -> None:
    custom = time_range(Period.CUSTOM, start=start, end=end, now=NOW)
    assert custom == TimeRange(start, expected_end)


@pytest.mark.parametrize(
    ("period", "start", "end", "message", "argument"),
    [
        (Period.CUSTOM, None, None, "period custom needs a start: pass from.", "from"),
        (Period.CUSTOM, None, NOW, "period custom needs a start: pass from.", "from"),
        (Period.CUSTOM, NOW, NOW - MS, "to must not be earlier than from.", "to"),
        (
            Period.CUSTOM,
            NOW + MS,
            None,
            "from must not be in the future unless to is passed.",
            "from",
        ),
        *(
            (period, start, end, "from and to are only allowed with period custom.", "period")
            for period in Period
            if period is not Period.CUSTOM
            for start, end in ((NOW, None), (None, NOW), (NOW, NOW))
        ),
    ],
)
def test_a_range_that_makes_no_sense_is_refused_with_the_argument(
    period: Period,
    start: datetime | None,
    end: datetime | None,
    message: str,
    argument: str,
) -> None:
    with pytest.raises(InvalidInput) as refused:
        time_range(period, start=start, end=end, now=NOW)
    assert (refused.value.message, refused.value.argument) == (message, argument)
