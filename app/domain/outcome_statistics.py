"""Statistics of settled destinations and their attempts, by span of time and by group.

A destination counts once, by its present outcome, in the span of `settled_at`. An attempt counts in the
span of its start. Percentiles are exact, by nearest rank: the smallest value that at least p percent of
the values do not exceed.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from app.domain.destinations import ErrorCategory, Outcome
from app.domain.ids import AccountId
from app.domain.time_buckets import TimeSpan

USER_CAUSED = (ErrorCategory.AUTH, ErrorCategory.CONTENT_REJECTED)
"""Failures that only the user can fix; all others are due to the platform or the publishing system."""


class OutcomeGrouping(StrEnum):
    """Property by which statistics are grouped."""

    PLATFORM = "platform"
    ACCOUNT = "account"
    CATEGORY = "category"
    HOUR_OF_WEEK = "hour_of_week"


class OutcomeGroupKey(NamedTuple):
    """Properties of a group; None for those that are not grouped by, and for no category."""

    platform: str | None = None
    account_id: AccountId | None = None
    category: ErrorCategory | None = None
    hour_of_week: int | None = None


class FailureKind(NamedTuple):
    outcome: Outcome
    """FAILED or UNKNOWN."""
    category: ErrorCategory


@dataclass(slots=True, kw_only=True)
class SettledDestinations:
    """Numbers of the destinations that were settled in one span, by account.

    The account is None if accounts were not read.
    """

    span: int
    platform: str | None
    """None if platforms were not read separately."""
    published: Mapping[AccountId | None, int]
    saved_by_retry: Mapping[AccountId | None, int]
    """Published after more than one attempt."""
    without_attempt: Mapping[AccountId | None, int]
    """Published without an attempt that is counted."""
    lateness_ms: Sequence[int]
    """Lateness of each published destination; empty if it was not read."""
    accounts: Sequence[AccountId]
    """Account of each published destination, in the same order; empty if it was not read."""
    failures: Mapping[tuple[FailureKind, AccountId | None], int]

    def lateness_by_account(self) -> Mapping[AccountId | None, Sequence[int]]:
        """Return the lateness of the published destinations of each account, as far as it was read."""
        if not self.accounts:
            return {None: self.lateness_ms}
        by_account: dict[AccountId | None, list[int]] = defaultdict(list)
        for account, value in zip(self.accounts, self.lateness_ms, strict=False):
            by_account[account].append(value)
        return by_account


AttemptKey: TypeAlias = tuple[AccountId | None, ErrorCategory | None]
"""Account of an attempt, and category of its failure; None for no failure, and for what was not read."""


@dataclass(slots=True)
class StartedAttempts:
    """Attempts that started in one span."""

    span: int
    platform: str | None
    """None if platforms were not read separately."""
    counts: Mapping[AttemptKey, int]


@dataclass(slots=True)
class OutcomeTally:
    """Counts of one group in one bucket."""

    published: int = 0
    first_try: int = 0
    """Published by the only attempt."""
    saved_by_retry: int = 0
    """Published after more than one attempt."""
    failures: Counter[FailureKind] = field(default_factory=Counter)
    attempts: int = 0
    lateness_ms: list[int] = field(default_factory=list)
    removed_lateness_ms: list[int] = field(default_factory=list)
    """Lateness of destinations of deleted posts, which are in `lateness_ms` too."""

    def merge(self, other: "OutcomeTally") -> None:
        self.published += other.published
        self.first_try += other.first_try
        self.saved_by_retry += other.saved_by_retry
        self.failures.update(other.failures)
        self.attempts += other.attempts
        other.lateness_ms.sort()  # so that the merged list is sorted in a fraction of the time
        self.lateness_ms.extend(other.lateness_ms)
        self.removed_lateness_ms.extend(other.removed_lateness_ms)

    @property
    def is_empty(self) -> bool:
        """True also if all that was counted was subtracted."""
        return not (self.published or self.failures.total() or self.attempts)

    @property
    def failed(self) -> int:
        return self._count_failures(Outcome.FAILED)

    @property
    def unknown(self) -> int:
        return self._count_failures(Outcome.UNKNOWN)

    @property
    def user_caused(self) -> int:
        return sum(self.failures[FailureKind(Outcome.FAILED, each)] for each in USER_CAUSED)

    @property
    def success_rate(self) -> float | None:
        """Share of published destinations; None if none was settled. An unknown outcome is no success."""
        settled = self.published + self.failures.total()
        return self.published / settled if settled else None

    def sorted_lateness_ms(self) -> list[int]:
        """Return the lateness of each published destination, without those of deleted posts."""
        self.lateness_ms.sort()
        values = self.lateness_ms.copy() if self.removed_lateness_ms else self.lateness_ms
        for removed in self.removed_lateness_ms:
            index = bisect_left(values, removed)
            if values[index : index + 1] == [removed]:
                del values[index]
        return values

    def _count_failures(self, outcome: Outcome) -> int:
        return sum(count for kind, count in self.failures.items() if kind.outcome is outcome)


def percentile(sorted_values: Sequence[int], percent: int) -> int:
    """Return the percentile by nearest rank of at least one value."""
    rank = -(-len(sorted_values) * percent // 100)
    return sorted_values[max(rank, 1) - 1]


class OutcomeTable:
    """Tallies by bucket and group."""

    def __init__(
        self,
        spans: Sequence[TimeSpan],
        grouping: Collection[OutcomeGrouping],
        categories: Collection[ErrorCategory] | None,
    ) -> None:
        """Create an empty table; `categories` restricts it to failures of these."""
        self._spans = spans
        self._by_platform = OutcomeGrouping.PLATFORM in grouping
        self._by_account = OutcomeGrouping.ACCOUNT in grouping
        self._by_category = OutcomeGrouping.CATEGORY in grouping
        self._categories = categories
        self._tallies: dict[int, dict[tuple[Any, ...], OutcomeTally]] = defaultdict(
            lambda: defaultdict(OutcomeTally)
        )
        """Bucket → values of the group's key → tally."""
        self._counted: set[tuple[Any, ...]] = set()
        self._subtracted: set[tuple[Any, ...]] = set()

    def min_group_count(self) -> int:
        """Return a lower bound of the number of different groups in all buckets, while they are counted."""
        return len(self._counted - self._subtracted)

    def groups_in(self, bucket: int) -> dict[OutcomeGroupKey, OutcomeTally]:
        """Return the groups of a bucket with at least one destination or attempt."""
        tallies = self._tallies.get(bucket, {})
        return {
            OutcomeGroupKey(*key): tally for key, tally in tallies.items() if not tally.is_empty
        }

    def add(self, settled: SettledDestinations, *, sign: int = 1) -> None:
        """Count destinations; with the sign -1, subtract those that are counted although deleted."""
        if self._categories is None:
            self._count_published(settled, sign)
        for (kind, account), count in settled.failures.items():
            if self._has_category(kind.category):
                tally = self._tally(settled.span, settled.platform, account, kind.category, sign)
                tally.failures[kind] += sign * count

    def add_attempts(self, started: StartedAttempts, *, sign: int = 1) -> None:
        """Count attempts, or subtract them, as `add` does."""
        for (account, category), count in started.counts.items():
            if self._has_category(category):
                tally = self._tally(started.span, started.platform, account, category, sign)
                tally.attempts += sign * count

    def _count_published(self, settled: SettledDestinations, sign: int) -> None:
        lateness = settled.lateness_by_account()
        for account, published in settled.published.items():
            saved_by_retry = settled.saved_by_retry.get(account, 0)
            without_attempt = settled.without_attempt.get(account, 0)
            tally = self._tally(settled.span, settled.platform, account, None, sign)
            tally.published += sign * published
            tally.saved_by_retry += sign * saved_by_retry
            tally.first_try += sign * (published - saved_by_retry - without_attempt)
            values = tally.lateness_ms if sign > 0 else tally.removed_lateness_ms
            values.extend(lateness.get(account, ()))

    def _has_category(self, category: ErrorCategory | None) -> bool:
        return self._categories is None or category in self._categories

    def _tally(
        self,
        span_number: int,
        platform: str | None,
        account: AccountId | None,
        category: ErrorCategory | None,
        sign: int,
    ) -> OutcomeTally:
        span = self._spans[span_number]
        key = (  # a plain tuple takes a fraction of the time, and there is one for each span
            platform if self._by_platform else None,
            account if self._by_account else None,
            category if self._by_category else None,
            span.hour_of_week,
        )
        (self._counted if sign > 0 else self._subtracted).add(key)
        return self._tallies[span.bucket][key]
