"""Name resolution and connections: every address of a name is checked before one is dialled."""

import asyncio
import errno
import select
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeAlias

import httpcore2

from app.domain.outbound_rules import IPAddress, OutboundRules
from app.outbound.errors import OutboundError, OutboundFailure

Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""Function that returns the IP addresses of a name; raises OSError if it has none."""

Dial: TypeAlias = Callable[[str, int, float | None], Awaitable[httpcore2.AsyncNetworkStream]]
"""Function that connects to an IP address and port within a number of seconds."""

GetAddressInfo: TypeAlias = Callable[..., Sequence[tuple[Any, ...]]]
"""Function with the parameters and the result of `socket.getaddrinfo`."""

_MAX_DIALLED_ADDRESSES = 4

_LOCAL_ERRORS = {
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EADDRNOTAVAIL,  # no free port
}
"""Errors of a lookup or connection for which its server is not the reason."""

_RESOLVER_THREADS = 128
"""Names that are resolved concurrently. A name whose servers are dead occupies a thread for seconds."""

_resolver_threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="resolver")
"""Threads of their own: uvloop's resolver has only four, and the loop's executor has other work."""


async def resolve_name(host: str) -> Sequence[str]:
    """Return the addresses of a name in the order of preference, RFC 6724; raises OSError if it has none."""
    return await asyncio.get_running_loop().run_in_executor(
        _resolver_threads, look_up_addresses, host, socket.getaddrinfo
    )


def look_up_addresses(host: str, getaddrinfo: GetAddressInfo) -> Sequence[str]:
    """Return the addresses of a name, as `resolve_name` does, in the calling thread.

    A source of names in nsswitch.conf that cannot open a file or socket may report that there is no such
    name, as mdns4_minimal does. So a name is unknown only if a socket can be opened after the lookup.
    """
    try:
        infos = getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
        raise
    return [str(info[4][0]) for info in infos]


async def dial_tcp(address: str, port: int, seconds: float | None) -> httpcore2.AsyncNetworkStream:
    """Connect to an IP address."""
    return await httpcore2.AnyIOBackend().connect_tcp(address, port, seconds)


class CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """Network of the connection pool. It connects to addresses that the rules allow.

    The check and the connection use the same addresses, so that a name which resolves differently in
    between has no effect. TLS and the Host header still use the name.
    """

    def __init__(self, rules: OutboundRules, resolve: Resolve, dial: Dial) -> None:
        self._rules = rules
        self._resolve = resolve
        self._dial = dial
        self._lookups: dict[str, asyncio.Future[Sequence[str]]] = {}
        """Running lookups: all connections to a host share one, which occupies one thread."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's parameters
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that accepts. Raises OutboundError."""
        addresses = (await self._checked_addresses(host))[:_MAX_DIALLED_ADDRESSES]
        share = None if timeout is None else timeout / len(addresses)
        for address in addresses:
            try:
                return _RequestStream(await self._dial(str(address), port, share))
            except httpcore2.ConnectTimeout:
                continue
            except httpcore2.ConnectError as error:
                _check_not_local(error)
        raise OutboundError(
            OutboundFailure.CONNECTION_FAILED,
            f"{host} refused the connection to port {port}, or cannot be reached. Check that the server is"
            " running, and that its firewall allows connections from this service.",
        )

    async def _checked_addresses(self, host: str) -> Sequence[IPAddress]:
        """Return the addresses of a host; raises OutboundError unless the rules allow all of them."""
        try:
            addresses = [ip_address(host)]
        except ValueError:
            addresses = [ip_address(text) for text in await self._resolved(host)]
        if not all(map(self._rules.allows_address, addresses)):
            raise OutboundError(
                OutboundFailure.ADDRESS_NOT_ALLOWED,
                f"{host} has an address that is not public. Use a public host, or ask the operator of this"
                " server to allow its network in OUTBOUND_ALLOWED_NETWORKS.",
            )
        return addresses

    def cancel_lookups(self) -> None:
        """Cancel all running lookups."""
        for lookup in self._lookups.values():
            lookup.cancel()

    def _remove_lookup(self, host: str, lookup: asyncio.Future[Sequence[str]]) -> None:
        del self._lookups[host]
        if not lookup.cancelled():
            lookup.exception()  # retrieved, if no connection waits for it any longer

    async def _resolved(self, host: str) -> Sequence[str]:
        lookup = self._lookups.get(host)
        if lookup is None:
            lookup = asyncio.ensure_future(self._resolve(host))
            self._lookups[host] = lookup
            lookup.add_done_callback(partial(self._remove_lookup, host))
        try:
            # A connection that gives up does not cancel the lookup, which others share.
            if addresses := await asyncio.shield(lookup):
                return addresses
        except (OSError, UnicodeError) as error:
            _check_not_local(error)
        raise OutboundError(
            OutboundFailure.NAME_NOT_RESOLVED,
            f"The name {host} could not be resolved. Check its spelling and its DNS records.",
        )


class _RequestStream(httpcore2.AsyncNetworkStream):
    """Stream that sends the head and the body of a request together, right before it reads.

    The library writes them separately, which doubles the packets and the wake-ups of the receiver.
    """

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._socket: socket.socket | None = stream.get_extra_info("socket")
        self._buffer: list[bytes] = []

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        self._buffer.append(buffer)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if self._buffer:
            data = b"".join(self._buffer)
            self._buffer.clear()
            # The server may have responded before it closed the connection.
            with suppress(httpcore2.WriteError):
                await self._stream.write(data, timeout)
        return await self._stream.read(max_bytes, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's parameter
    ) -> httpcore2.AsyncNetworkStream:
        """Start TLS and check the certificate. Raises OutboundError."""
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except httpcore2.ConnectError as error:
            raise _tls_error(server_hostname, error.__cause__) from None
        except asyncio.CancelledError:
            await self._stream.aclose()  # the library closes it after other exceptions only
            raise
        return _RequestStream(stream)

    def get_extra_info(self, info: str) -> Any:
        # Before each request, the pool asks all idle connections whether the server has closed them. The
        # library reads all attributes of the socket to answer, a tenth of the CPU time of a delivery.
        if info == "is_readable" and self._socket is not None and sys.platform != "win32":
            return _is_readable(self._socket.fileno())
        return self._stream.get_extra_info(info)


def _check_not_local(error: BaseException) -> None:
    """Raise OutboundError if an error has its cause in this process; libraries wrap the socket's error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _LOCAL_ERRORS:
            raise OutboundError(
                OutboundFailure.NO_FREE_SOCKET,
                "This service has no free sockets. Its operator can raise the limit of open files.",
            ) from error
        cause = cause.__cause__


def _is_readable(descriptor: int) -> bool:
    """Return whether a read of a socket returns immediately; a closed socket has no descriptor."""
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _tls_error(host: str | None, cause: BaseException | None) -> OutboundError:
    detail = (
        f"its certificate is not valid ({cause.verify_message.rstrip('.')}). Install one of a public"
        " authority for this host"
        if isinstance(cause, ssl.SSLCertVerificationError)
        else "the port may not use TLS, or only an old version. Check the port and the server's TLS settings"
    )
    return OutboundError(
        OutboundFailure.TLS_FAILED, f"No TLS connection to {host} could be opened: {detail}."
    )
