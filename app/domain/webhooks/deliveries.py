"""Deliveries: one event to one endpoint, attempted by a schedule until it succeeds or is given up.

A delivery is leased for each attempt. If the process ends during an attempt, the lease expires and the
attempt is repeated, so a receiver gets each event at least once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from app.domain.times import truncate_to_ms

DEFAULT_RETRY_SCHEDULE = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
"""Waits after each failed attempt, by the Standard Webhooks specification."""

MAX_RETRY_AFTER = timedelta(hours=24)
"""Longest wait that a receiver can ask for."""

_MAX_JITTER = 0.1
"""Random part by which a wait is prolonged at most."""


class DeliveryStatus(StrEnum):
    """Status of a delivery."""

    PENDING = "pending"
    """Not attempted yet."""
    RETRYING = "retrying"
    """Failed; another attempt follows."""
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"
    """The last attempt of the schedule failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """One request of a delivery, with the receiver's response."""

    started_at: datetime
    duration: timedelta
    status_code: int | None = None
    """None if the receiver did not respond."""
    error: str | None = None
    """Why it failed, as a sentence; None if it succeeded."""
    response_headers: Sequence[tuple[str, str]] = ()
    """Names in lower case and values of the response's headers, without secrets; not stored."""
    response_body: str | None = None
    """Start of the response, without secrets."""
    retry_after: timedelta | None = None
    """Wait that the receiver asked for."""

    @property
    def is_success(self) -> bool:
        return self.error is None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryState:
    """Mutable part of a delivery. Creating an impossible combination raises ValueError."""

    attempts: int = 0
    """Attempts whose result is stored."""
    round_attempts: int = 0
    """Attempts since the delivery was created, or since it was last redelivered by hand."""
    next_attempt_at: datetime | None
    """Time of the next attempt, or the end of the lease; None after the last attempt."""
    lease_token: UUID | None = None
    delivered_at: datetime | None = None
    given_up_at: datetime | None = None

    def __post_init__(self) -> None:
        ends = (self.next_attempt_at, self.delivered_at, self.given_up_at)
        if sum(end is not None for end in ends) != 1:
            raise ValueError("a delivery is either delivered, given up or waits")
        if self.lease_token is not None and self.next_attempt_at is None:
            raise ValueError("a delivery that has ended has no lease")
        if not 0 <= self.round_attempts <= self.attempts:
            raise ValueError("a round has at most all attempts")

    @property
    def status(self) -> DeliveryStatus:
        if self.delivered_at is not None:
            return DeliveryStatus.DELIVERED
        if self.given_up_at is not None:
            return DeliveryStatus.GIVEN_UP
        return DeliveryStatus.RETRYING if self.round_attempts else DeliveryStatus.PENDING

    def is_leased(self, now: datetime) -> bool:
        """Return whether a process may be attempting it: an expired lease is that of a process that ended."""
        ends_at = self.next_attempt_at
        return self.lease_token is not None and ends_at is not None and now < ends_at

    def leased(self, token: UUID, expires_at: datetime) -> "DeliveryState":
        """Return the delivery as claimed by a process until a time."""
        return replace(self, lease_token=token, next_attempt_at=expires_at)

    def released(self, now: datetime) -> "DeliveryState":
        """Return a leased delivery without an attempt, to be claimed again immediately."""
        return replace(self, lease_token=None, next_attempt_at=now)

    def attempted(
        self,
        attempt: DeliveryAttempt,
        schedule: Sequence[timedelta],
        now: datetime,
        random: Callable[[], float],
    ) -> "DeliveryState":
        """Return the delivery after an attempt: delivered, waiting for the next one, or given up."""
        wait = None
        if not attempt.is_success:
            wait = retry_wait(self.round_attempts + 1, attempt.retry_after, schedule, random)
        return replace(
            self,
            attempts=self.attempts + 1,
            round_attempts=self.round_attempts + 1,
            lease_token=None,
            next_attempt_at=None if wait is None else truncate_to_ms(now + wait),
            delivered_at=now if attempt.is_success else None,
            given_up_at=now if wait is None and not attempt.is_success else None,
        )

    def redelivered(self, now: datetime) -> "DeliveryState":
        """Return the delivery to be attempted again immediately, by the whole schedule."""
        return DeliveryState(attempts=self.attempts, next_attempt_at=now)


def retry_wait(
    failures: int,
    retry_after: timedelta | None,
    schedule: Sequence[timedelta],
    random: Callable[[], float],
) -> timedelta | None:
    """Return the wait after the n-th failure of a round, from 1; None if it was the last attempt."""
    if failures > len(schedule):
        return None
    wait = schedule[failures - 1] * (1 + _MAX_JITTER * random())
    return max(wait, min(retry_after or timedelta(), MAX_RETRY_AFTER))
