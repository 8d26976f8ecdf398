"""Cancels the handlers of requests after a timeout, or when their client disconnects.

A timer passes each request that is still running after _SLOW_THRESHOLD to its own `_Watcher`. Most
requests end before and never have one. The watcher interrupts the request; after the timeout it also sends
the response.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

from app.domain.errors import PostResultsError, ServiceUnavailable
from app.http.request import HttpRequest
from app.http.responses import BytesResponse

ErrorRenderer: TypeAlias = Callable[[HttpRequest, PostResultsError], BytesResponse]
"""Function that formats an error as the called API does."""

_RETRY_AFTER_SECONDS = 5
_SLOW_THRESHOLD = timedelta(milliseconds=20)
"""Age from which a request is watched. Disconnects are only detected then: most requests end before."""


class RequestTimeouts:
    """Running requests of one event loop, and the timer that finds the slow ones among them.

    After the timeout the client immediately gets a ServiceUnavailable, even while the cancelled
    handler still cleans up. A response that has started is left incomplete, and the server closes the
    connection. Work after a complete response is not cancelled.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, timeout: timedelta, render: ErrorRenderer
    ) -> None:
        self._loop = loop
        self._timeout = timeout
        self._render = render
        self._started_at: dict[HttpRequest, float] = {}
        """Start of the wait, in the loop's time, of each request that is not watched yet."""
        self._watchers: dict[HttpRequest, _Watcher] = {}
        self._is_scheduled = False

    def add(self, request: HttpRequest, waited: float) -> None:
        """Limit the time of a request that begins now, after it has waited for some seconds."""
        self._started_at[request] = self._loop.time() - waited
        if not self._is_scheduled:
            self._schedule()

    def remove(self, request: HttpRequest) -> "_Watcher | None":
        """End the time limit of a request; return its watcher, which must be closed, if it was slow."""
        request.detach()
        is_slow = self._started_at.pop(request, None) is None
        return self._watchers.pop(request) if is_slow else None

    def _schedule(self) -> None:
        self._is_scheduled = bool(self._started_at)
        if self._is_scheduled:
            self._loop.call_later(_SLOW_THRESHOLD.total_seconds(), self._watch_slow)

    def _watch_slow(self) -> None:
        latest = self._loop.time() - _SLOW_THRESHOLD.total_seconds()
        for request, started_at in list(self._started_at.items()):
            if started_at > latest:
                break  # most of the others began later
            del self._started_at[request]
            self._watchers[request] = _Watcher(
                self._loop, request, started_at, self._timeout, self._render
            )
        self._schedule()


class _Watcher:
    """Watcher of one slow request for its timeout and for the disconnect of its client."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        request: HttpRequest,
        started_at: float,
        timeout: timedelta,
        render: ErrorRenderer,
    ) -> None:
        self._request = request
        self._timeout = timeout
        self._render = render
        self._timer = loop.call_at(started_at + timeout.total_seconds(), self._on_timeout)
        self._disconnect_task = loop.create_task(_interrupt_on_disconnect(request))
        self._response_task: asyncio.Task[None] | None = None

    def _on_timeout(self) -> None:
        request = self._request
        if request.has_timeout and request.interrupt() and request.status is None:
            self._response_task = asyncio.create_task(self._send_timeout_response())

    async def _send_timeout_response(self) -> None:
        error = ServiceUnavailable(
            f"The request timed out after {self._timeout.total_seconds():g} s.",
            retry_after=_RETRY_AFTER_SECONDS,
        )
        self._request.record_error(error)
        await self._request.respond(self._render(self._request, error))

    async def close(self) -> None:
        """Stop watching; waits until a timeout response is sent."""
        self._timer.cancel()
        self._disconnect_task.cancel()
        await asyncio.wait({self._disconnect_task})
        if self._response_task is not None:
            await self._response_task


async def _interrupt_on_disconnect(request: HttpRequest) -> None:
    await request.wait_for_disconnect()
    request.interrupt()
