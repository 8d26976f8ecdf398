"""Opens many connections that do little, until stdin ends: `python -m tests.faults.connections`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import MappingProxyType
from urllib.parse import urlsplit

import websockets

from tests.load_client import RequestFailed, open_graphql_socket
from tests.subscriptions.subscriber_pool import raise_fd_limit

_CONCURRENT_CONNECTS = 20
_RECONNECT_SECONDS = 1
_HEAD = "POST /graphql HTTP/1.1\r\nHost: slow\r\nAuthorization: Bearer {token}\r\n"
_BODY_HEADERS = "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


@asynccontextmanager
async def open_connections(kind: str, count: int, url: str, token: str) -> AsyncIterator[int]:
    """Keep connections open from another process; yields the number of those that were opened."""
    arguments = ("-m", __name__, kind, str(count), url, token)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            opened = int(await process.stdout.readline())
        yield opened
    finally:
        process.kill()
        await process.wait()


class _Opener:
    """Opens connections, and a new one for each that the server closes."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        self._limiter = asyncio.Semaphore(_CONCURRENT_CONNECTS)
        self.opened = self.attempts = 0

    async def hold(self, kind: str) -> None:
        while True:
            with suppress(OSError, EOFError, websockets.WebSocketException, RequestFailed):
                await KINDS[kind](self)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def idle(self) -> None:
        """Open a connection and send nothing."""
        reader, _ = await self._connect()
        await reader.read()

    async def slow_headers(self) -> None:
        await self._send_slowly(f"X-Slow: {'x' * 100_000}")

    async def slow_body(self) -> None:
        await self._send_slowly(_BODY_HEADERS, at_once=True)

    async def websocket(self) -> None:
        """Open an authenticated WebSocket, and answer its pings only."""
        async with AsyncExitStack() as stack:
            try:
                async with self._limiter:
                    socket = await stack.enter_async_context(
                        open_graphql_socket(self._url, self._token, compression=None)
                    )
                self.opened += 1
            finally:
                self.attempts += 1
            async for _ in socket:
                pass

    async def _send_slowly(self, text: str, *, at_once: bool = False) -> None:
        """Send the begin of a request, with the text at once or slowly, and then a byte per second."""
        reader, writer = await self._connect()
        head = _HEAD.format(token=self._token)
        writer.write(f"{head}{text if at_once else ''}".encode())
        for byte in " " * 100_000 if at_once else text:
            writer.write(byte.encode())
            await writer.drain()
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await reader.read()
                    return  # closed by the server

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = urlsplit(self._url)
        try:
            async with self._limiter:
                streams = await asyncio.open_connection(address.hostname, address.port)
        finally:
            self.attempts += 1
        self.opened += 1
        return streams


KINDS: Mapping[str, Callable[[_Opener], Awaitable[None]]] = MappingProxyType(
    {
        "idle": _Opener.idle,
        "slow-headers": _Opener.slow_headers,
        "slow-bodies": _Opener.slow_body,
        "websockets": _Opener.websocket,
    }
)


async def _open(kind: str, count: int, url: str, token: str) -> None:
    opener = _Opener(url, token)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(opener.hold(kind))
        while opener.attempts < count:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.05)
        print(opener.opened, flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.read)
        raise SystemExit


if __name__ == "__main__":
    raise_fd_limit(int(sys.argv[2]) + 500)
    asyncio.run(_open(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
