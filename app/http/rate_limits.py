"""Rate limits of API keys by kind of request, of sessions, and of failed authentications by address."""

import ipaddress
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime
from operator import attrgetter

from app.domain.errors import BulkLimitExceeded, RateLimitExceeded
from app.domain.rate_limits import RateLimit, Window, WindowCounter
from app.http.request import ApiRequest, RateLimitStatus

_UNLIMITED = 1_000_000
"""Value of limit and remaining without a limit; clients expect integers."""

_UNLIMITED_WINDOW_SECONDS = 60
_IPV6_CLIENT_PREFIX_LENGTH = 64
_MAX_ADDRESS_LENGTH = 64

_SESSION_SCOPE = "one session"

_end = attrgetter("resets_at")


class RateLimits:
    """Rate limits of this process, with counters in bounded memory.

    Windows are fixed and start with the caller's first request, so that "N remaining until T" is
    exact. A refused request is not counted. An empty sequence means no limit; without limits on
    requests nothing is limited at all.
    """

    def __init__(
        self,
        *,
        requests: Sequence[RateLimit],
        failed_authentications: Sequence[RateLimit],
        new_posts: Sequence[RateLimit],
        publishing: Sequence[RateLimit],
        subscriptions: Sequence[RateLimit],
        sessions: Sequence[RateLimit],
        now: Callable[[], datetime],
    ) -> None:
        self._now = now
        self._requests = [WindowCounter(limit) for limit in requests]
        self._failures = [WindowCounter(limit) for limit in failed_authentications if requests]
        self._new_posts = [WindowCounter(limit) for limit in new_posts if requests]
        self._publishing = [WindowCounter(limit) for limit in publishing if requests]
        self._subscriptions = [WindowCounter(limit) for limit in subscriptions if requests]
        self._sessions = [WindowCounter(limit) for limit in sessions if requests]

    def charge_request(self, request: ApiRequest) -> None:
        """Count an ordinary or malformed request of a key, or raise RateLimitExceeded.

        A request is counted once, by the first of these methods that is called. Its status is set, also
        if it is refused. Each of them counts a request by a session for the limit of sessions instead, and
        raises what `ApiRequest.check_memory` raises.
        """
        self._charge_once(request, self._requests, "requests")

    def charge_publishing(self, request: ApiRequest) -> None:
        """Count a request that only publishes, or raise RateLimitExceeded."""
        self._charge_once(request, self._publishing, "publishing requests")

    def charge_subscription(self, request: ApiRequest) -> None:
        """Count a new subscription, or raise RateLimitExceeded.

        The limit is separate because many clients resubscribe together after a restart.
        """
        self._charge_once(request, self._subscriptions, "new subscriptions")

    def check_all_exhausted(self, request: ApiRequest, *, may_subscribe: bool) -> None:
        """Raise RateLimitExceeded if a request is over its limit whatever its kind; counts nothing.

        `may_subscribe` says whether the request may be a subscription. The status is that of the
        limit on requests. The retry time is the earliest of all limits: a publisher that waited for
        a later one would lose its leases.
        """
        now = self._now().timestamp()
        caller = _caller(request)
        if request.session_id is not None:
            windows = [counter.window(caller, now) for counter in self._sessions]
            self._require_remaining(request, windows, now, 1, "requests", _SESSION_SCOPE)
            return
        kinds = [self._requests, self._publishing]
        if may_subscribe:
            kinds.append(self._subscriptions)
        refusing = []
        for counters in kinds:
            window = _refusing_window([counter.window(caller, now) for counter in counters], 1)
            if window is None:
                return
            refusing.append(window)
        request.rate_limit = _status(refusing[0])
        seconds = min(_seconds_until_reset(window, now) for window in refusing)
        raise RateLimitExceeded(
            f"Too many requests: {refusing[0].limit.description} are allowed for one API key, and"
            f" {refusing[1].limit.description} that only publish. Try again in {seconds} s.",
            retry_after=seconds,
        )

    def charge_posts(self, request: ApiRequest, count: int) -> None:
        """Count posts created by one request, or set the status and raise RateLimitExceeded.

        All sessions of a key share its limit. Raises BulkLimitExceeded for more posts than a limit allows
        in total, as waiting cannot help.
        """
        for counter in self._new_posts:
            if counter.limit.amount < count:
                raise BulkLimitExceeded(
                    f"There are {count} posts; {counter.limit.description} are allowed for one API"
                    " key.",
                    argument="posts",
                )
        self._charge_new(request, "new posts", count)

    def charge_verification(self, request: ApiRequest) -> None:
        """Count a verification of credentials like a new post, or raise RateLimitExceeded."""
        self._charge_new(request, "new posts and verifications", 1)

    def _charge_new(self, request: ApiRequest, subject: str, count: int) -> None:
        key = request.api_key_id and request.api_key_id.int
        status = self._charge(request, self._new_posts, key, subject, "one API key", count)
        if request.rate_limit is None or status.remaining < request.rate_limit.remaining:
            request.rate_limit = status

    def charge_failed_authentication(self, request: ApiRequest) -> None:
        """Count a rejected key against its address, or set the status and raise RateLimitExceeded.

        Valid keys are never counted or checked, so that a client with a valid key is not locked out
        by others behind the same address. A client without an address (a Unix socket) is never limited.
        """
        if request.client_address:
            network = client_network(request.client_address)
            self._charge(request, self._failures, network, "rejected keys", "one address")

    def default_status(self) -> RateLimitStatus:
        """Return the status of a response for which no key was counted."""
        now = self._now().timestamp()
        return _tightest_status([counter.new_window(now) for counter in self._requests], now)

    def _charge_once(
        self, request: ApiRequest, counters: Sequence[WindowCounter], subject: str
    ) -> None:
        if not request.is_charged:
            request.is_charged = True
            if request.session_id is None:
                scope = "one API key"
            else:
                counters, subject, scope = self._sessions, "requests", _SESSION_SCOPE
            request.rate_limit = self._charge(request, counters, _caller(request), subject, scope)
            # Here the kind of the request is known, and nothing was executed yet.
            request.check_memory()

    def _charge(
        self,
        request: ApiRequest,
        counters: Sequence[WindowCounter],
        caller: Hashable,
        subject: str,
        scope: str,
        count: int = 1,
    ) -> RateLimitStatus:
        """Count for a caller and return the status, or set the status of the request and raise."""
        now = self._now().timestamp()
        windows = [counter.window(caller, now) for counter in counters]
        self._require_remaining(request, windows, now, count, subject, scope)
        for counter, window in zip(counters, windows, strict=True):
            counter.charge(caller, window, now, count)
        return _tightest_status(windows, now)

    @staticmethod
    def _require_remaining(
        request: ApiRequest,
        windows: Sequence[Window],
        now: float,
        count: int,
        subject: str,
        scope: str,
    ) -> None:
        """Set the status and raise RateLimitExceeded if a window has fewer than `count` requests left."""
        refusing = _refusing_window(windows, count)
        if refusing is not None:
            request.rate_limit = _status(refusing)
            seconds = _seconds_until_reset(refusing, now)
            raise RateLimitExceeded(
                f"Too many {subject}: {refusing.limit.description} are allowed for {scope}."
                f" Try again in {seconds} s.",
                retry_after=seconds,
            )


def _caller(request: ApiRequest) -> Hashable:
    """Return the session or API key as a number, whose hash is quicker than that of a UUID."""
    caller = request.session_id or request.api_key_id
    return caller and caller.int


def _refusing_window(windows: Iterable[Window], count: int) -> Window | None:
    """Return the window that refuses `count` more for the longest time, if one does."""
    refusing = [window for window in windows if window.remaining < count]
    return max(refusing, key=_end) if refusing else None


def _tightest_status(windows: Sequence[Window], now: float) -> RateLimitStatus:
    """Return the status of the window with the fewest remaining requests; of equal ones the last to reset."""
    if not windows:
        return RateLimitStatus(_UNLIMITED, _UNLIMITED, math.ceil(now) + _UNLIMITED_WINDOW_SECONDS)
    fewest = min([window.remaining for window in windows])
    return _status(max([window for window in windows if window.remaining == fewest], key=_end))


def _status(window: Window) -> RateLimitStatus:
    # Rounded up, so that the limit is really reset at the second shown.
    return RateLimitStatus(window.limit.amount, window.remaining, math.ceil(window.resets_at))


def _seconds_until_reset(window: Window, now: float) -> int:
    return max(1, math.ceil(window.resets_at - now))


def client_network(address: str) -> str:
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
