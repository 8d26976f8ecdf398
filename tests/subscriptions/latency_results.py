"""Results of a latency run: completeness, latency and cost of the deliveries."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import nan
from typing import Any, Self

from tests.servers import LogError
from tests.subscriptions.subscriber_pool import ProcessReport

LATENCY_GOAL_MS = 1000
"""Limit of the 99th percentile."""
MEMORY_GOAL_KIB = 100
"""Memory limit per subscription."""


@dataclass(frozen=True, slots=True)
class LatencyPercentiles:
    """Percentiles in milliseconds; NaN without values."""

    p50: float
    p95: float
    p99: float
    maximum: float

    @classmethod
    def from_seconds(cls, seconds: Iterable[float]) -> Self:
        ms = [1000 * duration for duration in sorted(seconds)] or [nan]
        return cls(ms[len(ms) // 2], ms[len(ms) * 95 // 100], ms[len(ms) * 99 // 100], ms[-1])

    def __str__(self) -> str:
        return (
            f"p50 {self.p50:,.0f} ms, p95 {self.p95:,.0f} ms, p99 {self.p99:,.0f} ms,"
            f" maximum {self.maximum:,.0f} ms"
        )


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """Changes that the subscriptions received."""

    expected: int
    missing: int
    duplicates: int
    """Changes that arrived more than once, or before the start cursor."""
    out_of_order: int
    """Subscriptions that received changes out of order."""
    latency_from_request: LatencyPercentiles
    """Time from the request of the write to the arrival, including the write itself."""
    latency_from_commit: LatencyPercentiles
    """Time from `happenedAt` to the arrival."""

    @property
    def is_complete(self) -> bool:
        return self.missing == self.duplicates == self.out_of_order == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuShares:
    """Shares of a core, from the first write until every subscription received the last change."""

    server: float
    microseconds_per_delivery: float
    """CPU time of the server per delivered change, including writes and all other work."""
    cpu_wait: float
    """Time in which the server was ready to run and had no core."""
    subscribers: float
    """Share of the busiest subscriber process; near 1, the subscribers cause the latency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceCost:
    """Memory, connection time and CPU time of a run."""

    connect_seconds: float
    """Time until all subscriptions were open and had caught up."""
    kib_after_connect: float
    """Resident memory per subscription."""
    kib_at_end: float
    shares: CpuShares


@dataclass(frozen=True, slots=True)
class LatencyResults:
    """Result of a run."""

    delivery: DeliveryResult
    write_latency: LatencyPercentiles
    cost: ResourceCost
    log_errors: Counter[LogError]

    @property
    def meets_goals(self) -> bool:
        is_small = self.cost.kib_at_end <= MEMORY_GOAL_KIB
        return is_small and self.delivery.latency_from_request.p99 <= LATENCY_GOAL_MS

    def lines(self) -> list[str]:
        delivery, cost, shares = self.delivery, self.cost, self.cost.shares
        return [
            f"{delivery.expected:,} deliveries expected, {delivery.missing} missing,"
            f" {delivery.duplicates} duplicates, {delivery.out_of_order} subscriptions out of order",
            f"latency from the request  {delivery.latency_from_request}",
            f"latency from the commit   {delivery.latency_from_commit}",
            f"response time of writes   {self.write_latency}",
            f"memory per subscription   {cost.kib_after_connect:.0f} KiB after the connection of all in"
            f" {cost.connect_seconds:.1f} s, {cost.kib_at_end:.0f} KiB at the end",
            f"CPU                       server {shares.server:.0%} of a core,"
            f" {shares.microseconds_per_delivery:.0f} µs per delivery, waiting {shares.cpu_wait:.0%} of the"
            f" time; subscribers {shares.subscribers:.0%}",
            *(f"{times} times: {error}" for error, times in self.log_errors.items()),
        ]


def compute_delivery(
    changes: Sequence[Mapping[str, Any]],
    reports: Sequence[ProcessReport],
    request_times: Mapping[str, float],
    *,
    measured_from: int,
) -> DeliveryResult:
    """Compare the reports with all changes of the feed, in their order.

    `request_times` has the monotonic time of each post's request. Only the latency of changes from the
    index `measured_from` on is measured.
    """
    index = {change["cursor"]: number for number, change in enumerate(changes)}
    sent_at = [request_times[change["postId"]] for change in changes]
    happened_at = [_to_monotonic(change["happenedAt"]) for change in changes]
    expected = missing = duplicates = out_of_order = 0
    from_request: list[float] = []
    from_commit: list[float] = []
    for report in reports:
        feed_indexes = [index[cursor] for cursor in report.change_cursors]
        for start_cursor, received in zip(report.start_cursors, report.received, strict=True):
            received_indexes = [feed_indexes[number] for number in received.indexes]
            expected_indexes = set(range(index[start_cursor] + 1, len(index)))
            expected += len(expected_indexes)
            missing += len(expected_indexes.difference(received_indexes))
            duplicates += len(received_indexes)
            duplicates -= len(expected_indexes.intersection(received_indexes))
            out_of_order += received_indexes != sorted(received_indexes)
            for number, time_received in zip(received_indexes, received.received_at, strict=True):
                if number >= measured_from:
                    from_request.append(time_received - sent_at[number])
                    from_commit.append(time_received - happened_at[number])
    return DeliveryResult(
        expected,
        missing,
        duplicates,
        out_of_order,
        LatencyPercentiles.from_seconds(from_request),
        LatencyPercentiles.from_seconds(from_commit),
    )


def _to_monotonic(time_text: str) -> float:
    """Convert a time of the wall clock to the monotonic clock."""
    return datetime.fromisoformat(time_text).timestamp() - time.time() + time.monotonic()
