"""Delays requests while the event loop is busy, and starts them round robin by caller."""

import asyncio
from collections.abc import Callable, Hashable
from datetime import timedelta
from typing import TypeAlias

from app.domain.errors import ServiceUnavailable
from app.domain.round_robin_queue import RoundRobinQueue
from app.http.request import ApiRequest

_ITERATION_BUDGET = timedelta(milliseconds=10)
"""Age of an iteration of the event loop from which requests are delayed: the time of about 50 short ones."""

_MAX_WAITING = 20_000
"""Delayed requests of one caller: more than it has connections, since requests of closed ones wait too."""

_RETRY_AFTER_SECONDS = 5

IdentifyCaller: TypeAlias = Callable[[ApiRequest], Hashable]
"""Function that returns the caller of a request; requests of one caller start in order of arrival."""


class FairQueue:
    """Queue of requests that have not started, in the order in which they will start.

    An iteration of the event loop runs everything that became ready during the last one. If one caller has
    hundreds of connections, an iteration would take as long as hundreds of requests. Whatever waits for the
    database needs several iterations per statement, and new connections are accepted one per iteration.
    So while requests are delayed, only one starts in each iteration.
    """

    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, identify_caller: IdentifyCaller, timeout: timedelta) -> None:
        """Create a queue; it may be used in several event loops one after the other."""
        self._identify_caller = identify_caller
        self._timeout = timeout.total_seconds()

    def _start_in(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._delays_from = 0.0
        """Time from which requests of this iteration are delayed, even if none is yet."""
        self._is_scheduled = False
        """True if `_begin_iteration` will run: always while requests are delayed."""
        self._delayed: RoundRobinQueue[asyncio.Future[None]] = RoundRobinQueue()

    async def wait(self, request: ApiRequest, arrived_at: float) -> float:
        """Return when a request may start, usually immediately; return the seconds that it has waited.

        `arrived_at` is a time of the event loop's clock. Raises ServiceUnavailable if too many requests of
        its caller are delayed, or if it has waited longer than the timeout. Such requests of a flood end
        one by one, too: hundreds in one iteration would delay others.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._start_in(loop)
        if not self._is_scheduled:
            self._delays_from = arrived_at + _ITERATION_BUDGET.total_seconds()
            self._schedule(loop)
        if arrived_at < self._delays_from and not self._delayed:
            return 0.0
        caller = self._identify_caller(request)
        if self._delayed.count(caller) >= _MAX_WAITING:
            raise ServiceUnavailable(
                f"Too many requests are waiting. Try again in {_RETRY_AFTER_SECONDS} s.",
                retry_after=_RETRY_AFTER_SECONDS,
            )
        start, waits_from = loop.create_future(), loop.time()
        self._delayed.append(caller, start)
        await start
        waited = loop.time() - waits_from
        if waited > self._timeout:
            raise ServiceUnavailable(
                f"The server is busy: the request has waited for {waited:.0f} s. Try again in"
                f" {_RETRY_AFTER_SECONDS} s.",
                retry_after=_RETRY_AFTER_SECONDS,
            )
        return waited

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_scheduled = True
        loop.call_soon(self._begin_iteration, loop)

    def _begin_iteration(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_scheduled = False
        self._start_next()
        if self._delayed:
            self._schedule(loop)

    def _start_next(self) -> None:
        while self._delayed:
            start = self._delayed.pop()
            if not start.done():  # it is done if the request was cancelled
                start.set_result(None)
                return
