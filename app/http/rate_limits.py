"""Rate limits of API keys by kind of request, and of failed authentications by address."""

import ipaddress
import math
from collections.abc import Callable, Sequence
from datetime import datetime

from limits import RateLimitItem
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from app.domain.errors import BulkLimitExceeded, RateLimitExceeded
from app.domain.ids import ApiKeyId
from app.http.request_scope import RateLimitStatus, RequestState

_UNLIMITED = 1_000_000
"""Value of limit and remaining without a limit; clients expect integers."""

_MAX_COUNTS = 100_000
"""Number of counters that one limit stores at a time, in about 30 MB."""

_UNLIMITED_WINDOW_SECONDS = 60
_IPV6_CLIENT_PREFIX_LENGTH = 64
_MAX_ADDRESS_LENGTH = 64


class RateLimits:
    """Rate limits of this process, with counters in bounded memory.

    Windows are fixed and start with the caller's first request, so that "N remaining until T" is
    exact. A refused request is not counted. An empty sequence means no limit; without limits on
    requests nothing is limited at all.
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
        """Count one request of a key or raise RateLimitExceeded; sets the status in both cases."""
        self._charge(self._requests, str(key_id), state, "requests")

    def charge_publishing(self, key_id: ApiKeyId, state: RequestState) -> None:
        """Count one publishing request or raise RateLimitExceeded; sets the status in both cases."""
        self._charge(self._publishing, str(key_id), state, "publishing requests")

    def charge_subscription(self, key_id: ApiKeyId, state: RequestState) -> None:
        """Count one new subscription or raise RateLimitExceeded; sets the status in both cases.

        The limit is separate because many clients resubscribe together after a restart.
        """
        self._charge(self._subscriptions, str(key_id), state, "new subscriptions")

    def check_all_exhausted(
        self, key_id: ApiKeyId, state: RequestState, *, may_subscribe: bool
    ) -> None:
        """Raise RateLimitExceeded if a request is over its limit whatever its kind; counts nothing.

        `may_subscribe` says whether the request may be a subscription. The status is that of the
        limit on requests. The retry time is the earliest of all limits: a publisher that waited for
        a later one would lose its leases.
        """
        caller = str(key_id)
        requests = self._requests.exhausted_limit(caller)
        publishing = self._publishing.exhausted_limit(caller)
        if requests is None or publishing is None:
            return
        exhausted = [requests, publishing]
        if may_subscribe:
            subscriptions = self._subscriptions.exhausted_limit(caller)
            if subscriptions is None:
                return
            exhausted.append(subscriptions)
        state["rate_limit_status"] = requests.status(caller)
        seconds = min(self._seconds_until_reset(limit, caller) for limit in exhausted)
        raise RateLimitExceeded(
            f"Too many requests: {requests} are allowed for one API key, and {publishing} that only"
            f" publish. Try again in {seconds} s.",
            retry_after=seconds,
        )

    def charge_posts(self, key_id: ApiKeyId, state: RequestState, count: int) -> None:
        """Count posts created by one request, or set the status and raise RateLimitExceeded.

        Raises BulkLimitExceeded for more posts than a limit allows in total, as waiting cannot help.
        """
        caller = str(key_id)
        if too_low := self._new_posts.limit_below(count):
            raise BulkLimitExceeded(
                f"There are {count} posts; {too_low} are allowed for one API key.",
                argument="posts",
            )
        if exhausted := self._new_posts.exhausted_limit(caller, count):
            state["rate_limit_status"] = exhausted.status(caller)
            raise self._rate_limit_error(exhausted, caller, "new posts", "one API key")
        self._new_posts.hit(caller, count)
        if tightest := self._new_posts.tightest_limit(caller):
            current = state.get("rate_limit_status")
            status = tightest.status(caller)
            if current is None or status.remaining < current.remaining:
                state["rate_limit_status"] = status

    def charge_failed_authentication(self, address: str | None, state: RequestState) -> None:
        """Count a rejected key against its address, or set the status and raise RateLimitExceeded.

        Valid keys are never counted or checked, so that a client with a valid key is not locked out
        by others behind the same address. None (a Unix socket) is never limited.
        """
        if not address:
            return
        caller = _client_network(address)
        if exhausted := self._failures.exhausted_limit(caller):
            state["rate_limit_status"] = exhausted.status(caller)
            raise self._rate_limit_error(exhausted, caller, "rejected keys", "one address")
        self._failures.hit(caller)

    def default_status(self) -> RateLimitStatus:
        """Return the status of a response for which no key was counted."""
        return self._status(self._requests, "")

    def _charge(self, limits: "_LimitSet", caller: str, state: RequestState, subject: str) -> None:
        if exhausted := limits.exhausted_limit(caller):
            state["rate_limit_status"] = exhausted.status(caller)
            raise self._rate_limit_error(exhausted, caller, subject, "one API key")
        limits.hit(caller)
        state["rate_limit_status"] = self._status(limits, caller)

    def _status(self, limits: "_LimitSet", caller: str) -> RateLimitStatus:
        if tightest := limits.tightest_limit(caller):
            return tightest.status(caller)
        resets_at = math.ceil(self._now().timestamp()) + _UNLIMITED_WINDOW_SECONDS
        return RateLimitStatus(limit=_UNLIMITED, remaining=_UNLIMITED, resets_at=resets_at)

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
    """Counter of one request of a key, at most once, as soon as its kind is known."""

    def __init__(self, rate_limits: RateLimits, key_id: ApiKeyId, state: RequestState) -> None:
        self._rate_limits = rate_limits
        self._key_id = key_id
        self._state = state
        self._is_charged = False

    def precheck(self, *, may_subscribe: bool) -> None:
        """Raise RateLimitExceeded if no kind of request is allowed; counts nothing."""
        self._rate_limits.check_all_exhausted(
            self._key_id, self._state, may_subscribe=may_subscribe
        )

    def charge_request(self) -> None:
        """Count an ordinary or malformed request; raises RateLimitExceeded."""
        self._charge(self._rate_limits.charge_request)

    def charge_publishing(self) -> None:
        """Count a request that only publishes; raises RateLimitExceeded."""
        self._charge(self._rate_limits.charge_publishing)

    def charge_subscription(self) -> None:
        """Count a new subscription; raises RateLimitExceeded."""
        self._charge(self._rate_limits.charge_subscription)

    def charge_posts(self, count: int) -> None:
        """Count created posts; raises BulkLimitExceeded or RateLimitExceeded."""
        self._rate_limits.charge_posts(self._key_id, self._state, count)

    def _charge(self, charge: Callable[[ApiKeyId, RequestState], None]) -> None:
        if not self._is_charged:
            self._is_charged = True
            charge(self._key_id, self._state)


def rate_limit_headers(status: RateLimitStatus) -> Sequence[tuple[bytes, bytes]]:
    """Return the X-RateLimit-* headers of every response, in ASGI form."""
    return (
        (b"x-ratelimit-limit", b"%d" % status.limit),
        (b"x-ratelimit-remaining", b"%d" % status.remaining),
        (b"x-ratelimit-reset", b"%d" % status.resets_at),
    )


class _LimitSet:
    """Limits that all apply to the same requests."""

    def __init__(self, items: Sequence[RateLimitItem], now: Callable[[], datetime]) -> None:
        self._limits = [_Limit(item, now) for item in items]

    def limit_below(self, count: int) -> "_Limit | None":
        """Return a limit whose total is less than `count`, if there is one."""
        return next((limit for limit in self._limits if limit.amount < count), None)

    def exhausted_limit(self, caller: str, count: int = 1) -> "_Limit | None":
        """Return the limit that refuses `count` more for the longest time, if one does."""
        exhausted = [limit for limit in self._limits if limit.is_exhausted(caller, count)]
        return max(exhausted, key=lambda limit: limit.resets_at(caller), default=None)

    def tightest_limit(self, caller: str) -> "_Limit | None":
        """Return the limit with the fewest remaining requests; of equal ones the last to reset."""
        return min(
            self._limits,
            key=lambda limit: (limit.remaining(caller), -limit.resets_at(caller)),
            default=None,
        )

    def hit(self, caller: str, count: int = 1) -> None:
        for limit in self._limits:
            limit.hit(caller, count)


class _Limit:
    """Limit of all callers, with a storage of its own: all its counters expire equally."""

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
        """Return True if `count` more would exceed the limit."""
        return not self._window.test(self._item, caller, cost=count)

    def hit(self, caller: str, count: int) -> None:
        self._window.hit(self._item, caller, cost=count)

    def remaining(self, caller: str) -> int:
        return self._window.get_window_stats(self._item, caller).remaining

    def resets_at(self, caller: str) -> float:
        """Return the end of the caller's window in Unix seconds; without one, of a window that starts now."""
        stats = self._window.get_window_stats(self._item, caller)
        if stats.remaining == self._item.amount:
            return self._now().timestamp() + self._item.get_expiry()
        return stats.reset_time

    def status(self, caller: str) -> RateLimitStatus:
        # Rounded up, so that the limit is really reset at the second shown.
        return RateLimitStatus(
            limit=self._item.amount,
            remaining=self.remaining(caller),
            resets_at=math.ceil(self.resets_at(caller)),
        )


