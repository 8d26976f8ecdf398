"""Automatic retries: when a failed attempt is retried, and when the failure is final.

After the n-th failure of a round the maximum backoff is base × factor^(n−1), at most the cap. The wait
is a random time between half and all of it ("equal jitter"), in whole milliseconds. A policy that heeds
Retry-After waits at least as long as the platform asks, and clamps its waits to min_wait and max_wait.

A failure is final when the round has max_attempts counted attempts, or when the wait would end later
than max_age after the round began. A wait is never shortened to fit in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from app.domain.destinations import ErrorCategory

NOT_SENT: Final = "not_sent"
"""Kind of failures before the post was sent; other failures have the kind of their category."""

_MILLISECOND = timedelta(milliseconds=1)
_MAX_PREVIEWED_WAITS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Retry rules for failures of one kind on one platform."""

    base: timedelta = timedelta(seconds=30)
    factor: float = 2
    """At least 1."""
    cap: timedelta = timedelta(hours=1)
    """At least `base`."""
    max_attempts: int = 5
    """Attempts in a round, including the first; 1 makes every failure final."""
    counts_attempts: bool = True
    """True if failures count towards max_attempts; otherwise max_attempts does not apply."""
    max_age: timedelta = timedelta(hours=24)
    """Latest time of a retry after the start of the round."""
    heeds_retry_after: bool = False
    """True if a wait is at least the platform's Retry-After, up to max_wait."""
    min_wait: timedelta = timedelta(seconds=1)
    """Applies, as does max_wait, only if heeds_retry_after is set."""
    max_wait: timedelta = timedelta(hours=24)
    """At least `min_wait`."""

    def __post_init__(self) -> None:
        if self.factor < 1 or self.cap < self.base or self.max_wait < self.min_wait:
            raise ValueError("impossible retry policy")

    def max_backoff(self, failures: int) -> timedelta:
        """Return the maximum backoff after `failures` (at least 1) failures of a round."""
        backoff = self.base
        for _ in range(failures - 1):
            if backoff >= self.cap or self.factor == 1:
                break
            backoff = min(backoff * self.factor, self.cap)
        return backoff

    def draw_backoff(self, failures: int, number: float) -> timedelta:
        """Return half of the maximum backoff for the number 0, up to all of it for 1, in whole ms."""
        return self.max_backoff(failures) * ((1 + number) / 2) // _MILLISECOND * _MILLISECOND

    def wait(self, backoff: timedelta, retry_after: timedelta | None) -> timedelta:
        """Return the wait for a drawn backoff and the platform's Retry-After, rounded up to 1 ms."""
        if not self.heeds_retry_after:
            return backoff
        requested = -(-(retry_after or timedelta()) // _MILLISECOND) * _MILLISECOND
        return min(max(backoff, requested, self.min_wait), self.max_wait)

    def is_exhausted(self, attempts: int) -> bool:
        """Return whether a round with this number of counted attempts allows no more."""
        return self.counts_attempts and attempts >= self.max_attempts


@dataclass(frozen=True, slots=True)
class RetryPolicies:
    """The policy for each kind of failure, with exceptions by platform."""

    by_kind: Mapping[str, RetryPolicy]
    """Policies by the value of the category, and by NOT_SENT."""
    by_platform: Mapping[str, Mapping[str, RetryPolicy]] = field(
        default_factory=lambda: MappingProxyType({})
    )

    def policy_for(self, platform: str, category: ErrorCategory, *, not_sent: bool) -> RetryPolicy:
        """Return the platform's own policy, or else the one for all platforms.

        A rate limit keeps the policy of its category if nothing was sent: no limit of attempts applies to it
        anyway, and the platform says how long to wait.
        """
        is_limited_by_age = not_sent and category is not ErrorCategory.RATE_LIMITED
        kind = NOT_SENT if is_limited_by_age else category
        exceptions = self.by_platform.get(platform, {})
        return exceptions.get(kind) or self.by_kind[kind]

    def max_wait_for_server(self, platform: str | None) -> timedelta:
        """Return the time for which a post waits to be sent, from the start of its round of attempts.

        None for a platform without policies of its own.
        """
        return self.policy_for(platform or "", ErrorCategory.TRANSIENT, not_sent=True).max_age


NO_RETRY = RetryPolicy(max_attempts=1)

CHECK_BACKOFF = RetryPolicy(base=timedelta(minutes=1), factor=4, cap=timedelta(hours=6))
"""Backoff of checks that ask a platform, and publish nothing."""

DEFAULT_POLICIES = RetryPolicies(
    MappingProxyType(
        {
            ErrorCategory.TRANSIENT: RetryPolicy(),
            ErrorCategory.UNCLASSIFIED: RetryPolicy(),
            ErrorCategory.RATE_LIMITED: RetryPolicy(
                counts_attempts=False, max_age=timedelta(hours=72), heeds_retry_after=True
            ),
            ErrorCategory.AUTH: NO_RETRY,
            ErrorCategory.CONTENT_REJECTED: NO_RETRY,
            ErrorCategory.PERMANENT: NO_RETRY,
            NOT_SENT: RetryPolicy(counts_attempts=False),
        }
    )
)
"""Documented defaults, used unless the operator configures others."""


def next_retry(
    policy: RetryPolicy,
    *,
    failures: int,
    counted_attempts: int,
    round_started_at: datetime,
    retry_after: timedelta | None,
    random: Callable[[], float],
    now: datetime,
) -> datetime | None:
    """Return the time of the retry after a failure reported now; None if the failure is final.

    `failures` counts all failures of the round in the attempt log, including this one.
    `counted_attempts` is `round_attempts`, including this attempt if the policy counts it. `random`
    returns a number from 0 to below 1.
    """
    if policy.is_exhausted(counted_attempts):
        return None
    retry_at = now + policy.wait(policy.draw_backoff(failures, random()), retry_after)
    return retry_at if retry_at <= round_started_at + policy.max_age else None


@dataclass(frozen=True, slots=True)
class PlannedWait:
    """Range of the random wait between a failure and the next attempt."""

    earliest: timedelta
    latest: timedelta


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """Waits of a destination whose attempts all fail in the same way."""

    waits: tuple[PlannedWait, ...]
    """Waits after the first failure, the second and so on; empty if the first failure is final."""
    continues: bool
    """True if more waits follow, each at least as long as the last, until max_age."""


def preview_schedule(policy: RetryPolicy, retry_after: timedelta | None) -> RetrySchedule:
    """Return the waits until a failure is final or until they repeat.

    A wait that always ends after max_age is omitted.
    """
    waits: list[PlannedWait] = []
    shortest_total = timedelta()
    while not policy.is_exhausted(len(waits) + 1):
        failures = len(waits) + 1
        wait = PlannedWait(
            policy.wait(policy.draw_backoff(failures, 0), retry_after),
            policy.wait(policy.max_backoff(failures), retry_after),
        )
        shortest_total += wait.earliest
        if shortest_total > policy.max_age:
            break
        if _is_backoff_constant(policy, len(waits)) or len(waits) == _MAX_PREVIEWED_WAITS:
            return RetrySchedule(tuple(waits), continues=True)
        waits.append(wait)
    return RetrySchedule(tuple(waits), continues=False)


def _is_backoff_constant(policy: RetryPolicy, failures: int) -> bool:
    """Return whether further failures, which no limit of attempts ends, have the same backoff."""
    return (
        not policy.counts_attempts
        and failures > 0
        and policy.max_backoff(failures) == policy.max_backoff(failures + 1)
    )
