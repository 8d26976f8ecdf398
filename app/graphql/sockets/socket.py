"""One WebSocket of graphql-transport-ws: who it is, what runs on it and how it ends. Runs no operation."""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import timedelta

import structlog
from starlette.types import Receive, Scope, Send

from app.domain.errors import (
    MASKED,
    InternalError,
    InvalidApiKey,
    LimitExceeded,
    PostResultsError,
)
from app.graphql.sockets.messages import (
    ACK,
    PONG,
    CloseCode,
    Complete,
    Init,
    Malformed,
    Ping,
    Pong,
    Subscribe,
    read_message,
)
from app.graphql.sockets.operation import Asker, answered, refused
from app.graphql.sockets.terms import Terms
from app.http.headers import bearer_token, token_of
from app.http.state import RequestState
from app.observability.sockets import FinishedSocket

_LOOKS_UNTIL_STUCK = 5
_CLOSE_WITHIN = timedelta(seconds=5)
_MAX_REASON_BYTES = 123
"""RFC 6455, 5.5: a control frame has 125 bytes at most, and the code takes two."""

_LOST = 1006
"""What RFC 6455 calls a connection that ended without a close; it is never sent."""

logger = structlog.stdlib.get_logger(__name__)


class _Gone(Exception):
    """Nobody is there any more who could be told."""


