"""How long a request may take, and that its work ends when nobody waits for it. No retries."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from enum import Enum, auto
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import ServiceUnavailable
from app.http.responses import Render, TrackedSend
from app.http.state import note_error, request_state

_RETRY_AFTER_SECONDS = 5


class Deadline:
    """Cancels the app when it has not answered in time, or when the client goes away.

    After the deadline the client gets a ServiceUnavailable at once, also while the cancelled work
    still cleans up; a response that has started is left incomplete, and the server cuts it off.
    An app whose answer is meant to stay open calls `lift_deadline` of the request's state. Work
    after a complete answer is not disturbed.
    """

    def __init__(self, app: ASGIApp, *, timeout: timedelta, render: Render) -> None:
        self.app = app
        self._timeout = timeout
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        request = _Request(receive)
        response = _Response(send)
        interruption: asyncio.Future[_Reason] = asyncio.get_running_loop().create_future()

        def interrupt(reason: _Reason) -> None:
            if not response.is_complete and not interruption.done():
                interruption.set_result(reason)

        timer = asyncio.get_running_loop().call_later(
            self._timeout.total_seconds(), interrupt, _Reason.TOO_LATE
        )
        request_state(scope)["lift_deadline"] = timer.cancel
        work = asyncio.create_task(self._work(scope, request, response))
        watch = asyncio.create_task(_when_client_left(request, interrupt))
        ends: tuple[asyncio.Future[Any], ...] = (work, interruption)
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                response.is_shut = True
                if interruption.result() is _Reason.TOO_LATE and not response.has_started:
                    await self._answer_too_late(scope, receive, send)
        finally:
            timer.cancel()
            watch.cancel()
            if not work.cancelling():  # a second time would cut off its clean-up
                work.cancel()
            await asyncio.wait({work, watch})
        _raise_failure(work, was_interrupted=interruption.done())

    async def _work(self, scope: Scope, request: "_Request", response: "_Response") -> None:
        if not _announces_body(scope):
            await request.read_ahead()
        await self.app(scope, request.receive, response)

    async def _answer_too_late(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = ServiceUnavailable(
            f"No answer within {self._timeout.total_seconds():g} s; the request was given up.",
            retry_after=_RETRY_AFTER_SECONDS,
        )
        note_error(scope, error)
        await self._render(scope, error)(scope, receive, send)


class _Reason(Enum):
    TOO_LATE = auto()
    CLIENT_LEFT = auto()


class _Request:
    """The app's way to receive, which listens on for the client once the body is complete.

    The body is read when the app asks for it and not before, so that the server can hold back the
    sender and an app may refuse a body unread.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ahead: Message | None = None
        self._body_ended = asyncio.Event()
        self._client_left = asyncio.Event()

    async def receive(self) -> Message:
        if self._ahead is not None:
            message, self._ahead = self._ahead, None
            return message
        if self._body_ended.is_set():
            await self._client_left.wait()
            return {"type": "http.disconnect"}
        return await self._next()

    async def read_ahead(self) -> None:
        """Take the one message of a request without a body, which its app may never ask for."""
        self._ahead = await self._next()

    async def client_left(self) -> None:
        """Return when the client has gone, or was answered."""
        await self._body_ended.wait()
        while not self._client_left.is_set():
            await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._client_left.set()
        if not message.get("more_body", False):
            self._body_ended.set()
        return message


class _Response(TrackedSend):
    """The app's way to send, until its request is given up."""

    is_shut = False

    async def __call__(self, message: Message) -> None:
        if not self.is_shut:
            await super().__call__(message)


def _announces_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


async def _when_client_left(request: _Request, interrupt: Callable[[_Reason], None]) -> None:
    await request.client_left()
    interrupt(_Reason.CLIENT_LEFT)


def _raise_failure(work: asyncio.Task[None], *, was_interrupted: bool) -> None:
    if not work.cancelled():
        work.result()
    elif not was_interrupted:
        # Passed on as it is, it would look like a stop of the server and stay unanswered.
        raise RuntimeError("The work of a request was cancelled from within.")
