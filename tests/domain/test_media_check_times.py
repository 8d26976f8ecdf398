"""Times of the checks of media: after a change, after a temporary failure, and before the due time."""

from datetime import datetime, timedelta

import pytest

from app.domain.media_check_times import PlannedCheck, first_check_at, next_check
from tests.factories import NOW

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("due_at", "delay"),
    [
        (NOW + SECOND, timedelta()),
        (NOW + 15 * MINUTE, timedelta()),
        (NOW + 15 * MINUTE + SECOND, MINUTE),
        (NOW + 100 * HOUR, MINUTE),
        (None, MINUTE),
    ],
)
def test_first_check_waits_for_changes_unless_the_post_is_due_soon(
    due_at: datetime | None, delay: timedelta
) -> None:
    assert first_check_at(due_at, NOW) == NOW + delay


@pytest.mark.parametrize(
    ("due_at", "check_at"),
    [
        (None, None),
        (NOW + HOUR, None),
        (NOW + HOUR + 15 * MINUTE, None),
        (NOW + HOUR + 15 * MINUTE + SECOND, NOW + 15 * MINUTE + SECOND),
        (NOW + 100 * HOUR, NOW + 99 * HOUR),
        (NOW - SECOND, None),
    ],
)
def test_last_check_is_an_hour_before_the_due_time(
    due_at: datetime | None, check_at: datetime | None
) -> None:
    plan = next_check(due_at, NOW, attempts=1, may_be_temporary=False)
    assert plan == PlannedCheck(check_at, 0)


@pytest.mark.parametrize(
    ("attempts", "due_at", "plan"),
    [
        (1, None, PlannedCheck(NOW + MINUTE, 1)),
        (2, None, PlannedCheck(NOW + 5 * MINUTE, 2)),
        (3, None, PlannedCheck(None, 0)),
        (3, NOW + 10 * HOUR, PlannedCheck(NOW + 9 * HOUR, 0)),
        (1, NOW + MINUTE, PlannedCheck(None, 0)),
        (1, NOW + MINUTE + SECOND, PlannedCheck(NOW + MINUTE, 1)),
    ],
)
def test_check_is_repeated_twice_before_the_due_time_after_a_temporary_failure(
    attempts: int, due_at: datetime | None, plan: PlannedCheck
) -> None:
    assert next_check(due_at, NOW, attempts=attempts, may_be_temporary=True) == plan
