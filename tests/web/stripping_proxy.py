"""Helper of the board's tests: a proxy that removes the path prefix below which it serves a server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

_CHUNK_BYTES = 65_536


@asynccontextmanager
async def strip_prefix(server_url: str) -> AsyncIterator[str]:
    """Run a proxy in front of the server with this URL; yields the URL at the proxy, with the same path."""
    target = urlsplit(server_url)
    prefix = target.path.encode()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # the browser may leave
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, rest = head.split(b" ", 2)
            assert path.startswith(prefix)
            # One request for each connection, because only the first one is changed.
            rest = rest.replace(b"Connection: keep-alive", b"Connection: close")
            server_reader, server_writer = await asyncio.open_connection(
                target.hostname, target.port
            )
            server_writer.write(b" ".join((method, path.removeprefix(prefix) or b"/", rest)))
            await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))
        writer.close()

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}{target.path}"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy to the end of what one side sends, then close the connection to the other side."""
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
