"""How long a request may take, and that its work ends when nobody waits for it. No retries."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

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
        self._rounds: _Rounds | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        rounds = self._rounds_of(asyncio.get_running_loop())
        exchange = _Exchange(scope, receive, send, rounds.loop)
        state = request_state(scope)
        state["lift_deadline"] = exchange.lift_deadline
        rounds.add(exchange)
        try:
            if not _announces_body(scope):
                await exchange.read_ahead()
            await self.app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            exchange.raise_if_not_interrupted()
        finally:
            rounds.discard(exchange)
            exchange.end()
            # Or the two would hold each other until the next look for garbage.
            del state["lift_deadline"]
            if exchange.watch is not None:
                await exchange.watch.end()

    def _rounds_of(self, loop: asyncio.AbstractEventLoop) -> "_Rounds":
        if self._rounds is None or self._rounds.loop is not loop:
            self._rounds = _Rounds(loop, self._watch)
        return self._rounds

    def _watch(self, exchange: "_Exchange") -> None:
        exchange.watch = _Watch(exchange, self._timeout, self._render)


def _announces_body(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if (name == b"content-length" and value != b"0") or name == b"transfer-encoding":
            return True
    return False


class _Rounds:
    """Looks round for what is not quick: one timer for a whole loop, and none while nothing runs."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, found: "Callable[[_Exchange], None]"
    ) -> None:
        self.loop = loop
        self._found = found
        self._exchanges: set[_Exchange] = set()
        self._is_going = False

    def add(self, exchange: "_Exchange") -> None:
        self._exchanges.add(exchange)
        if not self._is_going:
            self._go_on()

    def discard(self, exchange: "_Exchange") -> None:
        self._exchanges.discard(exchange)

    def _go_on(self) -> None:
        self._is_going = bool(self._exchanges)
        if self._is_going:
            self.loop.call_later(_QUICK.total_seconds(), self._look)

    def _look(self) -> None:
        latest = self.loop.time() - _QUICK.total_seconds()
        slow = {exchange for exchange in self._exchanges if exchange.started_at <= latest}
        self._exchanges -= slow
        self._go_on()
        for exchange in slow:
            self._found(exchange)


class _Exchange:
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
        self.response = TrackedSend.around(send)
        """Past `send`, for what is to be said when the app is given up."""
        self.has_deadline = True
        self.watch: _Watch | None = None
        """Whoever looks after it, once it is not quick."""
        self._receive = receive
        self._ahead: Message | None = None
        self._body_ended = asyncio.Event()
        self._client_left = asyncio.Event()
        self._task = task
        self._is_interrupted = False

    def lift_deadline(self) -> None:
        self.has_deadline = False

    async def send(self, message: Message) -> None:
        """The app's way to send, until it is given up."""
        if not self._is_interrupted:
            await self.response(message)

    async def receive(self) -> Message:
        """The app's way to receive; once the body is complete, that the client has gone."""
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

    def end(self) -> None:
        """From here on the task belongs to the server alone."""
        if self._is_interrupted:
            self._task.uncancel()
        self._is_interrupted = True


class _Watch:
    """What an exchange that takes its time has beside it: its deadline, and a look for its client."""

    def __init__(self, exchange: _Exchange, timeout: timedelta, render: Render) -> None:
        self._exchange = exchange
        self._timeout = timeout
        self._render = render
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(exchange.started_at + timeout.total_seconds(), self._give_up)
        self._looking = loop.create_task(self._look())
        self._apology: asyncio.Task[None] | None = None

    async def _look(self) -> None:
        await self._exchange.client_left()
        self._exchange.interrupt()

    def _give_up(self) -> None:
        exchange = self._exchange
        if exchange.has_deadline and exchange.interrupt() and not exchange.response.has_started:
            self._apology = asyncio.create_task(self._answer_too_late())

    async def _answer_too_late(self) -> None:
        scope = self._exchange.scope
        error = ServiceUnavailable(
            f"No answer within {self._timeout.total_seconds():g} s; the request was given up.",
            retry_after=_RETRY_AFTER_SECONDS,
        )
        note_error(scope, error)
        await self._render(scope, error)(scope, self._exchange.receive, self._exchange.response)

    async def end(self) -> None:
        self._timer.cancel()
        self._looking.cancel()
        await asyncio.wait({self._looking})
        if self._apology is not None:
            await self._apology
