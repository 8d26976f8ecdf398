"""Tests of change notifications while PostgreSQL is unavailable or silent, and afterwards."""

import asyncio
import time
from collections.abc import MutableMapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import make_url
from structlog.testing import capture_logs

from app.domain.ids import WorkspaceId
from app.pubsub.postgresql import SHUTDOWN_TIMEOUT, PostgreSQLChangeNotifier
from tests import postgres
from tests.pubsub.notifiers import RecordedWakeUps, make_notifier, start_listening
from tests.pubsub.postgres_session import (
    TIMEOUT_SECONDS,
    Options,
    PostgresSession,
    connection_options,
)
from tests.servers import unused_port
from tests.tcp_proxy import TcpProxy, tcp_proxy
from tests.worker.worker_bench import wait_until

FIRST, SECOND = (WorkspaceId(UUID(int=number)) for number in (1, 2))

DISCONNECTED_LOG = ("warning", "change notifications lost, reconnecting")
RECONNECTED_LOG = ("info", "change notifications restored")

SHORT_INTERVAL = timedelta(milliseconds=100)
QUICK_SECONDS = SHUTDOWN_TIMEOUT.total_seconds() / 2


async def test_terminated_connection_is_replaced(
    url: str, postgres_session: PostgresSession
) -> None:
    a, b = make_notifier(url, "killed"), make_notifier(url)
    with capture_logs() as logs:
        async with start_listening(a) as by_a, start_listening(b) as by_b:
            for _ in range(3):
                await postgres_session.terminate_backend("killed")
                assert await by_a.next_wake_up() is None
                await assert_mutual_notification(a, by_a, b, by_b)
            assert (by_a.drain(), by_b.drain()) == ([], [])
    assert log_events(logs) == [DISCONNECTED_LOG, RECONNECTED_LOG] * 3
    await postgres_session.wait_until_disconnected("killed")


async def test_notifiers_reconnect_to_a_restarted_server() -> None:
    with postgres.local_server() as server, capture_logs() as logs:
        a, b = make_notifier(server.url), make_notifier(server.url)
        async with start_listening(a) as by_a, start_listening(b) as by_b:
            await asyncio.to_thread(server.stop)
            await wait_until(lambda: log_events(logs) == [DISCONNECTED_LOG, DISCONNECTED_LOG])
            await asyncio.to_thread(server.start)
            assert [await by_a.next_wake_up(), await by_b.next_wake_up()] == [None, None]
            await assert_mutual_notification(a, by_a, b, by_b)
    assert log_events(logs) == [
        DISCONNECTED_LOG,
        DISCONNECTED_LOG,
        RECONNECTED_LOG,
        RECONNECTED_LOG,
    ]


async def test_notifier_starts_without_a_server_and_connects_later(url: str) -> None:
    port, proxy = unused_port(), TcpProxy(make_url(url))
    a, b = PostgreSQLChangeNotifier(url_with_port(port, url)), make_notifier(url)
    by_a = RecordedWakeUps()
    with capture_logs() as logs:
        async with start_listening(b) as by_b, a.listen(by_a):
            a.notify(FIRST)
            assert by_a.drain() == [FIRST]
            await wait_until(lambda: log_events(logs) == [DISCONNECTED_LOG])
            async with await asyncio.start_server(proxy.accept, "127.0.0.1", port):
                assert await by_a.next_wake_up() is None
                assert await by_b.next_wake_up() == FIRST
                b.notify(SECOND)
                assert await by_a.next_wake_up() == SECOND
        await proxy.close()
    assert log_events(logs) == [DISCONNECTED_LOG, RECONNECTED_LOG]


async def test_silent_connection_is_replaced(url: str) -> None:
    b = make_notifier(url)
    async with tcp_proxy(url) as proxy, start_listening(b) as by_b:
        a = short_timeout_notifier(proxy)
        with capture_logs() as logs:
            async with start_listening(a) as by_a:
                await assert_mutual_notification(a, by_a, b, by_b)
                proxy.silence()
                a.notify(FIRST)
                assert [await by_a.next_wake_up() for _ in range(2)] == [FIRST, None]
                assert await by_b.next_wake_up() == FIRST
                await assert_mutual_notification(a, by_a, b, by_b)
                proxy.silence()  # now without a notification
                assert await by_a.next_wake_up() is None
                await assert_mutual_notification(a, by_a, b, by_b)
        assert log_events(logs) == [DISCONNECTED_LOG, RECONNECTED_LOG] * 2


