"""How often a key may ask, create and publish, and an address may fail. Knows no requests or responses."""

import ipaddress
import math
from collections.abc import Callable, Sequence
from datetime import datetime

from limits import RateLimitItem
from limits.strategies import FixedWindowRateLimiter

from app.domain.errors import BulkLimitExceeded, RateLimitExceeded
from app.domain.ids import ApiKeyId
from app.http.rate_limit_storage import BoundedStorage
from app.http.state import RateStatus, RequestState

UNLIMITED = 1_000_000
"""What limit and remaining say where nothing is limited; clients expect integers."""

_UNLIMITED_WINDOW_SECONDS = 60
_IPV6_CUSTOMER_BITS = 64
_MAX_ADDRESS_LENGTH = 64


class RateLimits:
    """The limits of this process; all counts forget, so memory is bounded.

    A window starts with the caller's first request and is full again at its end: that is the one
    scheme in which "this many are left until then" is exactly true. A refused request is not
    counted. An empty sequence is no limit; without limits on requests nothing is limited at all.
    """

    def __init__(
        self,
        *,
        requests: Sequence[RateLimitItem],
        failed_authentications: Sequence[RateLimitItem],
        new_posts: Sequence[RateLimitItem],
        publishing: Sequence[RateLimitItem],
        subscribing: Sequence[RateLimitItem],
        now: Callable[[], datetime],
    ) -> None:
        self._now = now
        self._requests = _Limits(requests, now)
        self._failures = _Limits(failed_authentications if requests else (), now)
        self._new_posts = _Limits(new_posts if requests else (), now)
        self._publishing = _Limits(publishing if requests else (), now)
        self._subscribing = _Limits(subscribing if requests else (), now)

    def check(self, key_id: ApiKeyId, state: RequestState) -> None:
        """Count one request of a key, or raise RateLimitExceeded; notes the status either way."""
        self._check(self._requests, str(key_id), state, "requests")

    def check_publishing(self, key_id: ApiKeyId, state: RequestState) -> None:
        """As `check`, for a request that does nothing but publish: it is counted by its own limit."""
        self._check(self._publishing, str(key_id), state, "publishing requests")

    def check_subscribing(self, key_id: ApiKeyId, state: RequestState) -> None:
        """As `check`, for whoever begins to follow something; many come back together after a restart."""
        self._check(self._subscribing, str(key_id), state, "new subscriptions")

    def check_any(self, key_id: ApiKeyId, state: RequestState, *, may_follow: bool) -> None:
        """RateLimitExceeded where a request would be refused whatever it is; counts nothing.

        `may_follow` tells whether it may turn out to be a subscription. The status is that of the limit on
        any request. When to try again, the soonest of all says: a publisher that waited for a later one
        would lose its leases.
        """
        caller = str(key_id)
        used_up = [each.used_up(caller) for each in (self._requests, self._publishing)]
        if may_follow:
            used_up.append(self._subscribing.used_up(caller))
        ordinary, publishing = used_up[:2]
        if ordinary is None or publishing is None or None in used_up:
            return
        state["rate_status"] = ordinary.status(caller)
        seconds = min(self._seconds_until_reset(each, caller) for each in used_up if each)
        raise RateLimitExceeded(
            f"Too many requests: {ordinary} are allowed for one API key, and {publishing} that do"
            f" nothing but publish. Try again in {seconds} s.",
            retry_after=seconds,
        )

    def check_new_posts(self, key_id: ApiKeyId, state: RequestState, count: int) -> None:
        """Count posts that a key creates together, or raise RateLimitExceeded and note the status.

        BulkLimitExceeded for more than are ever allowed at once: no waiting would help.
        """
        caller = str(key_id)
        if narrowest := self._new_posts.narrower_than(count):
            raise BulkLimitExceeded(
                f"There are {count} posts; {narrowest} are allowed for one API key.",
                argument="posts",
            )
        if used_up := self._new_posts.used_up(caller, count):
            state["rate_status"] = used_up.status(caller)
            raise self._exceeded(used_up, caller, "new posts", "one API key")
        self._new_posts.count(caller, count)
        if nearest := self._new_posts.nearest(caller):
            known = state.get("rate_status")
            status = nearest.status(caller)
            if known is None or status.remaining < known.remaining:
                state["rate_status"] = status

    def check_failed_authentication(self, address: str | None, state: RequestState) -> None:
        """Count one refused key against its address, or raise RateLimitExceeded and note the status.

        Only failures come here: those of one neighbour must not lock out another behind the same
        address whose key works. None (no network) is never refused.
        """
        if not address:
            return
        caller = _customer(address)
        if used_up := self._failures.used_up(caller):
            state["rate_status"] = used_up.status(caller)
            raise self._exceeded(used_up, caller, "refused keys", "one address")
        self._failures.count(caller)

    def untouched(self) -> RateStatus:
        """What an answer says that no key was counted for."""
        return self._status(self._requests, "")

    def _check(self, limits: "_Limits", caller: str, state: RequestState, what: str) -> None:
        if used_up := limits.used_up(caller):
            state["rate_status"] = used_up.status(caller)
            raise self._exceeded(used_up, caller, what, "one API key")
        limits.count(caller)
        state["rate_status"] = self._status(limits, caller)

    def _status(self, limits: "_Limits", caller: str) -> RateStatus:
        if nearest := limits.nearest(caller):
            return nearest.status(caller)
        resets_at = math.ceil(self._now().timestamp()) + _UNLIMITED_WINDOW_SECONDS
        return RateStatus(limit=UNLIMITED, remaining=UNLIMITED, resets_at=resets_at)

    def _exceeded(self, used_up: "_Limit", caller: str, what: str, per: str) -> RateLimitExceeded:
        seconds = self._seconds_until_reset(used_up, caller)
        return RateLimitExceeded(
            f"Too many {what}: {used_up} are allowed for {per}. Try again in {seconds} s.",
            retry_after=seconds,
        )

    def _seconds_until_reset(self, limit: "_Limit", caller: str) -> int:
        return max(1, math.ceil(limit.resets_at(caller) - self._now().timestamp()))


