"""Measures the memory of a server whose subscribers read nothing: `python -m tests.subscriptions.unread`."""

import asyncio
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import orjson

from tests.bench import linux_processes
from tests.command_processes import StartProcess, spawn
from tests.retrying_client import RetryingClient
from tests.servers import TIMEOUT_SECONDS, ServerProcess
from tests.subscriptions.latency import ENGINES, durable_database, seed_database
from tests.subscriptions.subscriber_connections import (
    SSEConnection,
    SubscriberConnection,
    SubscriptionLog,
    WebSocketConnection,
)
from tests.subscriptions.subscriber_pool import raise_fd_limit

MEMORY_GOAL = 4.0
"""Limit of the growth, as a multiple of one answer, if all subscribers have the same document."""

_ALIASES = 25
_MEDIA_BYTES = 950_000
_RECEIVE_BUFFER_BYTES = 4096
"""Receive buffer of a client, so that the kernel stores little of what the server sends."""
_STABLE_SECONDS = 3.0
"""Time without a change of the memory after which a measurement ends."""
_SAMPLE_INTERVAL = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadLoad:
    """Subscribers that read nothing, and one change whose response is large."""

    subscribers: int
    use_sse: bool
    """Use server-sent events instead of WebSockets."""
    is_distinct: bool
    """Use another document in each subscription, so that the responses are not shared."""

    def __str__(self) -> str:
        kind = "event streams" if self.use_sse else "WebSockets"
        documents = "distinct documents" if self.is_distinct else "one document"
        return f"{self.subscribers:,} {kind} with {documents}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadMemory:
    """Memory in MiB."""

    response: float
    """Size of the response to the change, as a client that reads received it."""
    peak: float
    """Largest growth of the resident memory of the server."""
    growth: float
    """Growth of the anonymous memory at the end."""

    def __str__(self) -> str:
        return (
            f"one response {self.response:.1f} MiB, growth of the memory at most {self.peak:.1f} MiB"
            f" ({self.peak / self.response:.1f} responses), {self.growth:.1f} MiB at the end"
        )


def subscription_document(number: int) -> str:
    """Return a document whose responses are large; its name has the number."""
    media = " ".join(f"media{alias}: media" for alias in range(_ALIASES))
    return (
        f"subscription Unread{number}($after: String)"
        f" {{ changes(after: $after, types: [POST_CREATED]) {{ cursor post {{ {media} }} }} }}"
    )


class _UnreadWebSocket(WebSocketConnection):
    document: str

    def _subscription_body(self, number: int) -> dict[str, Any]:
        return {"query": self.document, "variables": {"after": self._start_cursors[number]}}


class _UnreadStream(SSEConnection):
    document: str

    def _subscription_body(self, number: int) -> dict[str, Any]:
        return {"query": self.document, "variables": {"after": self._start_cursors[number]}}


async def measure_unread(
    url: str, logs: Path, load: UnreadLoad, start_server: StartProcess
) -> UnreadMemory:
    """Run a server on an empty database, and subscribers that stop reading before a change."""
    token, accounts = await seed_database(url, accounts=1)
    limits = {"RATE_LIMIT": "off", "MAX_SUBSCRIPTIONS_PER_KEY": str(load.subscribers + 10)}
    server = ServerProcess(logs, {"DATABASE_URL": url, **limits}, start=start_server)
    try:
        server.wait_until_ready()
        async with RetryingClient([server.url], token) as client:
            return await _measure(server, client, token, accounts, load)
    finally:
        server.kill()


async def _measure(
    server: ServerProcess,
    client: RetryingClient,
    token: str,
    accounts: Sequence[int],
    load: UnreadLoad,
) -> UnreadMemory:
    async def create_post() -> None:
        media = [{"alt": "x" * (_MEDIA_BYTES // 10)} for _ in range(10)]
        await client.create_post(content="One of many", accountIds=accounts, media=media)

    before = await client.latest_cursor()
    await create_post()
    response = await client.execute(
        "query($after: String!) { changes(after: $after, types: [POST_CREATED])"
        " { nodes { post { media } } } }",
        after=before,
    )
    (node,) = response["changes"]["nodes"]
    response_bytes = _ALIASES * len(orjson.dumps(node["post"]["media"]))
    start_cursor = await client.latest_cursor()
    with ExitStack() as connections:
        for number in range(load.subscribers):
            document = subscription_document(number if load.is_distinct else 0)
            connection = await _connect(server.url, token, document, start_cursor, load)
            connections.callback(connection.abort)
        await _wait_for_subscriptions(server, load.subscribers)
        linux_processes.reset_peak_memory(server.process.pid)
        before_change = linux_processes.memory(server.process.pid)
        await create_post()
        await _wait_until_stable(server.process.pid)
        at_end = linux_processes.memory(server.process.pid)
        return UnreadMemory(
            response=response_bytes / 2**20,
            peak=at_end.peak - before_change.peak,
            growth=at_end.private - before_change.private,
        )


async def _connect(
    url: str, token: str, document: str, start_cursor: str, load: UnreadLoad
) -> asyncio.Transport:
    """Open a connection with one subscription, and stop reading."""
    address = urlsplit(url)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, (address.hostname, address.port))
    connection_class = _UnreadStream if load.use_sse else _UnreadWebSocket

    def make_connection() -> SubscriberConnection:
        connection = connection_class(SubscriptionLog(1), url, token, 0, [start_cursor])
        connection.document = document
        return connection

    transport, connection = await loop.create_connection(make_connection, sock=raw)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await connection.ready
    transport.pause_reading()
    return transport


async def _wait_for_subscriptions(server: ServerProcess, count: int) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        expected = f"post_results_subscriptions_open {count:.1f}\n"
        while expected not in (await asyncio.to_thread(server.get, "/metrics")).text:  # noqa: ASYNC110
            await asyncio.sleep(_SAMPLE_INTERVAL)


async def _wait_until_stable(pid: int) -> None:
    """Wait until the memory of the server has not changed by a MiB for a while."""
    last, changed_at = linux_processes.memory(pid).private, time.monotonic()
    while time.monotonic() - changed_at < _STABLE_SECONDS:
        await asyncio.sleep(_SAMPLE_INTERVAL)
        current = linux_processes.memory(pid).private
        if abs(current - last) > 1:
            last, changed_at = current, time.monotonic()


@click.command()
@click.option("--engine", type=click.Choice(ENGINES), help="Run on one engine only.")
@click.option("--subscribers", default=20, show_default=True)
@click.option("--distinct", is_flag=True, help="Use another document in each subscription.")
def main(engine: str | None, subscribers: int, distinct: bool) -> None:
    """Print the memory of subscribers that read nothing; exit with 1 above the limit of one document."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise_fd_limit(subscribers + 500)
    passed = True
    for name in ENGINES if engine is None else (engine,):
        for use_sse in (False, True):
            load = UnreadLoad(subscribers=subscribers, use_sse=use_sse, is_distinct=distinct)
            with (
                tempfile.TemporaryDirectory() as folder,
                durable_database(name, Path(folder)) as url,
            ):
                logs = Path(folder) / "logs"
                logs.mkdir()
                memory = asyncio.run(measure_unread(url, logs, load, spawn))
            click.echo(f"{name}: {load}: {memory}")
            passed = passed and (distinct or memory.peak <= MEMORY_GOAL * memory.response)
    sys.exit(not passed)


if __name__ == "__main__":
    main()
