"""The faults, each as a function that runs a service and causes it."""

import asyncio
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import httpx
from sqlalchemy import make_url

from tests import postgres
from tests.bench.linux_processes import process_exists, process_tree
from tests.command_processes import CommandProcess, spawn
from tests.faults.client import is_ready
from tests.faults.connections import open_connections
from tests.faults.service import (
    FaultBench,
    NotRun,
    Service,
    filled,
    in_thread,
    require_root,
    small_disk,
)
from tests.flood import FLOODS, Flood, running_wrk
from tests.servers import ServerGroup
from tests.tcp_proxy import tcp_proxy

Cause: TypeAlias = Callable[[FaultBench], Awaitable[None]]

_DOWNTIME = 2
"""Seconds between the kill of PostgreSQL and its restart."""
_RESTARTS = 11
_REQUESTS = 10_000
_READERS = 8
"""Clients that read without a pause while servers restart."""
_SHUTDOWN_DELAY = 1
_HEALTH_CHECK_INTERVAL = 0.1
"""Seconds; servers that restart are noticed within SHUTDOWN_DELAY."""
_FILE_LIMIT = 564
"""Open files of a server, of which 500 are reserved."""
_SLOW_ACCOUNT = "slow 2s"
"""Sandbox account whose unfinished attempts a process with another clock can take for abandoned ones."""
_ONE_CLOCK = "all processes on SQLite are on one machine, with one clock"
_FAKETIME_PATTERN = "*/faketime/libfaketime.so.1"
"""Path of the library in /usr/lib on Debian and Ubuntu."""


async def database_killed(bench: FaultBench) -> None:
    """SIGKILL of all processes of PostgreSQL, which starts 2 s later. On SQLite, of the server."""
    if bench.is_sqlite:
        async with bench.database() as url, bench.service(url) as service:
            with service.fault(must_fail=True):
                service.servers[0].kill()
            await asyncio.to_thread(service.servers.start)
        return
    async with bench.postgresql() as (server, url), bench.service(url) as service:
        with service.fault(must_fail=True):
            main_pid = server.main_pid()
            for pid in process_tree(main_pid):
                os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(_DOWNTIME)
            # Until its parent has read its exit status, the main process seems to run: `start` does nothing.
            while process_exists(main_pid):  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.1)
            await asyncio.to_thread(server.start)


async def database_stopped(bench: FaultBench) -> None:
    """SIGSTOP of all processes of PostgreSQL for 20 s. On SQLite, another process has the write lock."""
    if bench.is_sqlite:
        async with bench.database() as url, bench.service(url) as service:
            with service.fault(), _write_lock(url):
                await asyncio.sleep(bench.seconds(20))
        return
    async with bench.postgresql() as (server, url), bench.service(url) as service:
        with service.fault(), _stopped(process_tree(server.main_pid())):
            await asyncio.sleep(bench.seconds(20))


async def network_silent(bench: FaultBench) -> None:
    """A network without packets between the service and PostgreSQL, for 60 s."""
    if bench.is_sqlite:
        raise NotRun("SQLite has no network")
    async with bench.database() as url, tcp_proxy(url) as proxy:
        network_url = proxy.url.render_as_string(hide_password=False)
        async with bench.service(url, network_url=network_url) as service:
            with service.fault():
                proxy.is_silent = True
                proxy.silence()
                await asyncio.sleep(bench.seconds(60))
                proxy.is_silent = False


async def disk_full(bench: FaultBench) -> None:
    """No space on the disk of the database until 10 s after a write failed."""
    with small_disk(bench.folder, 16 if bench.is_sqlite else 200) as disk:
        if bench.is_sqlite:
            async with bench.database(disk) as url, bench.service(url) as service:
                with service.fault(), filled(disk):
                    await service.until_a_failure()
                    await asyncio.sleep(bench.seconds(10))
            return
        async with bench.postgresql(disk) as (server, url), bench.service(url) as service:
            with service.fault():
                with filled(disk):
                    await service.until_a_failure()
                    await asyncio.sleep(bench.seconds(10))
                await asyncio.to_thread(server.start)  # it may have ended


async def read_only(bench: FaultBench) -> None:
    """A database that refuses writes for 10 s: an immutable file, or a standby that is promoted then."""
    if bench.is_sqlite:
        require_root("chattr")
        async with bench.database() as url, bench.service(url) as service:
            with service.fault(must_fail=True), _immutable_files(url):
                await asyncio.sleep(bench.seconds(10))
        return
    async with bench.postgresql() as (server, url), bench.service(url) as service:
        with service.fault(must_fail=True):
            await asyncio.to_thread(_restart_as_standby, server)
            await asyncio.sleep(bench.seconds(10))
            async with in_thread(postgres.script_runner(server.url)) as run:
                await asyncio.to_thread(run, "SELECT pg_promote()")


