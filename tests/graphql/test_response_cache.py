"""Single-flight computation and short-lived caching of subscription responses."""

import asyncio
import gc
from collections.abc import Iterable, Iterator

import pytest

from app.graphql.subscription_stream import (
    MAX_RESPONSE_CACHE_BYTES,
    RESPONSE_TTL,
    SKIPPED_RESPONSE,
    EncodedResponse,
    ResponseCache,
)

ONE = EncodedResponse(b"one", is_cacheable=True)
OTHER = EncodedResponse(b"other", is_cacheable=True)


class BlockingProducer:
    """Produces the given responses once `may_produce` is set."""

    def __init__(self, responses: Iterable[EncodedResponse | Exception]) -> None:
        self._responses = iter(responses)
        self.produced_count = 0
        self.may_produce = asyncio.Event()

    async def produce(self) -> EncodedResponse:
        self.produced_count += 1
        await self.may_produce.wait()
        response = next(self._responses)
        if isinstance(response, Exception):
            raise response
        return response


def make_cache(*responses: EncodedResponse | Exception) -> tuple[ResponseCache, BlockingProducer]:
    """Return an empty cache whose time stands still, and a producer."""
    return ResponseCache(lambda: 0.0), BlockingProducer(responses)


async def test_concurrent_and_later_callers_share_the_first_computation() -> None:
    cache, producer = make_cache(ONE, SKIPPED_RESPONSE)
    waiting = [asyncio.create_task(cache.get_or_compute("key", producer.produce)) for _ in range(3)]
    await asyncio.sleep(0)
    producer.may_produce.set()

    assert await asyncio.gather(*waiting) == [ONE, ONE, ONE]
    assert await cache.get_or_compute("key", producer.produce) == ONE
    for _ in range(2):
        assert await cache.get_or_compute("another", producer.produce) == SKIPPED_RESPONSE
    assert producer.produced_count == 2


async def test_cancelling_the_first_caller_does_not_affect_the_others() -> None:
    cache, producer = make_cache(ONE)
    first, second = (
        asyncio.create_task(cache.get_or_compute("key", producer.produce)) for _ in range(2)
    )
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    producer.may_produce.set()

    assert first.cancelled()
    assert await second == ONE
    assert producer.produced_count == 1


async def test_an_exception_reaches_all_waiting_callers_and_is_not_cached() -> None:
    cache, producer = make_cache(ValueError("once"), ONE)
    waiting = [asyncio.create_task(cache.get_or_compute("key", producer.produce)) for _ in range(2)]
    await asyncio.sleep(0)
    producer.may_produce.set()
    for caller in waiting:
        with pytest.raises(ValueError, match="once"):
            await caller
    assert await cache.get_or_compute("key", producer.produce) == ONE


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
    large = EncodedResponse(b"x" * (MAX_RESPONSE_CACHE_BYTES // 2), is_cacheable=True)
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
    cache, producer = ResponseCache(lambda: now), BlockingProducer([ONE, OTHER])
    producer.may_produce.set()
    assert await cache.get_or_compute("key", producer.produce) == ONE
    now += RESPONSE_TTL.total_seconds() - 0.001
    assert await cache.get_or_compute("key", producer.produce) == ONE
    now += 0.001
    assert await cache.get_or_compute("key", producer.produce) == OTHER
    assert producer.produced_count == 2


async def test_a_response_with_errors_is_not_cached() -> None:
    invalid = EncodedResponse(b"one", is_cacheable=False)
    cache, producer = make_cache(invalid, ONE)
    producer.may_produce.set()
    assert await cache.get_or_compute("key", producer.produce) is invalid
    assert await cache.get_or_compute("key", producer.produce) is ONE


async def test_a_response_larger_than_the_cache_is_shared_while_it_is_used() -> None:
    now = 100.0
    cache, producer = ResponseCache(lambda: now), BlockingProducer(make_large_responses(3))
    producer.may_produce.set()
    used = await cache.get_or_compute("key", producer.produce)
    assert await cache.get_or_compute("key", producer.produce) is used
    now += RESPONSE_TTL.total_seconds()
    newer = await cache.get_or_compute("key", producer.produce)
    assert newer is not used
    del used, newer
    await asyncio.sleep(0)  # the event loop still refers to the task that computed it
    await cache.get_or_compute("key", producer.produce)
    assert producer.produced_count == 3


def make_large_responses(count: int) -> Iterator[EncodedResponse]:
    """Yield responses that are larger than the cache."""
    for _ in range(count):
        yield EncodedResponse(b"x" * MAX_RESPONSE_CACHE_BYTES, is_cacheable=True)


async def test_computations_that_never_block_yield_to_the_event_loop() -> None:
    cache = ResponseCache(lambda: 0.0)
    produced_count = 0

    async def produce() -> EncodedResponse:
        nonlocal produced_count
        produced_count += 1
        return ONE

    waiting = [asyncio.create_task(cache.get_or_compute(number, produce)) for number in range(100)]
    for _ in range(4):
        await asyncio.sleep(0)
    assert 0 < produced_count < 20
    assert await asyncio.gather(*waiting) == 100 * [ONE]
