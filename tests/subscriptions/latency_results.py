"""What a run of `lateness` came to: who was told what and when, and what it cost. Starts and asks nothing."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import nan
from typing import Any, Self

from tests.subscriptions.log_errors import LogError
from tests.subscriptions.subscriber_pool import ProcessReport

LAG_GOAL_MS = 1000
"""Within which 99 % of all changes reach whoever follows."""
MEMORY_GOAL_KIB = 100
"""For one subscription."""


@dataclass(frozen=True, slots=True)
class LatencyPercentiles:
    """Milliseconds."""

    p50: float
    p95: float
    p99: float
    maximum: float

    @classmethod
    def from_seconds(cls, seconds: Iterable[float]) -> Self:
        ms = [1000 * each for each in sorted(seconds)] or [nan]
        return cls(ms[len(ms) // 2], ms[len(ms) * 95 // 100], ms[len(ms) * 99 // 100], ms[-1])

    def __str__(self) -> str:
        return (
            f"half within {self.p50:,.0f} ms, 95 % {self.p95:,.0f} ms, 99 % {self.p99:,.0f} ms,"
            f" the last {self.maximum:,.0f} ms"
        )


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What reached whoever follows."""

    expected: int
    missing: int
    duplicates: int
    """There more than once, or not meant for who got it."""
    out_of_order: int
    """Subscriptions that were told of anything out of its turn."""
    latency_from_request: LatencyPercentiles
    """From just before the write was sent; so it includes what the write itself took."""
    latency_from_commit: LatencyPercentiles
    """From when it happened, as the server says."""

    @property
    def is_complete(self) -> bool:
        return self.missing == self.duplicates == self.out_of_order == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuShares:
    """Of a core, from the first write until everybody had seen the last change."""

    server: float
    microseconds_per_delivery: float
    """Microseconds of it for one change that one subscription is told of, with the writes and all else."""
    cpu_wait: float
    """In which the server had to do, and the machine had no core for it."""
    subscribers: float
    """The busiest process of them; near 1, it is they who are late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceCost:
    connect_seconds: float
    """Seconds, until everybody was there and had caught up."""
    kib_after_connect: float
    """Resident, for each subscription."""
    kib_at_end: float
    shares: CpuShares


@dataclass(frozen=True, slots=True)
class LatencyResults:
    delivery: DeliveryResult
    answered_writes: LatencyPercentiles
    """The writes."""
    cost: ResourceCost
    log_errors: Counter[LogError]
    """Of the server."""

    @property
    def meets_goals(self) -> bool:
        is_small = self.cost.kib_at_end <= MEMORY_GOAL_KIB
        return is_small and self.delivery.latency_from_request.p99 <= LAG_GOAL_MS

    def lines(self) -> list[str]:
        delivery, cost, shares = self.delivery, self.cost, self.cost.shares
        return [
            f"{delivery.expected:,} deliveries expected, {delivery.missing} missing,"
            f" {delivery.duplicates} twice, {delivery.out_of_order} subscriptions out of order",
            f"since the write was sent  {delivery.latency_from_request}",
            f"since it happened         {delivery.latency_from_commit}",
            f"the write was answered    {self.answered_writes}",
            f"a subscription takes {cost.kib_after_connect:.0f} KiB when all are open, which they are within"
            f" {cost.connect_seconds:.1f} s, and {cost.kib_at_end:.0f} KiB at the end",
            f"the server takes {shares.server:.0%} of a core, {shares.microseconds_per_delivery:.0f} µs a delivery, and"
            f" waits for one for {shares.cpu_wait:.0%} of the time; the followers take {shares.subscribers:.0%}",
            *(f"{times} times: {what}" for what, times in self.log_errors.items()),
        ]


def compute_delivery(
    changes: Sequence[Mapping[str, Any]],
    reports: Sequence[ProcessReport],
    request_times: Mapping[str, float],
    *,
    measured_from: int,
) -> DeliveryResult:
    """Of all changes there are, in their order; `sent` says of a post when it was.

    Only of those from that place on it is looked at how late they came.
    """
    place = {change["cursor"]: number for number, change in enumerate(changes)}
    sent_at = [request_times[change["postId"]] for change in changes]
    happened_at = [_to_monotonic(change["happenedAt"]) for change in changes]
    expected = missing = twice = disordered = 0
    since_sent: list[float] = []
    since_happened: list[float] = []
    for process in reports:
        places = [place[cursor] for cursor in process.change_cursors]
        for after, seen in zip(process.start_cursors, process.received, strict=True):
            got = [places[each] for each in seen.indexes]
            wanted = set(range(place[after] + 1, len(place)))
            expected += len(wanted)
            missing += len(wanted.difference(got))
            twice += len(got) - len(wanted.intersection(got))
            disordered += got != sorted(got)
            for number, at in zip(got, seen.received_at, strict=True):
                if number >= measured_from:
                    since_sent.append(at - sent_at[number])
                    since_happened.append(at - happened_at[number])
    return DeliveryResult(
        expected, missing, twice, disordered, LatencyPercentiles.from_seconds(since_sent), LatencyPercentiles.from_seconds(since_happened)
    )


def _to_monotonic(instant: str) -> float:
    """When the machine's wall clock had that, as its monotonic one has it."""
    return datetime.fromisoformat(instant).timestamp() - time.time() + time.monotonic()