async def descriptors_exhausted(bench: FaultBench) -> None:
    """1,000 connections to a server that may open 564 files, and then no more than it has, for 10 s each."""
    async with bench.database() as url, bench.service(url, start=_spawn_with_few_files) as service:
        pid = service.servers[0].process.pid
        with service.fault():
            async with _many_connections(service, "idle", 1000):
                await asyncio.sleep(bench.seconds(10))
                _limit_files(pid, _count_files(pid))
                await asyncio.sleep(bench.seconds(10))
            _limit_files(pid, _FILE_LIMIT)


async def flood(kind: Flood, bench: FaultBench) -> None:
    """Requests of another client on 500 connections for 10 s, each sent as soon as there is a response."""
    if shutil.which("wrk") is None:
        raise NotRun("needs wrk")
    async with bench.database() as url, bench.service(url) as service:
        server = service.servers.urls[0]
        with service.fault():
            async with running_wrk(server, service.data, kind, bench.count(500)):
                await asyncio.sleep(bench.seconds(10))


async def slow_requests(kind: str, bench: FaultBench) -> None:
    """500 connections that send their headers or bodies at one byte per second, for 40 s."""
    async with bench.database() as url, bench.service(url) as service:
        with service.fault():
            async with _many_connections(service, kind, bench.count(500)):
                await asyncio.sleep(bench.seconds(40))


async def idle_websockets(bench: FaultBench) -> None:
    """2,000 authenticated WebSockets that send nothing, for 30 s."""
    async with bench.database() as url, bench.service(url) as service:
        with service.fault():
            wanted = bench.count(2000)
            async with _many_connections(service, "websockets", wanted) as opened:
                await asyncio.sleep(bench.seconds(30))
            if opened < wanted:
                service.result.problems.append(f"only {opened} WebSockets were opened")


async def rolling_restart(bench: FaultBench) -> None:
    """11 restarts of two servers behind a proxy that heeds `/readyz`, during 10,000 requests."""
    bench.result.requires_success = True
    async with httpx.AsyncClient() as http:
        ready = _ReadyServers(http)
        async with (
            bench.database() as url,
            bench.service(
                url,
                servers=2,
                readers=_READERS,
                urls=ready.rotation,
                SHUTDOWN_DELAY=str(_SHUTDOWN_DELAY),
            ) as service,
        ):
            with _background(ready.watch()), service.fault():
                for number in range(2 if bench.is_quick else _RESTARTS):
                    await asyncio.to_thread(service.servers.restart, number % 2)
                    await ready.wait_until_all_are_ready()
                await _wait_for_reads(service, bench.count(_REQUESTS))


async def processes_replaced(bench: FaultBench) -> None:
    """11 replacements of the processes of a server with WORKERS=2 by SIGHUP, during 10,000 requests."""
    bench.result.requires_success = True
    async with (
        bench.database() as url,
        bench.service(
            url,
            readers=_READERS,
            start=spawn,
            WORKERS="2",
            SHUTDOWN_DELAY=str(_SHUTDOWN_DELAY),
        ) as service,
    ):
        server = service.servers[0]
        await asyncio.to_thread(server.wait_for_starts, 2)
        with service.fault():
            for number in range(1, 2 if bench.is_quick else _RESTARTS + 1):
                server.process.send_signal(signal.SIGHUP)
                await asyncio.to_thread(server.wait_for_starts, 2 + 2 * number)
            await _wait_for_reads(service, bench.count(_REQUESTS))


async def worker_clock(offset: str, bench: FaultBench) -> None:
    """A second worker whose clock differs by 10 minutes, for 20 s."""
    if bench.is_sqlite:
        raise NotRun(_ONE_CLOCK)
    variables = _faketime(offset)
    async with (
        bench.database() as url,
        bench.service(url, sandbox_name=_SLOW_ACCOUNT) as service,
    ):
        with service.fault():
            worker = service.start_worker(spawn, variables)
            await asyncio.sleep(bench.seconds(20))
            await asyncio.to_thread(worker.stop)


