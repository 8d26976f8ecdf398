"""Pool of processes with many subscriber connections, controlled by the measuring process."""

import asyncio
import multiprocessing
import resource
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, cycle, islice
from multiprocessing.connection import Connection as Pipe
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import uvloop

from tests.bench import linux_processes
from tests.subscriptions.subscriber_connections import (
    ReceivedChanges,
    SSEConnection,
    SubscriptionLog,
    WebSocketConnection,
)

_CONCURRENT_CONNECTS = 20
"""Concurrent connects of a process; with more, the server would reject some."""
_POLL_INTERVAL = 0.02
_GRACE = 0.5
"""Seconds in which duplicates would still arrive."""

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])

Cursors = Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberPlan:
    """What the subscribers connect to."""

    url: str
    token: str
    connections: int
    subscriptions_per_connection: int
    use_sse: bool
    """Use server-sent events, with one subscription per connection, instead of WebSockets."""
    timeout: float
    """Longest time in seconds until a change reaches all subscribers."""


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """All changes that the subscriptions of one process received."""

    start_cursors: Cursors
    """Cursor after which each subscription started."""
    received: Sequence[ReceivedChanges]
    """Received changes of each subscription."""
    change_cursors: Cursors
    """Cursors of the changes, by index."""


class SubscriberPool:
    """Context manager that runs the processes.

    The subscriptions start after the given cursors in rotation, as if clients had connected over time.
    """

    def __init__(self, plan: SubscriberPlan, start_cursors: Cursors, processes: int) -> None:
        self._timeout = plan.timeout
        self._pipes: list[Pipe] = []
        rotation = cycle(start_cursors)
        connections = [
            list(islice(rotation, plan.subscriptions_per_connection))
            for _ in range(plan.connections)
        ]
        self._processes = []
        for number in range(processes):
            pipe, process_pipe = _processes.Pipe()
            arguments = (plan, connections[number::processes], process_pipe)
            process = _processes.Process(target=_run_process, args=arguments, daemon=True)
            process.start()
            process_pipe.close()
            self._pipes.append(pipe)
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    async def wait_for_cursor(self, cursor: str) -> None:
        """Wait until all subscriptions received a change; the first call also waits for all connections."""
        for problems in await self._request_all(cursor):
            assert not problems, problems[:3]

    async def finish(self) -> list[ProcessReport]:
        """End the processes and return their reports."""
        return await self._request_all(None)

    def cpu_seconds(self) -> list[float]:
        """CPU time of each process in seconds."""
        return [
            linux_processes.cpu_seconds(process.pid)
            for process in self._processes
            if process.pid is not None
        ]

    async def _request_all(self, cursor: str | None) -> list[Any]:
        """Send a request to each process and return the responses; EOFError if a process has ended."""
        for pipe in self._pipes:
            pipe.send(cursor)
        return await asyncio.gather(*(asyncio.to_thread(self._receive, p) for p in self._pipes))

    def _receive(self, pipe: Pipe) -> Any:
        # Twice the timeout, because opening the connections takes time too.
        assert pipe.poll(2 * self._timeout), "a subscriber process does not respond"
        return pipe.recv()


def raise_fd_limit(count: int) -> None:
    """Raise the limit of open files of this process and its later children; an error if not permitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft not in range(count):
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count if hard in range(count) else hard))


def _run_process(plan: SubscriberPlan, connections: Sequence[Cursors], pipe: Pipe) -> None:
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError):  # the measuring process has ended
        uvloop.run(_serve_requests(plan, connections, pipe))


async def _serve_requests(
    plan: SubscriberPlan, connections: Sequence[Cursors], requests: Pipe
) -> None:
    """Respond to a cursor with the problems so far, once all received it, and to None with the report."""
    log = SubscriptionLog(len(connections) * plan.subscriptions_per_connection)
    transports = await _open_connections(plan, connections, log)
    while cursor := await asyncio.to_thread(requests.recv):
        ends_at = time.monotonic() + plan.timeout
        while not log.have_all_received(cursor) and time.monotonic() < ends_at:
            if log.problems:
                break
            await asyncio.sleep(_POLL_INTERVAL)
        requests.send(log.problems)
    await asyncio.sleep(_GRACE)
    cursors = [cursor.decode() for cursor in log.cursor_indexes]
    requests.send(ProcessReport(list(chain(*connections)), log.received, cursors))
    for transport in transports:
        transport.close()


async def _open_connections(
    plan: SubscriberPlan, connections: Sequence[Cursors], log: SubscriptionLog
) -> list[asyncio.BaseTransport]:
    connection_class = SSEConnection if plan.use_sse else WebSocketConnection
    server = urlsplit(plan.url)
    limiter = asyncio.Semaphore(_CONCURRENT_CONNECTS)

    async def open_connection(number: int, start_cursors: Cursors) -> asyncio.BaseTransport:
        async with limiter:
            transport, connection = await asyncio.get_running_loop().create_connection(
                lambda: connection_class(
                    log,
                    plan.url,
                    plan.token,
                    number * plan.subscriptions_per_connection,
                    start_cursors,
                ),
                server.hostname or "",
                server.port or 0,
            )
            await connection.ready
        return transport

    return await asyncio.gather(
        *(open_connection(number, cursors) for number, cursors in enumerate(connections))
    )
