"""Times of the background checks of a post's media: soon after a change, and an hour before it is due."""

from datetime import datetime, timedelta
from typing import NamedTuple

SHORT_NOTICE = timedelta(minutes=15)
"""Time before the due time of a post in which its first check does not wait for further changes."""

FIRST_CHECK_DELAY = timedelta(minutes=1)
"""Wait before the first check of other posts, which are often changed several times in a row."""

LAST_CHECK_LEAD = timedelta(hours=1)
"""Time from the last check to the due time."""

_SHORTEST_INTERVAL = timedelta(minutes=15)
"""Least time between a completed check and the last one."""

_REPETITION_DELAYS = (timedelta(minutes=1), timedelta(minutes=5))
"""Waits before a check is repeated after a failure that may be temporary."""

MAX_ATTEMPTS = len(_REPETITION_DELAYS) + 1
"""Attempts of one check."""


class PlannedCheck(NamedTuple):
    """Next check of a post, which has begun `attempts` times; none is planned at None."""

    check_at: datetime | None
    attempts: int


def first_check_at(due_at: datetime | None, now: datetime) -> datetime:
    """Return the time of the check after a change; `due_at` is None for a draft."""
    if due_at is not None and due_at <= now + SHORT_NOTICE:
        return now
    return now + FIRST_CHECK_DELAY


def next_check(
    due_at: datetime | None, now: datetime, *, attempts: int, may_be_temporary: bool
) -> PlannedCheck:
    """Plan the check after one that ended now, its attempt number `attempts`.

    `may_be_temporary` is True if it failed for a reason that may be gone soon.
    """
    if may_be_temporary and attempts < MAX_ATTEMPTS:
        repeat_at = now + _REPETITION_DELAYS[attempts - 1]
        if due_at is None or repeat_at < due_at:
            return PlannedCheck(repeat_at, attempts)
    if due_at is not None and due_at - LAST_CHECK_LEAD > now + _SHORTEST_INTERVAL:
        return PlannedCheck(due_at - LAST_CHECK_LEAD, 0)
    return PlannedCheck(None, 0)
