"""A stream as an HTTP response: GraphQL over server-sent events, distinct connections mode. Runs nothing.

https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Set
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.domain.errors import PostResultsError
from app.graphql.engine.errors import OperationResult, error_entry, to_json
from app.graphql.timeouts import ConnectionTimeouts
from app.http.state import record_error, request_state

EVENT_STREAM = "text/event-stream"

_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # or nginx would keep what is small until there is more
)
_CLOSE_TIMEOUT = timedelta(seconds=1)
_COMMENT = b":\n\n"
_COMPLETE_EVENT = b"event: complete\ndata:\n\n"

logger = structlog.stdlib.get_logger(__name__)


class SSEResponse(Response):
    """Ends with the answers; or before, and without `complete`, so that its client comes back.

    It does so when one of `ends` returns: the server stops, or the client is not to be let in any more,
    which it is told when it asks again.
    """

    def __init__(
        self,
        responses: AsyncGenerator[str, None],
        timeouts: ConnectionTimeouts,
        *stop_conditions: Callable[[], Awaitable[object]],
    ) -> None:
        self._responses = responses
        self._timeouts = timeouts
        self._stop_conditions = stop_conditions
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        state = request_state(scope)
        state["disable_timeout"]()
        state["exclude_from_latency"] = True
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        sender = _Sender(send)
        telling = asyncio.create_task(self._send_events(sender, scope))
        ending: set[asyncio.Future[Any]] = {
            asyncio.ensure_future(end()) for end in self._stop_conditions
        }
        try:
            if await self._wait_for_end(sender, telling, ending):
                if telling.done():
                    telling.result()
                is_taken = not sender.is_sending
                telling.cancel()
                await asyncio.wait({telling})
                if is_taken and await _send_end(send):
                    return
            logger.info("event stream dropped", request_id=state["request_id"])
        finally:
            for each in (telling, *ending):
                each.cancel()
            await asyncio.wait({telling, *ending})

    async def _send_events(self, sender: "_Sender", scope: Scope) -> None:
        await sender.send(_COMMENT)  # so that the client knows at once that it is heard
        async with aclosing(self._responses) as answers:
            try:
                async for answer in answers:
                    await sender.send(_format_next_event(answer))
            except PostResultsError as error:
                record_error(scope, error)
                entry = error_entry(error, request_state(scope)["request_id"])
                await sender.send(
                    _format_next_event(
                        to_json(OperationResult(is_executed=False, data=None, errors=[entry]))
                    )
                )
        await sender.send(_COMPLETE_EVENT)

    async def _wait_for_end(
        self,
        sender: "_Sender",
        send_task: asyncio.Task[None],
        stop_tasks: Set[asyncio.Future[Any]],
    ) -> bool:
        """Wait for the end, with a comment where nothing else is sent; False if nothing can be sent."""
        heartbeat = self._timeouts.heartbeat_interval.total_seconds()
        stuck_after = self._timeouts.send_timeout.total_seconds()
        while True:
            sent = sender.sent_count
            done, _ = await asyncio.wait(
                {send_task, *stop_tasks},
                timeout=min(heartbeat, stuck_after),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if done:
                return True
            if sender.stalled_seconds() >= stuck_after:
                return False
            if sent == sender.sent_count and not sender.is_sending:
                try:
                    async with asyncio.timeout(stuck_after):
                        await sender.send(_COMMENT)
                except TimeoutError:
                    return False


async def _send_end(send: Send) -> bool:
    """Whether the end could be sent; whoever does not read must not hold up a stop."""
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT.total_seconds()):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except TimeoutError:
        return False
    return True


class _Sender:
    """Sends one piece after the other, and knows whether they are taken."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._started_at = 0.0
        self.is_sending = False
        self.sent_count = 0

    async def send(self, body: bytes) -> None:
        self.is_sending, self._started_at = True, time.monotonic()
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        self.is_sending = False
        self.sent_count += 1

    def stalled_seconds(self) -> float:
        """Seconds since what is being sent was begun; 0 where nothing is."""
        return time.monotonic() - self._started_at if self.is_sending else 0.0


async def stream_single_result(result: OperationResult) -> AsyncGenerator[str, None]:
    """What has one answer, as a stream."""
    yield to_json(result)


def _format_next_event(response: str) -> bytes:
    """JSON as it is printed has no line breaks."""
    return f"event: next\ndata: {response}\n\n".encode()
