"""uvicorn HTTP protocol that limits connections and the time and size of headers, and ignores trailers."""

import asyncio
import socket
import struct
import sys
from contextlib import suppress
from datetime import timedelta
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.domain.errors import InvalidHost, PostResultsError, TooManyConnections
from app.http.connection_limits import Connection, ConnectionLimits, ConnectionState
from app.http.headers import host_problem
from app.http.request import ABORT, ALLOW_CLOSING, FROM_TRUSTED_PROXY, KEEP_OPEN, REFUSAL
from app.http.websocket_protocol import MAX_WRITE_BUFFER_BYTES, WebSocketProtocol

_REFUSED_TIMEOUT = timedelta(seconds=5)
"""Time for a refused connection to send its request and to receive the response."""

_MAX_HEADER_BYTES = 64 * 1024
"""Limit of what a client sends besides bodies: the request line and headers, or trailers.

They block the event loop while they are parsed. The limit is checked after each read, which may itself be
larger.
"""

_HEADERS_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n"
    b"The headers of a request must have at most 64 KiB.\n"
)

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""Value of SO_LINGER: drop what was not sent, and send RST instead of FIN."""

_MAX_UNSENT_BYTES = 64 * 1024
"""Bytes of a connection that wait in the kernel. Its default limit is some megabytes.

With more, a client that reads slowly seems to read nothing for minutes.
"""

_MAX_PIPELINED_REQUESTS = 20
"""Requests of a connection that may wait for the responses to those before them.