class RequestCount:
    """Counts one request of a key, once: as soon as it is known what it is, and what it creates."""

    def __init__(self, rate_limits: RateLimits, key_id: ApiKeyId, state: RequestState) -> None:
        self._rate_limits = rate_limits
        self._key_id = key_id
        self._state = state
        self._is_counted = False

    def as_unknown(self, *, may_follow: bool) -> None:
        """Not counted yet; RateLimitExceeded if it is one too many whatever it is."""
        self._rate_limits.check_any(self._key_id, self._state, may_follow=may_follow)

    def as_request(self) -> None:
        """It is like any other, or was not understood; RateLimitExceeded if it is one too many."""
        self._count(self._rate_limits.check)

    def as_publishing(self) -> None:
        """It does nothing but publish; RateLimitExceeded if it is one too many."""
        self._count(self._rate_limits.check_publishing)

    def as_subscription(self) -> None:
        """It begins to follow something; RateLimitExceeded if it is one too many."""
        self._count(self._rate_limits.check_subscribing)

    def with_new_posts(self, count: int) -> None:
        """It creates so many posts; BulkLimitExceeded or RateLimitExceeded if these are too many."""
        self._rate_limits.check_new_posts(self._key_id, self._state, count)

    def _count(self, check: Callable[[ApiKeyId, RequestState], None]) -> None:
        if not self._is_counted:
            self._is_counted = True
            check(self._key_id, self._state)


def rate_headers(status: RateStatus) -> Sequence[tuple[bytes, bytes]]:
    """The headers that every answer carries, as ASGI has them."""
    return (
        (b"x-ratelimit-limit", b"%d" % status.limit),
        (b"x-ratelimit-remaining", b"%d" % status.remaining),
        (b"x-ratelimit-reset", b"%d" % status.resets_at),
    )


class _Limits:
    """Several limits that hold at once."""

    def __init__(self, items: Sequence[RateLimitItem], now: Callable[[], datetime]) -> None:
        self._limits = [_Limit(item, now) for item in items]

    def narrower_than(self, count: int) -> "_Limit | None":
        """A limit that never allows so many at once, if there is one."""
        return next((limit for limit in self._limits if limit.amount < count), None)

    def used_up(self, caller: str, count: int = 1) -> "_Limit | None":
        """The limit that refuses the caller so many for longest, if one does."""
        used_up = [limit for limit in self._limits if limit.is_used_up(caller, count)]
        return max(used_up, key=lambda limit: limit.resets_at(caller)) if used_up else None

    def nearest(self, caller: str) -> "_Limit | None":
        """The limit that leaves the caller the fewest requests, and of equals the longest."""
        return min(
            self._limits,
            key=lambda limit: (limit.remaining(caller), -limit.resets_at(caller)),
            default=None,
        )

    def count(self, caller: str, count: int = 1) -> None:
        for limit in self._limits:
            limit.count(caller, count)


class _Limit:
    """One limit over all callers; its own storage, in which every count lives equally long."""

    def __init__(self, item: RateLimitItem, now: Callable[[], datetime]) -> None:
        self._item = item
        self._now = now
        self._window = FixedWindowRateLimiter(BoundedStorage(lambda: now().timestamp()))

    def __str__(self) -> str:
        unit = self._item.GRANULARITY.name
        multiples = self._item.multiples
        return f"{self._item.amount} per {unit if multiples == 1 else f'{multiples} {unit}s'}"

    @property
    def amount(self) -> int:
        return self._item.amount

    def is_used_up(self, caller: str, count: int) -> bool:
        """Whether so many more are too many."""
        return not self._window.test(self._item, caller, cost=count)

    def count(self, caller: str, count: int) -> None:
        self._window.hit(self._item, caller, cost=count)

    def remaining(self, caller: str) -> int:
        return self._window.get_window_stats(self._item, caller).remaining

    def resets_at(self, caller: str) -> float:
        """Unix seconds; for a caller without a window, when one that starts now would end."""
        stats = self._window.get_window_stats(self._item, caller)
        if stats.remaining == self._item.amount:
            return self._now().timestamp() + self._item.get_expiry()
        return stats.reset_time

    def status(self, caller: str) -> RateStatus:
        # Rounded up: at the second that is shown, the limit is really full again.
        return RateStatus(
            limit=self._item.amount,
            remaining=self.remaining(caller),
            resets_at=math.ceil(self.resets_at(caller)),
        )


def _customer(address: str) -> str:
    """Who an address stands for: one IPv4 address, or the IPv6 network that one customer gets."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:_MAX_ADDRESS_LENGTH]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_CUSTOMER_BITS), strict=False))
