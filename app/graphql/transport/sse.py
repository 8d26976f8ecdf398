"""GraphQL over server-sent events, distinct connections mode: a stream of responses as HTTP response.

https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md
"""

import asyncio
from collections.abc import AsyncGenerator, Set
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.domain.errors import PostResultsError
from app.graphql.engine.errors import OperationResult, error_entry, to_json
from app.graphql.service import GraphQLService
from app.graphql.subscription_stream import EncodedResponse, SlowClient
from app.graphql.transport.send_progress import CONNECTION_BUFFER_BYTES, StallDetectingSend
from app.http.request import HttpRequest
from app.http.responses import PIECE_BYTES, split

EVENT_STREAM = "text/event-stream"

_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # or nginx would buffer small events
)
_CLOSE_TIMEOUT = timedelta(seconds=1)
_COMMENT = b":\n\n"
_NEXT_EVENT, _END_OF_EVENT = b"event: next\ndata: ", b"\n\n"
_COMPLETE_EVENT = b"event: complete\ndata:\n\n"

logger = structlog.stdlib.get_logger(__name__)


class SSEResponse(Response):
    """Response that streams each result, then `complete`.

    At shutdown, or when the API key is revoked, the stream ends without `complete`. The client then
    reconnects; with a revoked key it gets its error from the new request.
    """

    def __init__(
        self,
        responses: AsyncGenerator[EncodedResponse, None],
        service: GraphQLService,
        request: HttpRequest,
    ) -> None:
        self._responses = responses
        self._service = service
        self._request = request
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        request = self._request
        request.has_timeout = request.is_latency_measured = False
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        tracked_send = StallDetectingSend(send)
        send_task = asyncio.create_task(self._send_events(tracked_send))
        stop_tasks: set[asyncio.Future[Any]] = {
            asyncio.ensure_future(self._service.app_state.shutdown_event.wait()),
            asyncio.ensure_future(self._service.wait_until_revoked(request.token or "")),
        }
        try:
            if await self._wait_for_end(tracked_send, send_task, stop_tasks):
                is_readable = (
                    send_task.result() if send_task.done() else not tracked_send.is_sending
                )
                send_task.cancel()
                await asyncio.wait({send_task})
                if is_readable and await _send_end(send):
                    return
            logger.info("event stream dropped", request_id=request.request_id)
            request.abort()
        finally:
            for task in (send_task, *stop_tasks):
                task.cancel()
            await asyncio.wait({send_task, *stop_tasks})

    async def _send_events(self, send: StallDetectingSend) -> bool:
        """Send all events; return False if the next one would have to wait and may not."""
        await send(_body_message(_COMMENT))  # shows the client that the stream is open
        async with aclosing(self._responses) as responses:
            try:
                async for response in responses:
                    await self._send_next(send, response)
                    del response  # or it would stay in memory until the next event
            except SlowClient:
                return False
            except PostResultsError as error:
                self._request.record_error(error)
                entry = error_entry(error, self._request.request_id)
                result = OperationResult(is_executed=False, data=None, errors=[entry])
                await self._send_next(send, EncodedResponse(to_json(result)))
        await send(_body_message(_COMPLETE_EVENT))
        return True

    async def _send_next(self, send: StallDetectingSend, response: EncodedResponse) -> None:
        """Send a `next` event; serialized JSON has no line breaks, so one `data` line suffices."""
        body = response.body
        if len(body) <= PIECE_BYTES:
            await send(_body_message(_NEXT_EVENT + body + _END_OF_EVENT))
            return
        sizes = {response: len(body), send: CONNECTION_BUFFER_BYTES}
        with self._service.waiting_budget.reserve(self._request.api_key_id, sizes):
            await send.send_all(map(_body_message, split(_NEXT_EVENT, body, _END_OF_EVENT)))

    async def _wait_for_end(
        self,
        send: StallDetectingSend,
        send_task: asyncio.Task[bool],
        stop_tasks: Set[asyncio.Future[Any]],
    ) -> bool:
        """Wait for the end, sending heartbeats; return False if the client does not read."""
        heartbeat = self._service.timeouts.heartbeat_interval.total_seconds()
        send_timeout = self._service.timeouts.send_timeout.total_seconds()
        while True:
            done, _ = await asyncio.wait(
                {send_task, *stop_tasks},
                timeout=min(
                    max(0, heartbeat - send.idle_seconds()),
                    max(0, send_timeout - send.stalled_seconds()),
                ),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if done:
                return True
            if send.stalled_seconds() >= send_timeout:
                return False
            if send.idle_seconds() >= heartbeat:
                try:
                    async with asyncio.timeout(send_timeout):
                        await send(_body_message(_COMMENT))
                except TimeoutError:
                    return False


async def _send_end(send: Send) -> bool:
    """End the response body; return False on timeout: a client that does not read must not delay shutdown."""
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT.total_seconds()):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except TimeoutError:
        return False
    return True


async def stream_single_result(
    result: OperationResult,
) -> AsyncGenerator[EncodedResponse, None]:
    """Yield the response of a query or mutation as a stream."""
    yield EncodedResponse(to_json(result))


def _body_message(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}
