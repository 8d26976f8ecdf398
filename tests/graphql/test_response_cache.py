"""Single-flight computation and short-lived caching of subscription responses."""

import asyncio
import gc

import pytest

from app.graphql.subscription_stream import (
    MAX_RESPONSE_CACHE_BYTES,
    RESPONSE_TTL,
    SKIPPED_RESPONSE,
    ComputedResponse,
    ResponseCache,
)


class BlockingProducer:
    """Produces the given responses once `may_produce` is set; "invalid" is not cacheable."""

    def __init__(self, *responses: str | Exception) -> None:
        self._responses = list(responses)
        self.produced_count = 0
        self.may_produce = asyncio.Event()

    async def produce(self) -> ComputedResponse:
        self.produced_count += 1
        await self.may_produce.wait()
        response = self._responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return ComputedResponse(response, is_cacheable=response != "invalid")


def make_cache(*responses: str | Exception) -> tuple[ResponseCache, BlockingProducer]:
    """Return an empty cache whose time stands still, and a producer."""
    return ResponseCache(lambda: 0.0), BlockingProducer(*responses)


async def test_concurrent_and_later_callers_share_the_first_computation() -> None:
    cache, producer = make_cache("one", SKIPPED_RESPONSE)
    waiting = [asyncio.create_task(cache.get_or_compute("key", producer.produce)) for _ in range(3)]
    await asyncio.sleep(0)
    producer.may_produce.set()

    assert await asyncio.gather(*waiting) == ["one", "one", "one"]
    assert await cache.get_or_compute("key", producer.produce) == "one"
    for _ in range(2):
        assert await cache.get_or_compute("another", producer.produce) == SKIPPED_RESPONSE
    assert producer.produced_count == 2


async def test_cancelling_the_first_caller_does_not_affect_the_others() -> None:
    cache, producer = make_cache("one")
    first, second = (
        asyncio.create_task(cache.get_or_compute("key", producer.produce)) for _ in range(2)
    )
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    producer.may_produce.set()

    assert first.cancelled()
    assert await second == "one"
    assert producer.produced_count == 1


async def test_an_exception_reaches_all_waiting_callers_and_is_not_cached() -> None:
    cache, producer = make_cache(ValueError("once"), "one")
    waiting = [asyncio.create_task(cache.get_or_compute("key", producer.produce)) for _ in range(2)]
    await asyncio.sleep(0)
    producer.may_produce.set()
    for caller in waiting:
        with pytest.raises(ValueError, match="once"):
            await caller
    assert await cache.get_or_compute("key", producer.produce) == "one"


async def test_an_exception_without_remaining_callers_is_not_logged() -> None:
    errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    cache, producer = make_cache(ValueError("once"))
    only = asyncio.create_task(cache.get_or_compute("key", producer.produce))
    await asyncio.sleep(0)
    only.cancel()
    await asyncio.wait({only})
    producer.may_produce.set()
    for _ in range(3):
        await asyncio.sleep(0)
    del only
    gc.collect()
    assert errors == []


async def test_the_size_of_cached_responses_is_limited() -> None:
    large = "x" * (MAX_RESPONSE_CACHE_BYTES // 2)
    cache, producer = make_cache(large, large, large)
    producer.may_produce.set()
    await cache.get_or_compute("first", producer.produce)
    await cache.get_or_compute("second", producer.produce)
    await cache.get_or_compute("second", producer.produce)
    assert producer.produced_count == 2
    await cache.get_or_compute("first", producer.produce)
    assert producer.produced_count == 3


async def test_a_response_expires_after_its_ttl() -> None:
    now = 100.0
    cache, producer = ResponseCache(lambda: now), BlockingProducer("one", "other")
    producer.may_produce.set()
    assert await cache.get_or_compute("key", producer.produce) == "one"
    now += RESPONSE_TTL.total_seconds() - 0.001
    assert await cache.get_or_compute("key", producer.produce) == "one"
    now += 0.001
    assert await cache.get_or_compute("key", producer.produce) == "other"
    assert producer.produced_count == 2


async def test_a_response_with_errors_is_not_cached() -> None:
    cache, producer = make_cache("invalid", "valid")
    producer.may_produce.set()
    assert await cache.get_or_compute("key", producer.produce) == "invalid"
    assert await cache.get_or_compute("key", producer.produce) == "valid"


async def test_computations_that_never_block_yield_to_the_event_loop() -> None:
    cache = ResponseCache(lambda: 0.0)
    produced_count = 0

    async def produce() -> ComputedResponse:
        nonlocal produced_count
        produced_count += 1
        return ComputedResponse("x", is_cacheable=True)

    waiting = [asyncio.create_task(cache.get_or_compute(number, produce)) for number in range(100)]
    for _ in range(4):
        await asyncio.sleep(0)
    assert 0 < produced_count < 20
    assert await asyncio.gather(*waiting) == 100 * ["x"]
