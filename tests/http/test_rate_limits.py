"""Rate limits, with a clock that is advanced by hand."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import limits
import pytest

from app.domain.errors import BulkLimitExceeded, RateLimitExceeded
from app.domain.ids import ApiKeyId
from app.http.rate_limits import BoundedStorage, RateLimitCharge, RateLimits, rate_limit_headers
from app.http.request_scope import RateLimitStatus, RequestState
from tests.http.asgi import NOW

KEY = ApiKeyId(UUID(int=1))
OTHER_KEY = ApiKeyId(UUID(int=2))
ADDRESS = "203.0.113.7"
NOW_SECONDS = int(NOW.timestamp())


class ManualClock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def make_rate_limits(
    clock: Callable[[], datetime],
    requests: str,
    failed_authentications: str = "",
    new_posts: str = "",
    publishing: str = "",
    subscribing: str = "",
) -> RateLimits:
    return RateLimits(
        requests=tuple(limits.parse_many(requests)) if requests else (),
        failed_authentications=tuple(limits.parse_many(failed_authentications))
        if failed_authentications
        else (),
        new_posts=tuple(limits.parse_many(new_posts)) if new_posts else (),
        publishing=tuple(limits.parse_many(publishing)) if publishing else (),
        subscriptions=tuple(limits.parse_many(subscribing)) if subscribing else (),
        now=clock,
    )


def charge_requests(rate_limits: RateLimits, requests: int, key: ApiKeyId = KEY) -> RateLimitStatus:
    state: RequestState = {}
    for _ in range(requests):
        rate_limits.charge_request(key, state)
    return state["rate_limit_status"]


def test_request_decrements_remaining(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "3/minute")

    assert charge_requests(rate_limits, 1) == RateLimitStatus(3, 2, NOW_SECONDS + 60)
    clock.advance(20)
    assert charge_requests(rate_limits, 2) == RateLimitStatus(3, 0, NOW_SECONDS + 60)


def test_request_over_limit_is_refused_with_retry_after(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "2/minute")
    charge_requests(rate_limits, 2)
    clock.advance(12.5)
    state: RequestState = {}

    with pytest.raises(RateLimitExceeded) as caught:
        rate_limits.charge_request(KEY, state)

    assert caught.value.message == (
        "Too many requests: 2 per minute are allowed for one API key. Try again in 48 s."
    )
    assert caught.value.retry_after == 48
    assert state["rate_limit_status"] == RateLimitStatus(2, 0, NOW_SECONDS + 60)


def test_limit_is_reset_after_retry_after(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "2/minute")
    charge_requests(rate_limits, 2)
    clock.advance(59.9)
    with pytest.raises(RateLimitExceeded) as caught:
        rate_limits.charge_request(KEY, {})

    assert caught.value.retry_after == 1
    clock.advance(1)
    assert charge_requests(rate_limits, 1) == RateLimitStatus(2, 1, NOW_SECONDS + 121)


def test_keys_are_limited_separately(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "2/minute")
    charge_requests(rate_limits, 2)

    assert charge_requests(rate_limits, 1, OTHER_KEY) == RateLimitStatus(2, 1, NOW_SECONDS + 60)


def test_status_is_of_limit_with_fewest_remaining(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "3/minute;5/hour")

    assert charge_requests(rate_limits, 1) == RateLimitStatus(3, 2, NOW_SECONDS + 60)
    clock.advance(60)
    assert charge_requests(rate_limits, 2) == RateLimitStatus(3, 1, NOW_SECONDS + 120)
    clock.advance(60)
    assert charge_requests(rate_limits, 1) == RateLimitStatus(5, 1, NOW_SECONDS + 3600)


def test_status_of_equal_limits_is_of_longest_window(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "2/minute;2/hour")

    assert charge_requests(rate_limits, 1) == RateLimitStatus(2, 1, NOW_SECONDS + 3600)


def test_longest_of_exhausted_limits_decides(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "2/minute;2/3 hours")
    charge_requests(rate_limits, 2)
    state: RequestState = {}

    with pytest.raises(RateLimitExceeded) as caught:
        rate_limits.charge_request(KEY, state)

    assert caught.value.message == (
        "Too many requests: 2 per 3 hours are allowed for one API key. Try again in 10800 s."
    )
    assert state["rate_limit_status"] == RateLimitStatus(2, 0, NOW_SECONDS + 10800)


def test_refused_request_is_not_counted(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "2/minute;4/hour")
    charge_requests(rate_limits, 2)
    for _ in range(10):
        with pytest.raises(RateLimitExceeded):
            rate_limits.charge_request(KEY, {})
    clock.advance(60)

    assert charge_requests(rate_limits, 2) == RateLimitStatus(4, 0, NOW_SECONDS + 3600)


def test_bulk_posts_are_counted_and_refused_together(
    clock: ManualClock,
) -> None:
    rate_limits = make_rate_limits(clock, "60/minute", new_posts="60/minute")
    state: RequestState = {}
    rate_limits.charge_posts(KEY, state, 50)
    assert state["rate_limit_status"] == RateLimitStatus(60, 10, NOW_SECONDS + 60)
    clock.advance(20)

    with pytest.raises(RateLimitExceeded) as caught:
        rate_limits.charge_posts(KEY, state, 11)

    assert caught.value.message == (
        "Too many new posts: 60 per minute are allowed for one API key. Try again in 40 s."
    )
    assert caught.value.retry_after == 40
    assert state["rate_limit_status"] == RateLimitStatus(60, 10, NOW_SECONDS + 60)
    rate_limits.charge_posts(KEY, state, 10)
    assert state["rate_limit_status"] == RateLimitStatus(60, 0, NOW_SECONDS + 60)
    rate_limits.charge_posts(OTHER_KEY, state, 60)
    clock.advance(40)
    rate_limits.charge_posts(KEY, state, 60)


def test_bulk_over_total_limit_is_refused_without_retry(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "60/minute", new_posts="10/minute;40/hour")

    with pytest.raises(BulkLimitExceeded) as caught:
        rate_limits.charge_posts(KEY, {}, 11)

    assert caught.value.message == (
        "There are 11 posts; 10 per minute are allowed for one API key."
    )
    rate_limits.charge_posts(KEY, {}, 10)


def test_status_is_of_tightest_of_requests_and_posts(
    clock: ManualClock,
) -> None:
    rate_limits = make_rate_limits(clock, "3/minute", new_posts="5/minute")
    state: RequestState = {}
    rate_limits.charge_request(KEY, state)
    rate_limits.charge_posts(KEY, state, 1)
    assert state["rate_limit_status"] == RateLimitStatus(3, 2, NOW_SECONDS + 60)
    rate_limits.charge_posts(KEY, state, 3)
    assert state["rate_limit_status"] == RateLimitStatus(5, 1, NOW_SECONDS + 60)


def test_default_status_is_full_limit(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "60/minute;1000/hour")
    charge_requests(rate_limits, 5)

    assert rate_limits.default_status() == RateLimitStatus(60, 60, NOW_SECONDS + 60)


def test_nothing_is_limited_without_request_limit(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "", "1/minute", "1/minute", "1/minute")
    state: RequestState = {}
    for _ in range(100):
        rate_limits.charge_request(KEY, state)
        rate_limits.charge_publishing(KEY, state)
        rate_limits.check_all_exhausted(KEY, state, may_subscribe=False)
        rate_limits.charge_posts(KEY, state, 50)
        rate_limits.charge_failed_authentication(ADDRESS, {})

    assert state["rate_limit_status"] == rate_limits.default_status()
    assert rate_limits.default_status() == RateLimitStatus(1_000_000, 1_000_000, NOW_SECONDS + 60)


@pytest.mark.parametrize(
    ("charge", "may_subscribe", "limits", "subject"),
    [
        (RateLimits.charge_publishing, False, {"publishing": "2/minute"}, "publishing requests"),
        (
            RateLimits.charge_subscription,
            True,
            {"publishing": "1/minute", "subscribing": "2/minute"},
            "new subscriptions",
        ),
    ],
)
def test_publishing_and_subscriptions_have_own_limits(
    clock: ManualClock,
    charge: Callable[[RateLimits, ApiKeyId, RequestState], None],
    may_subscribe: bool,
    limits: dict[str, str],
    subject: str,
) -> None:
    rate_limits = make_rate_limits(clock, "1/minute", **limits)
    state: RequestState = {}
    rate_limits.charge_request(KEY, state)
    if may_subscribe:
        rate_limits.charge_publishing(KEY, state)
    for remaining in (1, 0):
        rate_limits.check_all_exhausted(KEY, state, may_subscribe=may_subscribe)
        charge(rate_limits, KEY, state)
        assert state["rate_limit_status"] == RateLimitStatus(2, remaining, NOW_SECONDS + 60)

    with pytest.raises(RateLimitExceeded) as caught:
        charge(rate_limits, KEY, state)
    assert caught.value.message == (
        f"Too many {subject}: 2 per minute are allowed for one API key. Try again in 60 s."
    )


@pytest.mark.parametrize(
    ("requests", "publishing", "message", "seconds", "status"),
    [
        (
            "1/hour",
            "2/minute",
            "Too many requests: 1 per hour are allowed for one API key, and 2 per minute that only"
            " publish. Try again in 60 s.",
            60,
            RateLimitStatus(1, 0, NOW_SECONDS + 3600),
        ),
        (
            "1/minute",
            "2/hour",
            "Too many requests: 1 per minute are allowed for one API key, and 2 per hour that only"
            " publish. Try again in 60 s.",
            60,
            RateLimitStatus(1, 0, NOW_SECONDS + 60),
        ),
    ],
)
def test_precheck_refuses_when_all_limits_are_exhausted(
    clock: ManualClock,
    requests: str,
    publishing: str,
    message: str,
    seconds: int,
    status: RateLimitStatus,
) -> None:
    rate_limits = make_rate_limits(clock, requests, publishing=publishing, subscribing="1/hour")
    state: RequestState = {}
    rate_limits.charge_request(KEY, state)
    rate_limits.charge_publishing(KEY, state)
    rate_limits.check_all_exhausted(KEY, state, may_subscribe=False)
    rate_limits.charge_publishing(KEY, state)
    rate_limits.check_all_exhausted(KEY, state, may_subscribe=True)
    rate_limits.charge_subscription(KEY, {})

    for may_subscribe in (False, True):
        with pytest.raises(RateLimitExceeded) as caught:
            rate_limits.check_all_exhausted(KEY, state, may_subscribe=may_subscribe)
        assert (caught.value.message, caught.value.retry_after) == (message, seconds)
        assert state["rate_limit_status"] == status

    clock.advance(seconds)
    rate_limits.check_all_exhausted(KEY, state, may_subscribe=False)


def test_publishing_without_limit_has_unlimited_status(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "1/minute")
    state: RequestState = {}
    for _ in range(100):
        rate_limits.charge_publishing(KEY, state)

    assert state["rate_limit_status"] == RateLimitStatus(1_000_000, 1_000_000, NOW_SECONDS + 60)


def test_request_is_charged_once_by_first_kind(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "9/minute", publishing="9/minute")
    state: RequestState = {}
    charge = RateLimitCharge(rate_limits, KEY, state)
    charge.precheck(may_subscribe=True)
    assert state == {}
    charge.charge_publishing()
    charge.charge_request()

    assert state["rate_limit_status"] == RateLimitStatus(9, 8, NOW_SECONDS + 60)
    assert charge_requests(rate_limits, 1) == RateLimitStatus(9, 8, NOW_SECONDS + 60)


def test_headers_are_integers() -> None:
    assert list(rate_limit_headers(RateLimitStatus(60, 59, 1776265260))) == [
        (b"x-ratelimit-limit", b"60"),
        (b"x-ratelimit-remaining", b"59"),
        (b"x-ratelimit-reset", b"1776265260"),
    ]


def test_reset_is_rounded_up(clock: ManualClock) -> None:
    clock.advance(0.001)

    assert charge_requests(make_rate_limits(clock, "2/second"), 1) == RateLimitStatus(
        2, 1, NOW_SECONDS + 2
    )


def test_address_with_too_many_failures_is_refused(
    clock: ManualClock,
) -> None:
    rate_limits = make_rate_limits(clock, "60/minute", "3/minute")
    for _ in range(3):
        rate_limits.charge_failed_authentication(ADDRESS, {})
    clock.advance(30)

    state: RequestState = {}
    with pytest.raises(RateLimitExceeded) as caught:
        rate_limits.charge_failed_authentication(ADDRESS, state)

    assert state == {"rate_limit_status": RateLimitStatus(3, 0, NOW_SECONDS + 60)}
    assert caught.value.message == (
        "Too many rejected keys: 3 per minute are allowed for one address. Try again in 30 s."
    )
    assert caught.value.retry_after == 30
    rate_limits.charge_failed_authentication("203.0.113.8", {})
    clock.advance(30)
    rate_limits.charge_failed_authentication(ADDRESS, {})


def test_failures_do_not_charge_keys(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "2/minute", "2/minute")
    rate_limits.charge_failed_authentication(ADDRESS, {})

    assert charge_requests(rate_limits, 1) == RateLimitStatus(2, 1, NOW_SECONDS + 60)


@pytest.mark.parametrize(
    ("failed", "refused"),
    [
        ("2001:db8::1", "2001:db8:0:0:ffff:ffff:ffff:ffff"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::2"),
        ("not an address", "not an address"),
        ("x" * 10_000, "x" * 64),
    ],
)
def test_addresses_of_one_network_are_limited_together(
    clock: ManualClock, failed: str, refused: str
) -> None:
    rate_limits = make_rate_limits(clock, "60/minute", "1/minute")
    rate_limits.charge_failed_authentication(failed, {})

    with pytest.raises(RateLimitExceeded):
        rate_limits.charge_failed_authentication(refused, {})


@pytest.mark.parametrize("other", ["2001:db8:0:1::1", "203.0.113.8", "::1"])
def test_networks_are_limited_separately(clock: ManualClock, other: str) -> None:
    rate_limits = make_rate_limits(clock, "60/minute", "1/minute")
    rate_limits.charge_failed_authentication("2001:db8::1", {})
    rate_limits.charge_failed_authentication(ADDRESS, {})

    rate_limits.charge_failed_authentication(other, {})


def test_failures_without_address_are_not_limited(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "60/minute", "1/minute")
    for _ in range(10):
        rate_limits.charge_failed_authentication(None, {})


def test_storage_is_bounded() -> None:
    storage = BoundedStorage(lambda: 0.0, max_counts=1000)

    for caller in range(1_000_000):
        storage.incr(str(caller), expiry=60)

    assert len(storage) == 1000
    assert storage.get("999999") == 1
    assert storage.get("999000") == 1
    assert storage.get("998999") == 0


def test_expired_counters_are_evicted() -> None:
    now = 0.0
    storage = BoundedStorage(lambda: now)
    for caller in range(1000):
        storage.incr(str(caller), expiry=60)
    now = 59.9
    storage.incr("0", expiry=60)

    assert (storage.get("0"), storage.get_expiry("0")) == (2, 60.0)
    now = 60.0
    assert storage.get("0") == 0
    storage.incr("new", expiry=60)
    assert len(storage) == 1


def test_counters_can_be_cleared() -> None:
    storage = BoundedStorage(lambda: 0.0)
    storage.incr("a", expiry=60)
    storage.incr("b", expiry=60)

    storage.clear("a")
    assert (storage.get("a"), storage.get_expiry("a")) == (0, 0.0)
    assert storage.reset() == 1
    assert len(storage) == 0
    assert storage.check()