async def test_idle_connection_is_retained(url: str, postgres_session: PostgresSession) -> None:
    with capture_logs() as logs:
        async with tcp_proxy(url) as proxy, start_listening(short_timeout_notifier(proxy)) as by_a:
            before = await postgres_session.backend_pids("short-timeout")
            await asyncio.sleep(5 * SHORT_INTERVAL.total_seconds())
            assert await postgres_session.backend_pids("short-timeout") == before
            assert by_a.drain() == []
    assert (len(before), log_events(logs)) == (1, [])


async def test_shutdown_is_immediate_without_a_server(url: str) -> None:
    a = PostgreSQLChangeNotifier(url_with_port(unused_port(), url))
    with capture_logs() as logs:
        async with a.listen(RecordedWakeUps()):
            await wait_until(lambda: log_events(logs) == [DISCONNECTED_LOG])
            a.notify(FIRST)
            since = time.monotonic()
    assert time.monotonic() < since + QUICK_SECONDS


async def test_shutdown_is_immediate_while_connecting(url: str) -> None:
    accepted = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        while await reader.read(1 << 16):
            pass
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as silent_server:
        a = PostgreSQLChangeNotifier(url_with_port(silent_server.sockets[0].getsockname()[1], url))
        async with a.listen(RecordedWakeUps()):
            a.notify(FIRST)
            await accepted.wait()
            since = time.monotonic()
        assert time.monotonic() < since + QUICK_SECONDS


async def test_shutdown_with_a_silent_connection_is_bounded(url: str) -> None:
    tasks = asyncio.all_tasks()
    async with tcp_proxy(url) as proxy:
        a = make_notifier(proxy.url.render_as_string(hide_password=False))
        async with start_listening(a):
            proxy.silence()
            a.notify(FIRST)
            since = time.monotonic()
        assert time.monotonic() < since + SHUTDOWN_TIMEOUT.total_seconds() + QUICK_SECONDS
    assert asyncio.all_tasks() == tasks


async def test_cancelled_shutdown_does_not_wait(url: str) -> None:
    leaving = asyncio.Event()

    async def run() -> None:
        a = make_notifier(proxy.url.render_as_string(hide_password=False))
        async with start_listening(a):
            proxy.silence()
            leaving.set()

    tasks = asyncio.all_tasks()
    async with tcp_proxy(url) as proxy:
        running = asyncio.create_task(run())
        await leaving.wait()
        await asyncio.sleep(SHORT_INTERVAL.total_seconds())
        running.cancel()
        async with asyncio.timeout(QUICK_SECONDS):
            await asyncio.wait({running})
    assert running.cancelled()
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("moment", range(40))
async def test_shutdown_at_any_moment_leaves_nothing_behind(
    url: str, postgres_session: PostgresSession, moment: int
) -> None:
    """At any step of connecting, which takes some milliseconds."""
    tasks = asyncio.all_tasks()
    a = make_notifier(url, "closing")
    with capture_logs() as logs:
        async with asyncio.timeout(TIMEOUT_SECONDS), a.listen(RecordedWakeUps()):
            a.notify(FIRST)
            await asyncio.sleep(moment * 0.0003)
    assert log_events(logs) == []
    assert asyncio.all_tasks() == tasks
    await postgres_session.wait_until_disconnected("closing")


async def assert_mutual_notification(
    a: PostgreSQLChangeNotifier,
    by_a: RecordedWakeUps,
    b: PostgreSQLChangeNotifier,
    by_b: RecordedWakeUps,
) -> None:
    a.notify(FIRST)
    assert [await by_a.next_wake_up(), await by_b.next_wake_up()] == [FIRST, FIRST]
    b.notify(SECOND)
    assert [await by_a.next_wake_up(), await by_b.next_wake_up()] == [SECOND, SECOND]


def short_timeout_notifier(proxy: TcpProxy) -> PostgreSQLChangeNotifier:
    url = proxy.url.render_as_string(hide_password=False)
    return PostgreSQLChangeNotifier(
        connection_options(url, "short-timeout"),
        heartbeat_interval=SHORT_INTERVAL,
        statement_timeout=5 * SHORT_INTERVAL,
    )


def url_with_port(port: int, url: str) -> Options:
    changed = make_url(url).set(host="127.0.0.1", port=port, query={})
    return connection_options(changed.render_as_string(hide_password=False))


def log_events(logs: Sequence[MutableMapping[str, Any]]) -> list[tuple[str, str]]:
    return [(entry["log_level"], entry["event"]) for entry in logs]
