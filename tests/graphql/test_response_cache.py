"""Answers that are shared: made once, for all who wait, whoever of them leaves."""

import asyncio
import gc

import pytest

from app.graphql.response_cache import (
    MAX_RESPONSE_CACHE_BYTES,
    RESPONSE_TTL,
    SKIPPED_RESPONSE,
    ComputedResponse,
    ResponseCache,
)


class BlockingProducer:
    """Makes answers, when it is let."""

    def __init__(self, *answers: str | Exception) -> None:
        self._answers = list(answers)
        self.produced_count = 0
        self.may_produce = asyncio.Event()

    async def produce(self) -> ComputedResponse:
        self.produced_count += 1
        await self.may_produce.wait()
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return ComputedResponse(answer, is_cacheable=answer != "unsound")


async def test_whoever_asks_meanwhile_or_later_gets_what_is_made_for_the_first() -> None:
    shared, kitchen = ResponseCache(lambda: 0.0), BlockingProducer("one", "other")
    waiting = [asyncio.create_task(shared.get_or_compute("key", kitchen.produce)) for _ in range(3)]
    await asyncio.sleep(0)
    kitchen.may_produce.set()

    assert await asyncio.gather(*waiting) == ["one", "one", "one"]
    assert await shared.get_or_compute("key", kitchen.produce) == "one"
    assert await shared.get_or_compute("another", kitchen.produce) == "other"
    assert kitchen.produced_count == 2


async def test_that_there_is_nothing_to_tell_is_an_answer_too() -> None:
    shared, kitchen = ResponseCache(lambda: 0.0), BlockingProducer(SKIPPED_RESPONSE)
    kitchen.may_produce.set()
    assert [await shared.get_or_compute("key", kitchen.produce) for _ in range(2)] == [
        SKIPPED_RESPONSE,
        SKIPPED_RESPONSE,
    ]
    assert kitchen.produced_count == 1


async def test_the_first_may_leave_without_taking_it_from_the_others() -> None:
    shared, kitchen = ResponseCache(lambda: 0.0), BlockingProducer("one")
    first, second = (
        asyncio.create_task(shared.get_or_compute("key", kitchen.produce)) for _ in range(2)
    )
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    kitchen.may_produce.set()

    assert first.cancelled()
    assert await second == "one"
    assert kitchen.produced_count == 1


async def test_what_goes_wrong_is_told_to_all_who_wait_and_tried_again_for_the_next() -> None:
    shared, kitchen = ResponseCache(lambda: 0.0), BlockingProducer(ValueError("once"), "one")
    waiting = [asyncio.create_task(shared.get_or_compute("key", kitchen.produce)) for _ in range(2)]
    await asyncio.sleep(0)
    kitchen.may_produce.set()
    for each in waiting:
        with pytest.raises(ValueError, match="once"):
            await each
    assert await shared.get_or_compute("key", kitchen.produce) == "one"


async def test_nobody_complains_of_what_goes_wrong_when_all_have_left() -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    shared, kitchen = ResponseCache(lambda: 0.0), BlockingProducer(ValueError("once"))
    only = asyncio.create_task(shared.get_or_compute("key", kitchen.produce))
    await asyncio.sleep(0)
    only.cancel()
    await asyncio.wait({only})
    kitchen.may_produce.set()
    for _ in range(3):
        await asyncio.sleep(0)
    del only
    gc.collect()
    assert complaints == []


async def test_only_so_much_is_kept() -> None:
    large = "x" * (MAX_RESPONSE_CACHE_BYTES // 2)
    shared, kitchen = ResponseCache(lambda: 0.0), BlockingProducer(large, large, large)
    kitchen.may_produce.set()
    await shared.get_or_compute("first", kitchen.produce)
    await shared.get_or_compute("second", kitchen.produce)
    await shared.get_or_compute("second", kitchen.produce)
    assert kitchen.produced_count == 2
    await shared.get_or_compute("first", kitchen.produce)
    assert kitchen.produced_count == 3


async def test_it_is_kept_for_a_moment_only() -> None:
    now = 100.0
    shared, kitchen = ResponseCache(lambda: now), BlockingProducer("one", "other")
    kitchen.may_produce.set()
    assert await shared.get_or_compute("key", kitchen.produce) == "one"
    now += RESPONSE_TTL.total_seconds() - 0.001
    assert await shared.get_or_compute("key", kitchen.produce) == "one"
    now += 0.001
    assert await shared.get_or_compute("key", kitchen.produce) == "other"
    assert kitchen.produced_count == 2


async def test_what_went_wrong_in_an_answer_is_told_to_nobody_later() -> None:
    shared, kitchen = ResponseCache(lambda: 0.0), BlockingProducer("unsound", "sound")
    kitchen.may_produce.set()
    assert await shared.get_or_compute("key", kitchen.produce) == "unsound"
    assert await shared.get_or_compute("key", kitchen.produce) == "sound"


async def test_however_many_are_to_be_made_others_have_their_turns() -> None:
    """An answer that is made without ever waiting takes its time from all others."""
    shared = ResponseCache(lambda: 0.0)
    made = 0

    async def produce() -> ComputedResponse:
        nonlocal made
        made += 1
        return ComputedResponse("x", is_cacheable=True)

    waiting = [asyncio.create_task(shared.get_or_compute(number, produce)) for number in range(100)]
    for _ in range(4):
        await asyncio.sleep(0)
    assert 0 < made < 20
    assert await asyncio.gather(*waiting) == 100 * ["x"]
