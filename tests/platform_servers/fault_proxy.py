"""HTTP proxy on loopback that injects random faults into chosen requests."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias

_DELIVERY_SECONDS = 60
"""Limit of the deliveries at the end; a client that does not close its connections exceeds it."""


class Fault(StrEnum):
    """Fault of one request. The client has no complete response, except after `DELAYED` and `REPEATED`."""

    REQUEST_DROPPED = "request dropped"
    """The server never receives the request."""
    RESPONSE_DROPPED = "response dropped"
    """The server responds, but the proxy closes the connection without a response."""
    RESPONSE_CUT = "response cut"
    """The client receives only the beginning of the response."""
    DELAYED = "delayed"
    """The server receives the request after a random delay, even if the client has given up by then."""
    DELIVERED_LATE = "delivered late"
    """The server receives the request at a random delay after the client has closed its connection."""
    REPEATED = "repeated"
    """The server receives the request twice, and the client the first response."""

    @property
    def has_response(self) -> bool:
        """True if the client receives the complete response."""
        return self in (Fault.DELAYED, Fault.REPEATED)


RequestFilter: TypeAlias = Callable[[str, str], bool]
"""Function of method and path; it returns true for requests that may have a fault."""
Sleep: TypeAlias = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """The requests that may have a fault, and the random choice of faults."""

    seed: int
    """The same seed gives the same faults in the order in which these requests arrive."""
    may_fail: RequestFilter
    rate: float
    """Probability of a fault, from 0 to 1."""
    faults: Sequence[Fault] = tuple(each for each in Fault if each is not Fault.REPEATED)
    """By default, those after which an adapter may have to look the post up."""
    max_delay: timedelta = timedelta(seconds=0.3)
    max_exchanges: int = 100
    """Requests that the server has to answer at a time; further ones wait in the proxy."""


class FaultProxy:
    """Forwards requests to a server on loopback, each on a connection of its own."""

    port: int

    def __init__(self, server_port: int, plan: FaultPlan, sleep: Sleep) -> None:
        self._server_port = server_port
        self._plan = plan
        self._sleep = sleep
        self._random = random.Random(plan.seed)
        self._tasks: list[asyncio.Task[None]] = []
        self._exchanges = asyncio.Semaphore(plan.max_exchanges)
        self.requests: Counter[Fault | None] = Counter()
        """Number of requests by fault; None for those that were forwarded without a fault."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.create_task(self._handle_connection(reader, writer)))

    async def wait_for_deliveries(self) -> None:
        """Wait until the server has responded to every request that is not dropped.

        A request that is delivered late waits for its client to close the connection.
        """
        await asyncio.gather(*self._tasks)

    async def cancel_deliveries(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _handle_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # Client and server may close their connections at any time.
        with suppress(ConnectionError, asyncio.IncompleteReadError), closing(writer):
            request = await _read_request(reader)
            writer.write(await self._respond(request, reader))
            await writer.drain()

    async def _respond(self, request: bytes, client: asyncio.StreamReader) -> bytes:
        """Return the bytes that the client receives."""
        fault, delay, cut_at = self._draw(request)
        self.requests[fault] += 1
        if fault is Fault.REQUEST_DROPPED:
            return b""
        if fault is Fault.DELIVERED_LATE:
            with suppress(ConnectionError):
                await client.read()  # until the client closes the connection
        if fault in (Fault.DELAYED, Fault.DELIVERED_LATE):
            await self._sleep(delay)
        response = await self._exchange(request)
        if fault is Fault.RESPONSE_CUT:
            return response[: int(cut_at * len(response))]
        if fault is Fault.REPEATED:
            await self._exchange(request)
        return response if fault is None or fault.has_response else b""

    def _draw(self, request: bytes) -> tuple[Fault | None, float, float]:
        """Return the fault of a request, its delay in seconds, and the share of a cut response.

        Requests that cannot fail use no random numbers, because their number may depend on timing.
        """
        method, target, _ = request.decode("latin-1").split(" ", 2)
        if not self._plan.may_fail(method, target.partition("?")[0]):
            return None, 0, 1
        has_fault = self._random.random() < self._plan.rate
        fault = self._random.choice(self._plan.faults)
        delay = self._random.uniform(0, self._plan.max_delay.total_seconds())
        return fault if has_fault else None, delay, self._random.random()

    async def _exchange(self, request: bytes) -> bytes:
        """Send a request to the server, and return everything that it responds."""
        async with self._exchanges:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._server_port)
            with closing(writer):
                writer.write(_without_keep_alive(request))
                return _without_keep_alive(await reader.read())


@asynccontextmanager
async def fault_proxy(
    server_port: int, plan: FaultPlan, *, port: int = 0, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[FaultProxy]:
    """Start a proxy on a port, by default an unused one; wait for all deliveries at the end.

    After an exception, deliveries are cancelled.
    """
    proxy = FaultProxy(server_port, plan, sleep)
    listener = await asyncio.start_server(proxy.accept, "127.0.0.1", port)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
        async with asyncio.timeout(_DELIVERY_SECONDS):
            await proxy.wait_for_deliveries()
    finally:
        listener.close()
        await proxy.cancel_deliveries()


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    """Read a request, whose body has a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    _, found, length = head.lower().partition(b"\r\ncontent-length:")
    return head + (await reader.readexactly(int(length.split()[0])) if found else b"")


def _without_keep_alive(message: bytes) -> bytes:
    """Return the message with `Connection: close`, so that its end is that of the connection."""
    head, separator, body = message.partition(b"\r\n\r\n")
    if not separator:
        return message
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close", b"", body])
