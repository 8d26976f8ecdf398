"""Number of concurrent pieces of work, the order of waiting ones, and the share of each caller."""

import asyncio
from datetime import timedelta

import pytest

from app.runtime.fair_slots import FairSlots

LONG = timedelta(minutes=1)


class Work:
    """Work of several callers, each piece of which ends after `end`."""

    def __init__(self, slots: FairSlots) -> None:
        self._slots = slots
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    async def start(self, *names: str) -> "list[asyncio.Task[None]]":
        """Start work whose caller is the first letter of its name."""
        tasks = [asyncio.create_task(self._run(name)) for name in names]
        await let_tasks_run()
        return tasks

    async def _run(self, name: str) -> None:
        end = self._ends[name] = asyncio.Event()
        async with self._slots.hold(name[0]):
            self.begun.append(name)
            await end.wait()

    async def end(self, *names: str) -> None:
        """End work, and wait after each piece until the next one has begun."""
        for name in names:
            self._ends[name].set()
            await let_tasks_run()


def deadline_after(wait: timedelta) -> float:
    return asyncio.get_running_loop().time() + wait.total_seconds()


async def let_tasks_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_callers_get_slots_in_rotation() -> None:
    work = Work(FairSlots(2, max_per_caller=2))
    tasks = await work.start("a1", "a2", "a3", "a4", "b1", "b2", "c1")
    assert work.begun == ["a1", "a2"]

    order = ["a1", "a2", "b1", "a3", "c1", "b2", "a4"]
    await work.end(*order)

    await asyncio.gather(*tasks)
    assert work.begun == order


async def test_caller_above_half_gets_no_slot_while_another_waits() -> None:
    work = Work(FairSlots(4, max_per_caller=4))
    tasks = await work.start("a1", "a2", "a3", "a4", "a5", "a6", "b1", "b2", "b3")
    assert work.begun == ["a1", "a2", "a3", "a4"]

    await work.end("a1", "a2")
    assert work.begun[4:] == ["b1", "b2"]

    await work.end("b1")
    assert work.begun[6:] == ["b3"]
    await work.end("b2")
    assert work.begun[7:] == ["a5"]

    await work.end("a3", "a4", "a5", "a6", "b3")
    await asyncio.gather(*tasks)


@pytest.mark.parametrize(("count", "half"), [(2, 1), (3, 1), (4, 2), (5, 2), (8, 4)])
async def test_caller_has_at_most_half_of_the_slots(count: int, half: int) -> None:
    work = Work(FairSlots(count))
    tasks = await work.start(*(f"a{number}" for number in range(count)))
    assert len(work.begun) == half

    tasks += await work.start(*(f"b{number}" for number in range(half)))
    assert work.begun[half:] == [f"b{number}" for number in range(half)]

    await work.end(*(f"a{number}" for number in range(count)))
    await work.end(*(f"b{number}" for number in range(half)))
    await asyncio.gather(*tasks)


async def test_service_itself_uses_all_slots() -> None:
    slots = FairSlots(4)
    for _ in range(4):
        await slots.acquire(None)

    assert not slots.can_acquire_now("a")


async def test_only_slot_goes_to_callers_in_rotation() -> None:
    work = Work(FairSlots(1))
    tasks = await work.start("a1", "a2", "a3", "b1", "b2")

    order = ["a1", "a2", "b1", "a3", "b2"]
    await work.end(*order)

    await asyncio.gather(*tasks)
    assert work.begun == order


async def test_caller_that_waits_for_its_share_does_not_block_others() -> None:
    slots = FairSlots(4)
    work = Work(slots)
    tasks = await work.start("a1", "a2", "a3")
    assert [slots.can_acquire_now("a"), slots.can_acquire_now("b")] == [False, True]

    tasks += await work.start("b1", "b2", "b3", "c1")
    assert work.begun == ["a1", "a2", "b1", "b2"]

    await work.end("a1", "a2")
    assert work.begun[4:] == ["a3", "c1"]
    await work.end("a3", "c1", "b1", "b2", "b3")
    await asyncio.gather(*tasks)


async def test_another_caller_waits_for_a_slot_until_it_is_cancelled() -> None:
    slots = FairSlots(2)
    work = Work(slots)
    held = await work.start("a1", "b1", "a2")
    assert not slots.has_waiting_others("a")  # its own work cannot have more than half

    (waiting,) = await work.start("c1")
    assert slots.has_waiting_others("a")

    waiting.cancel()
    await let_tasks_run()
    assert not slots.has_waiting_others("a")
    await work.end("a1", "a2", "b1")
    await asyncio.gather(*held)


async def test_wait_for_slot_is_limited() -> None:
    slots = FairSlots(1)
    async with slots.hold("a"):
        with pytest.raises(TimeoutError):
            await slots.acquire("b", deadline_after(timedelta(milliseconds=10)))

    async with slots.hold("b", deadline_after(LONG)):
        pass


async def test_cancelled_work_leaves_its_slot_to_the_next() -> None:
    work = Work(FairSlots(1))
    first, second, third = await work.start("a", "b", "c")

    second.cancel()
    await work.end("a", "c")

    await asyncio.gather(first, third)
    assert work.begun == ["a", "c"]


async def test_work_cancelled_while_it_gets_its_slot_leaves_it_to_the_next() -> None:
    slots = FairSlots(1)
    work = Work(slots)
    async with slots.hold("a"):
        second, third = await work.start("b", "c")
    second.cancel()
    await let_tasks_run()

    assert work.begun == ["c"]
    await work.end("c")
    await third


async def test_failed_work_frees_its_slot() -> None:
    slots = FairSlots(1)
    with pytest.raises(ZeroDivisionError):
        async with slots.hold("a"):
            raise ZeroDivisionError

    assert slots.can_acquire_now("b")
