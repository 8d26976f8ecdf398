"""One WebSocket of graphql-transport-ws: who it is, what runs on it and how it ends. Runs no operation."""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import timedelta

import structlog
from starlette.types import Receive, Scope, Send

from app.domain.errors import (
    MASKED_MESSAGE,
    InternalError,
    InvalidApiKey,
    LimitExceeded,
    PostResultsError,
)
from app.graphql.transport.websocket.config import WebSocketConfig
from app.graphql.transport.websocket.messages import (
    CONNECTION_ACK,
    PONG,
    CloseCode,
    Complete,
    ConnectionInit,
    MalformedMessage,
    Ping,
    Pong,
    Subscribe,
    read_message,
)
from app.graphql.transport.websocket.operation import Credentials, error_message, run_operation
from app.http.request_headers import bearer_token, parse_bearer
from app.http.state import RequestState
from app.observability.recorders import SocketRecord

_STALL_CHECKS = 5
_CLOSE_TIMEOUT = timedelta(seconds=5)
_MAX_REASON_BYTES = 123
"""RFC 6455, 5.5: a control frame has 125 bytes at most, and the code takes two."""

_ABNORMAL_CLOSURE = 1006
"""What RFC 6455 calls a connection that ended without a close; it is never sent."""

logger = structlog.stdlib.get_logger(__name__)


class _ConnectionLost(Exception):
    """Nobody is there any more who could be told."""


