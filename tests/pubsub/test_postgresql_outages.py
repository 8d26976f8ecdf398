"""Wake-ups while PostgreSQL is away or silent: nobody waits for it, and afterwards everybody is woken."""

import asyncio
import socket
import time
from collections.abc import Callable, MutableMapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import make_url
from structlog.testing import capture_logs

from app.domain.ids import WorkspaceId
from app.pubsub.postgresql import PARTING, PostgreSQLWakeUps
from tests import postgres
from tests.db.silence import Lines, lines_to
from tests.pubsub.listening import listening, wake_ups_of
from tests.pubsub.psql import Options, Psql, options_for
from tests.pubsub.woken import SECONDS, Woken

FIRST, SECOND = (WorkspaceId(UUID(int=number)) for number in (1, 2))

LOST, FOUND = ("warning", "no wake-ups arrive; trying again"), ("info", "wake-ups arrive again")

SOON = timedelta(milliseconds=100)
QUICKLY = PARTING.total_seconds() / 2


async def test_a_connection_that_was_killed_is_replaced(url: str, psql: Psql) -> None:
    a, b = wake_ups_of(url, "killed"), wake_ups_of(url)
    with capture_logs() as logs:
        async with listening(a) as by_a, listening(b) as by_b:
            for _ in range(3):
                await psql.kill("killed")
                assert await by_a.by() is None
                await each_wakes_the_other(a, by_a, b, by_b)
            assert (by_a.so_far(), by_b.so_far()) == ([], [])
    assert said(logs) == [LOST, FOUND] * 3
    await psql.until_gone("killed")


async def test_a_server_that_is_restarted_is_found_again() -> None:
    with postgres.own_server() as server, capture_logs() as logs:
        a, b = wake_ups_of(server.url), wake_ups_of(server.url)
        async with listening(a) as by_a, listening(b) as by_b:
            await asyncio.to_thread(server.stop)
            await eventually(lambda: said(logs) == [LOST, LOST])
            await asyncio.to_thread(server.start)
            assert [await by_a.by(), await by_b.by()] == [None, None]
            await each_wakes_the_other(a, by_a, b, by_b)
    assert said(logs) == [LOST, LOST, FOUND, FOUND]


async def test_it_starts_without_a_server_and_finds_it_later(url: str) -> None:
    port, lines = closed_port(), Lines(make_url(url))
    a, b = PostgreSQLWakeUps(on_port(port, url)), wake_ups_of(url)
    by_a = Woken()
    with capture_logs() as logs:
        async with listening(b) as by_b, a.running(by_a):
            a.tell(FIRST)
            assert by_a.so_far() == [FIRST]
            await eventually(lambda: said(logs) == [LOST])
            async with await asyncio.start_server(lines.answer, "127.0.0.1", port):
                assert await by_a.by() is None
                assert await by_b.by() == FIRST
                b.tell(SECOND)
                assert await by_a.by() == SECOND
        await lines.hang_up()
    assert said(logs) == [LOST, FOUND]


async def test_a_connection_that_has_gone_silent_is_replaced(url: str) -> None:
    b = wake_ups_of(url)
    async with lines_to(url) as lines, listening(b) as by_b:
        a = impatient(lines)
        with capture_logs() as logs:
            async with listening(a) as by_a:
                await each_wakes_the_other(a, by_a, b, by_b)
                lines.silence()
                a.tell(FIRST)
                assert [await by_a.by() for _ in range(2)] == [FIRST, None]
                assert await by_b.by() == FIRST
                await each_wakes_the_other(a, by_a, b, by_b)
                lines.silence()  # and this time nobody says anything
                assert await by_a.by() is None
                await each_wakes_the_other(a, by_a, b, by_b)
        assert said(logs) == [LOST, FOUND] * 2


