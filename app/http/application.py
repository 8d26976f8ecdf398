"""ASGI app of HTTP requests: errors, timeouts, CORS, request ids, and the record of each request."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeAlias

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.domain.errors import MASKED_MESSAGE, InternalError, PostResultsError, RequestError
from app.http.cors import Cors
from app.http.fair_queue import FairQueue
from app.http.request import HttpRequest, RateLimitStatus, ResponseLimits
from app.http.responses import Response
from app.http.timeouts import ErrorRenderer, RequestTimeouts
from app.observability.request_recorder import RequestRecorder

_CLIENT_CLOSED_REQUEST = 499
"""Status that is logged when the client disconnects before the response; never sent."""

_REQUEST_ID_BYTES = 4

Handler: TypeAlias = Callable[[HttpRequest], Awaitable[Response]]


class HttpApplication:
    """Runs a handler for each HTTP request, and answers the exceptions that it raises.

    A PostResultsError is rendered, any other exception as a masked InternalError. Failures that the
    client did not cause are logged first. A response that has started is left incomplete, and the server
    closes the connection.
    """

    _timeouts: RequestTimeouts

    def __init__(
        self,
        handle: Handler,
        *,
        recorder: RequestRecorder,
        render: ErrorRenderer,
        cors: Cors | None,
        default_rate_limit: Callable[[], RateLimitStatus],
        is_draining: Callable[[], bool],
        queue: FairQueue,
        response_limits: ResponseLimits,
        timeout: timedelta,
        random_bytes: Callable[[int], bytes],
        monotonic: Callable[[], float],
    ) -> None:
        """Create the app; `random_bytes` makes the request ids, `monotonic` is a clock in seconds.

        While `is_draining` returns True, each response closes its connection.
        """
        self._handle = handle
        self._recorder = recorder
        self._render = render
        self._cors = cors
        self._default_rate_limit = default_rate_limit
        self._is_draining = is_draining
        self._queue = queue
        self._timeout = timeout
        self._response_limits = response_limits
        self._random_bytes = random_bytes
        self._monotonic = monotonic
        self._loop: asyncio.AbstractEventLoop | None = None
        """Event loop of the timeouts."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_at = self._monotonic()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - ASGI apps run in a task
        request = HttpRequest(
            scope,
            receive,
            send if self._cors is None else self._cors.wrap_send(scope, send),
            request_id=new_request_id(self._random_bytes),
            default_rate_limit=self._default_rate_limit,
            is_draining=self._is_draining,
            response_limits=self._response_limits,
            task=task,
        )
        self._recorder.request_started()
        try:
            await self._run(request, started_at)
        except ClientDisconnect:
            pass
        except Exception as exception:  # noqa: BLE001 - the last handler of every request
            await self._answer_exception(request, exception)
        finally:
            self._recorder.request_finished(
                request,
                _CLIENT_CLOSED_REQUEST if request.has_client_left else request.status or 500,
                self._monotonic() - started_at,
            )

    async def _run(self, request: HttpRequest, arrived_at: float) -> None:
        """Run the handler when the queue lets it start, and send its response; limits the time of all."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._timeouts = RequestTimeouts(loop, self._timeout, self._render)
        waited = await self._queue.wait(request, arrived_at)
        request.raise_refusal()
        timeouts = self._timeouts
        timeouts.add(request, waited)
        try:
            preflight = self._cors and self._cors.answer_preflight(request)
            response = preflight or await self._handle(request)
            if not request.is_interrupted:
                await request.respond(response)
        except asyncio.CancelledError:
            request.raise_if_not_interrupted()
        finally:
            watcher = timeouts.remove(request)
            if watcher is not None:
                await watcher.close()

    async def _answer_exception(self, request: HttpRequest, exception: Exception) -> None:
        if not isinstance(exception, RequestError):
            self._recorder.request_failed(request.request_id, exception)
        error = (
            exception if isinstance(exception, PostResultsError) else InternalError(MASKED_MESSAGE)
        )
        request.record_error(error)
        if request.status is None:
            await request.respond(self._render(request, error))


def new_request_id(random_bytes: Callable[[int], bytes]) -> str:
    """Create the id of a request, eight hex digits, that connects a response with its log line."""
    return random_bytes(_REQUEST_ID_BYTES).hex()
