"""Number of concurrent writes, and the order of waiting ones."""

import asyncio
from datetime import timedelta

import pytest

from app.db.core.database import Database
from app.db.core.write_session import WriteSession
from app.db.core.write_slots import WriteSlots, write_caller

LONG = timedelta(minutes=1)


class Writes:
    """Writes of several callers, each of which ends after `end`."""

    def __init__(self, slots: WriteSlots) -> None:
        self._slots = slots
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    def start(self, name: str) -> "asyncio.Task[None]":
        """Start a write whose caller is the first letter of its name."""
        self._ends[name] = asyncio.Event()
        return asyncio.create_task(self._write(name))

    async def _write(self, name: str) -> None:
        write_caller.set(name[0])
        async with self._slots.hold(deadline_after(LONG)):
            self.begun.append(name)
            await self._ends[name].wait()

    async def end(self, name: str) -> None:
        """End a write, and wait until the next one has begun."""
        self._ends[name].set()
        await let_tasks_run()


def deadline_after(wait: timedelta) -> float:
    return asyncio.get_running_loop().time() + wait.total_seconds()


async def let_tasks_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_callers_get_slots_in_rotation() -> None:
    writes = Writes(WriteSlots(2))
    tasks = [writes.start(name) for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1")]
    await let_tasks_run()
    assert writes.begun == ["a1", "a2"]

    for name in ("a1", "a2", "a3", "b1", "c1", "a4", "b2"):
        await writes.end(name)

    await asyncio.gather(*tasks)
    assert writes.begun == ["a1", "a2", "a3", "b1", "c1", "a4", "b2"]


async def test_wait_for_slot_is_limited() -> None:
    slots = WriteSlots(1)
    async with slots.hold(deadline_after(LONG)):
        with pytest.raises(TimeoutError):
            async with slots.hold(deadline_after(timedelta(milliseconds=10))):
                raise AssertionError("a slot that is not free")

    async with slots.hold(deadline_after(LONG)):
        pass


async def test_cancelled_write_leaves_its_slot_to_the_next() -> None:
    writes = Writes(WriteSlots(1))
    first, second, third = [writes.start(name) for name in ("a", "b", "c")]
    await let_tasks_run()

    second.cancel()
    await writes.end("a")
    await writes.end("c")

    await asyncio.gather(first, third)
    assert writes.begun == ["a", "c"]


async def test_write_cancelled_while_it_gets_its_slot_leaves_it_to_the_next() -> None:
    slots = WriteSlots(1)
    writes = Writes(slots)
    async with slots.hold(deadline_after(LONG)):
        second, third = writes.start("b"), writes.start("c")
        await let_tasks_run()
    second.cancel()
    await let_tasks_run()

    assert writes.begun == ["c"]
    await writes.end("c")
    await third


async def test_failed_write_frees_its_slot() -> None:
    slots = WriteSlots(1)
    with pytest.raises(ZeroDivisionError):
        async with slots.hold(deadline_after(LONG)):
            raise ZeroDivisionError

    async with slots.hold(deadline_after(LONG)):
        pass


async def test_write_of_one_key_passes_waiting_writes_of_another(database: Database) -> None:
    order: list[str] = []

    async def write(caller: str) -> None:
        write_caller.set(caller)

        async def work(session: WriteSession) -> None:
            order.append(caller)

        await database.write(work)

    flood = [asyncio.create_task(write("flood")) for _ in range(50)]
    await asyncio.gather(*flood, asyncio.create_task(write("client")))

    assert order.index("client") <= 10
