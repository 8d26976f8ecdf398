"""Client for single HTTP requests, each with a deadline and a limit on the size of its response."""

import asyncio
import ssl
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, partial
from types import TracebackType
from typing import Self

import httpcore2

from app.domain.errors import InvalidInput
from app.domain.outbound_rules import OutboundRules
from app.domain.validation.outbound_urls import (
    OutboundUrl,
    parse_outbound_url,
    validate_outbound_url,
)
from app.outbound.errors import OutboundError, OutboundFailure
from app.outbound.network import CheckedNetwork, Dial, Resolve, dial_tcp, resolve_name
from app.outbound.pools import KEEP_ALIVE, ConnectionPools

_MAX_IDLE_CONNECTIONS = 20
"""Each request polls every idle connection."""

_default_ssl_context = cache(httpcore2.default_ssl_context)
"""Loading the authorities of the operating system takes 13 ms."""

_RESERVED_HEADERS = {"host", "accept-encoding", "content-length", "transfer-encoding"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRequest:
    """A request to a URL that `validate_outbound_url` returned.

    Raises ValueError if the headers have one that the client adds.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    timeout: timedelta
    """Time for the whole exchange, from the resolution of the name to the end of the response."""
    max_response_bytes: int
    """Bytes of the response's body that are read, before the connection is closed."""
    pool_key: Hashable = None
    """Key of the pool of connections, such as the URL of a webhook. Pools do not delay each other."""
    count_bytes: Callable[[int], None] = lambda _count: None
    """Called with the size of each part of the response's body, which may never be complete."""

    def __post_init__(self) -> None:
        if reserved := _RESERVED_HEADERS.intersection(map(str.lower, self.headers)):
            raise ValueError(f"These headers are those of the client: {', '.join(reserved)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundResponse:
    """A response with any status; redirects are not followed."""

    status: int
    headers: Sequence[tuple[str, str]]
    """Names and values in the order of the response; the names are in lower case."""
    body: bytes
    """Bytes as they were sent: an encoding such as gzip, which was not requested, is not decoded."""
    is_truncated: bool
    """True if the body is longer than `max_response_bytes`."""


class OutboundClient:
    """Client with a pool of connections; it stores no cookies and reads no proxies from the environment.

    The number of concurrent requests is limited by the caller only, so that no request waits for another.
    """

    def __init__(
        self,
        rules: OutboundRules,
        *,
        resolve: Resolve = resolve_name,
        dial: Dial = dial_tcp,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Create a client; without `ssl_context` it trusts the authorities of the operating system."""
        self._rules = rules
        self._network = CheckedNetwork(rules, resolve, dial)
        make_pool = partial(
            httpcore2.AsyncConnectionPool,
            ssl_context=ssl_context or _default_ssl_context(),
            max_connections=None,
            max_keepalive_connections=_MAX_IDLE_CONNECTIONS,
            keepalive_expiry=KEEP_ALIVE.total_seconds(),
            network_backend=self._network,
        )
        self._pools = ConnectionPools(make_pool)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._network.cancel_lookups()
        await self._pools.aclose()

    def check_url(self, url: str, argument: str) -> None:
        """Raise InvalidInput for a URL to which the client would never send a request."""
        validate_outbound_url(url, argument, self._rules)

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        """Send a request once, and return its response; raises OutboundError if there is none.

        Raises ValueError for a method or header that HTTP does not allow.
        """
        try:
            url = parse_outbound_url(request.url, "url", self._rules)
        except InvalidInput as error:
            raise OutboundError(OutboundFailure.INVALID_URL, error.message) from None
        progress = _Progress()
        try:
            async with (
                asyncio.timeout(request.timeout.total_seconds()),
                self._pools.pool(request.pool_key) as pool,
            ):
                return await self._exchange(pool, request, url, progress)
        except (TimeoutError, httpcore2.TimeoutException):
            raise progress.timeout_error(url, request.timeout) from None
        # SSLError for a TLS alert after the handshake, which the library does not convert.
        except (httpcore2.NetworkError, httpcore2.RemoteProtocolError, ssl.SSLError) as error:
            raise progress.network_error(url, error) from None
        except httpcore2.LocalProtocolError:
            raise ValueError("The method or a header is not allowed in HTTP.") from None

    async def _exchange(
        self,
        pool: httpcore2.AsyncConnectionPool,
        request: OutboundRequest,
        url: OutboundUrl,
        progress: "_Progress",
    ) -> OutboundResponse:
        headers = {"Host": url.authority, "Accept-Encoding": "identity", **request.headers}
        if request.body is not None:
            headers["Content-Length"] = str(len(request.body))
        response = await pool.handle_async_request(
            httpcore2.Request(
                request.method,
                httpcore2.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target),
                headers=list(headers.items()),
                content=request.body,
                extensions={
                    "timeout": {"connect": request.timeout.total_seconds()},
                    "trace": progress.record,
                },
            )
        )
        try:
            body = await _read_body(response, request)
        finally:
            await response.aclose()
        return OutboundResponse(
            status=response.status,
            headers=[
                (name.decode("latin-1").lower(), value.decode("latin-1"))
                for name, value in response.headers
            ],
            body=bytes(body[: request.max_response_bytes]),
            is_truncated=len(body) > request.max_response_bytes,
        )


class _Progress:
    """Progress of one request, which determines the meaning of an error."""

    _has_sent = False

    async def record(self, event: str, _: Mapping[str, object]) -> None:
        """Record an event of the library's `trace` extension."""
        if event == "http11.send_request_headers.started":
            self._has_sent = True

    def timeout_error(self, url: OutboundUrl, timeout: timedelta) -> OutboundError:
        action = "complete its response" if self._has_sent else "accept a connection"
        return OutboundError(
            OutboundFailure.TIMEOUT,
            f"{url.host} did not {action} within {timeout.total_seconds():g} s. Make the server respond"
            " before it does longer work.",
            may_have_been_sent=self._has_sent,
        )

    def network_error(self, url: OutboundUrl, error: Exception) -> OutboundError:
        # The library has one class for invalid and for incomplete responses.
        is_closed = isinstance(error, httpcore2.NetworkError | ssl.SSLError) or any(
            text in str(error) for text in ("closed connection", "disconnected")
        )
        if is_closed:
            return OutboundError(
                OutboundFailure.CONNECTION_CLOSED,
                f"{url.host} closed the connection before its response was complete. Check the log of the"
                " server.",
                may_have_been_sent=self._has_sent,
            )
        return OutboundError(
            OutboundFailure.INVALID_RESPONSE,
            f"{url.host} sent a response that is not valid HTTP/1.1, or has more than 100 KiB of headers."
            " Check that the port belongs to an HTTP server.",
            may_have_been_sent=self._has_sent,
        )


async def _read_body(response: httpcore2.Response, request: OutboundRequest) -> bytearray:
    """Read a body until its end, or until it is longer than `max_response_bytes`."""
    body = bytearray()
    async with aclosing(response.aiter_stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            request.count_bytes(len(chunk))
            if len(body) > request.max_response_bytes:
                break
    return body
