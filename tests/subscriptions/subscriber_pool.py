"""Processes full of followers, as whoever measures starts and asks them. How they follow is in followers."""

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
from tests.subscriptions.subscriber_connections import SSEConnection, SubscriptionLog, ReceivedChanges, WebSocketConnection

_CONCURRENT_CONNECTS = 20
"""Connections of a process: with more of them at the same moment, the server would refuse some."""
_POLL_INTERVAL = 0.02
_GRACE = 0.5
"""Seconds in which whatever comes twice would come."""

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])

Cursors = Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberPlan:
    """What the followers do."""

    url: str
    token: str
    connections: int
    subscriptions_per_connection: int
    """Subscriptions of a connection."""
    use_sse: bool
    """Server-sent events instead of WebSockets, which have one subscription each."""
    timeout: float
    """How long they wait for any one change."""


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """All that one process was told."""

    start_cursors: Cursors
    """What each subscription began behind."""
    received: Sequence[ReceivedChanges]
    """By each subscription."""
    change_cursors: Cursors
    """Of the changes, by their places."""


class SubscriberPool:
    """Within it, so many processes of followers are there.

    They begin behind these cursors in turn, as if they had come at different times.
    """

    def __init__(self, plan: SubscriberPlan, start_cursors: Cursors, processes: int) -> None:
        self._seconds = plan.timeout
        self._pipes: list[Pipe] = []
        turns = cycle(start_cursors)
        connections = [list(islice(turns, plan.subscriptions_per_connection)) for _ in range(plan.connections)]
        self._processes = []
        for number in range(processes):
            ours, theirs = _processes.Pipe()
            given = (plan, connections[number::processes], theirs)
            process = _processes.Process(target=_run_process, args=given, daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for each in self._processes:
            each.kill()
            each.join()

    async def wait_for_cursor(self, cursor: str) -> None:
        """Wait until all of them have, or the time is up; the first time, also until they are there."""
        for problems in await self._request_all(cursor):
            assert not problems, problems[:3]

    async def finish(self) -> list[ProcessReport]:
        return await self._request_all(None)

    def cpu_seconds(self) -> list[float]:
        """Of each process."""
        return [
            linux_processes.cpu_seconds(each.pid)
            for each in self._processes
            if each.pid is not None
        ]

    async def _request_all(self, cursor: str | None) -> list[Any]:
        """All answers; EOFError where a process has ended."""
        for pipe in self._pipes:
            pipe.send(cursor)
        return await asyncio.gather(*(asyncio.to_thread(self._receive, p) for p in self._pipes))

    def _receive(self, pipe: Pipe) -> Any:
        # Twice the time, for to open so many takes some too.
        assert pipe.poll(2 * self._seconds), "the followers do not answer"
        return pipe.recv()


def raise_fd_limit(count: int) -> None:
    """For this process and those that it starts from now on; an error where there may not be as many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft not in range(count):
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count if hard in range(count) else hard))


def _run_process(plan: SubscriberPlan, connections: Sequence[Cursors], pipe: Pipe) -> None:
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError):  # as whoever asks has ended
        uvloop.run(_serve_requests(plan, connections, pipe))


async def _serve_requests(plan: SubscriberPlan, connections: Sequence[Cursors], requests: Pipe) -> None:
    """Answer each cursor with the problems until all have seen it, and None with all they have seen."""
    following = SubscriptionLog(len(connections) * plan.subscriptions_per_connection)
    transports = await _open_connections(plan, connections, following)
    while cursor := await asyncio.to_thread(requests.recv):
        ends_at = time.monotonic() + plan.timeout
        while not following.have_all_received(cursor) and time.monotonic() < ends_at:
            if following.problems:
                break
            await asyncio.sleep(_POLL_INTERVAL)
        requests.send(following.problems)
    await asyncio.sleep(_GRACE)
    cursors = [each.decode() for each in following.cursor_indexes]
    requests.send(ProcessReport(list(chain(*connections)), following.received, cursors))
    for each in transports:
        each.close()


async def _open_connections(
    plan: SubscriberPlan, connections: Sequence[Cursors], subscriptions: SubscriptionLog
) -> list[asyncio.BaseTransport]:
    kind = SSEConnection if plan.use_sse else WebSocketConnection
    server = urlsplit(plan.url)
    few = asyncio.Semaphore(_CONCURRENT_CONNECTS)

    async def opened(number: int, after: Cursors) -> asyncio.BaseTransport:
        async with few:
            transport, connection = await asyncio.get_running_loop().create_connection(
                lambda: kind(subscriptions, plan.url, plan.token, number * plan.subscriptions_per_connection, after),
                server.hostname or "",
                server.port or 0,
            )
            await connection.ready
        return transport

    return await asyncio.gather(*(opened(*each) for each in enumerate(connections)))
