"""Lines to PostgreSQL on which nothing arrives any more, though nobody hangs up. Reads no messages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy import URL, make_url


@dataclass(slots=True)
class Lines:
    """Between clients of `url` and the server; those that are open can be silenced, later ones are sound."""

    server: URL
    url: URL = field(init=False)
    _open: set[int] = field(default_factory=set)
    _silent: set[int] = field(default_factory=set)
    _answering: set[asyncio.Task[None]] = field(default_factory=set)

    def silence(self) -> None:
        self._silent |= self._open

    def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._answering.add(asyncio.create_task(self._answer(reader, writer)))

    async def hang_up(self) -> None:
        for each in self._answering:
            each.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = str(self.server.host or self.server.query["host"])
        port = self.server.port or 5432
        if host.startswith("/"):
            beyond = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            beyond = await asyncio.open_connection(host, port)
        line = id(writer)
        self._open.add(line)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, beyond[1], line))
                group.create_task(self._pass_on(beyond[0], writer, line))
        finally:
            self._open.discard(line)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: int
    ) -> None:
        try:
            while data := await reader.read(1 << 16):
                if line not in self._silent:
                    writer.write(data)
        finally:
            writer.close()


@asynccontextmanager
async def lines_to(database_url: str) -> AsyncIterator[Lines]:
    lines = Lines(make_url(database_url))
    listening = await asyncio.start_server(lines.answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    lines.url = lines.server.set(host="127.0.0.1", port=port, query={})
    async with listening:
        try:
            yield lines
        finally:
            await lines.hang_up()
