"""When a failed attempt is tried again by itself, and when it is final. No state, no storage, no file.

A round is what follows a due time or a manual retry. After its n-th failure the longest backoff is
base × factor^(n−1), at most the cap, and the wait is a random part of it, from nothing to all ("full
jitter"), in whole milliseconds. A policy that heeds Retry-After waits at least as long as the platform
asks, and its waits are kept from min_wait to max_wait, whatever the platform asks.

It is final when the policy counts attempts and so many counted ones were made in the round, or when the
wait would end later than max_age after the round began. A wait is never shortened to fit in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from app.domain.destinations import ErrorCategory

_MILLISECOND = timedelta(milliseconds=1)
_MAX_PREVIEWED_WAITS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How failures of one category are retried on one platform."""

    base: timedelta = timedelta(seconds=30)
    factor: float = 2
    """At least 1."""
    cap: timedelta = timedelta(hours=1)
    """Not below the base."""
    max_attempts: int = 5
    """In a round, the first one included; 1 makes every failure final."""
    counts_attempts: bool = True
    """Whether a failure counts towards max_attempts; without, that does not limit it either."""
    max_age: timedelta = timedelta(hours=24)
    """How long after the round began a retry may come."""
    heeds_retry_after: bool = False
    min_wait: timedelta = timedelta(seconds=1)
    """Where Retry-After is heeded; so is max_wait, which is not below it."""
    max_wait: timedelta = timedelta(hours=24)

    def __post_init__(self) -> None:
        if self.factor < 1 or self.cap < self.base or self.max_wait < self.min_wait:
            raise ValueError("impossible retry policy")

    def max_backoff(self, failures: int) -> timedelta:
        """After so many failures of a round, from 1."""
        backoff = self.base
        for _ in range(failures - 1):
            if backoff >= self.cap or self.factor == 1:
                break
            backoff = min(backoff * self.factor, self.cap)
        return backoff

    def wait(self, backoff: timedelta, retry_after: timedelta | None) -> timedelta:
        """For a backoff that was drawn, and what the platform asked for."""
        if not self.heeds_retry_after:
            return backoff
        asked = -(-(retry_after or timedelta()) // _MILLISECOND) * _MILLISECOND
        return min(max(backoff, asked, self.min_wait), self.max_wait)

    def is_exhausted(self, attempts: int) -> bool:
        """Whether so many counted attempts of a round are all that it allows."""
        return self.counts_attempts and attempts >= self.max_attempts


@dataclass(frozen=True, slots=True)
class RetryPolicies:
    """The policy for each category, and those of platforms that differ."""

    by_category: Mapping[ErrorCategory, RetryPolicy]
    by_platform: Mapping[str, Mapping[ErrorCategory, RetryPolicy]] = field(
        default_factory=lambda: MappingProxyType({})
    )

    def policy_for(self, platform: str, category: ErrorCategory) -> RetryPolicy:
        """Platforms are an open set: one that nobody named is as all others."""
        own = self.by_platform.get(platform, {})
        return own.get(category) or self.by_category[category]


NO_RETRY = RetryPolicy(max_attempts=1)

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
        }
    )
)
"""What holds where an operator says nothing else; the contract's."""


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
    """When to try again after a failure that is reported now; None if it is final.

    `failures` are those of the round, this one included, whether they count or not: the attempt log
    has them. `counted` are those that count, as in `round_attempts`, this one included if the policy
    counts it. `random` gives a number from 0 to below 1.
    """
    if policy.is_exhausted(counted_attempts):
        return None
    drawn = policy.max_backoff(failures) * random() // _MILLISECOND * _MILLISECOND
    at = now + policy.wait(drawn, retry_after)
    return at if at <= round_started_at + policy.max_age else None


@dataclass(frozen=True, slots=True)
class PlannedWait:
    """Between a failure and the attempt that follows it."""

    earliest: timedelta
    latest: timedelta


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """What a policy makes of a destination whose attempts all fail alike."""

    waits: tuple[PlannedWait, ...]
    """After the first failure, the second and so on; none if it is final at once."""
    continues: bool
    """Whether more follow, each like the last or longer, until they are too late."""


def preview_schedule(policy: RetryPolicy, retry_after: timedelta | None) -> RetrySchedule:
    """Every wait until it is final, or until they stay alike; what always comes too late is left out."""
    waits: list[PlannedWait] = []
    soonest = timedelta()
    while not policy.is_exhausted(len(waits) + 1):
        backoff = policy.max_backoff(len(waits) + 1)
        wait = PlannedWait(policy.wait(timedelta(), retry_after), policy.wait(backoff, retry_after))
        soonest += wait.earliest
        if soonest > policy.max_age:
            break
        if _is_backoff_constant(policy, len(waits)) or len(waits) == _MAX_PREVIEWED_WAITS:
            return RetrySchedule(tuple(waits), continues=True)
        waits.append(wait)
    return RetrySchedule(tuple(waits), continues=False)


def _is_backoff_constant(policy: RetryPolicy, failures: int) -> bool:
    """Whether without a limit of attempts nothing changes after so many failures."""
    return (
        not policy.counts_attempts
        and failures > 0
        and policy.max_backoff(failures) == policy.max_backoff(failures + 1)
    )
