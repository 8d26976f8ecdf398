"""TCP proxy in front of PostgreSQL that counts round trips, and can silence connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy import URL, make_url


@dataclass(slots=True)
class TcpProxy:
    """Forwards connections from `url` to `server`."""

    server: URL
    url: URL = field(init=False)
    is_silent: bool = False
    """True while the data of connections that are opened now are dropped, too."""
    round_trips: int = 0
    """Number of times that the client waited for the server, on all connections."""
    _client_waits: bool = False
    _connections: set[int] = field(default_factory=set)
    _silenced: set[int] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)
    """Writers of both sides of all connections."""

    def silence(self) -> None:
        """Drop all further data of the open connections; later ones work unless `is_silent`."""
        self._silenced |= self._connections

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._tasks.add(asyncio.create_task(self._handle_connection(reader, writer)))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        await asyncio.gather(
            *(writer.wait_closed() for writer in self._writers), return_exceptions=True
        )

    async def _handle_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host = str(self.server.host or self.server.query["host"])
        port = self.server.port or 5432
        if host.startswith("/"):
            server_reader, server_writer = await asyncio.open_unix_connection(
                f"{host}/.s.PGSQL.{port}"
            )
        else:
            server_reader, server_writer = await asyncio.open_connection(host, port)
        self._writers.append(server_writer)
        connection = id(writer)
        self._connections.add(connection)
        if self.is_silent:
            self._silenced.add(connection)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, server_writer, connection, is_client=True))
                group.create_task(self._forward(server_reader, writer, connection, is_client=False))
        finally:
            self._connections.discard(connection)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        connection: int,
        *,
        is_client: bool,
    ) -> None:
        try:
            while data := await reader.read(1 << 16):
                self.round_trips += is_client and not self._client_waits
                self._client_waits = is_client
                if connection not in self._silenced:
                    writer.write(data)
        finally:
            writer.close()


@asynccontextmanager
async def tcp_proxy(database_url: str) -> AsyncIterator[TcpProxy]:
    """Start a proxy in front of the server of this URL."""
    proxy = TcpProxy(make_url(database_url))
    listener = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    proxy.url = proxy.server.set(host="127.0.0.1", port=port, query={})
    async with listener:
        try:
            yield proxy
        finally:
            await proxy.close()
