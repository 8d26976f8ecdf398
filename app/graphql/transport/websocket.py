"""GraphQL over WebSockets, by the protocol graphql-transport-ws.

Handshake, authentication, operations, timeouts and closing; `websocket_messages` parses and formats.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog
from starlette.types import Message, Receive, Scope, Send

from app.domain.errors import (
    MASKED_MESSAGE,
    InternalError,
    InvalidApiKey,
    LimitExceeded,
    OriginNotAllowed,
    PostResultsError,
    ServiceUnavailable,
    UserNotAllowed,
)
from app.domain.sessions import SESSION_ENDED, Credential, ProxyIdentity, SessionToken
from app.graphql.engine.errors import error_entry, to_json
from app.graphql.engine.operation_request import OperationRequest
from app.graphql.service import QUERY_AND_MUTATION, SUBSCRIPTION_ONLY, GraphQLService
from app.graphql.subscription_stream import EncodedResponse, SlowClient, SubscriptionStream
from app.graphql.transport.http import graphql_error_response
from app.graphql.transport.send_progress import CONNECTION_BUFFER_BYTES, StallDetectingSend
from app.graphql.transport.websocket_messages import (
    CONNECTION_ACK,
    PONG,
    PROTOCOL,
    CloseCode,
    Complete,
    ConnectionInit,
    MalformedMessage,
    OperationMessages,
    Ping,
    Pong,
    Subscribe,
    read_message,
)
from app.http.concurrency import ConcurrencyLimiter, EvictingLimiter
from app.http.fair_queue import FairQueue
from app.http.headers import parse_bearer
from app.http.request import KEEP_OPEN, ApiRequest
from app.http.responses import PIECE_BYTES, split
from app.http.session_cookies import ReadSession
from app.http.websocket_protocol import SEND_FRAGMENT
from app.observability.logs import clean_text
from app.observability.metrics import Metrics

_STALL_CHECKS = 5
"""Number of checks per send timeout."""
_CLOSE_TIMEOUT = timedelta(seconds=5)
_MAX_WAITING_BYTES = 16 << 20
"""Limit of the responses that wait for one WebSocket; a single one may be larger."""
_MAX_REASON_BYTES = 123
"""Limit of a close reason. RFC 6455, 5.5: a control frame has 125 bytes, of which the code takes two."""

_ABNORMAL_CLOSURE = 1006
"""Code of RFC 6455 for a connection that ended without a close frame; never sent."""

_TIMEOUT_RETRY_SECONDS = 5

_EVICTED = "Too many WebSockets are open that have not authenticated. Connect again."

_PROXY_MUST_CHECK = "Connect again, so that the proxy checks whether you are still signed in."

logger = structlog.stdlib.get_logger(__name__)
socket_logger = structlog.stdlib.get_logger("app.sockets")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketConfig:
    """Dependencies and limits shared by all WebSockets of the server."""

    service: GraphQLService
    queue: FairQueue
    metrics: Metrics
    new_request_id: Callable[[], str]
    allowed_origins: Collection[str]
    """Origins whose pages may connect, besides the server's own; `*` allows all."""
    is_own_origin: Callable[[Scope, Mapping[bytes, bytes]], bool]
    read_session: ReadSession
    """Function that returns the session of a handshake."""
    authenticated_limiter: ConcurrencyLimiter
    unauthenticated_limiter: EvictingLimiter
    """Limiter of WebSockets that have not authenticated yet."""
    max_operations: int
    """Number of operations that may run on one WebSocket at a time."""
    operation_timeout: timedelta
    """Timeout of queries and mutations, and of the start of a subscription."""


