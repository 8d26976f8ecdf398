"""Servers that are killed and a PostgreSQL that is restarted, each found again where it was. No tests."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeAlias

import asyncpg
from sqlalchemy import make_url

from tests import postgres
from tests.servers import ServerProcess

MAX_DOWNTIME_SECONDS = 2.0
"""Seconds, of a PostgreSQL that is restarted."""

Outage: TypeAlias = Callable[[], None]
"""It is over when this returns."""


class ServerGroup:
    """So many processes on one database. Whoever starts them ends them."""

    def __init__(self, folder: Path, database_url: str, count: int) -> None:
        self._folder = folder
        ports = [_reserve_port() for _ in range(count)]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self._settings = [
            {"DATABASE_URL": database_url, "RATE_LIMIT": "off", "PORT": str(port)} for port in ports
        ]
        self._running: dict[int, ServerProcess] = {}

    def start(self) -> None:
        for number in range(len(self.urls)):
            self._start(number)

    def restart_killed(self, number: int) -> None:
        self._running[number].kill()
        self._start(number)

    def stop(self) -> None:
        for each in self._running.values():
            each.stop()

    def end(self) -> None:
        for each in self._running.values():
            each.kill()

    def _start(self, number: int) -> None:
        self._running[number] = ServerProcess(self._folder, self._settings[number])
        self._running[number].wait_until_ready()


@dataclass(frozen=True, slots=True)
class RestartedDatabase:
    """An empty one, and what may be done to it."""

    url: str
    restarts: Sequence[Outage]


@contextmanager
def restarted_postgresql(restarts: int, randomness: Random) -> Iterator[RestartedDatabase]:
    with postgres.local_server() as server, postgres.new_database(server.url) as url:
        yield RestartedDatabase(
            url,
            [
                partial(
                    _restart,
                    server,
                    randomness.choice((_fast_shutdown, _immediate_shutdown)),
                    randomness.uniform(0, MAX_DOWNTIME_SECONDS),
                )
                for _ in range(restarts)
            ],
        )


def _restart(
    server: postgres.LocalServer, stop: Callable[[postgres.LocalServer], None], seconds: float
) -> None:
    stop(server)
    time.sleep(seconds)
    server.start()


def _fast_shutdown(server: postgres.LocalServer) -> None:
    """As its operator does: transactions are broken off, and clients are told."""
    server.stop()


def _immediate_shutdown(server: postgres.LocalServer) -> None:
    """As a crash does: it recovers at its start."""
    pid = int(Path(asyncio.run(_data_folder(server.url)), "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.02)


async def _data_folder(url: str) -> str:
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn)
    try:
        return str(await connection.fetchval("SHOW data_directory"))
    finally:
        await connection.close()


def _reserve_port() -> int:
    """The same for every start."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
