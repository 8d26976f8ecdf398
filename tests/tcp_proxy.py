"""Lines to PostgreSQL on which nothing arrives any more, though nobody hangs up. Reads no messages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy import URL, make_url


@dataclass(slots=True)
class TcpProxy:
    """Between clients of `url` and the server; those that are open can be silenced, later ones are sound."""

    server: URL
    url: URL = field(init=False)
    _connections: set[int] = field(default_factory=set)
    _silenced: set[int] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def silence(self) -> None:
        self._silenced |= self._connections

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.create_task(self._handle_connection(reader, writer)))

    async def close(self) -> None:
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _handle_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host = str(self.server.host or self.server.query["host"])
        port = self.server.port or 5432
        if host.startswith("/"):
            beyond = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            beyond = await asyncio.open_connection(host, port)
        line = id(writer)
        self._connections.add(line)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, beyond[1], line))
                group.create_task(self._forward(beyond[0], writer, line))
        finally:
            self._connections.discard(line)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        try:
            while data := await reader.read(1 << 16):
                if connection not in self._silenced:
                    writer.write(data)
        finally:
            writer.close()


@asynccontextmanager
async def tcp_proxy(database_url: str) -> AsyncIterator[TcpProxy]:
    lines = TcpProxy(make_url(database_url))
    listening = await asyncio.start_server(lines.accept, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    lines.url = lines.server.set(host="127.0.0.1", port=port, query={})
    async with listening:
        try:
            yield lines
        finally:
            await lines.close()
