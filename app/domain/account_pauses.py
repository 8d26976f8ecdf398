"""Pauses of accounts, during which no worker begins to publish: a rate limit of the platform is used up."""

from dataclasses import dataclass
from datetime import datetime, timedelta

MIN_PAUSE = timedelta(seconds=1)
MAX_PAUSE = timedelta(hours=6)
"""A platform that is still limited after it is asked again then."""

DEFAULT_PAUSE = timedelta(seconds=30)
"""Pause after a rate limit whose end the platform does not state."""

MAX_CALLS_IN_FLIGHT = 100
"""Calls that all workers together are assumed to send for one account at a time, at most."""


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
