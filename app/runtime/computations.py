"""Runs long computations in threads, so that the event loop answers other requests meanwhile.

`compute` calls a function, and `run_in_thread` a coroutine function, in an event loop of the thread. The
slots of both are shared by the API keys, as those of reads are. Python runs one thread at a time, but a
busy thread gives way to the main event loop after a fraction of a millisecond.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar, copy_context
from threading import Thread
from typing import Any, TypeVar, TypeVarTuple

from app.runtime.fair_slots import FairSlots, current_caller

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_MAX_THREADS = 2
"""Threads for functions: one key has at most half of them. More would only slow the event loop down."""

_MAX_LOOPS = 4
"""Threads for coroutine functions, which also wait for the database."""

_main_loop: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("main_loop", default=None)
"""The event loop that started the computation; None outside of computations."""


class _Slots:
    """Slots of some threads, in one event loop after the other."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots: FairSlots

    def in_loop(self, loop: asyncio.AbstractEventLoop) -> FairSlots:
        if self._loop is not loop:
            self._loop, self._slots = loop, FairSlots(self._count)
        return self._slots


_threads = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="computations")
_thread_slots = _Slots(_MAX_THREADS)
_idle_loops: list[asyncio.AbstractEventLoop] = []
_loop_slots = _Slots(_MAX_LOOPS)


def is_in_thread() -> bool:
    """Return True inside of a computation, and in a thread without an event loop."""
    return _main_loop.get() is not None or asyncio._get_running_loop() is None


def is_idle() -> bool:
    """Return True if no thread of this module works."""
    loop = asyncio.get_running_loop()
    return _thread_slots.in_loop(loop).is_unused and _loop_slots.in_loop(loop).is_unused


async def compute(function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Call a function in a thread and return its result; waits while its caller has its share of them.

    The function must not use the event loop. A cancelled computation cannot be interrupted, so long work is
    several computations: none begins after the cancellation. Each one keeps its slot until it ends. In a
    thread, such as that of a write on SQLite, the function is called directly.
    """
    if is_in_thread():
        return function(*arguments)
    caller, loop = current_caller.get(), asyncio.get_running_loop()
    context = copy_context()
    context.run(_main_loop.set, loop)
    slots = _thread_slots.in_loop(loop)
    return await slots.run_in_executor(_threads, caller, context.run, function, *arguments)


async def run_in_thread(function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Call a coroutine function in the event loop of a thread and return its result.

    Waits while its caller has its share of the threads. A cancelled coroutine ends where it next waits, and
    keeps its slot until then. It must await what belongs to the main event loop by `await_in_main_loop`.
    """
    caller, loop = current_caller.get(), asyncio.get_running_loop()
    slots = _loop_slots.in_loop(loop)
    await slots.acquire(caller)
    try:
        thread_loop = _idle_loops.pop() if _idle_loops else _start_loop()
    except BaseException:
        slots.release(caller)
        raise

    async def run() -> T:
        _main_loop.set(loop)
        try:
            return await function()
        finally:
            _idle_loops.append(thread_loop)
            with suppress(RuntimeError):  # the main event loop was closed
                loop.call_soon_threadsafe(slots.release, caller)

    # Even if it is cancelled immediately, the task begins, and so releases its slot.
    return await _await_in_loop(thread_loop, run)


async def await_in_main_loop(
    function: Callable[[*Arguments], Awaitable[T]], *arguments: *Arguments
) -> T:
    """Call a coroutine function in the main event loop, from there or from `run_in_thread`."""
    loop = _main_loop.get()
    if loop is None:
        return await function(*arguments)

    async def call() -> T:
        _main_loop.set(None)
        return await function(*arguments)

    return await _await_in_loop(loop, call)


async def _await_in_loop(
    loop: asyncio.AbstractEventLoop, function: Callable[[], Coroutine[Any, Any, T]]
) -> T:
    """Call a coroutine function in the event loop of another thread and return its result.

    If the caller is cancelled while the coroutine raises an exception, no one awaits the exception: it is
    dropped. asyncio would log it as one that was never retrieved.
    """

    async def run() -> T:
        _retrieve_exception_of_current_task()
        return await function()

    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), loop))


def _retrieve_exception_of_current_task() -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - the caller runs in a task
    task.add_done_callback(lambda task: task.cancelled() or task.exception())


def _start_loop() -> asyncio.AbstractEventLoop:
    """Start a thread with an event loop; it does not prevent the end of the process."""
    loop = asyncio.new_event_loop()
    try:
        Thread(target=loop.run_forever, name="computation loop", daemon=True).start()
    except RuntimeError:  # the system has no more threads
        loop.close()
        raise
    return loop
