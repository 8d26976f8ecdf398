"""Limits concurrent write transactions, and starts waiting ones round robin by caller."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from contextvars import ContextVar

from app.domain.round_robin_queue import RoundRobinQueue

write_caller: ContextVar[Hashable] = ContextVar("write_caller", default=None)
"""Caller of the writes of a task: an API key, or None for the service itself.

A caller with hundreds of connections must not delay the writes of others.
"""


class WriteSlots:
    """Slots for the write transactions of a process."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: RoundRobinQueue[asyncio.Future[None]] = RoundRobinQueue()

    @asynccontextmanager
    async def hold(self, deadline: float) -> AsyncIterator[None]:
        """Hold a slot during the context; raises TimeoutError if none is free at `deadline`.

        The deadline is a time of the event loop in seconds.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait(deadline)
        try:
            yield
        finally:
            self._release()

    async def _wait(self, deadline: float) -> None:
        slot = asyncio.get_running_loop().create_future()
        self._waiting.append(write_caller.get(), slot)
        try:
            async with asyncio.timeout_at(deadline):
                await slot
        except BaseException:
            if slot.done() and not slot.cancelled():  # it was assigned at the same time
                self._release()
            raise

    def _release(self) -> None:
        """Assign a slot to the next write that still waits."""
        while self._waiting:
            slot = self._waiting.pop()
            if not slot.done():
                slot.set_result(None)
                return
        self._free += 1
