"""Rate limits, with a clock that is advanced by hand."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import pytest

from app.domain.errors import BulkLimitExceeded, RateLimitExceeded
from app.domain.ids import ApiKeyId, SessionId
from app.http.rate_limits import RateLimits
from app.http.request import ApiRequest, RateLimitStatus
from tests.domain.errors import expect_error
from tests.http.asgi import NOW, make_rate_limits

KEY = ApiKeyId(UUID(int=1))
OTHER_KEY = ApiKeyId(UUID(int=2))
ADDRESS = "203.0.113.7"
NOW_SECONDS = int(NOW.timestamp())


class WallClock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


def status(limit: int, remaining: int, resets_after: int) -> RateLimitStatus:
    """Status of a window that ends some seconds after NOW."""
    return RateLimitStatus(limit, remaining, NOW_SECONDS + resets_after)


def request_of(key: ApiKeyId | None = KEY, address: str | None = ADDRESS) -> ApiRequest:
    """Create a request of a key, which no rate limit has counted yet."""
    request = ApiRequest("0000cafe", None, address)
    request.api_key_id = key
    return request


def refusal(charge: Callable[..., None], *arguments: object) -> tuple[str, int | None]:
    """Call a method that must refuse, and return the message and the seconds until a retry."""
    error = expect_error(RateLimitExceeded, charge, *arguments)
    return error.message, error.retry_after


def charge_requests(
    rate_limits: RateLimits, count: int, key: ApiKeyId = KEY
) -> RateLimitStatus | None:
    """Charge some requests of a key, and return the status of the last one."""
    for _ in range(count):
        request = request_of(key)
        rate_limits.charge_request(request)
    return request.rate_limit


@pytest.mark.parametrize(
    ("requests", "steps"),
    [
        ("3/minute", [(0, 1, status(3, 2, 60)), (20, 2, status(3, 0, 60))]),
        (
            "3/minute;5/hour",
            [(0, 1, status(3, 2, 60)), (60, 2, status(3, 1, 120)), (60, 1, status(5, 1, 3600))],
        ),
        ("2/minute;2/hour", [(0, 1, status(2, 1, 3600))]),
        ("2/second", [(0.001, 1, status(2, 1, 2))]),
    ],
    ids=["one limit", "fewest remaining", "longest window of equal limits", "reset rounded up"],
)
def test_status_is_of_limit_with_fewest_remaining(
    clock: WallClock, requests: str, steps: list[tuple[float, int, RateLimitStatus]]
) -> None:
    rate_limits = make_rate_limits(requests, clock=clock)
    for seconds, count, expected in steps:
        clock.advance(seconds)
        assert charge_requests(rate_limits, count) == expected


@pytest.mark.parametrize(
    ("requests", "used_seconds", "limit", "retry_after", "refused", "after_retry"),
    [
        ("2/minute", 12.5, "2 per minute", 48, status(2, 0, 60), status(2, 1, 121)),
        ("2/minute", 59.9, "2 per minute", 1, status(2, 0, 60), status(2, 1, 121)),
        ("2/minute;2/3 hours", 0, "2 per 3 hours", 10800, status(2, 0, 10800), status(2, 1, 21600)),
    ],
    ids=["rounded up", "at least a second", "longest of the exhausted limits"],
)
def test_request_over_limit_is_refused_until_retry_after(
    clock: WallClock,
    requests: str,
    used_seconds: float,
    limit: str,
    retry_after: int,
    refused: RateLimitStatus,
    after_retry: RateLimitStatus,
) -> None:
    rate_limits = make_rate_limits(requests, clock=clock)
    charge_requests(rate_limits, 2)
    clock.advance(used_seconds)
    request = request_of()

    assert refusal(rate_limits.charge_request, request) == (
        f"Too many requests: {limit} are allowed for one API key. Try again in {retry_after} s.",
        retry_after,
    )
    assert request.rate_limit == refused
    clock.advance(retry_after)
    assert charge_requests(rate_limits, 1) == after_retry


def test_keys_are_limited_separately(clock: WallClock) -> None:
    rate_limits = make_rate_limits("2/minute", clock=clock)
    charge_requests(rate_limits, 2)

    assert charge_requests(rate_limits, 1, OTHER_KEY) == status(2, 1, 60)


def test_refused_request_is_not_counted(clock: WallClock) -> None:
    rate_limits = make_rate_limits("2/minute;4/hour", clock=clock)
    charge_requests(rate_limits, 2)
    for _ in range(10):
        refusal(rate_limits.charge_request, request_of())
    clock.advance(60)

    assert charge_requests(rate_limits, 2) == status(4, 0, 3600)


def test_bulk_posts_are_counted_and_refused_together(clock: WallClock) -> None:
    rate_limits = make_rate_limits("60/minute", new_posts="60/minute", clock=clock)
    request = request_of()
    rate_limits.charge_posts(request, 50)
    assert request.rate_limit == status(60, 10, 60)
    clock.advance(20)

    assert refusal(rate_limits.charge_posts, request, 11) == (
        "Too many new posts: 60 per minute are allowed for one API key. Try again in 40 s.",
        40,
    )
    assert request.rate_limit == status(60, 10, 60)
    rate_limits.charge_posts(request, 10)
    assert request.rate_limit == status(60, 0, 60)
    rate_limits.charge_posts(request_of(OTHER_KEY), 60)
    clock.advance(40)
    rate_limits.charge_posts(request, 60)


def test_verifications_are_counted_as_new_posts(clock: WallClock) -> None:
    rate_limits = make_rate_limits("60/minute", new_posts="2/minute", clock=clock)
    request = request_of()
    rate_limits.charge_posts(request, 1)
    rate_limits.charge_verification(request)
    assert request.rate_limit == status(2, 0, 60)

    assert refusal(rate_limits.charge_verification, request) == (
        "Too many new posts and verifications: 2 per minute are allowed for one API key. Try again in 60 s.",
        60,
    )


def test_bulk_over_total_limit_is_refused_without_retry(clock: WallClock) -> None:
    rate_limits = make_rate_limits("60/minute", new_posts="10/minute;40/hour", clock=clock)

    error = expect_error(BulkLimitExceeded, rate_limits.charge_posts, request_of(), 11)
    assert error.message == "There are 11 posts; 10 per minute are allowed for one API key."
    rate_limits.charge_posts(request_of(), 10)


def test_status_is_of_tightest_of_requests_and_posts(clock: WallClock) -> None:
    rate_limits = make_rate_limits("3/minute", new_posts="5/minute", clock=clock)
    request = request_of()
    rate_limits.charge_request(request)
    rate_limits.charge_posts(request, 1)
    assert request.rate_limit == status(3, 2, 60)
    rate_limits.charge_posts(request, 3)
    assert request.rate_limit == status(5, 1, 60)


def test_default_status_is_full_limit(clock: WallClock) -> None:
    rate_limits = make_rate_limits("60/minute;1000/hour", clock=clock)
    charge_requests(rate_limits, 5)

    assert rate_limits.default_status() == status(60, 60, 60)


def test_nothing_is_limited_without_request_limit(clock: WallClock) -> None:
    rate_limits = make_rate_limits(
        failed_authentications="1/minute",
        new_posts="1/minute",
        publishing="1/minute",
        subscriptions="1/minute",
        clock=clock,
    )
    for charge in (
        rate_limits.charge_request,
        rate_limits.charge_publishing,
        rate_limits.charge_subscription,
    ):
        for _ in range(100):
            request = request_of()
            charge(request)
            rate_limits.check_all_exhausted(request, may_subscribe=False)
            rate_limits.charge_posts(request, 50)
            rate_limits.charge_failed_authentication(request)
            assert request.rate_limit == rate_limits.default_status()
    assert rate_limits.default_status() == status(1_000_000, 1_000_000, 60)


@pytest.mark.parametrize(
    "charge",
    [RateLimits.charge_request, RateLimits.charge_publishing, RateLimits.charge_subscription],
)
def test_each_session_has_one_limit_for_all_requests(charge: Callable[..., None]) -> None:
    rate_limits = make_rate_limits(
        "1/minute", publishing="1/minute", subscriptions="1/minute", sessions="2/minute"
    )
    first, second = SessionId(UUID(int=1)), SessionId(UUID(int=2))
    for session, remaining in ((first, 1), (first, 0), (second, 1)):
        request = request_of_session(session)
        rate_limits.check_all_exhausted(request, may_subscribe=True)
        charge(rate_limits, request)
        assert request.rate_limit == status(2, remaining, 60)

    expected = (
        "Too many requests: 2 per minute are allowed for one session. Try again in 60 s.",
        60,
    )
    request = request_of_session(first)
    assert (
        refusal(partial(rate_limits.check_all_exhausted, may_subscribe=True), request) == expected
    )
    assert request.rate_limit == status(2, 0, 60)
    assert refusal(charge, rate_limits, request_of_session(first)) == expected


def request_of_session(session: SessionId) -> ApiRequest:
    """Create a request of a key by a session."""
    request = request_of()
    request.session_id = session
    return request


@pytest.mark.parametrize(
    ("charge", "may_subscribe", "other_limits", "subject"),
    [
        (RateLimits.charge_publishing, False, {"publishing": "2/minute"}, "publishing requests"),
        (
            RateLimits.charge_subscription,
            True,
            {"publishing": "1/minute", "subscriptions": "2/minute"},
            "new subscriptions",
        ),
    ],
)
def test_publishing_and_subscriptions_have_own_limits(
    clock: WallClock,
    charge: Callable[[RateLimits, ApiRequest], None],
    may_subscribe: bool,
    other_limits: dict[str, str],
    subject: str,
) -> None:
    rate_limits = make_rate_limits("1/minute", clock=clock, **other_limits)
    rate_limits.charge_request(request_of())
    if may_subscribe:
        rate_limits.charge_publishing(request_of())
    for remaining in (1, 0):
        request = request_of()
        rate_limits.check_all_exhausted(request, may_subscribe=may_subscribe)
        charge(rate_limits, request)
        assert request.rate_limit == status(2, remaining, 60)

    message, _ = refusal(charge, rate_limits, request_of())
    assert message == (
        f"Too many {subject}: 2 per minute are allowed for one API key. Try again in 60 s."
    )


@pytest.mark.parametrize(
    ("requests", "publishing", "limits", "refused"),
    [
        ("1/hour", "2/minute", ("1 per hour", "2 per minute"), status(1, 0, 3600)),
        ("1/minute", "2/hour", ("1 per minute", "2 per hour"), status(1, 0, 60)),
    ],
)
def test_precheck_refuses_when_all_limits_are_exhausted(
    clock: WallClock,
    requests: str,
    publishing: str,
    limits: tuple[str, str],
    refused: RateLimitStatus,
) -> None:
    rate_limits = make_rate_limits(
        requests, publishing=publishing, subscriptions="1/hour", clock=clock
    )
    rate_limits.charge_request(request_of())
    rate_limits.charge_publishing(request_of())
    rate_limits.check_all_exhausted(request_of(), may_subscribe=False)
    rate_limits.charge_publishing(request_of())
    rate_limits.check_all_exhausted(request_of(), may_subscribe=True)
    rate_limits.charge_subscription(request_of())

    for may_subscribe in (False, True):
        request = request_of()
        check = partial(rate_limits.check_all_exhausted, may_subscribe=may_subscribe)
        assert refusal(check, request) == (
            f"Too many requests: {limits[0]} are allowed for one API key, and {limits[1]} that only"
            " publish. Try again in 60 s.",
            60,
        )
        assert request.rate_limit == refused
        assert not request.is_charged

    clock.advance(60)
    rate_limits.check_all_exhausted(request_of(), may_subscribe=False)


def test_publishing_without_limit_has_unlimited_status(clock: WallClock) -> None:
    rate_limits = make_rate_limits("1/minute", clock=clock)
    for _ in range(100):
        request = request_of()
        rate_limits.charge_publishing(request)

    assert request.rate_limit == status(1_000_000, 1_000_000, 60)


def test_request_is_charged_once_by_first_kind(clock: WallClock) -> None:
    rate_limits = make_rate_limits("9/minute", publishing="9/minute", clock=clock)
    request = request_of()
    rate_limits.check_all_exhausted(request, may_subscribe=True)
    assert (request.rate_limit, request.is_charged) == (None, False)
    rate_limits.charge_publishing(request)
    rate_limits.charge_request(request)
    rate_limits.charge_subscription(request)

    assert (request.rate_limit, request.is_charged) == (status(9, 8, 60), True)
    assert charge_requests(rate_limits, 1) == status(9, 8, 60)


def test_refused_request_is_not_charged_by_another_kind(clock: WallClock) -> None:
    rate_limits = make_rate_limits("9/minute", publishing="1/minute", clock=clock)
    rate_limits.charge_publishing(request_of())
    request = request_of()
    refusal(rate_limits.charge_publishing, request)

    rate_limits.charge_request(request)

    assert request.rate_limit == status(1, 0, 60)
    assert charge_requests(rate_limits, 1) == status(9, 8, 60)


# Failed authentications


def test_address_with_too_many_failures_is_refused_and_keys_are_not(clock: WallClock) -> None:
    rate_limits = make_rate_limits("2/minute", failed_authentications="3/minute", clock=clock)
    for _ in range(3):
        rate_limits.charge_failed_authentication(request_of(None))
    clock.advance(30)

    request = request_of(None)
    assert refusal(rate_limits.charge_failed_authentication, request) == (
        "Too many rejected keys: 3 per minute are allowed for one address. Try again in 30 s.",
        30,
    )
    assert (request.rate_limit, request.is_charged) == (status(3, 0, 60), False)
    assert charge_requests(rate_limits, 1) == status(2, 1, 90)
    clock.advance(30)
    rate_limits.charge_failed_authentication(request_of(None))


def test_status_of_a_failed_authentication_is_that_of_requests(clock: WallClock) -> None:
    rate_limits = make_rate_limits("2/minute", failed_authentications="3/minute", clock=clock)
    request = request_of(None)
    rate_limits.charge_failed_authentication(request)

    assert request.rate_limit is None


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
    clock: WallClock, failed: str, refused: str
) -> None:
    rate_limits = make_rate_limits("60/minute", failed_authentications="1/minute", clock=clock)
    rate_limits.charge_failed_authentication(request_of(None, failed))

    refusal(rate_limits.charge_failed_authentication, request_of(None, refused))


def test_networks_are_limited_separately_and_a_missing_address_is_not(clock: WallClock) -> None:
    rate_limits = make_rate_limits("60/minute", failed_authentications="1/minute", clock=clock)

    for address in ("2001:db8::1", ADDRESS, "2001:db8:0:1::1", "203.0.113.8", "::1", None, None):
        rate_limits.charge_failed_authentication(request_of(None, address))
