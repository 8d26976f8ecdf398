"""How many answers may stay open at a time, for one key and in all. Knows no requests or responses."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from app.domain.errors import RateLimitExceeded, ServiceUnavailable

_RETRY_AFTER_SECONDS = 5


class Places:
    """Of one kind in this process, such as subscriptions."""

    def __init__(
        self,
        what: str,
        *,
        in_all: int,
        per_key: int,
        count: Callable[[int], None] = lambda _by: None,
    ) -> None:
        """`count` is told of each that is taken (1) or left (−1)."""
        self._what = what
        self._in_all = in_all
        self._per_key = per_key
        self._count = count
        self._taken: Counter[Hashable] = Counter()
        self._sum = 0

    def check(self, whose: Hashable) -> None:
        """RateLimitExceeded where a key has taken all that it may, ServiceUnavailable where all have."""
        if self._taken[whose] >= self._per_key:
            raise RateLimitExceeded(
                f"One API key may have {self._per_key} {self._what} open at a time; end one of them first.",
                retry_after=_RETRY_AFTER_SECONDS,
            )
        if self._sum >= self._in_all:
            raise ServiceUnavailable(
                f"This server has as many {self._what} open as it may. Try again in a moment.",
                retry_after=_RETRY_AFTER_SECONDS,
            )

    @contextmanager
    def taken(self, whose: Hashable) -> Iterator[None]:
        """One more within it; as `check`."""
        self.check(whose)
        self._taken[whose] += 1
        self._sum += 1
        self._count(1)
        try:
            yield
        finally:
            self._sum -= 1
            self._count(-1)
            self._taken[whose] -= 1
            if not self._taken[whose]:
                del self._taken[whose]
