"""Limits concurrent work of one kind in this process, with a fair share of the slots for each caller."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import NamedTuple, TypeVar, TypeVarTuple

from app.domain.round_robin_queue import RoundRobinQueue

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

current_caller: ContextVar[Hashable] = ContextVar("current_caller", default=None)
"""Caller for whom a task works: an API key, or None for the service itself.

A caller with hundreds of connections, or one request with many fields, must not delay the work of others.
"""


class FairSlots:
    """Slots for the concurrent work of several callers.

    A caller holds at most half of them, or up to `max_per_caller` while no caller below its half waits.
    Waiting callers get slots round robin, those below their half first. The work of one caller starts in
    order. The caller None has no limit: in a process without requests, it is the only caller.
    """

    def __init__(self, count: int, *, max_per_caller: int | None = None) -> None:
        """Create free slots.

        `max_per_caller` suits short work only: another caller waits until some of it ends.
        """
        self._free = count
        self._half = max(1, count // 2)
        self._max_per_caller = max_per_caller or self._half
        self._held: Counter[Hashable] = Counter()
        self._waiting: RoundRobinQueue[_WaitingWork] = RoundRobinQueue()

    @property
    def is_unused(self) -> bool:
        """True if no slot is held."""
        return not self._held

    def can_acquire_now(self, caller: Hashable) -> bool:
        """Return True if the caller would get a slot without waiting."""
        # No one who waits could use a free slot: it would have been assigned at its release.
        return self._free > 0 and self._is_below_maximum(caller)

    def has_waiting_others(self, caller: Hashable) -> bool:
        """Return True if another caller waits, and could use a slot of this one."""
        return any(
            other != caller and self._is_below_maximum(other) for other in self._waiting.callers()
        )

    async def acquire(self, caller: Hashable, deadline: float | None = None) -> None:
        """Take a slot for `release`; raises TimeoutError if there is none until `deadline`.

        The deadline is a time of the event loop in seconds.
        """
        if self.can_acquire_now(caller):
            self._take(caller)
            return
        assigned = asyncio.get_running_loop().create_future()
        work = _WaitingWork(caller, assigned)
        self._waiting.append(caller, work)
        try:
            async with asyncio.timeout_at(deadline):
                await assigned
        except BaseException:
            if assigned.cancelled():
                self._waiting.discard(caller, work)
            else:  # a slot was assigned at the same time
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

    async def run_in_executor(
        self,
        executor: Executor,
        caller: Hashable,
        function: Callable[[*Arguments], T],
        *arguments: *Arguments,
        deadline: float | None = None,
    ) -> T:
        """Call a function in the executor; raises what `acquire` raises.

        The slot is held until the function ends, even if the task is cancelled before.
        """
        await self.acquire(caller, deadline)
        result = asyncio.wrap_future(executor.submit(function, *arguments))

        def release_slot(result: asyncio.Future[T]) -> None:
            self.release(caller)
            if not result.cancelled():
                result.exception()  # retrieved, so that that of a cancelled task is not logged

        result.add_done_callback(release_slot)
        try:
            return await asyncio.shield(result)
        finally:
            del (
                result
            )  # an exception in it refers to this frame: only garbage collection would free both

    def _take(self, caller: Hashable) -> None:
        self._free -= 1
        self._held[caller] += 1

    def _is_below_half(self, caller: Hashable) -> bool:
        return caller is None or self._held[caller] < self._half

    def _is_below_maximum(self, caller: Hashable) -> bool:
        return caller is None or self._held[caller] < self._max_per_caller

    def _pop_waiting(self) -> "_WaitingWork | None":
        """Remove and return the next work that may use a free slot."""
        return self._waiting.pop_if(self._is_below_half) or self._waiting.pop_if(
            self._is_below_maximum
        )


class _WaitingWork(NamedTuple):
    caller: Hashable
    assigned: asyncio.Future[None]
