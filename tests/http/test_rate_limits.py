"""Rate limits with a clock that stands still until it is moved."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import limits
import pytest

from app.domain.errors import BulkLimitExceeded, RateLimitExceeded
from app.domain.ids import ApiKeyId
from app.http.rate_limit_storage import BoundedStorage
from app.http.rate_limits import RateLimitCharge, RateLimits, rate_limit_headers
from app.http.state import RateLimitStatus, RequestState
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


def test_each_request_leaves_one_less_until_the_window_ends(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "3/minute")

    assert charge_requests(rate_limits, 1) == RateLimitStatus(3, 2, NOW_SECONDS + 60)
    clock.advance(20)
    assert charge_requests(rate_limits, 2) == RateLimitStatus(3, 0, NOW_SECONDS + 60)


def test_a_request_too_many_is_refused_and_says_when_to_come_back(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "2/minute")
    charge_requests(rate_limits, 2)
    clock.advance(12.5)
    state: RequestState = {}

    with pytest.raises(RateLimitExceeded) as refusal:
        rate_limits.charge_request(KEY, state)

    assert refusal.value.message == (
        "Too many requests: 2 per minute are allowed for one API key. Try again in 48 s."
    )
    assert refusal.value.retry_after == 48
    assert state["rate_limit_status"] == RateLimitStatus(2, 0, NOW_SECONDS + 60)


def test_after_the_seconds_of_the_refusal_the_limit_is_full_again(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "2/minute")
    charge_requests(rate_limits, 2)
    clock.advance(59.9)
    with pytest.raises(RateLimitExceeded) as refusal:
        rate_limits.charge_request(KEY, {})

    assert refusal.value.retry_after == 1
    clock.advance(1)
    assert charge_requests(rate_limits, 1) == RateLimitStatus(2, 1, NOW_SECONDS + 121)


def test_every_key_has_a_limit_of_its_own(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "2/minute")
    charge_requests(rate_limits, 2)

    assert charge_requests(rate_limits, 1, OTHER_KEY) == RateLimitStatus(2, 1, NOW_SECONDS + 60)


def test_of_several_limits_the_one_that_leaves_the_fewest_is_shown(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "3/minute;5/hour")

    assert charge_requests(rate_limits, 1) == RateLimitStatus(3, 2, NOW_SECONDS + 60)
    clock.advance(60)
    assert charge_requests(rate_limits, 2) == RateLimitStatus(3, 1, NOW_SECONDS + 120)
    clock.advance(60)
    assert charge_requests(rate_limits, 1) == RateLimitStatus(5, 1, NOW_SECONDS + 3600)


def test_of_equally_near_limits_the_one_that_lasts_longer_is_shown(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "2/minute;2/hour")

    assert charge_requests(rate_limits, 1) == RateLimitStatus(2, 1, NOW_SECONDS + 3600)


def test_when_several_limits_are_used_up_the_longest_decides(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "2/minute;2/3 hours")
    charge_requests(rate_limits, 2)
    state: RequestState = {}

    with pytest.raises(RateLimitExceeded) as refusal:
        rate_limits.charge_request(KEY, state)

    assert refusal.value.message == (
        "Too many requests: 2 per 3 hours are allowed for one API key. Try again in 10800 s."
    )
    assert state["rate_limit_status"] == RateLimitStatus(2, 0, NOW_SECONDS + 10800)


def test_a_refused_request_is_not_counted(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "2/minute;4/hour")
    charge_requests(rate_limits, 2)
    for _ in range(10):
        with pytest.raises(RateLimitExceeded):
            rate_limits.charge_request(KEY, {})
    clock.advance(60)

    assert charge_requests(rate_limits, 2) == RateLimitStatus(4, 0, NOW_SECONDS + 3600)


def test_each_post_of_a_bulk_is_counted_and_too_many_are_refused_together(
    clock: ManualClock,
) -> None:
    rate_limits = make_rate_limits(clock, "60/minute", new_posts="60/minute")
    state: RequestState = {}
    rate_limits.charge_posts(KEY, state, 50)
    assert state["rate_limit_status"] == RateLimitStatus(60, 10, NOW_SECONDS + 60)
    clock.advance(20)

    with pytest.raises(RateLimitExceeded) as refusal:
        rate_limits.charge_posts(KEY, state, 11)

    assert refusal.value.message == (
        "Too many new posts: 60 per minute are allowed for one API key. Try again in 40 s."
    )
    assert refusal.value.retry_after == 40
    assert state["rate_limit_status"] == RateLimitStatus(60, 10, NOW_SECONDS + 60)
    rate_limits.charge_posts(KEY, state, 10)
    assert state["rate_limit_status"] == RateLimitStatus(60, 0, NOW_SECONDS + 60)
    rate_limits.charge_posts(OTHER_KEY, state, 60)
    clock.advance(40)
    rate_limits.charge_posts(KEY, state, 60)


def test_more_new_posts_than_are_ever_allowed_are_no_matter_of_waiting(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "60/minute", new_posts="10/minute;40/hour")

    with pytest.raises(BulkLimitExceeded) as refusal:
        rate_limits.charge_posts(KEY, {}, 11)

    assert refusal.value.message == (
        "There are 11 posts; 10 per minute are allowed for one API key."
    )
    rate_limits.charge_posts(KEY, {}, 10)


def test_of_requests_and_new_posts_the_limit_that_leaves_the_fewest_is_shown(
    clock: ManualClock,
) -> None:
    rate_limits = make_rate_limits(clock, "3/minute", new_posts="5/minute")
    state: RequestState = {}
    rate_limits.charge_request(KEY, state)
    rate_limits.charge_posts(KEY, state, 1)
    assert state["rate_limit_status"] == RateLimitStatus(3, 2, NOW_SECONDS + 60)
    rate_limits.charge_posts(KEY, state, 3)
    assert state["rate_limit_status"] == RateLimitStatus(5, 1, NOW_SECONDS + 60)


def test_untouched_limits_show_themselves_full(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "60/minute;1000/hour")
    charge_requests(rate_limits, 5)

    assert rate_limits.default_status() == RateLimitStatus(60, 60, NOW_SECONDS + 60)


def test_switched_off_nothing_is_limited_and_the_headers_say_so(clock: ManualClock) -> None:
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


def test_publishing_has_a_limit_of_its_own(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "1/minute", publishing="2/minute")
    state: RequestState = {}
    rate_limits.charge_request(KEY, state)
    for left in (1, 0):
        rate_limits.check_all_exhausted(KEY, state, may_subscribe=False)
        rate_limits.charge_publishing(KEY, state)
        assert state["rate_limit_status"] == RateLimitStatus(2, left, NOW_SECONDS + 60)

    with pytest.raises(RateLimitExceeded) as refusal:
        rate_limits.charge_publishing(KEY, state)
    assert refusal.value.message == (
        "Too many publishing requests: 2 per minute are allowed for one API key. Try again in 60 s."
    )


def test_subscriptions_have_a_limit_of_their_own(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "1/minute", publishing="1/minute", subscribing="2/minute")
    state: RequestState = {}
    rate_limits.charge_request(KEY, state)
    rate_limits.charge_publishing(KEY, state)
    for left in (1, 0):
        rate_limits.check_all_exhausted(KEY, state, may_subscribe=True)
        rate_limits.charge_subscription(KEY, state)
        assert state["rate_limit_status"] == RateLimitStatus(2, left, NOW_SECONDS + 60)

    with pytest.raises(RateLimitExceeded) as refusal:
        rate_limits.charge_subscription(KEY, state)
    assert refusal.value.message == (
        "Too many new subscriptions: 2 per minute are allowed for one API key. Try again in 60 s."
    )


@pytest.mark.parametrize(
    ("requests", "publishing", "sentence", "seconds", "status"),
    [
        (
            "1/hour",
            "2/minute",
            "Too many requests: 1 per hour are allowed for one API key, and 2 per minute that do"
            " nothing but publish. Try again in 60 s.",
            60,
            RateLimitStatus(1, 0, NOW_SECONDS + 3600),
        ),
        (
            "1/minute",
            "2/hour",
            "Too many requests: 1 per minute are allowed for one API key, and 2 per hour that do"
            " nothing but publish. Try again in 60 s.",
            60,
            RateLimitStatus(1, 0, NOW_SECONDS + 60),
        ),
    ],
)
def test_unread_is_refused_what_no_limit_takes_with_the_status_of_ordinary_requests(
    clock: ManualClock,
    requests: str,
    publishing: str,
    sentence: str,
    seconds: int,
    status: RateLimitStatus,
) -> None:
    rate_limits = make_rate_limits(clock, requests, publishing=publishing, subscribing="1/hour")
    state: RequestState = {}
    rate_limits.charge_request(KEY, state)
    rate_limits.charge_publishing(KEY, state)
    rate_limits.check_all_exhausted(KEY, state, may_subscribe=False)
    rate_limits.charge_publishing(KEY, state)
    rate_limits.check_all_exhausted(
        KEY, state, may_subscribe=True
    )  # it may still be a subscription
    rate_limits.charge_subscription(KEY, {})

    for may_follow in (False, True):
        with pytest.raises(RateLimitExceeded) as refusal:
            rate_limits.check_all_exhausted(KEY, state, may_subscribe=may_follow)
        assert (refusal.value.message, refusal.value.retry_after) == (sentence, seconds)
        assert state["rate_limit_status"] == status

    clock.advance(seconds)
    rate_limits.check_all_exhausted(
        KEY, state, may_subscribe=False
    )  # then one of them takes requests again


def test_without_a_limit_on_publishing_the_headers_say_so(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "1/minute")
    state: RequestState = {}
    for _ in range(100):
        rate_limits.charge_publishing(KEY, state)

    assert state["rate_limit_status"] == RateLimitStatus(1_000_000, 1_000_000, NOW_SECONDS + 60)


def test_a_request_is_counted_once_as_what_it_turns_out_to_be_first(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "9/minute", publishing="9/minute")
    state: RequestState = {}
    count = RateLimitCharge(rate_limits, KEY, state)
    count.precheck(may_subscribe=True)
    assert state == {}
    count.charge_publishing()
    count.charge_request()

    assert state["rate_limit_status"] == RateLimitStatus(9, 8, NOW_SECONDS + 60)
    assert charge_requests(rate_limits, 1) == RateLimitStatus(9, 8, NOW_SECONDS + 60)


def test_headers_are_integers() -> None:
    assert list(rate_limit_headers(RateLimitStatus(60, 59, 1776265260))) == [
        (b"x-ratelimit-limit", b"60"),
        (b"x-ratelimit-remaining", b"59"),
        (b"x-ratelimit-reset", b"1776265260"),
    ]


def test_the_reset_is_never_shown_before_it_happens(clock: ManualClock) -> None:
    clock.advance(0.001)

    assert charge_requests(make_rate_limits(clock, "2/second"), 1) == RateLimitStatus(
        2, 1, NOW_SECONDS + 2
    )


def test_an_address_that_fails_too_often_is_refused_until_its_window_ends(
    clock: ManualClock,
) -> None:
    rate_limits = make_rate_limits(clock, "60/minute", "3/minute")
    for _ in range(3):
        rate_limits.charge_failed_authentication(ADDRESS, {})
    clock.advance(30)

    state: RequestState = {}
    with pytest.raises(RateLimitExceeded) as refusal:
        rate_limits.charge_failed_authentication(ADDRESS, state)

    assert state == {"rate_limit_status": RateLimitStatus(3, 0, NOW_SECONDS + 60)}
    assert refusal.value.message == (
        "Too many refused keys: 3 per minute are allowed for one address. Try again in 30 s."
    )
    assert refusal.value.retry_after == 30
    rate_limits.charge_failed_authentication("203.0.113.8", {})
    clock.advance(30)
    rate_limits.charge_failed_authentication(ADDRESS, {})


def test_failures_of_an_address_take_nothing_from_a_key(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "2/minute", "2/minute")
    rate_limits.charge_failed_authentication(ADDRESS, {})

    assert charge_requests(rate_limits, 1) == RateLimitStatus(2, 1, NOW_SECONDS + 60)


@pytest.mark.parametrize(
    ("failed", "refused"),
    [
        ("2001:db8::1", "2001:db8:0:0:ffff:ffff:ffff:ffff"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::2"),
        ("no address at all", "no address at all"),
        ("x" * 10_000, "x" * 64),
    ],
)
def test_spellings_of_one_customer_are_one_address(
    clock: ManualClock, failed: str, refused: str
) -> None:
    rate_limits = make_rate_limits(clock, "60/minute", "1/minute")
    rate_limits.charge_failed_authentication(failed, {})

    with pytest.raises(RateLimitExceeded):
        rate_limits.charge_failed_authentication(refused, {})


@pytest.mark.parametrize("other", ["2001:db8:0:1::1", "203.0.113.8", "::1"])
def test_other_customers_are_other_addresses(clock: ManualClock, other: str) -> None:
    rate_limits = make_rate_limits(clock, "60/minute", "1/minute")
    rate_limits.charge_failed_authentication("2001:db8::1", {})
    rate_limits.charge_failed_authentication(ADDRESS, {})

    rate_limits.charge_failed_authentication(other, {})


def test_callers_that_no_network_tells_apart_are_not_limited_together(clock: ManualClock) -> None:
    rate_limits = make_rate_limits(clock, "60/minute", "1/minute")
    for _ in range(10):
        rate_limits.charge_failed_authentication(None, {})


def test_a_million_callers_are_held_in_bounded_memory() -> None:
    storage = BoundedStorage(lambda: 0.0, max_counts=1000)

    for caller in range(1_000_000):
        storage.incr(str(caller), expiry=60)

    assert len(storage) == 1000
    assert storage.get("999999") == 1
    assert storage.get("999000") == 1
    assert storage.get("998999") == 0


def test_counts_leave_the_memory_when_they_have_expired() -> None:
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


def test_counts_can_be_dropped() -> None:
    storage = BoundedStorage(lambda: 0.0)
    storage.incr("a", expiry=60)
    storage.incr("b", expiry=60)

    storage.clear("a")
    assert (storage.get("a"), storage.get_expiry("a")) == (0, 0.0)
    assert storage.reset() == 1
    assert len(storage) == 0
    assert storage.check()