class BoundedStorage(Storage):
    """Fixed windows in memory; all counters of one storage must have the same expiry.

    The library's own memory storage is unbounded, and scans all counters in a thread after each
    request. Here counters are in order of expiry, so that a new one evicts only from the front;
    beyond `max_counts` the oldest is evicted.
    """

    STORAGE_SCHEME = None

    def __init__(self, now: Callable[[], float], max_counts: int = _MAX_COUNTS) -> None:
        super().__init__()
        self._now = now
        self._max_counts = max_counts
        self._counts: dict[str, tuple[int, float]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to a counter, or start one that expires after `expiry` seconds."""
        if count := self.get(key):
            self._counts[key] = (count + amount, self.get_expiry(key))
        else:
            self._evict()
            self._counts[key] = (amount, self._now() + expiry)
        return count + amount

    def get(self, key: str) -> int:
        """Return the value of a counter; 0 if it is missing or expired."""
        count, expires_at = self._counts.get(key, (0, 0.0))
        return count if expires_at > self._now() else 0

    def get_expiry(self, key: str) -> float:
        """Return the expiry of a counter in seconds of the clock; now if it is missing."""
        return self._counts.get(key, (0, self._now()))[1]

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        dropped = len(self._counts)
        self._counts.clear()
        return dropped

    def clear(self, key: str) -> None:
        self._counts.pop(key, None)

    def __len__(self) -> int:
        return len(self._counts)

    def _evict(self) -> None:
        """Remove expired counters, and the oldest ones until another fits."""
        now = self._now()
        while self._counts:
            oldest = next(iter(self._counts))
            if len(self._counts) < self._max_counts and self._counts[oldest][1] > now:
                break
            del self._counts[oldest]


def _client_network(address: str) -> str:
    """Return the limited unit: one IPv4 address, or the /64 IPv6 network of one customer."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:_MAX_ADDRESS_LENGTH]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_CLIENT_PREFIX_LENGTH), strict=False))
