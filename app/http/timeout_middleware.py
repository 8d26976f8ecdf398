"""Middleware that cancels a request after a timeout, or when its client disconnects.

Four objects act in this sequence:

1. RequestTimeoutMiddleware creates a _RequestTask, adds it to the _SlowRequestTimer and calls the app.
2. The timer passes each request that is still running after _SLOW_THRESHOLD to the middleware, which
   creates its _TimeoutWatcher. Most requests end before and never have one.
3. After the timeout or a disconnect, the watcher interrupts the _RequestTask, which cancels the app.
   After the timeout, the watcher also sends the response.
4. When the app ends, the middleware removes the request from the timer, detaches the _RequestTask so that
   nothing cancels the server's task, and closes the watcher.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import ServiceUnavailable
from app.http.request_scope import record_error, request_state
from app.http.responses import ErrorRenderer, ResponseStateSend

_RETRY_AFTER_SECONDS = 5
_SLOW_THRESHOLD = timedelta(milliseconds=20)
"""Age from which a request is watched. Disconnects are only detected then: most requests end before."""


class RequestTimeoutMiddleware:
    """Middleware that cancels the app after the timeout, or when the client disconnects.

    After the timeout the client immediately gets a ServiceUnavailable, even while the cancelled
    work still cleans up. A response that has started is left incomplete, and the server closes the
    connection. An app whose response stays open calls `disable_timeout` of the request's state.
    Work after a complete response is not cancelled.
    """

    def __init__(self, app: ASGIApp, *, timeout: timedelta, render: ErrorRenderer) -> None:
        self.app = app
        self._timeout = timeout
        self._render = render
        self._slow_timer: _SlowRequestTimer | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        slow_timer = self._get_slow_timer(asyncio.get_running_loop())
        request_task = _RequestTask(scope, receive, send, slow_timer.loop)
        state = request_state(scope)
        state["disable_timeout"] = request_task.disable_timeout
        slow_timer.add(request_task)
        try:
            if not _expects_body(scope):
                await request_task.read_ahead()
            await self.app(scope, request_task.receive, request_task.send)
        except asyncio.CancelledError:
            request_task.raise_if_not_interrupted()
        finally:
            slow_timer.discard(request_task)
            request_task.detach()
            # Breaks a reference cycle, which would last until the next garbage collection.
            del state["disable_timeout"]
            if request_task.watcher is not None:
                await request_task.watcher.close()

    def _get_slow_timer(self, loop: asyncio.AbstractEventLoop) -> "_SlowRequestTimer":
        if self._slow_timer is None or self._slow_timer.loop is not loop:
            self._slow_timer = _SlowRequestTimer(loop, self._start_watcher)
        return self._slow_timer

    def _start_watcher(self, request_task: "_RequestTask") -> None:
        request_task.watcher = _TimeoutWatcher(request_task, self._timeout, self._render)


def _expects_body(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if (name == b"content-length" and value != b"0") or name == b"transfer-encoding":
            return True
    return False


class _SlowRequestTimer:
    """Timer that finds slow requests, one per event loop, which runs only while there are requests."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_slow: "Callable[[_RequestTask], None]"
    ) -> None:
        self.loop = loop
        self._on_slow = on_slow
        self._request_tasks: set[_RequestTask] = set()
        self._is_scheduled = False

    def add(self, request_task: "_RequestTask") -> None:
        self._request_tasks.add(request_task)
        if not self._is_scheduled:
            self._schedule()

    def discard(self, request_task: "_RequestTask") -> None:
        self._request_tasks.discard(request_task)

    def _schedule(self) -> None:
        self._is_scheduled = bool(self._request_tasks)
        if self._is_scheduled:
            self.loop.call_later(_SLOW_THRESHOLD.total_seconds(), self._report_slow)

    def _report_slow(self) -> None:
        latest = self.loop.time() - _SLOW_THRESHOLD.total_seconds()
        slow = {request for request in self._request_tasks if request.started_at <= latest}
        self._request_tasks -= slow
        self._schedule()
        for request_task in slow:
            self._on_slow(request_task)


