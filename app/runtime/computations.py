"""Runs long computations in threads, so that the event loop answers other requests meanwhile.

The slots are shared by the API keys, as those of reads are. Python runs one thread at a time, but a busy
thread gives way to the event loop after a fraction of a millisecond.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import TypeVar, TypeVarTuple

from app.runtime.fair_slots import FairSlots, current_caller

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_MAX_THREADS = 2
"""Threads for computations: one key has at most half of them. More would only slow the event loop down."""

_threads = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="computations")


is_in_thread: ContextVar[bool] = ContextVar("is_in_thread", default=False)
"""True inside of a computation."""


class _Slots:
    """Slots of the threads, in one event loop after the other."""

    _loop: asyncio.AbstractEventLoop | None = None
    _slots: FairSlots

    def in_loop(self, loop: asyncio.AbstractEventLoop) -> FairSlots:
        if self._loop is not loop:
            self._loop, self._slots = loop, FairSlots(_MAX_THREADS)
        return self._slots


_slots = _Slots()


async def compute(function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Call a function in a thread and return its result; waits while its caller has its share of them.

    The function must not use the event loop. A cancelled computation cannot be interrupted, so long work is
    several computations: none begins after the cancellation. Each one keeps its slot until it ends.
    """
    caller, loop = current_caller.get(), asyncio.get_running_loop()
    slots = _slots.in_loop(loop)
    await slots.acquire(caller)
    context = copy_context()
    context.run(is_in_thread.set, True)
    result = asyncio.wrap_future(_threads.submit(lambda: context.run(function, *arguments)))

    def release_slot(_result: object) -> None:
        slots.release(caller)
        if not result.cancelled():
            result.exception()  # retrieved, so that that of a cancelled computation is not logged

    result.add_done_callback(release_slot)
    return await asyncio.shield(result)
