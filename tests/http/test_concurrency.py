"""How many may be open at a time: of one key, and in all."""

from uuid import UUID

import pytest

from app.domain.errors import RateLimitExceeded, ServiceUnavailable
from app.domain.ids import ApiKeyId
from app.http.concurrency import ConcurrencyLimiter

FIRST_KEY, SECOND_KEY, THIRD_KEY = (ApiKeyId(UUID(int=number)) for number in range(3))


def test_a_key_may_have_so_many_and_gets_a_place_back_when_it_leaves() -> None:
    places = ConcurrencyLimiter("subscriptions", max_total=9, max_per_key=2)
    with places.acquire(FIRST_KEY), places.acquire(FIRST_KEY):
        for take in (places.check, lambda key: places.acquire(key).__enter__()):
            with pytest.raises(RateLimitExceeded) as refusal:
                take(FIRST_KEY)
            assert refusal.value.message == (
                "One API key may have 2 subscriptions open at a time; end one of them first."
            )
            assert refusal.value.retry_after == 5
        places.check(SECOND_KEY)
    places.check(FIRST_KEY)


def test_all_keys_together_may_have_so_many() -> None:
    places = ConcurrencyLimiter("WebSockets", max_total=2, max_per_key=2)
    with places.acquire(FIRST_KEY), places.acquire(SECOND_KEY):
        with pytest.raises(ServiceUnavailable) as refusal:
            places.check(THIRD_KEY)
        assert refusal.value.message == (
            "This server has as many WebSockets open as it may. Try again in a moment."
        )
        assert refusal.value.retry_after == 5
    places.check(THIRD_KEY)


def test_it_is_told_how_many_there_are_also_after_a_failure() -> None:
    told: list[int] = []
    places = ConcurrencyLimiter("subscriptions", max_total=9, max_per_key=9, on_change=told.append)
    with pytest.raises(LookupError), places.acquire(FIRST_KEY), places.acquire(FIRST_KEY):
        raise LookupError
    assert told == [1, 1, -1, -1]
