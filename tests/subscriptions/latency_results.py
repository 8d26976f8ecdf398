"""What a run of `lateness` came to: who was told what and when, and what it cost. Starts and asks nothing."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import nan
from typing import Any, Self

from tests.subscriptions.log_errors import Complaint
from tests.subscriptions.subscriber_pool import Told

LAG_GOAL_MS = 1000
"""Within which 99 % of all changes reach whoever follows."""
MEMORY_GOAL_KIB = 100
"""For one subscription."""


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds."""

    half: float
    p95: float
    p99: float
    longest: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Self:
        ms = [1000 * each for each in sorted(seconds)] or [nan]
        return cls(ms[len(ms) // 2], ms[len(ms) * 95 // 100], ms[len(ms) * 99 // 100], ms[-1])

    def __str__(self) -> str:
        return (
            f"half within {self.half:,.0f} ms, 95 % {self.p95:,.0f} ms, 99 % {self.p99:,.0f} ms,"
            f" the last {self.longest:,.0f} ms"
        )


@dataclass(frozen=True, slots=True)
class Delivery:
    """What reached whoever follows."""

    expected: int
    missing: int
    twice: int
    """There more than once, or not meant for who got it."""
    disordered: int
    """Subscriptions that were told of anything out of its turn."""
    since_sent: Times
    """From just before the write was sent; so it includes what the write itself took."""
    since_happened: Times
    """From when it happened, as the server says."""

    @property
    def is_whole(self) -> bool:
        return self.missing == self.twice == self.disordered == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Of a core, from the first write until everybody had seen the last change."""

    server: float
    each_us: float
    """Microseconds of it for one change that one subscription is told of, with the writes and all else."""
    waiting: float
    """In which the server had to do, and the machine had no core for it."""
    followers: float
    """The busiest process of them; near 1, it is they who are late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    opened_within: float
    """Seconds, until everybody was there and had caught up."""
    kib_when_open: float
    """Resident, for each subscription."""
    kib_at_the_end: float
    shares: Shares


@dataclass(frozen=True, slots=True)
class Figures:
    delivery: Delivery
    answered: Times
    """The writes."""
    cost: Cost
    complaints: Counter[Complaint]
    """Of the server."""

    @property
    def meets_the_goals(self) -> bool:
        is_small = self.cost.kib_at_the_end <= MEMORY_GOAL_KIB
        return is_small and self.delivery.since_sent.p99 <= LAG_GOAL_MS

    def lines(self) -> list[str]:
        delivery, cost, shares = self.delivery, self.cost, self.cost.shares
        return [
            f"{delivery.expected:,} deliveries expected, {delivery.missing} missing,"
            f" {delivery.twice} twice, {delivery.disordered} subscriptions out of order",
            f"since the write was sent  {delivery.since_sent}",
            f"since it happened         {delivery.since_happened}",
            f"the write was answered    {self.answered}",
            f"a subscription takes {cost.kib_when_open:.0f} KiB when all are open, which they are within"
            f" {cost.opened_within:.1f} s, and {cost.kib_at_the_end:.0f} KiB at the end",
            f"the server takes {shares.server:.0%} of a core, {shares.each_us:.0f} µs a delivery, and"
            f" waits for one for {shares.waiting:.0%} of the time; the followers take {shares.followers:.0%}",
            *(f"{times} times: {what}" for what, times in self.complaints.items()),
        ]


def delivery_of(
    changes: Sequence[Mapping[str, Any]],
    told: Sequence[Told],
    sent: Mapping[str, float],
    *,
    measured_from: int,
) -> Delivery:
    """Of all changes there are, in their order; `sent` says of a post when it was.

    Only of those from that place on it is looked at how late they came.
    """
    place = {change["cursor"]: number for number, change in enumerate(changes)}
    sent_at = [sent[change["postId"]] for change in changes]
    happened_at = [_monotonic(change["happenedAt"]) for change in changes]
    expected = missing = twice = disordered = 0
    since_sent: list[float] = []
    since_happened: list[float] = []
    for process in told:
        places = [place[cursor] for cursor in process.cursors]
        for after, seen in zip(process.after, process.seen, strict=True):
            got = [places[each] for each in seen.changes]
            wanted = set(range(place[after] + 1, len(place)))
            expected += len(wanted)
            missing += len(wanted.difference(got))
            twice += len(got) - len(wanted.intersection(got))
            disordered += got != sorted(got)
            for number, at in zip(got, seen.at, strict=True):
                if number >= measured_from:
                    since_sent.append(at - sent_at[number])
                    since_happened.append(at - happened_at[number])
    return Delivery(
        expected, missing, twice, disordered, Times.of(since_sent), Times.of(since_happened)
    )


def _monotonic(instant: str) -> float:
    """When the machine's wall clock had that, as its monotonic one has it."""
    return datetime.fromisoformat(instant).timestamp() - time.time() + time.monotonic()