async def test_a_connection_on_which_nothing_happens_is_kept(url: str, psql: Psql) -> None:
    with capture_logs() as logs:
        async with lines_to(url) as lines, listening(impatient(lines)) as by_a:
            before = await psql.processes("impatient")
            await asyncio.sleep(5 * SOON.total_seconds())
            assert await psql.processes("impatient") == before
            assert by_a.so_far() == []
    assert (len(before), said(logs)) == (1, [])


async def test_it_ends_at_once_while_nobody_is_there(url: str) -> None:
    a = PostgreSQLWakeUps(on_port(closed_port(), url))
    with capture_logs() as logs:
        async with a.running(Woken()):
            await eventually(lambda: said(logs) == [LOST])
            a.tell(FIRST)
            since = time.monotonic()
    assert time.monotonic() < since + QUICKLY


async def test_it_ends_at_once_while_it_connects(url: str) -> None:
    accepted = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        while await reader.read(1 << 16):
            pass
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as never_answering:
        a = PostgreSQLWakeUps(on_port(never_answering.sockets[0].getsockname()[1], url))
        async with a.running(Woken()):
            a.tell(FIRST)
            await accepted.wait()
            since = time.monotonic()
        assert time.monotonic() < since + QUICKLY


async def test_it_ends_soon_while_the_connection_is_silent(url: str) -> None:
    tasks = asyncio.all_tasks()
    async with lines_to(url) as lines:
        a = wake_ups_of(lines.url.render_as_string(hide_password=False))
        async with listening(a):
            lines.silence()
            a.tell(FIRST)
            since = time.monotonic()
        assert time.monotonic() < since + PARTING.total_seconds() + QUICKLY
    assert asyncio.all_tasks() == tasks


async def test_whoever_is_cancelled_while_it_ends_does_not_wait(url: str) -> None:
    leaving = asyncio.Event()

    async def run() -> None:
        a = wake_ups_of(lines.url.render_as_string(hide_password=False))
        async with listening(a):
            lines.silence()
            leaving.set()

    tasks = asyncio.all_tasks()
    async with lines_to(url) as lines:
        running = asyncio.create_task(run())
        await leaving.wait()
        await asyncio.sleep(SOON.total_seconds())
        running.cancel()
        async with asyncio.timeout(QUICKLY):
            await asyncio.wait({running})
    assert running.cancelled()
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("moment", range(40))
async def test_it_ends_at_any_moment_without_a_trace(url: str, psql: Psql, moment: int) -> None:
    """However far it has come with its connection, which takes some milliseconds."""
    tasks = asyncio.all_tasks()
    a = wake_ups_of(url, "traced")
    with capture_logs() as logs:
        async with asyncio.timeout(SECONDS), a.running(Woken()):
            a.tell(FIRST)
            await asyncio.sleep(moment * 0.0003)
    assert said(logs) == []
    assert asyncio.all_tasks() == tasks
    await psql.until_gone("traced")


async def each_wakes_the_other(
    a: PostgreSQLWakeUps, by_a: Woken, b: PostgreSQLWakeUps, by_b: Woken
) -> None:
    a.tell(FIRST)
    assert [await by_a.by(), await by_b.by()] == [FIRST, FIRST]
    b.tell(SECOND)
    assert [await by_a.by(), await by_b.by()] == [SECOND, SECOND]


def impatient(lines: Lines) -> PostgreSQLWakeUps:
    url = lines.url.render_as_string(hide_password=False)
    return PostgreSQLWakeUps(options_for(url, "impatient"), heartbeat=SOON, timeout=5 * SOON)


def on_port(port: int, url: str) -> Options:
    there = make_url(url).set(host="127.0.0.1", port=port, query={})
    return options_for(there.render_as_string(hide_password=False))


def closed_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def said(logs: Sequence[MutableMapping[str, Any]]) -> list[tuple[str, str]]:
    return [(each["log_level"], each["event"]) for each in logs]


async def eventually(is_so: Callable[[], bool]) -> None:
    """Wait for what no event tells of."""
    async with asyncio.timeout(SECONDS):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
