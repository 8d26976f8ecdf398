"""HTTP server in front of a platform's that can answer in its place."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.outbound.local_servers import local_server, read_request
from tests.platform_servers.fault_proxy import exchange

IsPublishing = Callable[[str, str], bool]
"""Function of method and path; true for the request that publishes a post."""


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
    is_publishing: IsPublishing
    url: str = ""
    interception: Interception | None = None
    publishing_requests: list[bytes] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and let the connection be closed."""
        request = await read_request(reader)
        writer.write(await self._answer(request))
        await writer.drain()

    async def _answer(self, request: bytes) -> bytes:
        method, target, _ = request.decode("latin-1").split(" ", 2)
        if not self.is_publishing(method, target.partition("?")[0]):
            return await exchange(self.platform_port, request)
        self.publishing_requests.append(request)
        if self.interception is None:
            return await exchange(self.platform_port, request)
        if self.interception.is_delivered:
            await exchange(self.platform_port, request)
        return self.interception.answer(request)


@asynccontextmanager
async def intercepting_server(
    platform_port: int, is_publishing: IsPublishing
) -> AsyncIterator[InterceptingServer]:
    interceptor = InterceptingServer(platform_port, is_publishing)
    async with local_server(interceptor.handle) as server:
        interceptor.url = server.url("")
        yield interceptor
