"""uvicorn HTTP protocol that limits the open connections of a process, and loses no request at shutdown."""

import ipaddress
import socket
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from app.domain.errors import TooManyConnections
from app.http.rate_limits import client_network
from app.http.request import ABORT, FROM_TRUSTED_PROXY, REFUSAL
from app.http.websocket_protocol import WebSocketProtocol

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as AutoHTTPProtocol
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
else:  # h11 without httptools; the parts that are used here are the same
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

MAX_REFUSED_CONNECTIONS = 200
"""Connections above a limit that are open at a time; further ones are closed without a response."""

_REFUSED_TIMEOUT = timedelta(seconds=5)
"""Time for a refused connection to send its request and to receive the response."""

_RETRY_AFTER_SECONDS = 5

_MAX_HEADER_BYTES = 64 * 1024
"""Limit of the request line and headers, which block the event loop while they are parsed.

It is checked after each read, which may itself be larger.
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

_IDLE_CLOSE_DELAY = timedelta(seconds=0.5)
"""Time without a request after which a connection is closed at shutdown."""


class ConnectionLimits:
    """Counter of open connections, HTTP and WebSockets, in total and per client address."""

    def __init__(
        self, *, max_total: int, max_per_address: int | None, trusted_proxies: Sequence[str]
    ) -> None:
        """Set the limits; connections of the proxies only count in total."""
        self._max_total = max_total
        self._max_per_address = max_per_address
        self._proxies = [ipaddress.ip_network(proxy) for proxy in trusted_proxies]
        self._total = 0
        self._by_network: Counter[str] = Counter()
        self._refused = 0

    def acquire(self, address: str | None) -> Callable[[], None]:
        """Count a connection; return the function that must be called when it is lost.

        Raises TooManyConnections at a limit. A connection without an address uses a Unix socket.
        """
        if self._total >= self._max_total:
            raise TooManyConnections(
                "Too many connections to this server are open."
                f" Try again in {_RETRY_AFTER_SECONDS} s.",
                retry_after=_RETRY_AFTER_SECONDS,
            )
        network = self._limited_network(address)
        if network is not None and self._by_network[network] == self._max_per_address:
            raise TooManyConnections(
                f"The limit of {self._max_per_address} open connections of one address is reached;"
                " close one of them first.",
                retry_after=_RETRY_AFTER_SECONDS,
            )
        self._change(network, 1)
        return lambda: self._change(network, -1)

    def acquire_refused(self) -> Callable[[], None] | None:
        """Count a connection above a limit, like `acquire`; return None if there are too many of them."""
        if self._refused >= MAX_REFUSED_CONNECTIONS:
            return None
        self._refused += 1
        return self._release_refused

    def _release_refused(self) -> None:
        self._refused -= 1

    def is_trusted_proxy(self, address: str | None) -> bool:
        """Return whether a connection is that of a trusted proxy; one of a Unix socket is not."""
        if address is None or not self._proxies:
            return False
        parsed = ipaddress.ip_address(address)
        return any(parsed in proxy for proxy in self._proxies)

    def _limited_network(self, address: str | None) -> str | None:
        if self._max_per_address is None or address is None or self.is_trusted_proxy(address):
            return None
        return client_network(address)

    def _change(self, network: str | None, change: int) -> None:
        self._total += change
        if network is not None:
            self._by_network[network] += change
            if not self._by_network[network]:
                del self._by_network[network]


class HttpProtocol(AutoHTTPProtocol):
    """HTTP protocol whose connections are counted until they are lost, also as WebSockets.

    A request on a connection above a limit reaches the app with its REFUSAL, so that the response has the
    form of the API, and probes are answered.
    """

    _release: Callable[[], None] | None = None
    """Function that ends the counting of this connection; None if it was closed immediately."""
    _is_refused = False
    _reads_headers = False
    _header_bytes = 0

    def __init__(self, limits: ConnectionLimits, **options: Any) -> None:
        """Create the protocol of a connection; `options` are those of uvicorn."""
        super().__init__(**options)
        self._limits = limits

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        _limit_unsent_bytes(transport.get_extra_info("socket"))
        address = self.client[0] if self.client else None
        self.app_state = {
            **self.app_state,
            ABORT: self._reset_connection,
            FROM_TRUSTED_PROXY: self._limits.is_trusted_proxy(address),
        }
        try:
            self._release = self._limits.acquire(address)
        except TooManyConnections as refusal:
            self._is_refused = True
            self.app_state = {**self.app_state, REFUSAL: refusal}
            self._release = self._limits.acquire_refused()
            if self._release is None:
                transport.abort()
            else:
                self.loop.call_later(_REFUSED_TIMEOUT.total_seconds(), transport.abort)

    def _reset_connection(self) -> None:
        """Close the connection without its regular end, which could pass for that of the response."""
        opened: socket.socket = self.transport.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._release is not None:
            self._release()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reads_headers, self._header_bytes = True, 0

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._reads_headers = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._reads_headers:
            self._header_bytes += len(data)
            if self._header_bytes > _MAX_HEADER_BYTES and not self.transport.is_closing():
                self.transport.write(_HEADERS_TOO_LARGE)
                self.transport.close()

    def handle_websocket_upgrade(self, *event: Any) -> None:
        super().handle_websocket_upgrade(*event)
        # The transport reports the loss of the connection only to its new protocol.
        protocol = self.transport.get_protocol()
        if isinstance(protocol, WebSocketProtocol) and self._release is not None:
            protocol.release_connection = self._release

    def _should_upgrade_to_ws(self) -> bool:
        return not self._is_refused and super()._should_upgrade_to_ws()

    def _unsupported_upgrade_warning(self) -> None:
        if not self._is_refused:
            super()._unsupported_upgrade_warning()

    def shutdown(self) -> None:
        """Close the connection once it has been idle for _IDLE_CLOSE_DELAY.

        Its client may have sent a request that is not read yet. That request is still answered, with
        `Connection: close`.
        """
        cycle: RequestResponseCycle | None = self.cycle  # of the last request, if there was one
        if cycle is not None and not cycle.response_complete:
            super().shutdown()
            return
        idle_since = self.loop.time()
        if self.timeout_keep_alive_task is not None:
            idle_since = self.timeout_keep_alive_task.when() - self.timeout_keep_alive
        self.loop.call_at(idle_since + _IDLE_CLOSE_DELAY.total_seconds(), super().shutdown)


def _limit_unsent_bytes(opened: socket.socket) -> None:
    with suppress(AttributeError, OSError):  # not on all systems, nor for Unix sockets
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MAX_UNSENT_BYTES)