class Socket:
    """From its acceptance to its end."""

    def __init__(self, terms: Terms, scope: Scope, receive: Receive, send: Send) -> None:
        self._terms = terms
        self._scope = scope
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        client = scope.get("client")
        self._address: str | None = client[0] if client else None
        self._id = terms.new_request_id()
        self._token = ""
        """Of whoever is let in."""
        self._begun = asyncio.Event()
        """When the client has said who it is."""
        self._let_in = asyncio.Event()
        self._operations: dict[str, asyncio.Task[None]] = {}
        """By their ids, as long as the client may speak of them."""
        self._running: set[asyncio.Task[None]] = set()
        """Those as well that the client has ended, but that have not come to their end yet."""
        self._place = ExitStack()
        """Among those that were let in, or until then among those that were not."""
        self._is_closed = False
        self._opened_at = self._loop.time()
        self._code = _LOST
        self._number_of_operations = 0
        self._known: RequestState = {}
        """Who it is, for the log."""
        self._sending = 0
        """How many messages wait to be sent, or are on their way."""
        self._moved_at = 0.0
        """When the last one of them went out, or the first of them began to wait."""

    async def run(self) -> None:
        """Until either side closes it, or the other one is not there any more."""
        self._terms.observer.socket_opened()
        try:
            await self._run()
        finally:
            self._terms.observer.socket_closed(self._finished())

    async def _run(self) -> None:
        try:
            self._place.enter_context(self._terms.unknown_sockets.taken(None))
        except PostResultsError as error:
            await self._close(CloseCode.TRY_AGAIN_LATER, error.message)
            return
        reading = self._loop.create_task(self._read())
        watching = self._loop.create_task(self._watch())
        with self._place:
            try:
                await asyncio.wait({reading, watching}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                tasks = {reading, watching, *self._running}
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        for task in (reading, watching):
            if not task.cancelled() and (failure := task.exception()):
                logger.error("socket failed", exc_info=failure)
                await self._close(CloseCode.INTERNAL_SERVER_ERROR, MASKED)

    async def _read(self) -> None:
        """Take one message after the other, until there are no more or the socket was closed."""
        with suppress(_Gone):
            while not self._is_closed:
                message = await self._receive()
                if message["type"] == "websocket.disconnect":
                    self._code = message.get("code", _LOST)
                    return
                text = message.get("text")
                if text is None:
                    await self._close(CloseCode.BAD_REQUEST, "A message is text, and not binary.")
                    return
                try:
                    await self._take(text)
                except Malformed as problem:
                    await self._close(CloseCode.BAD_REQUEST, str(problem))

    async def _take(self, text: str) -> None:
        match read_message(text):
            case Init(payload):
                await self._begin(payload)
            case Subscribe() as subscribe:
                await self._start(subscribe)
            case Complete(operation_id):
                if operation := self._operations.pop(operation_id, None):
                    operation.cancel()
            case Ping():
                await self._say(PONG)
            case Pong():
                pass

    async def _begin(self, payload: Mapping[str, object]) -> None:
        """Let the client in, by the key that it shows now or has shown in its handshake."""
        if self._begun.is_set():
            code = CloseCode.TOO_MANY_INITIALISATION_REQUESTS
            await self._close(code, "Too many initialisation requests")
            return
        self._begun.set()
        token = _shown_token(payload) or bearer_token(self._scope)
        self._known = state = self._new_state()
        try:
            context = await self._terms.door.context_of(token, self._address, state)
            self._place.close()
            self._place.enter_context(self._terms.sockets.taken(context.viewer.key_id))
        except InvalidApiKey as error:
            await self._close(CloseCode.FORBIDDEN, error.message)
        except PostResultsError as error:
            await self._close(CloseCode.TRY_AGAIN_LATER, error.message)
        else:
            self._token = token or ""
            self._let_in.set()
            await self._say(ACK)

    async def _start(self, subscribe: Subscribe) -> None:
        if not self._let_in.is_set():
            await self._close(CloseCode.UNAUTHORIZED, "Unauthorized")
        elif subscribe.id in self._operations:
            reason = f"Subscriber for {subscribe.id} already exists"
            await self._close(CloseCode.SUBSCRIBER_ALREADY_EXISTS, reason)
        elif len(self._operations) >= self._terms.max_operations:
            error = LimitExceeded(
                f"One WebSocket may have {self._terms.max_operations} operations at a time. End one of"
                " them first, or open another one."
            )
            state = self._new_state()
            self._terms.observer.operation_finished("other", error.code.value)
            await self._say(refused(subscribe.id, error, state))
        else:
            self._number_of_operations += 1
            operation = self._loop.create_task(self._operate(subscribe))
            self._operations[subscribe.id] = operation
            self._running.add(operation)
            operation.add_done_callback(self._running.discard)

    async def _operate(self, subscribe: Subscribe) -> None:
        """Run an operation to its end, and tell the client of that."""
        state = self._new_state()
        asker = Asker(token=self._token, address=self._address)
        try:
            last = await answered(self._terms, asker, subscribe, state, self._say)
        except _Gone:
            return
        except InvalidApiKey as error:
            await self._close(CloseCode.FORBIDDEN, error.message)
            return
        except PostResultsError as error:
            last = refused(subscribe.id, error, state)
        except Exception:
            logger.exception("operation failed", request_id=state["request_id"])
            last = refused(subscribe.id, InternalError(MASKED), state)
        finally:
            # Before the last message: from then on the client may give the id to another one.
            if self._operations.get(subscribe.id) is asyncio.current_task():
                del self._operations[subscribe.id]
            self._terms.observer.operation_finished(
                state.get("operation_type", "other"), next(iter(state.get("error_codes", ())), None)
            )
        with suppress(_Gone):
            await self._say(last)

    async def _watch(self) -> None:
        """Return when the client has to go: it does not say who it is, may not stay, or does not read."""
        try:
            async with asyncio.timeout(self._terms.times.init_within.total_seconds()):
                await self._begun.wait()
        except TimeoutError:
            code = CloseCode.INITIALISATION_TIMEOUT
            await self._close(code, "Connection initialisation timeout")
            return
        await self._let_in.wait()
        stuck_after = self._terms.times.stuck_after.total_seconds()
        leaving = self._loop.create_task(self._terms.door.until_refused(self._token))
        try:
            while not leaving.done():
                await asyncio.wait({leaving}, timeout=stuck_after / _LOOKS_UNTIL_STUCK)
                if self._sending and self._loop.time() - self._moved_at >= stuck_after:
                    logger.info("socket dropped", reason="its client does not read")
                    return
        finally:
            leaving.cancel()
        await self._close(CloseCode.FORBIDDEN, "The API key was revoked or has expired.")

    async def _say(self, text: str) -> None:
        """_Gone if nobody can be told any more."""
        if self._is_closed:
            raise _Gone
        if not self._sending:
            self._moved_at = self._loop.time()
        self._sending += 1
        try:
            await self._send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError):  # so servers tell that the client has left, or was closed
            raise _Gone from None
        finally:
            self._sending -= 1
            self._moved_at = self._loop.time()

    async def _close(self, code: CloseCode, reason: str) -> None:
        """The server then tells `_read` that it is closed; whoever does not read is not waited for."""
        if self._is_closed:
            return
        self._is_closed = True
        self._code = code
        shown = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        with suppress(OSError, RuntimeError, TimeoutError):
            async with asyncio.timeout(_CLOSE_WITHIN.total_seconds()):
                await self._send({"type": "websocket.close", "code": code, "reason": shown})

    def _new_state(self) -> RequestState:
        return {"request_id": self._terms.new_request_id()}

    def _finished(self) -> FinishedSocket:
        return FinishedSocket(
            socket_id=self._id,
            code=self._code,
            duration=timedelta(seconds=self._loop.time() - self._opened_at),
            operations=self._number_of_operations,
            client_address=self._address,
            api_key_id=self._known.get("api_key_id"),
            workspace_id=self._known.get("workspace_id"),
        )


def _shown_token(payload: Mapping[str, object]) -> str | None:
    """The token in `{"Authorization": "Bearer …"}`, in any case, or in that below `headers`."""
    found = {name.lower(): value for name, value in payload.items()}
    authorization = found.get("authorization")
    if isinstance(authorization, str):
        return token_of(authorization)
    headers = found.get("headers")
    return _shown_token(headers) if isinstance(headers, dict) else None
