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
from app.http.state import RateLimitStatus, RequestState

UNLIMITED = 1_000_000
"""What limit and remaining say where nothing is limited; clients expect integers."""

_UNLIMITED_WINDOW_SECONDS = 60
_IPV6_CLIENT_PREFIX_LENGTH = 64
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
        subscriptions: Sequence[RateLimitItem],
        now: Callable[[], datetime],
    ) -> None:
        self._now = now
        self._requests = _LimitSet(requests, now)
        self._failures = _LimitSet(failed_authentications if requests else (), now)
        self._new_posts = _LimitSet(new_posts if requests else (), now)
        self._publishing = _LimitSet(publishing if requests else (), now)
        self._subscriptions = _LimitSet(subscriptions if requests else (), now)

    def charge_request(self, key_id: ApiKeyId, state: RequestState) -> None:
        """Count one request of a key, or raise RateLimitExceeded; notes the status either way."""
        self._charge(self._requests, str(key_id), state, "requests")

    def charge_publishing(self, key_id: ApiKeyId, state: RequestState) -> None:
        """As `check`, for a request that does nothing but publish: it is counted by its own limit."""
        self._charge(self._publishing, str(key_id), state, "publishing requests")

    def charge_subscription(self, key_id: ApiKeyId, state: RequestState) -> None:
        """As `check`, for whoever begins to follow something; many come back together after a restart."""
        self._charge(self._subscriptions, str(key_id), state, "new subscriptions")

    def check_all_exhausted(
        self, key_id: ApiKeyId, state: RequestState, *, may_subscribe: bool
    ) -> None:
        """RateLimitExceeded where a request would be refused whatever it is; counts nothing.

        `may_follow` tells whether it may turn out to be a subscription. The status is that of the limit on
        any request. When to try again, the soonest of all says: a publisher that waited for a later one
        would lose its leases.
        """
        caller = str(key_id)
        used_up = [each.exhausted_limit(caller) for each in (self._requests, self._publishing)]
        if may_subscribe:
            used_up.append(self._subscriptions.exhausted_limit(caller))
        ordinary, publishing = used_up[:2]
        if ordinary is None or publishing is None or None in used_up:
            return
        state["rate_limit_status"] = ordinary.status(caller)
        seconds = min(self._seconds_until_reset(each, caller) for each in used_up if each)
        raise RateLimitExceeded(
            f"Too many requests: {ordinary} are allowed for one API key, and {publishing} that do"
            f" nothing but publish. Try again in {seconds} s.",
            retry_after=seconds,
        )

    def charge_posts(self, key_id: ApiKeyId, state: RequestState, count: int) -> None:
        """Count posts that a key creates together, or raise RateLimitExceeded and note the status.

        BulkLimitExceeded for more than are ever allowed at once: no waiting would help.
        """
        caller = str(key_id)
        if narrowest := self._new_posts.limit_below(count):
            raise BulkLimitExceeded(
                f"There are {count} posts; {narrowest} are allowed for one API key.",
                argument="posts",
            )
        if used_up := self._new_posts.exhausted_limit(caller, count):
            state["rate_limit_status"] = used_up.status(caller)
            raise self._rate_limit_error(used_up, caller, "new posts", "one API key")
        self._new_posts.hit(caller, count)
        if nearest := self._new_posts.tightest_limit(caller):
            known = state.get("rate_limit_status")
            status = nearest.status(caller)
            if known is None or status.remaining < known.remaining:
                state["rate_limit_status"] = status

    def charge_failed_authentication(self, address: str | None, state: RequestState) -> None:
        """Count one refused key against its address, or raise RateLimitExceeded and note the status.

        Only failures come here: those of one neighbour must not lock out another behind the same
        address whose key works. None (no network) is never refused.
        """
        if not address:
            return
        caller = _client_network(address)
        if used_up := self._failures.exhausted_limit(caller):
            state["rate_limit_status"] = used_up.status(caller)
            raise self._rate_limit_error(used_up, caller, "refused keys", "one address")
        self._failures.hit(caller)

    def default_status(self) -> RateLimitStatus:
        """What an answer says that no key was counted for."""
        return self._status(self._requests, "")

    def _charge(self, limits: "_LimitSet", caller: str, state: RequestState, subject: str) -> None:
        if used_up := limits.exhausted_limit(caller):
            state["rate_limit_status"] = used_up.status(caller)
            raise self._rate_limit_error(used_up, caller, subject, "one API key")
        limits.hit(caller)
        state["rate_limit_status"] = self._status(limits, caller)

    def _status(self, limits: "_LimitSet", caller: str) -> RateLimitStatus:
        if nearest := limits.tightest_limit(caller):
            return nearest.status(caller)
        resets_at = math.ceil(self._now().timestamp()) + _UNLIMITED_WINDOW_SECONDS
        return RateLimitStatus(limit=UNLIMITED, remaining=UNLIMITED, resets_at=resets_at)

    def _rate_limit_error(
        self, limit: "_Limit", caller: str, subject: str, scope: str
    ) -> RateLimitExceeded:
        seconds = self._seconds_until_reset(limit, caller)
        return RateLimitExceeded(
            f"Too many {subject}: {limit} are allowed for {scope}. Try again in {seconds} s.",
            retry_after=seconds,
        )

    def _seconds_until_reset(self, limit: "_Limit", caller: str) -> int:
        return max(1, math.ceil(limit.resets_at(caller) - self._now().timestamp()))