class _RequestTask:
    """Request with the receive and send callables for its app, and the task that runs it.

    The task is the server's own: another task per request would cost as much as a response. The
    body is read only on demand, so that backpressure works and an app may refuse an unread body.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, loop: asyncio.AbstractEventLoop
    ) -> None:
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101 - ASGI apps run in a task
        self.scope = scope
        self.started_at = loop.time()
        self.response = ResponseStateSend.wrap(send)
        """Send callable of the timeout response, which bypasses `send` after the app was cancelled."""
        self.is_timeout_enabled = True
        self.watcher: _TimeoutWatcher | None = None
        """Watcher of the request; None until the request is slow."""
        self._receive = receive
        self._buffered_message: Message | None = None
        self._body_received = asyncio.Event()
        self._disconnected = asyncio.Event()
        self._task = task
        self._is_interrupted = False

    def disable_timeout(self) -> None:
        self.is_timeout_enabled = False

    async def send(self, message: Message) -> None:
        """Send a message of the app; drop it after the app was cancelled."""
        if not self._is_interrupted:
            await self.response(message)

    async def receive(self) -> Message:
        """Receive a message for the app; after the body, wait for the disconnect."""
        if self._buffered_message is not None:
            message, self._buffered_message = self._buffered_message, None
            return message
        if self._body_received.is_set():
            await self._disconnected.wait()
            return {"type": "http.disconnect"}
        return await self._receive_message()

    async def read_ahead(self) -> None:
        """Buffer the one message of a request without a body, which the app may never receive."""
        self._buffered_message = await self._receive_message()

    async def wait_for_disconnect(self) -> None:
        """Wait until the client has disconnected or the response is complete."""
        await self._body_received.wait()
        while not self._disconnected.is_set():
            await self._receive_message()

    async def _receive_message(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._disconnected.set()
        if not message.get("more_body", False):
            self._body_received.set()
        return message

    def interrupt(self) -> bool:
        """Cancel the app; return False if it was cancelled before or its response is complete."""
        if self.response.is_complete or self._is_interrupted:
            return False
        self._is_interrupted = True
        self._task.cancel()
        return True

    def raise_if_not_interrupted(self) -> None:
        """Raise CancelledError if the server cancelled the task, RuntimeError if the app's own code did."""
        if self._is_interrupted:
            return
        if self._task.cancelling():
            raise asyncio.CancelledError
        # A plain CancelledError would look like a server shutdown and get no response.
        raise RuntimeError("The request's task was cancelled by its own code.")

    def detach(self) -> None:
        """Prevent later interruptions: from here on the task belongs to the server."""
        if self._is_interrupted:
            self._task.uncancel()
        self._is_interrupted = True


class _TimeoutWatcher:
    """Watcher of one slow request for its timeout and for the disconnect of its client."""

    def __init__(
        self, request_task: _RequestTask, timeout: timedelta, render: ErrorRenderer
    ) -> None:
        self._request_task = request_task
        self._timeout = timeout
        self._render = render
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(
            request_task.started_at + timeout.total_seconds(), self._on_timeout
        )
        self._disconnect_task = loop.create_task(self._interrupt_on_disconnect())
        self._timeout_response: asyncio.Task[None] | None = None

    async def _interrupt_on_disconnect(self) -> None:
        await self._request_task.wait_for_disconnect()
        self._request_task.interrupt()

    def _on_timeout(self) -> None:
        request = self._request_task
        if request.is_timeout_enabled and request.interrupt() and not request.response.has_started:
            self._timeout_response = asyncio.create_task(self._send_timeout_response())

    async def _send_timeout_response(self) -> None:
        scope = self._request_task.scope
        error = ServiceUnavailable(
            f"The request timed out after {self._timeout.total_seconds():g} s.",
            retry_after=_RETRY_AFTER_SECONDS,
        )
        record_error(scope, error)
        await self._render(scope, error)(
            scope, self._request_task.receive, self._request_task.response
        )

    async def close(self) -> None:
        self._timer.cancel()
        self._disconnect_task.cancel()
        await asyncio.wait({self._disconnect_task})
        if self._timeout_response is not None:
            await self._timeout_response