class GraphQLWebSocketEndpoint:
    """ASGI app that accepts WebSockets."""

    def __init__(self, config: WebSocketConfig) -> None:
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        headers = dict(reversed(scope["headers"]))
        if not self._is_origin_allowed(scope, headers):
            await self._refuse_origin(headers.get(b"accept", b"").decode("latin-1"), send)
            return
        is_supported = PROTOCOL in scope["subprotocols"]
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL if is_supported else None})
        if not is_supported:
            reason = f"Subprotocol not acceptable; use {PROTOCOL}."
            code = CloseCode.SUBPROTOCOL_NOT_ACCEPTABLE
            await send({"type": "websocket.close", "code": code, "reason": reason})
        else:
            client = scope.get("client")
            bearer = parse_bearer(headers.get(b"authorization", b"").decode("latin-1"))
            token = bearer or self._config.read_session(scope, headers)
            address = client[0] if client else None
            keep_open = scope.get("state", {}).get(KEEP_OPEN, lambda: None)
            await GraphQLWebSocket(self._config, token, address, keep_open, receive, send).run()

    async def _refuse_origin(self, accept: str, send: Send) -> None:
        error = OriginNotAllowed(
            "Pages of this origin may not open a WebSocket. The operator can allow the origin in"
            " CORS_ORIGINS."
        )
        response = graphql_error_response(accept, self._config.new_request_id(), error)
        headers = [*response.headers, (b"content-length", b"%d" % len(response.body))]
        await send(
            {
                "type": "websocket.http.response.start",
                "status": response.status,
                "headers": headers,
            }
        )
        await send({"type": "websocket.http.response.body", "body": response.body})

    def _is_origin_allowed(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        """Allow clients without an origin (no browsers), configured origins, and this host and port."""
        origin = headers.get(b"origin", b"").decode("latin-1")
        allowed_origins = self._config.allowed_origins
        if not origin or origin in allowed_origins or "*" in allowed_origins:
            return True
        return self._config.is_own_origin(scope, headers) or (
            origin.partition("://")[2] == headers.get(b"host", b"").decode("latin-1")
        )


class _ConnectionLost(Exception):
    """Loss of the connection: the client has disconnected, or the WebSocket was closed."""


class GraphQLWebSocket:
    """Accepted WebSocket."""

    def __init__(
        self,
        config: WebSocketConfig,
        token: Credential | None,
        client_address: str | None,
        keep_open: Callable[[], None],
        receive: Receive,
        send: Send,
    ) -> None:
        """Create a WebSocket; `token` is the credential of the handshake, if any.

        `keep_open` is called when the client has authenticated.
        """
        self._config = config
        self._service = config.service
        self._receive = receive
        self._send = StallDetectingSend(send)
        self._loop = asyncio.get_running_loop()
        self._token = token
        """Credential of the handshake; replaced by the key of `connection_init`."""
        self._client_address = client_address
        self._keep_open = keep_open
        self._id = config.new_request_id()
        self._init_received = asyncio.Event()
        """True once `connection_init` was received."""
        self._authenticated = asyncio.Event()
        self._operations: dict[str, asyncio.Task[None]] = {}
        """Running operations by id, without those that the client has completed."""
        self._operation_tasks: set[asyncio.Task[None]] = set()
        """All running operations, also those that the client has completed and that still stop, and the
        task of `_evict`."""
        self._send_lock = asyncio.Lock()
        """Lock of the text message that is being sent."""
        self._fragments_task: asyncio.Task[None] | None = None
        """Task that sends the fragments of a message."""
        self._waiting_bytes = 0
        """Bytes of the responses that wait to be sent."""
        self._is_too_slow = self._loop.create_future()
        """Completes when more responses wait than may wait."""
        self._slot = ExitStack()
        """Slot of the authenticated limiter, or of the unauthenticated one until then."""
        self._is_closed = False
        self._opened_at = self._loop.time()
        self._close_code = _ABNORMAL_CLOSURE
        self._operation_count = 0
        self._handshake: ApiRequest | None = None
        """Request with key and workspace of the authenticated client, for the log."""

    async def run(self) -> None:
        """Run until either side closes the WebSocket or the connection is lost."""
        self._config.metrics.socket_opened()
        try:
            await self._run()
        finally:
            self._config.metrics.socket_closed()
            self._log_end()

    async def _run(self) -> None:
        self._slot.enter_context(self._config.unauthenticated_limiter.acquire(self._evict))
        read_task = self._loop.create_task(self._read_messages())
        watch_task = self._loop.create_task(self._watch_timeouts())
        with self._slot:
            try:
                await asyncio.wait({read_task, watch_task}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                tasks = {read_task, watch_task, *self._operation_tasks}
                if self._fragments_task is not None:
                    tasks.add(self._fragments_task)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        for task in (read_task, watch_task):
            if not task.cancelled() and (failure := task.exception()):
                logger.error("socket failed", exc_info=failure)
                await self._close(CloseCode.INTERNAL_SERVER_ERROR, MASKED_MESSAGE)

    def _evict(self) -> None:
        """Close the WebSocket for a new one, as its client has not authenticated."""
        task = self._loop.create_task(self._close(CloseCode.TRY_AGAIN_LATER, _EVICTED))
        self._operation_tasks.add(task)
        task.add_done_callback(self._operation_tasks.discard)

    async def _read_messages(self) -> None:
        """Handle messages until the client disconnects or the WebSocket is closed."""
        with suppress(_ConnectionLost):
            while not self._is_closed:
                message = await self._receive()
                if message["type"] == "websocket.disconnect":
                    self._close_code = message.get("code", _ABNORMAL_CLOSURE)
                    return
                text = message.get("text")
                if text is None:
                    await self._close(CloseCode.BAD_REQUEST, "Messages must be text, not binary.")
                    return
                try:
                    await self._handle_message(text)
                except MalformedMessage as problem:
                    await self._close(CloseCode.BAD_REQUEST, str(problem))

    async def _handle_message(self, text: str) -> None:
        match read_message(text):
            case ConnectionInit(token):
                await self._handle_init(token)
            case Subscribe() as subscribe:
                await self._handle_subscribe(subscribe)
            case Complete(operation_id):
                if operation := self._operations.pop(operation_id, None):
                    operation.cancel()
            case Ping():
                await self._send_message(PONG)
            case Pong():
                pass

    async def _handle_init(self, token: str | None) -> None:
        """Authenticate the client by the key in the message, or by the headers of the handshake."""
        if self._init_received.is_set():
            code = CloseCode.TOO_MANY_INITIALISATION_REQUESTS
            await self._close(code, "Too many initialisation requests")
            return
        self._init_received.set()
        self._token = token or self._token
        self._handshake = request = self._new_request()
        try:
            context = await self._service.authenticate(request)
            self._slot.close()
            self._slot.enter_context(
                self._config.authenticated_limiter.acquire(context.viewer.key_id)
            )
        except (InvalidApiKey, UserNotAllowed) as error:
            await self._close(CloseCode.FORBIDDEN, error.message)
        except PostResultsError as error:
            await self._close(CloseCode.TRY_AGAIN_LATER, error.message)
        else:
            self._authenticated.set()
            self._keep_open()
            await self._send_message(CONNECTION_ACK)

    async def _handle_subscribe(self, message: Subscribe) -> None:
        if not self._authenticated.is_set():
            await self._close(CloseCode.UNAUTHORIZED, "Unauthorized")
        elif message.id in self._operations:
            reason = f"Subscriber for {message.id} already exists"
            await self._close(CloseCode.SUBSCRIBER_ALREADY_EXISTS, reason)
        elif len(self._operations) >= self._config.max_operations:
            error = LimitExceeded(
                f"At most {self._config.max_operations} operations may run on one WebSocket at a time."
                " Complete one of them first, or open another WebSocket."
            )
            self._config.metrics.operations_finished("other", error.code.value)
            await self._send_message(_error_message(message.id, error, self._new_request()))
        else:
            self._operation_count += 1
            operation = self._loop.create_task(self._run_operation(message))
            self._operations[message.id] = operation
            self._operation_tasks.add(operation)
            operation.add_done_callback(self._operation_tasks.discard)

    async def _run_operation(self, message: Subscribe) -> None:
        """Run an operation and send its last message."""
        request = self._new_request()
        try:
            last = await self._send_responses(message, request)
        except _ConnectionLost:
            return
        except SlowClient:
            if not self._is_too_slow.done():
                self._is_too_slow.set_result(None)
            return
        except InvalidApiKey as error:
            request.record_error(error)
            await self._close(CloseCode.FORBIDDEN, error.message)
            return
        except PostResultsError as error:
            last = _error_message(message.id, error, request)
        except Exception:
            logger.exception("operation failed", request_id=request.request_id)
            last = _error_message(message.id, InternalError(MASKED_MESSAGE), request)
        finally:
            # Before the last message, since the client may reuse the id after receiving it.
            if self._operations.get(message.id) is asyncio.current_task():
                del self._operations[message.id]
            self._config.metrics.operations_finished(
                request.operation_type or "other", next(iter(request.error_codes), None)
            )
        with suppress(_ConnectionLost):
            await self._send_message(last)

    async def _send_responses(self, message: Subscribe, request: ApiRequest) -> str:
        """Execute an operation and send its messages, except for the last one, which is returned.

        Raises _ConnectionLost, SlowClient, and a PostResultsError that rejects or ends the operation:
        InvalidApiKey if the key is no longer valid, ServiceUnavailable after the operation timeout.
        """

        async def read_request() -> OperationRequest:
            return message.request  # read before, since a malformed message closes the WebSocket

        messages = OperationMessages(message.id)
        timeout = self._config.operation_timeout.total_seconds()
        try:
            waited = await self._config.queue.wait(request, self._loop.time())
            async with asyncio.timeout(timeout - waited):
                result = await self._service.run(
                    request, read_request, QUERY_AND_MUTATION | SUBSCRIPTION_ONLY
                )
        except TimeoutError:
            raise ServiceUnavailable(
                f"No response within {timeout:g} s; the operation was cancelled.",
                retry_after=_TIMEOUT_RETRY_SECONDS,
            ) from None
        if isinstance(result, SubscriptionStream):
            async with aclosing(result.responses()) as responses:
                async for response in responses:
                    await self._send_next(messages, response)
                    del response  # or it would stay in memory until the next event
        elif result.is_executed:
            await self._send_next(messages, EncodedResponse(to_json(result)))
        else:
            return messages.error(result.errors)
        return messages.complete()

    async def _watch_timeouts(self) -> None:
        """Return when the client does not authenticate, loses its key or does not read."""
        try:
            async with asyncio.timeout(self._service.timeouts.init_timeout.total_seconds()):
                await self._init_received.wait()
        except TimeoutError:
            code = CloseCode.INITIALISATION_TIMEOUT
            await self._close(code, "Connection initialisation timeout")
            return
        await self._authenticated.wait()
        send_timeout = self._service.timeouts.send_timeout.total_seconds()
        revoked = self._loop.create_task(self._service.wait_until_revoked(self._token or ""))
        try:
            while not revoked.done():
                await asyncio.wait(
                    {revoked, self._is_too_slow},
                    timeout=send_timeout / _STALL_CHECKS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if self._is_too_slow.done() or self._send.stalled_seconds() >= send_timeout:
                    logger.info("socket dropped", reason="client does not read")
                    return
        finally:
            revoked.cancel()
        match self._token:
            case ProxyIdentity():
                await self._close(CloseCode.TRY_AGAIN_LATER, _PROXY_MUST_CHECK)
            case SessionToken():
                await self._close(CloseCode.FORBIDDEN, SESSION_ENDED)
            case _:
                await self._close(CloseCode.FORBIDDEN, "The API key was revoked or has expired.")

    async def _send_next(self, messages: OperationMessages, response: EncodedResponse) -> None:
        """Send a response; raises _ConnectionLost, or SlowClient if it would have to wait and may not."""
        body = response.body
        is_small = len(body) <= PIECE_BYTES
        if is_small and not self._send.is_sending:
            await self._send_message(messages.next(body))
            return
        with self._reserve_memory(response):
            if is_small:
                await self._send_message(messages.next(body))
            else:
                await self._send_fragments(messages.next_parts(body))

    @contextmanager
    def _reserve_memory(self, response: EncodedResponse) -> Iterator[None]:
        """Count a response that waits during the context; raises SlowClient above a limit."""
        size = len(response.body)
        if self._waiting_bytes and self._waiting_bytes + size > _MAX_WAITING_BYTES:
            raise SlowClient
        key_id = None if self._handshake is None else self._handshake.api_key_id
        sizes = {response: size, self: CONNECTION_BUFFER_BYTES}
        with self._service.waiting_budget.reserve(key_id, sizes):
            self._waiting_bytes += size
            try:
                yield
            finally:
                self._waiting_bytes -= size

    async def _send_message(self, text: str) -> None:
        """Send a message; raises _ConnectionLost if the client can no longer receive it."""
        if self._is_closed:
            raise _ConnectionLost
        try:
            async with self._send_lock:
                await self._send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError):  # raised by servers after a disconnect or close
            raise _ConnectionLost from None

    async def _send_fragments(self, parts: Sequence[bytes]) -> None:
        """Send a message as fragments, so that the server's connection copies only one at a time.

        A message that has begun is sent to its end, even if its operation is cancelled. Raises
        _ConnectionLost like `_send_message`.
        """
        if self._is_closed:
            raise _ConnectionLost
        async with self._send_lock:
            task = self._loop.create_task(self._send.send_all(_fragment_messages(parts)))
            self._fragments_task = task
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                await asyncio.gather(task, return_exceptions=True)
                raise
            except (OSError, RuntimeError):
                raise _ConnectionLost from None
            finally:
                self._fragments_task = None

    async def _close(self, code: CloseCode, reason: str) -> None:
        """Close the WebSocket, without waiting long for a client that does not read.

        The server then sends `websocket.disconnect`, which ends `_read_messages`.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._close_code = code
        short_reason = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        with suppress(OSError, RuntimeError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT.total_seconds()):
                await self._send({"type": "websocket.close", "code": code, "reason": short_reason})

    def _new_request(self) -> ApiRequest:
        return ApiRequest(self._config.new_request_id(), self._token, self._client_address)

    def _log_end(self) -> None:
        """Log the WebSocket with its close code: that of either side, or 1006 if the connection was lost."""
        seconds = self._loop.time() - self._opened_at
        fields: dict[str, object] = {
            "socket_id": self._id,
            "code": self._close_code,
            "duration_ms": round(seconds * 1000, 1),
            "operations": self._operation_count,
        }
        if self._client_address is not None:
            fields["client"] = clean_text(self._client_address)
        if self._handshake is not None and self._handshake.api_key_id is not None:
            fields["api_key_id"] = str(self._handshake.api_key_id)
            fields["workspace_id"] = str(self._handshake.workspace_id)
        socket_logger.info("websocket closed", **fields)


def _fragment_messages(parts: Sequence[bytes]) -> Iterator[Message]:
    """Yield the fragments of a message; the last part must be shorter than a piece."""
    for piece in split(*parts[:-1]):
        yield {"type": SEND_FRAGMENT, "data": piece, "more_data": True}
    yield {"type": SEND_FRAGMENT, "data": parts[-1], "more_data": False}


def _error_message(operation_id: str, error: PostResultsError, request: ApiRequest) -> str:
    """Format the error as the last message of an operation, and record its code for the log."""
    request.error_codes = (error.code.value,)
    return OperationMessages(operation_id).error([error_entry(error, request.request_id)])
