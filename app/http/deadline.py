"""How long a request may take, and that its work ends when nobody waits for it. No retries."""

import asyncio
from datetime import timedelta

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import ServiceUnavailable
from app.http.responses import Render, TrackedSend
from app.http.state import note_error, request_state

_RETRY_AFTER_SECONDS = 5
_QUICK = timedelta(milliseconds=20)
"""So soon most are answered; who leaves before that is noticed when there is nothing left to save."""


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

        request, response = _Request(receive), _Response(send)
        work = _Work(response)
        apologies: list[asyncio.Task[None]] = []

        def give_up() -> None:
            if work.interrupt() and not response.has_started:
                answer = self._answer_too_late(scope, receive, send)
                apologies.append(asyncio.create_task(answer))

        timer = asyncio.get_running_loop().call_later(self._timeout.total_seconds(), give_up)
        request_state(scope)["lift_deadline"] = timer.cancel
        watch = _Watch(request, work)
        try:
            if not _announces_body(scope):
                await request.read_ahead()
            await self.app(scope, request.receive, response)
        except asyncio.CancelledError:
            work.raise_if_not_interrupted()
        finally:
            timer.cancel()
            work.end()
            await watch.end()
            await asyncio.gather(*apologies)

    async def _answer_too_late(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = ServiceUnavailable(
            f"No answer within {self._timeout.total_seconds():g} s; the request was given up.",
            retry_after=_RETRY_AFTER_SECONDS,
        )
        note_error(scope, error)
        await self._render(scope, error)(scope, receive, send)


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


class _Work:
    """The task in which an app answers: it is the server's own, since one more costs as much as an answer."""

    def __init__(self, response: _Response) -> None:
        self._response = response
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - an app runs in one
        self._task = task
        self._is_interrupted = False

    def interrupt(self) -> bool:
        """Whether it is cancelled by this: once, and not any more after a complete answer."""
        if self._response.is_complete or self._is_interrupted:
            return False
        self._is_interrupted = self._response.is_shut = True
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

    def end(self) -> None:
        """From here on the task belongs to the server alone."""
        if self._is_interrupted:
            self._task.uncancel()
        self._is_interrupted = True


class _Watch:
    """Looks whether the client has gone, where an answer takes its time."""

    def __init__(self, request: _Request, work: _Work) -> None:
        self._request = request
        self._work = work
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_QUICK.total_seconds(), self._begin)
        self._looking: asyncio.Task[None] | None = None

    def _begin(self) -> None:
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        await self._request.client_left()
        self._work.interrupt()

    async def end(self) -> None:
        self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