class GraphQLWebSocket:
    """From its acceptance to its end."""

    def __init__(self, config: WebSocketConfig, scope: Scope, receive: Receive, send: Send) -> None:
        self._config = config
        self._scope = scope
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        client = scope.get("client")
        self._client_address: str | None = client[0] if client else None
        self._id = config.new_request_id()
        self._token = ""
        """Of whoever is let in."""
        self._init_received = asyncio.Event()
        """When the client has said who it is."""
        self._authenticated = asyncio.Event()
        self._operations: dict[str, asyncio.Task[None]] = {}
        """By their ids, as long as the client may speak of them."""
        self._operation_tasks: set[asyncio.Task[None]] = set()
        """Those as well that the client has ended, but that have not come to their end yet."""
        self._slot = ExitStack()
        """Among those that were let in, or until then among those that were not."""
        self._is_closed = False
        self._opened_at = self._loop.time()
        self._close_code = _ABNORMAL_CLOSURE
        self._operation_count = 0
        self._connection_state: RequestState = {}
        """Who it is, for the log."""
        self._pending_sends = 0
        """How many messages wait to be sent, or are on their way."""
        self._last_progress_at = 0.0
        """When the last one of them went out, or the first of them began to wait."""

    async def run(self) -> None:
        """Until either side closes it, or the other one is not there any more."""
        self._config.observer.socket_opened()
        try:
            await self._run()
        finally:
            self._config.observer.socket_closed(self._socket_record())

    async def _run(self) -> None:
        try:
            self._slot.enter_context(self._config.unauthenticated_limiter.acquire(None))
        except PostResultsError as error:
            await self._close(CloseCode.TRY_AGAIN_LATER, error.message)
            return
        reading = self._loop.create_task(self._read_messages())
        watching = self._loop.create_task(self._watch_timeouts())
        with self._slot:
            try:
                await asyncio.wait({reading, watching}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                tasks = {reading, watching, *self._operation_tasks}
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        for task in (reading, watching):
            if not task.cancelled() and (failure := task.exception()):
                logger.error("socket failed", exc_info=failure)
                await self._close(CloseCode.INTERNAL_SERVER_ERROR, MASKED_MESSAGE)

    async def _read_messages(self) -> None:
        """Take one message after the other, until there are no more or the socket was closed."""
        with suppress(_ConnectionLost):
            while not self._is_closed:
                message = await self._receive()
                if message["type"] == "websocket.disconnect":
                    self._close_code = message.get("code", _ABNORMAL_CLOSURE)
                    return
                text = message.get("text")
                if text is None:
                    await self._close(CloseCode.BAD_REQUEST, "A message is text, and not binary.")
                    return
                try:
                    await self._handle_message(text)
                except MalformedMessage as problem:
                    await self._close(CloseCode.BAD_REQUEST, str(problem))

    async def _handle_message(self, text: str) -> None:
        match read_message(text):
            case ConnectionInit(payload):
                await self._handle_init(payload)
            case Subscribe() as subscribe:
                await self._handle_subscribe(subscribe)
            case Complete(operation_id):
                if operation := self._operations.pop(operation_id, None):
                    operation.cancel()
            case Ping():
                await self._send_message(PONG)
            case Pong():
                pass

    async def _handle_init(self, payload: Mapping[str, object]) -> None:
        """Let the client in, by the key that it shows now or has shown in its handshake."""
        if self._init_received.is_set():
            code = CloseCode.TOO_MANY_INITIALISATION_REQUESTS
            await self._close(code, "Too many initialisation requests")
            return
        self._init_received.set()
        token = _token_from_payload(payload) or bearer_token(self._scope)
        self._connection_state = state = self._new_state()
        try:
            context = await self._config.service.authenticate(token, self._client_address, state)
            self._slot.close()
            self._slot.enter_context(
                self._config.authenticated_limiter.acquire(context.viewer.key_id)
            )
        except InvalidApiKey as error:
            await self._close(CloseCode.FORBIDDEN, error.message)
        except PostResultsError as error:
            await self._close(CloseCode.TRY_AGAIN_LATER, error.message)
        else:
            self._token = token or ""
            self._authenticated.set()
            await self._send_message(CONNECTION_ACK)

    async def _handle_subscribe(self, message: Subscribe) -> None:
        if not self._authenticated.is_set():
            await self._close(CloseCode.UNAUTHORIZED, "Unauthorized")
        elif message.id in self._operations:
            reason = f"Subscriber for {message.id} already exists"
            await self._close(CloseCode.SUBSCRIBER_ALREADY_EXISTS, reason)
        elif len(self._operations) >= self._config.max_operations:
            error = LimitExceeded(
                f"One WebSocket may have {self._config.max_operations} operations at a time. End one of"
                " them first, or open another one."
            )
            state = self._new_state()
            self._config.observer.operation_finished("other", error.code.value)
            await self._send_message(error_message(message.id, error, state))
        else:
            self._operation_count += 1
            operation = self._loop.create_task(self._run_operation(message))
            self._operations[message.id] = operation
            self._operation_tasks.add(operation)
            operation.add_done_callback(self._operation_tasks.discard)

    async def _run_operation(self, message: Subscribe) -> None:
        """Run an operation to its end, and tell the client of that."""
        state = self._new_state()
        asker = Credentials(token=self._token, client_address=self._client_address)
        try:
            last = await run_operation(self._config, asker, message, state, self._send_message)
        except _ConnectionLost:
            return
        except InvalidApiKey as error:
            await self._close(CloseCode.FORBIDDEN, error.message)
            return
        except PostResultsError as error:
            last = error_message(message.id, error, state)
        except Exception:
            logger.exception("operation failed", request_id=state["request_id"])
            last = error_message(message.id, InternalError(MASKED_MESSAGE), state)
        finally:
            # Before the last message: from then on the client may give the id to another one.
            if self._operations.get(message.id) is asyncio.current_task():
                del self._operations[message.id]
            self._config.observer.operation_finished(
                state.get("operation_type", "other"), next(iter(state.get("error_codes", ())), None)
            )
        with suppress(_ConnectionLost):
            await self._send_message(last)

    async def _watch_timeouts(self) -> None:
        """Return when the client has to go: it does not say who it is, may not stay, or does not read."""
        try:
            async with asyncio.timeout(self._config.timeouts.init_timeout.total_seconds()):
                await self._init_received.wait()
        except TimeoutError:
            code = CloseCode.INITIALISATION_TIMEOUT
            await self._close(code, "Connection initialisation timeout")
            return
        await self._authenticated.wait()
        stuck_after = self._config.timeouts.send_timeout.total_seconds()
        leaving = self._loop.create_task(self._config.service.wait_until_revoked(self._token))
        try:
            while not leaving.done():
                await asyncio.wait({leaving}, timeout=stuck_after / _STALL_CHECKS)
                if (
                    self._pending_sends
                    and self._loop.time() - self._last_progress_at >= stuck_after
                ):
                    logger.info("socket dropped", reason="its client does not read")
                    return
        finally:
            leaving.cancel()
        await self._close(CloseCode.FORBIDDEN, "The API key was revoked or has expired.")

    async def _send_message(self, text: str) -> None:
        """_Gone if nobody can be told any more."""
        if self._is_closed:
            raise _ConnectionLost
        if not self._pending_sends:
            self._last_progress_at = self._loop.time()
        self._pending_sends += 1
        try:
            await self._send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError):  # so servers tell that the client has left, or was closed
            raise _ConnectionLost from None
        finally:
            self._pending_sends -= 1
            self._last_progress_at = self._loop.time()

    async def _close(self, code: CloseCode, reason: str) -> None:
        """The server then tells `_read` that it is closed; whoever does not read is not waited for."""
        if self._is_closed:
            return
        self._is_closed = True
        self._close_code = code
        shown = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        with suppress(OSError, RuntimeError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT.total_seconds()):
                await self._send({"type": "websocket.close", "code": code, "reason": shown})

    def _new_state(self) -> RequestState:
        return {"request_id": self._config.new_request_id()}

    def _socket_record(self) -> SocketRecord:
        return SocketRecord(
            socket_id=self._id,
            code=self._close_code,
            duration=timedelta(seconds=self._loop.time() - self._opened_at),
            operations=self._operation_count,
            client_address=self._client_address,
            api_key_id=self._connection_state.get("api_key_id"),
            workspace_id=self._connection_state.get("workspace_id"),
        )


def _token_from_payload(payload: Mapping[str, object]) -> str | None:
    """The token in `{"Authorization": "Bearer …"}`, in any case, or in that below `headers`."""
    found = {name.lower(): value for name, value in payload.items()}
    authorization = found.get("authorization")
    if isinstance(authorization, str):
        return parse_bearer(authorization)
    headers = found.get("headers")
    return _token_from_payload(headers) if isinstance(headers, dict) else None
