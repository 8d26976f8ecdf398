"""The object of one request, from its first byte to the last byte of its response."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from app.domain.errors import PostResultsError, TooManyConnections
from app.domain.ids import SessionId
from app.domain.sessions import Credential
from app.http.headers import parse_bearer, parse_query_string
from app.http.memory_budget import MemoryBudget
from app.http.paths import PROBE_PATHS
from app.http.read_rate import ReadRate
from app.http.responses import PIECE_BYTES, BytesResponse, RawHeader, Response, split
from app.observability.request_recorder import RequestRecord

REFUSAL = "refusal"
"""Key in the state of a scope: the error of a connection above a limit, or of an invalid Host header."""

KEEP_OPEN = "keep_open"
"""Key in the state of a scope: the function to call when the client of a WebSocket has authenticated.

Until then, its connection may be closed for a new one.
"""

ABORT = "abort"
"""Key in the state of a scope: the function that resets the connection."""

ALLOW_CLOSING = "allow_closing"
"""Key in the state of a scope: the function to call if a new connection may replace this one.

It applies until the next request.
"""

FROM_TRUSTED_PROXY = "from_trusted_proxy"
"""Key in the state of a scope: True if the connection is that of a trusted proxy."""

MAX_BUFFERED_BYTES = 256 * 1024
"""Largest body that is passed to the connection at once. Of a larger one, most waits for the client."""

_NO_STATE: Mapping[str, Any] = MappingProxyType({})
_NO_PATH_PARAMETERS: Mapping[str, str] = MappingProxyType({})
_STATUSES_WITHOUT_CONTENT = (204, 304)
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_SAFE_OPERATIONS = ("query", "subscription")
_CLOSE_CONNECTION = ((b"connection", b"close"),)


class RateLimitStatus(NamedTuple):
    """State of a rate limit; at `resets_at` (Unix seconds) the full limit is available again."""

    limit: int
    remaining: int
    resets_at: int


class ResponseLimits(NamedTuple):
    """Limits of large responses, which wait until their clients have read them."""

    budget: MemoryBudget
    """Memory of those that wait, by API key."""
    send_timeout: timedelta
    """Time after which a client that reads nothing is disconnected."""
    slow_period: timedelta
    """Time after which a client that reads slowly is disconnected while others need its memory."""


class ApiRequest(RequestRecord):
    """A request to the API: over HTTP, or an operation on a WebSocket."""

    rate_limit: RateLimitStatus | None = None
    """State of the rate limit that applies; None until a key was counted."""
    is_charged = False
    """True once the request was counted against a rate limit."""
    session_id: SessionId | None = None
    """Session by which the request was authenticated; None for an API key."""

    def __init__(
        self, request_id: str, token: Credential | None, client_address: str | None
    ) -> None:
        self.request_id = request_id
        self.client_address = client_address
        self.token = token
        """Credential, not authenticated yet; None if the client sent none."""

    @property
    def is_probe(self) -> bool:
        """True for a request that checks this server, and that must be answered under any load."""
        return False

    def check_memory(self) -> None:
        """Raise ServiceUnavailable if responses that the API key has not read prevent the execution."""

    def record_error(self, error: PostResultsError) -> None:
        """Record the code of an error in the response, for the log and the metrics."""
        self.error_codes = (*self.error_codes, error.code.value)

    def for_events(self) -> "ApiRequest":
        """Return the request for the events of its subscription, whose errors are not its own."""
        request = ApiRequest(self.request_id, self.token, self.client_address)
        request.operation_type = self.operation_type
        return request


class HttpRequest(ApiRequest):
    """An HTTP request and its response. `receive` and `send` are callables of ASGI.

    The task that runs the request is the server's own: another one would cost as much as a response.
    The body is read only on demand, so that backpressure works and a handler may refuse an unread body.
    """

    path_parameters = _NO_PATH_PARAMETERS
    status: int | None = None
    """HTTP status; None until the response starts."""
    is_complete = False
    """True once the response was sent to its end."""
    has_client_left = False
    """True if the client has disconnected before the response was complete."""
    has_timeout = True
    """False for a response that stays open."""
    is_interrupted = False
    """True once the handler was cancelled; from then on its messages are dropped."""
    _is_aborted = False
    _is_detached = False
    _is_body_received = False
    _has_disconnected = False
    _is_body_requested = False
    """True once the handler receives the body; nothing else may receive a part of it then."""
    _first_message: "asyncio.Future[Message] | None" = None
    """First message, received before the handler asked for it."""
    _body_event: asyncio.Event | None = None
    """Event of a task that waits for the end of the body."""
    _disconnect_event: asyncio.Event | None = None
    """Event of a handler that waits for the disconnect."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        request_id: str,
        default_rate_limit: Callable[[], RateLimitStatus],
        is_draining: Callable[[], bool],
        response_limits: ResponseLimits,
        task: "asyncio.Task[Any]",
    ) -> None:
        """Create a request; the status of `default_rate_limit` is sent if no key was counted.

        The response closes the connection if `is_draining` returns True.
        """
        self.headers: Mapping[bytes, bytes] = dict(reversed(scope["headers"]))
        """Headers by lower-case name; the first of several with one name."""
        super().__init__(
            request_id,
            parse_bearer(self.headers.get(b"authorization", b"").decode("latin-1")),
            client[0] if (client := scope.get("client")) else None,
        )
        self.scope = scope
        self.method = scope["method"]
        self.path = scope["path"]
        self.root_path: str = scope.get("root_path", "")
        """Prefix of all paths, without a slash at its end."""
        self._receive = receive
        self._send = send
        self._default_rate_limit = default_rate_limit
        self._is_draining = is_draining
        self._response_limits = response_limits
        self._task = task

    def header(self, name: bytes) -> str | None:
        """Return the first line of a header, or None; `name` is in lower case."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def combined_header(self, name: bytes) -> str:
        """Return all lines of a header, joined by commas (RFC 9110, 5.3); empty if it is missing."""
        lines = self.scope["headers"]
        if len(lines) == len(self.headers):
            return self.headers.get(name, b"").decode("latin-1")
        return b",".join([value for key, value in lines if key == name]).decode("latin-1")

    def query(self) -> QueryParams:
        """Parse the parameters of the URL; raises InvalidInput unless they are UTF-8."""
        return parse_query_string(self.scope["query_string"])

    @property
    def is_probe(self) -> bool:
        return self.path.removeprefix(self.root_path) in PROBE_PATHS

    @property
    def is_safe(self) -> bool:
        """True for a request that changes nothing, by its method (RFC 9110, 9.2.1) or GraphQL operation."""
        return self.method in _SAFE_METHODS or self.operation_type in _SAFE_OPERATIONS

    def check_memory(self) -> None:
        """Raise ServiceUnavailable for a possible change if unread responses fill the share of the key.

        The result of a change is sent even above the limit, so the change must not begin then.
        """
        if not self.is_safe:
            self._response_limits.budget.check_share(self.api_key_id)

    def raise_refusal(self) -> None:
        """Raise the error with which the server refuses the request, except for probes above a limit."""
        refusal = self.scope.get("state", _NO_STATE).get(REFUSAL)
        if refusal is not None and not (self.is_probe and isinstance(refusal, TooManyConnections)):
            raise refusal

    # Response

    async def respond(self, response: Response) -> None:
        """Send a complete response.

        Raises ServiceUnavailable if too many large responses wait, but not for the result of a change: its
        client has to receive it.
        """
        if not isinstance(response, BytesResponse):
            await response(self.scope, self.receive, self.send)
            return
        body = response.body
        if len(body) <= MAX_BUFFERED_BYTES:
            await self._send_start(response)
            await self._send({"type": "http.response.body", "body": body})
            self.body_bytes, self.is_complete = len(body), True
        else:
            budget = self._response_limits.budget
            count = budget.reserve if self.is_safe else budget.count
            with count(self.api_key_id, {id(body): len(body)}):
                await self._send_start(response)
                await self._send_pieces(body)

    async def _send_start(self, response: BytesResponse) -> None:
        headers = [*response.headers]
        if response.status not in _STATUSES_WITHOUT_CONTENT:
            headers.append((b"content-length", b"%d" % len(response.body)))
        await self._send(self._start_message(response.status, headers))
        if len(response.body) > PIECE_BYTES and self.api_key_id is None and self.session_id is None:
            # A stranger who reads slowly keeps no others out.
            self.scope.get("state", _NO_STATE).get(ALLOW_CLOSING, lambda: None)()

    async def _send_pieces(self, body: bytes) -> None:
        """Send a large body as fast as the client reads it.

        Raises ClientDisconnect, and aborts the connection, if the client reads nothing for a time, or
        slowly while others need the memory.
        """
        self.has_timeout = False
        budget, send_timeout, slow_period = self._response_limits
        rate = ReadRate(asyncio.get_running_loop().time, slow_period)
        try:
            async with rate.limit_slow_client(budget.watch_refusals(self.api_key_id)):
                # One after the other: all of them would be a copy of the body.
                for piece in split(body):
                    sent_bytes = self.body_bytes + len(piece)
                    more_body = sent_bytes < len(body)
                    with rate.measure_wait(len(piece)):
                        async with asyncio.timeout(send_timeout.total_seconds()):
                            await self._send(
                                {
                                    "type": "http.response.body",
                                    "body": piece,
                                    "more_body": more_body,
                                }
                            )
                    self.body_bytes = sent_bytes
                    # Before the watch ends: a client may disconnect once it has the whole response.
                    self.is_complete = not more_body
        except TimeoutError:
            self.has_client_left = True
            self.abort()
            raise ClientDisconnect from None

    async def send(self, message: Message) -> None:
        """Send a message of the handler, unless the handler was cancelled."""
        if self.is_interrupted:
            return
        if message["type"] == "http.response.start":
            message = self._start_message(message["status"], message.get("headers", ()))
        await self._send(message)
        if message["type"] == "http.response.body":
            self.body_bytes += len(message.get("body", b""))
            self.is_complete = not message.get("more_body", False)

    def abort(self) -> None:
        """Abort the connection of an incomplete response, so that no client takes it for a complete one.

        The end of the handler would leave the connection open while the client does not read.
        """
        if self.status is not None and not self.is_complete:
            self._is_aborted = True
            self.scope.get("state", _NO_STATE).get(ABORT, lambda: None)()

    def _start_message(self, status: int, headers: Iterable[RawHeader]) -> Message:
        """Build the start of the response, with the headers common to all responses."""
        # Recorded before sending: a start that fails half-way cannot be sent a second time.
        self.status = status
        limit, remaining, resets_at = self.rate_limit or self._default_rate_limit()
        return {
            "type": "http.response.start",
            "status": status,
            "headers": [
                *headers,
                *(_CLOSE_CONNECTION if self._is_draining() else ()),
                (b"x-request-id", self.request_id.encode()),
                (b"x-ratelimit-limit", b"%d" % limit),
                (b"x-ratelimit-remaining", b"%d" % remaining),
                (b"x-ratelimit-reset", b"%d" % resets_at),
            ],
        }

    # Body and disconnect

    async def receive(self) -> Message:
        """Receive a message for the handler; after the body, wait for the disconnect."""
        if self._first_message is not None:
            first, self._first_message = self._first_message, None
            return await first
        if not self._is_body_received:
            self._is_body_requested = True
            return await self._receive_message()
        if not self._has_disconnected:
            self._disconnect_event = asyncio.Event()
            await self._disconnect_event.wait()
        return {"type": "http.disconnect"}

    async def wait_for_disconnect(self) -> None:
        """Wait until the client has disconnected or the response is complete."""
        if not self._is_body_requested and not self._announces_body():
            # The handler may never receive the one message of a request without a body.
            self._first_message = first = asyncio.get_running_loop().create_future()
            message = await self._receive_message()
            if not first.done():
                first.set_result(message)
        if not self._is_body_received:
            self._body_event = asyncio.Event()
            await self._body_event.wait()
        while not self._has_disconnected:
            await self._receive_message()

    async def _receive_message(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            # Servers send the same message after a complete response, without any disconnect.
            self.has_client_left = not self.is_complete and not self._is_aborted
            self._has_disconnected = True
            if self._disconnect_event is not None:
                self._disconnect_event.set()
        if not message.get("more_body", False):
            self._is_body_received = True
            if self._body_event is not None:
                self._body_event.set()
        return message

    def _announces_body(self) -> bool:
        return (
            self.headers.get(b"content-length", b"0") != b"0"
            or b"transfer-encoding" in self.headers
        )

    # Interruption

    def interrupt(self) -> bool:
        """Cancel the handler; return False if it was cancelled before or the response has ended."""
        has_ended = self.is_complete or self._is_aborted
        if has_ended or self.is_interrupted or self._is_detached:
            return False
        self.is_interrupted = True
        self._task.cancel()
        return True

    def raise_if_not_interrupted(self) -> None:
        """Raise CancelledError if the server cancelled the task, RuntimeError if its own code did."""
        if self.is_interrupted:
            return
        if self._task.cancelling():
            raise asyncio.CancelledError
        # A plain CancelledError would look like a server shutdown and get no response.
        raise RuntimeError("The request's task was cancelled by its own code.")

    def detach(self) -> None:
        """Prevent later interruptions: from here on the task belongs to the server."""
        self._is_detached = True
        if self.is_interrupted:
            self._task.uncancel()
