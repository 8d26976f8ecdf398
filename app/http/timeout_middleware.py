"""How long a request may take, and that its work ends when nobody waits for it. No retries."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import ServiceUnavailable
from app.http.responses import ErrorRenderer, TrackedSend
from app.http.state import record_error, request_state

_RETRY_AFTER_SECONDS = 5
_SLOW_THRESHOLD = timedelta(milliseconds=20)
"""So soon most are answered; who leaves before that is noticed when there is nothing left to save."""


class RequestTimeoutMiddleware:
    """Cancels the app when it has not answered in time, or when the client goes away.

    After the deadline the client gets a ServiceUnavailable at once, also while the cancelled work
    still cleans up; a response that has started is left incomplete, and the server cuts it off.
    An app whose answer is meant to stay open calls `lift_deadline` of the request's state. Work
    after a complete answer is not disturbed.
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

        rounds = self._get_slow_timer(asyncio.get_running_loop())
        exchange = _RequestTask(scope, receive, send, rounds.loop)
        state = request_state(scope)
        state["disable_timeout"] = exchange.disable_timeout
        rounds.add(exchange)
        try:
            if not _expects_body(scope):
                await exchange.read_ahead()
            await self.app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            exchange.raise_if_not_interrupted()
        finally:
            rounds.discard(exchange)
            exchange.detach()
            # Or the two would hold each other until the next look for garbage.
            del state["disable_timeout"]
            if exchange.watcher is not None:
                await exchange.watcher.close()

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
    """Looks round for what is not quick: one timer for a whole loop, and none while nothing runs."""

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
        slow = {exchange for exchange in self._request_tasks if exchange.started_at <= latest}
        self._request_tasks -= slow
        self._schedule()
        for exchange in slow:
            self._on_slow(exchange)


class _RequestTask:
    """A request and its response as the app has them, and the task in which it answers.

    The task is the server's own, since one more costs as much as an answer. The body is read when
    the app asks for it and not before, so that the server can hold back the sender and an app may
    refuse a body unread.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, loop: asyncio.AbstractEventLoop
    ) -> None:
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101 - an app runs in one
        self.scope = scope
        self.started_at = loop.time()
        self.response = TrackedSend.wrap(send)
        """Past `send`, for what is to be said when the app is given up."""
        self.is_timeout_enabled = True
        self.watcher: _TimeoutWatcher | None = None
        """Whoever looks after it, once it is not quick."""
        self._receive = receive
        self._buffered_message: Message | None = None
        self._body_received = asyncio.Event()
        self._disconnected = asyncio.Event()
        self._task = task
        self._is_interrupted = False

    def disable_timeout(self) -> None:
        self.is_timeout_enabled = False

    async def send(self, message: Message) -> None:
        """The app's way to send, until it is given up."""
        if not self._is_interrupted:
            await self.response(message)

    async def receive(self) -> Message:
        """The app's way to receive; once the body is complete, that the client has gone."""
        if self._buffered_message is not None:
            message, self._buffered_message = self._buffered_message, None
            return message
        if self._body_received.is_set():
            await self._disconnected.wait()
            return {"type": "http.disconnect"}
        return await self._receive_message()

    async def read_ahead(self) -> None:
        """Take the one message of a request without a body, which its app may never ask for."""
        self._buffered_message = await self._receive_message()

    async def wait_for_disconnect(self) -> None:
        """Return when the client has gone, or was answered."""
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
        """Whether the app is cancelled by this: once, and not any more after a complete answer."""
        if self.response.is_complete or self._is_interrupted:
            return False
        self._is_interrupted = True
        self._task.cancel()
        return True

    def raise_if_not_interrupted(self) -> None:
        """What else cancels it is the server, or a failure of its own."""
        if self._is_interrupted:
            return
        if self._task.cancelling():
            raise asyncio.CancelledError
        # Passed on as it is, it would look like a stop of the server and stay unanswered.
        raise RuntimeError("The work of a request was cancelled from within.")

    def detach(self) -> None:
        """From here on the task belongs to the server alone."""
        if self._is_interrupted:
            self._task.uncancel()
        self._is_interrupted = True


class _TimeoutWatcher:
    """What an exchange that takes its time has beside it: its deadline, and a look for its client."""

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
        exchange = self._request_task
        if (
            exchange.is_timeout_enabled
            and exchange.interrupt()
            and not exchange.response.has_started
        ):
            self._timeout_response = asyncio.create_task(self._send_timeout_response())

    async def _send_timeout_response(self) -> None:
        scope = self._request_task.scope
        error = ServiceUnavailable(
            f"No answer within {self._timeout.total_seconds():g} s; the request was given up.",
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
