"""What a run of tests.subscriptions.kills came to, and how it is told. Starts and asks nothing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.subscriptions.reconnecting_subscribers import Change, Subscriber


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """By one subscriber; the last three numbers must be 0, and there must be no faults."""

    name: str
    came_back: int
    told: int
    missed: int
    twice: int
    """Told more than once, or not meant."""
    disordered: int
    """Told after one that comes later."""
    faults: Sequence[str]
    """Answers that nobody should be given."""

    @property
    def is_clean(self) -> bool:
        return self.missed == self.twice == self.disordered == 0 and not self.faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one run; wrong must be 0, and there must be no mistakes."""

    acknowledged: int
    """Writes, and what was read in the end."""
    repeated: int
    """Those of them that were sent again, as their answer did not come."""
    kills: int
    restarts: int
    changes: int
    wrong: int
    """Writes that the feed has not as often as they were acknowledged."""
    followed: Sequence[Followed]
    mistakes: Sequence[str]
    """That the servers logged of themselves."""

    @property
    def is_clean(self) -> bool:
        is_right = all(each.is_clean for each in self.followed)
        return is_right and self.wrong == 0 and not self.mistakes

    def lines(self) -> Iterator[str]:
        yield (
            f"{self.kills} kills of servers, {self.restarts} restarts of the database;"
            f" {self.acknowledged:,} requests acknowledged, {self.repeated} of them after repetitions;"
            f" {self.changes:,} changes, {self.wrong} wrong"
        )
        heads = ("came back", "told", "missed", "twice", "disordered", "faults")
        width = max(len(each.name) for each in self.followed)
        yield "  ".join([" " * width, *heads])
        for each in self.followed:
            values = (
                each.came_back,
                each.told,
                each.missed,
                each.twice,
                each.disordered,
                len(each.faults),
            )
            cells = (f"{value:>{len(head)},}" for head, value in zip(heads, values, strict=True))
            yield "  ".join([f"{each.name:<{width}}", *cells])
        faults = Counter(fault for each in self.followed for fault in each.faults)
        yield from (f"{times} times: {fault}" for fault, times in faults.items())
        yield from self.mistakes


def followed_by(subscriber: Subscriber, changes: Sequence[Change]) -> Followed:
    """Beside all changes there are, in their order."""
    place = {change["cursor"]: number for number, change in enumerate(changes)}
    meant = {change["cursor"] for change in changes if subscriber.wish.is_meant(change)}
    seen = subscriber.seen
    once = meant.intersection(seen)
    places = [place[cursor] for cursor in seen if cursor in place]
    return Followed(
        name=subscriber.name,
        came_back=subscriber.came_back,
        told=len(seen),
        missed=len(meant) - len(once),
        twice=len(seen) - len(once),
        disordered=sum(later < earlier for earlier, later in pairwise(places)),
        faults=subscriber.faults,
    )
