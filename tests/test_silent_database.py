"""Server and worker while the network delivers nothing from or to PostgreSQL, and afterwards."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

import httpx
import pytest

from app.runtime.shutdown import CLEANUP_LIMIT
from tests.db.core.test_database import only_on_postgresql
from tests.servers import DEMO_KEY, DEMO_POST, LoggedProcess, ServerProcess, ServerStarter
from tests.tcp_proxy import TcpProxy, tcp_proxy

pytestmark = [pytest.mark.slow, only_on_postgresql]

DATABASE_TIMEOUT = 5
RECOVERY_SECONDS = 15
"""Time in which everything must work again."""

SHUTDOWN_TIMEOUT = 2
EXIT_SECONDS = SHUTDOWN_TIMEOUT + CLEANUP_LIMIT.total_seconds() + 1
"""Time in which a stopped process ends, with a second for a busy machine."""

READ = ("GET", f"/v1/posts/{DEMO_POST}/results", None)
WRITE = ("POST", "/v1/posts", {"content": "text", "account_ids": [2280], "draft": True})
CLAIM = (
    "POST",
    "/graphql",
    {"query": "mutation { claimDestinations(input: {limit: 1}) { claims { leaseToken } } }"},
)


@pytest.mark.parametrize("arguments", [(), ("--with-worker",)], ids=["server", "with a worker"])
async def test_server_recovers_from_a_silent_database(
    start_server: ServerStarter, empty_database_url: str, arguments: tuple[str, ...]
) -> None:
    async with tcp_proxy(empty_database_url) as proxy:
        server = await start(start_server, proxy, "--demo", *arguments)
        async with httpx.AsyncClient(
            base_url=server.url, headers={"Authorization": f"Bearer {DEMO_KEY}"}, timeout=60
        ) as client:
            assert await all_statuses(client) == {200, 201}

            silence_everything(proxy)
            started = time.monotonic()
            ready = await client.get("/readyz")
            assert (ready.status_code, time.monotonic() - started < 4) == (503, True)
            assert await all_statuses(client) == {503}
            assert time.monotonic() - started < 3 * (DATABASE_TIMEOUT + 3)

            proxy.is_silent = False
            async with asyncio.timeout(RECOVERY_SECONDS):
                await until_succeeds(lambda: all_statuses(client))
                await until_succeeds(lambda: readiness(client))


@pytest.mark.parametrize("arguments", [(), ("--with-worker",)], ids=["server", "with a worker"])
async def test_server_stops_during_the_silence(
    start_server: ServerStarter, empty_database_url: str, arguments: tuple[str, ...]
) -> None:
    async with tcp_proxy(empty_database_url) as proxy:
        server = await start(start_server, proxy, "--demo", *arguments)
        silence_everything(proxy)
        await stops_in_time(server)


async def start(start_server: ServerStarter, proxy: TcpProxy, *arguments: str) -> ServerProcess:
    url = proxy.url.render_as_string(hide_password=False)
    server = start_server(
        *arguments,
        DATABASE_URL=url,
        DATABASE_TIMEOUT=str(DATABASE_TIMEOUT),
        SHUTDOWN_TIMEOUT=str(SHUTDOWN_TIMEOUT),
    )
    await asyncio.to_thread(server.wait_until_ready)
    return server


def silence_everything(proxy: TcpProxy) -> None:
    proxy.is_silent = True
    proxy.silence()


async def stops_in_time(process: LoggedProcess) -> None:
    process.process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    await asyncio.to_thread(process.process.wait, 3 * EXIT_SECONDS)
    assert time.monotonic() - started < EXIT_SECONDS


async def all_statuses(client: httpx.AsyncClient) -> set[int]:
    """Read, write and claim at the same time, and return the statuses."""
    responses = await asyncio.gather(
        *(client.request(method, path, json=body) for method, path, body in (READ, WRITE, CLAIM))
    )
    return {response.status_code for response in responses}


async def readiness(client: httpx.AsyncClient) -> set[int]:
    return {(await client.get("/readyz")).status_code}


async def until_succeeds(statuses: Callable[[], Awaitable[set[int]]]) -> None:
    while not await statuses() <= {200, 201}:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.1)
