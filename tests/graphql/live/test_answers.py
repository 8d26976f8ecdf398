"""Answers that are shared: made once, for all who wait, whoever of them leaves."""

import asyncio
import gc

import pytest

from app.graphql.live.answers import MAX_BYTES, NOTHING, SharedAnswers


class Kitchen:
    """Makes answers, when it is let."""

    def __init__(self, *answers: str | Exception) -> None:
        self._answers = list(answers)
        self.number_made = 0
        self.open = asyncio.Event()

    async def make(self) -> str:
        self.number_made += 1
        await self.open.wait()
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_whoever_asks_meanwhile_or_later_gets_what_is_made_for_the_first() -> None:
    shared, kitchen = SharedAnswers(), Kitchen("one", "other")
    waiting = [asyncio.create_task(shared.get("key", kitchen.make)) for _ in range(3)]
    await asyncio.sleep(0)
    kitchen.open.set()

    assert await asyncio.gather(*waiting) == ["one", "one", "one"]
    assert await shared.get("key", kitchen.make) == "one"
    assert await shared.get("another", kitchen.make) == "other"
    assert kitchen.number_made == 2


async def test_that_there_is_nothing_to_tell_is_an_answer_too() -> None:
    shared, kitchen = SharedAnswers(), Kitchen(NOTHING)
    kitchen.open.set()
    assert [await shared.get("key", kitchen.make) for _ in range(2)] == [NOTHING, NOTHING]
    assert kitchen.number_made == 1


async def test_the_first_may_leave_without_taking_it_from_the_others() -> None:
    shared, kitchen = SharedAnswers(), Kitchen("one")
    first, second = (asyncio.create_task(shared.get("key", kitchen.make)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    kitchen.open.set()

    assert first.cancelled()
    assert await second == "one"
    assert kitchen.number_made == 1


async def test_what_goes_wrong_is_told_to_all_who_wait_and_tried_again_for_the_next() -> None:
    shared, kitchen = SharedAnswers(), Kitchen(ValueError("once"), "one")
    waiting = [asyncio.create_task(shared.get("key", kitchen.make)) for _ in range(2)]
    await asyncio.sleep(0)
    kitchen.open.set()
    for each in waiting:
        with pytest.raises(ValueError, match="once"):
            await each
    assert await shared.get("key", kitchen.make) == "one"


async def test_nobody_complains_of_what_goes_wrong_when_all_have_left() -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    shared, kitchen = SharedAnswers(), Kitchen(ValueError("once"))
    only = asyncio.create_task(shared.get("key", kitchen.make))
    await asyncio.sleep(0)
    only.cancel()
    await asyncio.wait({only})
    kitchen.open.set()
    for _ in range(3):
        await asyncio.sleep(0)
    del only
    gc.collect()
    assert complaints == []


async def test_only_so_much_is_kept() -> None:
    large = "x" * (MAX_BYTES // 2)
    shared, kitchen = SharedAnswers(), Kitchen(large, large, large)
    kitchen.open.set()
    await shared.get("first", kitchen.make)
    await shared.get("second", kitchen.make)
    await shared.get("second", kitchen.make)
    assert kitchen.number_made == 2
    await shared.get("first", kitchen.make)
    assert kitchen.number_made == 3