async def server_clock(offset: str, bench: FaultBench) -> None:
    """One of two servers has a clock that differs by 10 minutes, for 20 s."""
    if bench.is_sqlite:
        raise NotRun(_ONE_CLOCK)
    variables = _faketime(offset)
    async with (
        bench.database() as url,
        bench.service(url, servers=2, sandbox_name=_SLOW_ACCOUNT, start=spawn) as service,
    ):
        with service.fault():
            await asyncio.to_thread(partial(service.servers.restart, 1, **variables))
            await asyncio.sleep(bench.seconds(20))
            await asyncio.to_thread(service.servers.restart, 1)


FAULTS: Mapping[str, tuple[str, Cause]] = MappingProxyType(
    {
        "killed": ("database killed", database_killed),
        "stopped": ("database stopped 20 s", database_stopped),
        "silent": ("network silent 60 s", network_silent),
        "disk-full": ("disk full", disk_full),
        "read-only": ("database read-only", read_only),
        "descriptors": ("descriptors exhausted", descriptors_exhausted),
        **{
            f"flood-{each.name.replace(' ', '-')}": (
                f"flood of 500, {each.name}",
                partial(flood, each),
            )
            for each in FLOODS
            if not each.is_limited
        },
        "slow-headers": ("500 slow headers", partial(slow_requests, "slow-headers")),
        "slow-bodies": ("500 slow bodies", partial(slow_requests, "slow-bodies")),
        "websockets": ("2,000 idle WebSockets", idle_websockets),
        "rolling-restart": ("11 rolling restarts", rolling_restart),
        "sighup": ("11 replacements by SIGHUP", processes_replaced),
        "worker-ahead": ("worker's clock +10 min", partial(worker_clock, "+600s")),
        "worker-behind": ("worker's clock -10 min", partial(worker_clock, "-600s")),
        "server-ahead": ("server's clock +10 min", partial(server_clock, "+600s")),
        "server-behind": ("server's clock -10 min", partial(server_clock, "-600s")),
    }
)
"""Title and cause of each fault, by the name on the command line."""


class _ReadyServers:
    """Round robin of the servers whose `/readyz` answers 200, as a proxy does it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._ready: dict[str, bool] = {}

    def rotation(self, servers: ServerGroup) -> Iterator[str]:
        """Yield the URLs of ready servers in rotation, without an end."""
        self._ready = dict.fromkeys(servers.urls, True)
        for number in count():
            urls = [url for url, ready in self._ready.items() if ready] or servers.urls
            yield urls[number % len(urls)]

    async def watch(self) -> None:
        while True:
            for url in list(self._ready):
                self._ready[url] = await is_ready(self._http, url)
            await asyncio.sleep(_HEALTH_CHECK_INTERVAL)

    async def wait_until_all_are_ready(self) -> None:
        while not all(self._ready.values()):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(_HEALTH_CHECK_INTERVAL)


@contextmanager
def _background(work: Awaitable[None]) -> Iterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()


async def _wait_for_reads(service: Service, number: int) -> None:
    while service.client.reads < number:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.1)


def _many_connections(service: Service, kind: str, number: int) -> AbstractAsyncContextManager[int]:
    server = service.servers.urls[0]
    return open_connections(kind, number, server, service.data.flood_token)


def _spawn_with_few_files(
    arguments: Sequence[str], environment: Mapping[str, str], out: Path, log: Path
) -> CommandProcess:
    process = spawn(arguments, environment, out, log)
    _limit_files(process.pid, _FILE_LIMIT)
    return process


def _limit_files(pid: int, limit: int) -> None:
    """Limit the open files of a process, which cannot raise it above `_FILE_LIMIT`."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, _FILE_LIMIT))


def _count_files(pid: int) -> int:
    return len([*Path(f"/proc/{pid}/fd").iterdir()])


@contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def _write_lock(url: str) -> Iterator[None]:
    with closing(sqlite3.connect(str(make_url(url).database), isolation_level=None)) as connection:
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def _immutable_files(url: str) -> Iterator[None]:
    database = str(make_url(url).database)
    files = (database, f"{database}-wal")
    subprocess.run(["chattr", "+i", *files], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *files], check=True)


def _restart_as_standby(server: postgres.LocalServer) -> None:
    server.stop()
    signal_file = server.data_folder / "standby.signal"
    signal_file.touch()
    shutil.chown(signal_file, server.data_folder.owner())
    server.start()


def _faketime(offset: str) -> dict[str, str]:
    """Environment of a process whose clock differs; its monotonic clock is right."""
    library = next(Path("/usr/lib").glob(_FAKETIME_PATTERN), None)
    if library is None:
        raise NotRun("needs libfaketime")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
