"""Rate limits, their text form such as `60/minute;1000/hour`, and counters in fixed windows."""

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import timedelta

MAX_WINDOWS = 100_000
"""Number of windows that one limit stores at a time, in about 20 MB."""

_UNITS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "month": timedelta(days=30),
    "year": timedelta(days=12 * 30),
}
_LIMIT = re.compile(
    rf"\s*(\d{{1,18}})\s*(?:/|per)\s*(\d{{1,9}})?\s*({'|'.join(_UNITS)})s?\s*",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Number of requests that one caller may send in a period."""

    amount: int
    period: timedelta
    description: str
    """Text such as `60 per minute` or `2 per 3 hours`."""


def parse_rate_limits(text: str) -> tuple[RateLimit, ...]:
    """Parse limits separated by `;`, `,` or `|`; raises ValueError for another format or a zero."""
    return tuple(_parse_rate_limit(part) for part in re.split("[;,|]", text))


def _parse_rate_limit(text: str) -> RateLimit:
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise ValueError(f"not a rate limit: {text!r}")
    amount, multiple, unit = int(match[1]), int(match[2] or 1), match[3].lower()
    if amount == 0 or multiple == 0:
        raise ValueError(f"a rate limit must be above 0: {text!r}")
    period = unit if multiple == 1 else f"{multiple} {unit}s"
    try:
        return RateLimit(amount, multiple * _UNITS[unit], f"{amount} per {period}")
    except OverflowError:
        raise ValueError(f"too long a period: {text!r}") from None


@dataclass(slots=True)
class Window:
    """Period in which the requests of one caller are counted; `resets_at` is its end in Unix seconds."""

    limit: RateLimit
    resets_at: float
    remaining: int
    """Requests that the limit still allows in this window."""


@dataclass(slots=True)
class WindowCounter:
    """Counter of the requests of all callers under one limit, in windows that a first request starts.

    The stored windows are in order of their end, so that a new one evicts only from the front. Beyond
    `max_windows` the oldest is evicted.
    """

    limit: RateLimit
    max_windows: int = MAX_WINDOWS
    _windows: dict[Hashable, Window] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._windows)

    def window(self, caller: Hashable, now: float) -> Window:
        """Return the current window of a caller; a new one, not stored, if it has none."""
        window = self._windows.get(caller)
        return self.new_window(now) if window is None or window.resets_at <= now else window

    def new_window(self, now: float) -> Window:
        """Return the window of a caller that has not sent a request yet."""
        return Window(self.limit, now + self.limit.period.total_seconds(), self.limit.amount)

    def charge(self, caller: Hashable, window: Window, now: float, count: int) -> None:
        """Count requests of a caller in the window that `window` returned for it."""
        window.remaining -= count
        if self._windows.get(caller) is not window:
            self._windows.pop(caller, None)
            self._evict(now)
            self._windows[caller] = window

    def _evict(self, now: float) -> None:
        """Remove expired windows, and the oldest ones until another fits."""
        while self._windows:
            oldest = next(iter(self._windows))
            if len(self._windows) < self.max_windows and self._windows[oldest].resets_at > now:
                break
            del self._windows[oldest]