A single read has thousands of small requests, so pausing the reads alone would come too late.
"""

_IDLE_CLOSE_DELAY = timedelta(seconds=0.5)
"""Time without a request after which a connection is closed at shutdown."""


class HttpProtocol(HttpToolsProtocol):
    """HTTP protocol whose connections are counted until they are lost, also as WebSockets.

    A request that is refused before it is read, because of its connection or its Host header, reaches the
    app with its REFUSAL. So the response has the form of the API, and probes are answered.

    While no request is running, the client has a limited time to send the next one, from its first byte to
    the end of its headers. Then the connection is closed without a response.
    """

    cycle: RequestResponseCycle | None  # type: ignore[assignment]  # as uvicorn initializes it
    _connection: Connection | None = None
    """The counted connection; None if it was closed immediately, or has become a WebSocket."""
    _refusal: PostResultsError | None = None
    """Error of a connection above a limit."""
    _header_timer: asyncio.TimerHandle | None = None
    """Timer that closes the connection; None unless the client is sending headers."""
    _running_cycle: RequestResponseCycle | None = None
    """The last request that was started; in the pipeline, others may wait behind it."""
    _may_be_closed = False
    """True if the running request does not keep the connection from being closed for a new one."""
    _may_upgrade = False
    """True if the last request may become a WebSocket."""
    _reads_headers = False
    _has_progressed = False
    """True if the last read had the end of headers, or a part of a body."""
    _header_bytes = 0
    """Bytes that were read since then."""

    def __init__(
        self, limits: ConnectionLimits, headers_timeout: timedelta, **options: Any
    ) -> None:
        """Create the protocol of a connection; `options` are those of uvicorn."""
        super().__init__(**options)
        self._limits = limits
        self._headers_timeout = headers_timeout.total_seconds()

    # The connection

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=MAX_WRITE_BUFFER_BYTES)
        _limit_unsent_bytes(transport.get_extra_info("socket"))
        address = self.client[0] if self.client else None
        try:
            self._connection = self._limits.acquire(address, transport.abort)
        except TooManyConnections as refusal:
            self._refusal = refusal
            self._connection = self._limits.acquire_refused(transport.abort)
            if self._connection is None:
                transport.abort()
                return
            self.loop.call_later(_REFUSED_TIMEOUT.total_seconds(), transport.abort)
        self.app_state = {
            **self.app_state,
            ABORT: self._reset_connection,
            ALLOW_CLOSING: self._allow_closing,
            FROM_TRUSTED_PROXY: self._limits.is_trusted_proxy(address),
            KEEP_OPEN: self._connection.keep_open,
        }
        # uvicorn's keep-alive timer also closes a connection on which no first byte arrives.
        self.timeout_keep_alive_task = self.loop.call_later(
            self._headers_timeout, self.timeout_keep_alive_handler
        )

    def _allow_closing(self) -> None:
        """Let a new connection replace this one until its next request starts."""
        self._may_be_closed = True
        self._update_open_connection()

    def _reset_connection(self) -> None:
        """Close the connection without its regular end, which could pass for that of the response."""
        if not self.transport.is_closing():  # a lost connection has no socket
            opened: socket.socket = self.transport.get_extra_info("socket")
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn reports the disconnect to this request only; it may be one that never starts.
        self.cycle = self._running_cycle
        super().connection_lost(exc)
        self._stop_header_timer()
        if self._connection is not None:
            self._connection.release()

    def data_received(self, data: bytes) -> None:
        self._has_progressed = False
        super().data_received(data)
        if self._connection is None or self.transport.is_closing():
            return
        self._header_bytes = 0 if self._has_progressed else self._header_bytes + len(data)
        if self._header_bytes > _MAX_HEADER_BYTES:
            self._refuse_headers()
        else:
            self._update_state()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._update_open_connection()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._update_open_connection()

    def _update_open_connection(self) -> None:
        if self._connection is not None and not self.transport.is_closing():
            self._update_state()

    def _update_state(self) -> None:
        """Update the state of the connection and the time limit of headers."""
        assert self._connection is not None  # noqa: S101 - checked by the callers
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._stop_header_timer()
            self._connection.change_state(
                ConnectionState.INCOMPLETE
                if cycle.more_body or self._may_be_closed
                else ConnectionState.BUSY
            )
        elif (
            cycle is None
            or cycle.more_body  # the rest of a body whose response did not wait for it
            or self._reads_headers
            or self.timeout_keep_alive_task is None  # a byte was read since the last response
        ):
            self._connection.change_state(ConnectionState.INCOMPLETE)
            if self._header_timer is None:
                self._header_timer = self.loop.call_later(
                    self._headers_timeout, self.transport.abort
                )
        else:
            self._stop_header_timer()
            if not self.flow.write_paused:  # otherwise the client still receives the response
                self._connection.change_state(ConnectionState.IDLE)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _refuse_headers(self) -> None:
        if self._is_sending_response:
            self.transport.abort()
        else:
            self.transport.write(_HEADERS_TOO_LARGE)
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        if self._is_sending_response:
            self.transport.abort()
        else:
            super().send_400_response(msg)

    @property
    def _is_sending_response(self) -> bool:
        """True if an error of the parser would be written into a response."""
        cycle = self._responding_cycle
        return cycle is not None and cycle.response_started

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()  # of a late body in the same read
        self._reads_headers = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; ignore trailers, which a proxy may forward without a check (RFC 9110, 6.5.1)."""
        if self._reads_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._reads_headers, self._has_progressed = False, True
        if len(self.pipeline) >= _MAX_PIPELINED_REQUESTS:
            raise ValueError("Too many pipelined requests.")  # closes the connection
        refusal = self._refusal or self._host_refusal()
        if refusal is not None:
            self.scope["state"][REFUSAL] = refusal
        # Behind a running response, Upgrade is ignored, as RFC 9110, 7.8 permits.
        self._may_upgrade = refusal is None and self._responding_cycle is None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._has_progressed = True
        super().on_body(body)

    @property
    def _responding_cycle(self) -> RequestResponseCycle | None:
        """The running request whose response is not complete."""
        cycle = self._running_cycle
        return None if cycle is None or cycle.response_complete else cycle

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running_cycle = cycle
        self._may_be_closed = False
        if cycle.scope["http_version"] == "1.0":
            app = _without_chunks(app, cycle)
        super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        cycle = self.cycle
        if cycle is not None and cycle.response_complete and cycle.more_body:
            # the body of a request that was answered before; uvicorn ignores its end
            cycle.more_body = False
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _host_refusal(self) -> InvalidHost | None:
        hosts = [value for name, value in self.headers if name == b"host"]
        problem = host_problem(hosts, self.parser.get_http_version())
        return None if problem is None else InvalidHost(problem)

    # WebSockets

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        # The transport reports the loss of the connection only to its new protocol.
        protocol = self.transport.get_protocol()
        if isinstance(protocol, WebSocketProtocol) and self._connection is not None:
            protocol.release_connection = self._connection.release
            self._connection.change_state(ConnectionState.INCOMPLETE)
            self._connection = None
            self._stop_header_timer()

    def _should_upgrade_to_ws(self) -> bool:
        return self._may_upgrade and super()._should_upgrade_to_ws()

    def _unsupported_upgrade_warning(self) -> None:
        if self._may_upgrade:
            super()._unsupported_upgrade_warning()

    # Shutdown

    def shutdown(self) -> None:
        """Close the connection once it has been idle for _IDLE_CLOSE_DELAY.

        Its client may have sent a request that is not read yet. That request is still answered, with
        `Connection: close`.
        """
        cycle = self.cycle  # of the last request, if there was one
        if cycle is not None and not cycle.response_complete:
            super().shutdown()
            return
        idle_since = self.loop.time()
        if cycle is not None and self.timeout_keep_alive_task is not None:
            idle_since = self.timeout_keep_alive_task.when() - self.timeout_keep_alive
        self.loop.call_at(idle_since + _IDLE_CLOSE_DELAY.total_seconds(), super().shutdown)


def _without_chunks(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """Wrap the app of an HTTP/1.0 request, whose client knows no chunks (RFC 9112, 6.1).

    A body without Content-Length ends with the connection, which uvicorn closes after each such request.
    """
    has_length = True

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_unchunked(message: Message) -> None:
            nonlocal has_length
            if message["type"] == "http.response.start":
                names = [name.lower() for name, _ in message.get("headers", ())]
                has_length = b"content-length" in names
                if not has_length:
                    cycle.chunked_encoding, cycle.expected_content_length = False, sys.maxsize
            elif not has_length and not message.get("more_body", False):
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_unchunked)

    return run


def _limit_unsent_bytes(opened: socket.socket) -> None:
    with suppress(AttributeError, OSError):  # not on all systems, nor for Unix sockets
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MAX_UNSENT_BYTES)
