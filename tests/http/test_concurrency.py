"""Limits of concurrent streams: per key and in total."""

from uuid import UUID

import pytest

from app.domain.errors import RateLimitExceeded, ServiceUnavailable
from app.domain.ids import ApiKeyId
from app.http.concurrency import ConcurrencyLimiter
from tests.domain.errors import expect_error

FIRST_KEY, SECOND_KEY, THIRD_KEY = (ApiKeyId(UUID(int=number)) for number in range(3))


def test_limit_per_key_is_enforced_until_release() -> None:
    limiter = ConcurrencyLimiter("subscriptions", max_total=9, max_per_key=2)
    with limiter.acquire(FIRST_KEY), limiter.acquire(FIRST_KEY):
        for acquire in (limiter.check, lambda key: limiter.acquire(key).__enter__()):
            error = expect_error(RateLimitExceeded, acquire, FIRST_KEY)
            assert (error.message, error.retry_after) == (
                "The limit of 2 open subscriptions per API key is reached; close one of them first.",
                5,
            )
        limiter.check(SECOND_KEY)
    limiter.check(FIRST_KEY)


def test_total_limit_is_enforced_until_release() -> None:
    limiter = ConcurrencyLimiter("WebSockets", max_total=2, max_per_key=2)
    with limiter.acquire(FIRST_KEY), limiter.acquire(SECOND_KEY):
        error = expect_error(ServiceUnavailable, limiter.check, THIRD_KEY)
        assert (error.message, error.retry_after) == (
            "Too many WebSockets are open on this server. Try again in 5 s.",
            5,
        )
    limiter.check(THIRD_KEY)


def test_on_change_is_called_also_after_failure() -> None:
    changes: list[int] = []
    limiter = ConcurrencyLimiter(
        "subscriptions", max_total=9, max_per_key=9, on_change=changes.append
    )
    with pytest.raises(LookupError), limiter.acquire(FIRST_KEY), limiter.acquire(FIRST_KEY):
        raise LookupError
    assert changes == [1, 1, -1, -1]
