"""Pauses of accounts, during which no worker begins to publish: a rate limit of the platform is used up."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

MIN_PAUSE = timedelta(seconds=1)
MAX_PAUSE = timedelta(hours=6)
"""A platform that is still limited after it is asked again then."""

DEFAULT_PAUSE = timedelta(seconds=30)
"""Pause after a rate limit whose end the platform does not state."""

MAX_CALLS_IN_FLIGHT = 100
"""Calls that all workers together are assumed to send for one account at a time, at most."""

MAX_POSTS_TO_POSTPONE = 200
"""Posts of an account that are postponed at a time, so that claims of other accounts do not wait for long."""

_SHORT_PAUSE = timedelta(seconds=5)
_MAX_SPREAD = timedelta(seconds=10)
_SPREAD_DIVISOR = 10
"""A tenth of the pause is added at most."""

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class RemainingCalls:
    """Calls that a platform still allows for an account until its rate limit is reset."""

    calls: int
    """0 after a call that the limit has refused."""
    resets_in: timedelta | None
    """None if the platform does not state it."""

    def is_exhausted_by(self, calls_in_flight: int) -> bool:
        """Return whether no call is left for the calls in flight, which include the one that was answered."""
        return self.calls == 0 or self.calls < calls_in_flight


def pause_end(resets_in: timedelta | None, now: datetime) -> datetime:
    """Return the end of a pause that begins now."""
    wait = DEFAULT_PAUSE if resets_in is None else resets_in
    return now + min(max(wait, MIN_PAUSE), MAX_PAUSE)


def should_postpone(due_posts: int, time_left: timedelta) -> bool:
    """Return whether due posts of an account should wait for the time that is left of its pause.

    More than are postponed at a time would not all be postponed before a short pause ends: the others would
    meet the limit all the same, and be refused.
    """
    min_time_left = _SHORT_PAUSE if due_posts > MAX_POSTS_TO_POSTPONE else timedelta()
    return time_left > min_time_left


def resumption_times(
    paused_until: datetime, now: datetime, *, count: int, random: Callable[[], float]
) -> list[datetime]:
    """Return when destinations may be claimed after a pause: ascending, and not all in the same instant.

    `random` returns a number from 0 to below 1.
    """
    spread = min((paused_until - now) / _SPREAD_DIVISOR, _MAX_SPREAD)
    offsets = sorted(spread * random() // _MILLISECOND for _ in range(count))
    return [paused_until + offset * _MILLISECOND for offset in offsets]
