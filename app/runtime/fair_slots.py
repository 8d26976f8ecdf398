"""Limits concurrent work of one kind in this process, with a fair share of the slots for each caller."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import NamedTuple

from app.domain.round_robin_queue import RoundRobinQueue

current_caller: ContextVar[Hashable] = ContextVar("current_caller", default=None)
"""Caller for whom a task works: an API key, or None for the service itself.

A caller with hundreds of connections, or one request with many fields, must not delay the work of others.
"""


class FairSlots:
    """Slots for the concurrent work of several callers.

    Waiting callers get slots round robin, and the work of one caller starts in order. A caller that holds
    half of the slots gets another one only if no caller with less than half waits.
    """

    def __init__(self, count: int, *, spare: int = 0) -> None:
        """Create free slots; a caller that holds half of them leaves `spare` slots free for others.

        Work that lasts long needs spare slots. Otherwise, another caller waits until some of it ends.
        """
        self._half = max(1, count // 2)
        self._free = count
        self._spare = spare
        self._held: Counter[Hashable] = Counter()
        self._waiting: RoundRobinQueue[_WaitingWork] = RoundRobinQueue()

    def is_free(self, caller: Hashable) -> bool:
        """Return True if the caller would get a slot without waiting."""
        # No one who waits could use a free slot: it would have been assigned at its release.
        return self._free > (0 if self._has_less_than_half(caller) else self._spare)

    async def acquire(self, caller: Hashable, deadline: float | None = None) -> None:
        """Take a slot for `release`; raises TimeoutError if there is none until `deadline`.

        The deadline is a time of the event loop in seconds.
        """
        if self.is_free(caller):
            self._take(caller)
            return
        assigned = asyncio.get_running_loop().create_future()
        self._waiting.append(caller, _WaitingWork(caller, assigned))
        try:
            async with asyncio.timeout_at(deadline):
                await assigned
        except BaseException:
            if not assigned.cancelled():  # a slot was assigned at the same time
                self.release(caller)
            raise

    def release(self, caller: Hashable) -> None:
        """Return a slot of the caller, and assign it to the work that is the next."""
        self._free += 1
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        while self._free and self._waiting and (work := self._pop_waiting()) is not None:
            if not work.assigned.done():  # it is done if the work was cancelled
                self._take(work.caller)
                work.assigned.set_result(None)

    @asynccontextmanager
    async def hold(self, caller: Hashable, deadline: float | None = None) -> AsyncIterator[None]:
        """Hold a slot during the context; raises what `acquire` raises."""
        await self.acquire(caller, deadline)
        try:
            yield
        finally:
            self.release(caller)

    def _take(self, caller: Hashable) -> None:
        self._free -= 1
        self._held[caller] += 1

    def _has_less_than_half(self, caller: Hashable) -> bool:
        return self._held[caller] < self._half

    def _pop_waiting(self) -> "_WaitingWork | None":
        """Remove and return the next work that may use a free slot."""
        work = self._waiting.pop_if(self._has_less_than_half)
        if work is None and self._free > self._spare:
            work = self._waiting.pop()
        return work


class _WaitingWork(NamedTuple):
    caller: Hashable
    assigned: asyncio.Future[None]
