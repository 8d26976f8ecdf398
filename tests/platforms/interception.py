"""HTTP server in front of a platform's that can answer in its place."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field

from tests.outbound.local_servers import local_server, read_request
from tests.platform_servers.fault_proxy import RequestFilter


@dataclass(frozen=True, slots=True)
class Interception:
    """What happens to a request that publishes."""

    answer: Callable[[bytes], bytes]
    """Returns what the client receives for its request."""
    is_delivered: bool
    """True if the platform receives the request."""


@dataclass
class InterceptingServer:
    """Forwards all requests, apart from those that publish while there is an interception."""

    platform_port: int
    is_publishing: RequestFilter
    url: str = ""
    interception: Interception | None = None
    publishing_requests: list[bytes] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until one is intercepted; then the connection is closed."""
        while True:
            request = await read_request(reader)
            interception = self._interception(request)
            if interception is None or interception.is_delivered:
                answer = await self.deliver(request)
            writer.write(answer if interception is None else interception.answer(request))
            await writer.drain()
            if interception is not None:
                return

    def _interception(self, request: bytes) -> Interception | None:
        method, target, _ = request.decode("latin-1").split(" ", 2)
        if not self.is_publishing(method, target.partition("?")[0]):
            return None
        self.publishing_requests.append(request)
        return self.interception

    async def deliver(self, request: bytes) -> bytes:
        """Send a request to the platform; return everything that it answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.platform_port)
        with closing(writer):
            writer.write(request)
            writer.write_eof()  # so that the platform closes the connection
            return await reader.read()


@asynccontextmanager
async def intercepting_server(
    platform_port: int, is_publishing: RequestFilter
) -> AsyncIterator[InterceptingServer]:
    interceptor = InterceptingServer(platform_port, is_publishing)
    async with local_server(interceptor.handle) as server:
        interceptor.url = server.url("")
        yield interceptor
