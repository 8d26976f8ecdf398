"""How many may be open at a time: of one key, and in all."""

from uuid import UUID

import pytest

from app.domain.errors import RateLimitExceeded, ServiceUnavailable
from app.domain.ids import ApiKeyId
from app.http.concurrency import ConcurrencyLimiter

ONE, OTHER, THIRD = (ApiKeyId(UUID(int=number)) for number in range(3))


def test_a_key_may_have_so_many_and_gets_a_place_back_when_it_leaves() -> None:
    places = ConcurrencyLimiter("subscriptions", max_total=9, max_per_key=2)
    with places.acquire(ONE), places.acquire(ONE):
        for take in (places.check, lambda key: places.acquire(key).__enter__()):
            with pytest.raises(RateLimitExceeded) as refusal:
                take(ONE)
            assert refusal.value.message == (
                "One API key may have 2 subscriptions open at a time; end one of them first."
            )
            assert refusal.value.retry_after == 5
        places.check(OTHER)
    places.check(ONE)


def test_all_keys_together_may_have_so_many() -> None:
    places = ConcurrencyLimiter("WebSockets", max_total=2, max_per_key=2)
    with places.acquire(ONE), places.acquire(OTHER):
        with pytest.raises(ServiceUnavailable) as refusal:
            places.check(THIRD)
        assert refusal.value.message == (
            "This server has as many WebSockets open as it may. Try again in a moment."
        )
        assert refusal.value.retry_after == 5
    places.check(THIRD)


def test_it_is_told_how_many_there_are_also_after_a_failure() -> None:
    told: list[int] = []
    places = ConcurrencyLimiter("subscriptions", max_total=9, max_per_key=9, on_change=told.append)
    with pytest.raises(LookupError), places.acquire(ONE), places.acquire(ONE):
        raise LookupError
    assert told == [1, 1, -1, -1]