class RateLimitCharge:
    """Counts one request of a key, once: as soon as it is known what it is, and what it creates."""

    def __init__(self, rate_limits: RateLimits, key_id: ApiKeyId, state: RequestState) -> None:
        self._rate_limits = rate_limits
        self._key_id = key_id
        self._state = state
        self._is_charged = False

    def precheck(self, *, may_subscribe: bool) -> None:
        """Not counted yet; RateLimitExceeded if it is one too many whatever it is."""
        self._rate_limits.check_all_exhausted(
            self._key_id, self._state, may_subscribe=may_subscribe
        )

    def charge_request(self) -> None:
        """It is like any other, or was not understood; RateLimitExceeded if it is one too many."""
        self._charge(self._rate_limits.charge_request)

    def charge_publishing(self) -> None:
        """It does nothing but publish; RateLimitExceeded if it is one too many."""
        self._charge(self._rate_limits.charge_publishing)

    def charge_subscription(self) -> None:
        """It begins to follow something; RateLimitExceeded if it is one too many."""
        self._charge(self._rate_limits.charge_subscription)

    def charge_posts(self, count: int) -> None:
        """It creates so many posts; BulkLimitExceeded or RateLimitExceeded if these are too many."""
        self._rate_limits.charge_posts(self._key_id, self._state, count)

    def _charge(self, charge: Callable[[ApiKeyId, RequestState], None]) -> None:
        if not self._is_charged:
            self._is_charged = True
            charge(self._key_id, self._state)


def rate_limit_headers(status: RateLimitStatus) -> Sequence[tuple[bytes, bytes]]:
    """The headers that every answer carries, as ASGI has them."""
    return (
        (b"x-ratelimit-limit", b"%d" % status.limit),
        (b"x-ratelimit-remaining", b"%d" % status.remaining),
        (b"x-ratelimit-reset", b"%d" % status.resets_at),
    )


class _LimitSet:
    """Several limits that hold at once."""

    def __init__(self, items: Sequence[RateLimitItem], now: Callable[[], datetime]) -> None:
        self._limits = [_Limit(item, now) for item in items]

    def limit_below(self, count: int) -> "_Limit | None":
        """A limit that never allows so many at once, if there is one."""
        return next((limit for limit in self._limits if limit.amount < count), None)

    def exhausted_limit(self, caller: str, count: int = 1) -> "_Limit | None":
        """The limit that refuses the caller so many for longest, if one does."""
        used_up = [limit for limit in self._limits if limit.is_exhausted(caller, count)]
        return max(used_up, key=lambda limit: limit.resets_at(caller)) if used_up else None

    def tightest_limit(self, caller: str) -> "_Limit | None":
        """The limit that leaves the caller the fewest requests, and of equals the longest."""
        return min(
            self._limits,
            key=lambda limit: (limit.remaining(caller), -limit.resets_at(caller)),
            default=None,
        )

    def hit(self, caller: str, count: int = 1) -> None:
        for limit in self._limits:
            limit.hit(caller, count)


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

    def is_exhausted(self, caller: str, count: int) -> bool:
        """Whether so many more are too many."""
        return not self._window.test(self._item, caller, cost=count)

    def hit(self, caller: str, count: int) -> None:
        self._window.hit(self._item, caller, cost=count)

    def remaining(self, caller: str) -> int:
        return self._window.get_window_stats(self._item, caller).remaining

    def resets_at(self, caller: str) -> float:
        """Unix seconds; for a caller without a window, when one that starts now would end."""
        stats = self._window.get_window_stats(self._item, caller)
        if stats.remaining == self._item.amount:
            return self._now().timestamp() + self._item.get_expiry()
        return stats.reset_time

    def status(self, caller: str) -> RateLimitStatus:
        # Rounded up: at the second that is shown, the limit is really full again.
        return RateLimitStatus(
            limit=self._item.amount,
            remaining=self.remaining(caller),
            resets_at=math.ceil(self.resets_at(caller)),
        )


def _client_network(address: str) -> str:
    """Who an address stands for: one IPv4 address, or the IPv6 network that one customer gets."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:_MAX_ADDRESS_LENGTH]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_CLIENT_PREFIX_LENGTH), strict=False))
