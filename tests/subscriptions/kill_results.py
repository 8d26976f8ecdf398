"""What a run of tests.subscriptions.kills came to, and how it is told. Starts and asks nothing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.subscriptions.reconnecting_subscribers import ChangeData, Subscriber


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberResult:
    """By one subscriber; the last three numbers must be 0, and there must be no faults."""

    name: str
    reconnects: int
    received: int
    missed: int
    duplicates: int
    """Told more than once, or not meant."""
    out_of_order: int
    """Told after one that comes later."""
    faults: Sequence[str]
    """Answers that nobody should be given."""

    @property
    def is_clean(self) -> bool:
        return self.missed == self.duplicates == self.out_of_order == 0 and not self.faults


@dataclass(frozen=True, slots=True, kw_only=True)
class KillResults:
    """Of one run; wrong must be 0, and there must be no mistakes."""

    acknowledged: int
    """Writes, and what was read in the end."""
    repeated: int
    """Those of them that were sent again, as their answer did not come."""
    kills: int
    restarts: int
    changes: int
    mismatched_writes: int
    """Writes that the feed has not as often as they were acknowledged."""
    subscribers: Sequence[SubscriberResult]
    log_errors: Sequence[str]
    """That the servers logged of themselves."""

    @property
    def is_clean(self) -> bool:
        is_right = all(each.is_clean for each in self.subscribers)
        return is_right and self.mismatched_writes == 0 and not self.log_errors

    def lines(self) -> Iterator[str]:
        yield (
            f"{self.kills} kills of servers, {self.restarts} restarts of the database;"
            f" {self.acknowledged:,} requests acknowledged, {self.repeated} of them after repetitions;"
            f" {self.changes:,} changes, {self.mismatched_writes} wrong"
        )
        heads = ("came back", "told", "missed", "twice", "disordered", "faults")
        width = max(len(each.name) for each in self.subscribers)
        yield "  ".join([" " * width, *heads])
        for each in self.subscribers:
            values = (
                each.reconnects,
                each.received,
                each.missed,
                each.duplicates,
                each.out_of_order,
                len(each.faults),
            )
            cells = (f"{value:>{len(head)},}" for head, value in zip(heads, values, strict=True))
            yield "  ".join([f"{each.name:<{width}}", *cells])
        faults = Counter(fault for each in self.subscribers for fault in each.faults)
        yield from (f"{times} times: {fault}" for fault, times in faults.items())
        yield from self.log_errors


def subscriber_result(subscriber: Subscriber, changes: Sequence[ChangeData]) -> SubscriberResult:
    """Beside all changes there are, in their order."""
    place = {change["cursor"]: number for number, change in enumerate(changes)}
    meant = {change["cursor"] for change in changes if subscriber.wish.matches(change)}
    seen = subscriber.received
    once = meant.intersection(seen)
    places = [place[cursor] for cursor in seen if cursor in place]
    return SubscriberResult(
        name=subscriber.name,
        reconnects=subscriber.reconnects,
        received=len(seen),
        missed=len(meant) - len(once),
        duplicates=len(seen) - len(once),
        out_of_order=sum(later < earlier for earlier, later in pairwise(places)),
        faults=subscriber.faults,
    )
