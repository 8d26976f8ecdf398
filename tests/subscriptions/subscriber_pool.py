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
from tests.subscriptions.subscriber_connections import EventStream, Following, Seen, WebSocket

_OPENED_AT_ONCE = 20
"""Connections of a process: with more of them at the same moment, the server would refuse some."""
_LOOK_EVERY = 0.02
_GRACE = 0.5
"""Seconds in which whatever comes twice would come."""

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])

Cursors = Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the followers do."""

    url: str
    token: str
    connections: int
    each: int
    """Subscriptions of a connection."""
    as_events: bool
    """Server-sent events instead of WebSockets, which have one subscription each."""
    seconds: float
    """How long they wait for any one change."""


@dataclass(frozen=True, slots=True)
class Told:
    """All that one process was told."""

    after: Cursors
    """What each subscription began behind."""
    seen: Sequence[Seen]
    """By each subscription."""
    cursors: Cursors
    """Of the changes, by their places."""


class Crowd:
    """Within it, so many processes of followers are there.

    They begin behind these cursors in turn, as if they had come at different times.
    """

    def __init__(self, plan: Plan, after: Cursors, processes: int) -> None:
        self._seconds = plan.seconds
        self._pipes: list[Pipe] = []
        turns = cycle(after)
        connections = [list(islice(turns, plan.each)) for _ in range(plan.connections)]
        self._processes = []
        for number in range(processes):
            ours, theirs = _processes.Pipe()
            given = (plan, connections[number::processes], theirs)
            process = _processes.Process(target=_follow, args=given, daemon=True)
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

    async def have_seen(self, cursor: str) -> None:
        """Wait until all of them have, or the time is up; the first time, also until they are there."""
        for problems in await self._ask(cursor):
            assert not problems, problems[:3]

    async def leave(self) -> list[Told]:
        return await self._ask(None)

    def cpu_seconds(self) -> list[float]:
        """Of each process."""
        return [
            linux_processes.cpu_seconds(each.pid)
            for each in self._processes
            if each.pid is not None
        ]

    async def _ask(self, cursor: str | None) -> list[Any]:
        """All answers; EOFError where a process has ended."""
        for pipe in self._pipes:
            pipe.send(cursor)
        return await asyncio.gather(*(asyncio.to_thread(self._answer, p) for p in self._pipes))

    def _answer(self, pipe: Pipe) -> Any:
        # Twice the time, for to open so many takes some too.
        assert pipe.poll(2 * self._seconds), "the followers do not answer"
        return pipe.recv()


def allow_files(count: int) -> None:
    """For this process and those that it starts from now on; an error where there may not be as many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft not in range(count):
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count if hard in range(count) else hard))


def _follow(plan: Plan, connections: Sequence[Cursors], pipe: Pipe) -> None:
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError):  # as whoever asks has ended
        uvloop.run(_follow_until_told(plan, connections, pipe))


async def _follow_until_told(plan: Plan, connections: Sequence[Cursors], pipe: Pipe) -> None:
    """Answer each cursor with the problems until all have seen it, and None with all they have seen."""
    following = Following(len(connections) * plan.each)
    transports = await _opened(plan, connections, following)
    while cursor := await asyncio.to_thread(pipe.recv):
        ends_at = time.monotonic() + plan.seconds
        while not following.have_all_seen(cursor) and time.monotonic() < ends_at:
            if following.problems:
                break
            await asyncio.sleep(_LOOK_EVERY)
        pipe.send(following.problems)
    await asyncio.sleep(_GRACE)
    cursors = [each.decode() for each in following.places]
    pipe.send(Told(list(chain(*connections)), following.seen, cursors))
    for each in transports:
        each.close()


async def _opened(
    plan: Plan, connections: Sequence[Cursors], following: Following
) -> list[asyncio.BaseTransport]:
    kind = EventStream if plan.as_events else WebSocket
    server = urlsplit(plan.url)
    few = asyncio.Semaphore(_OPENED_AT_ONCE)

    async def opened(number: int, after: Cursors) -> asyncio.BaseTransport:
        async with few:
            transport, connection = await asyncio.get_running_loop().create_connection(
                lambda: kind(following, plan.url, plan.token, number * plan.each, after),
                server.hostname or "",
                server.port or 0,
            )
            await connection.begun
        return transport

    return await asyncio.gather(*(opened(*each) for each in enumerate(connections)))
