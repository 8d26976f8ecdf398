"""Measures how a flood of requests delays another client, on both engines: `python -m tests.flood`.

The flood has many connections, each of which sends its next request as soon as it has a response. The
moderate client claims, reports, writes and checks `/livez` on a schedule. Both share the machine with the
server, so the CPU shares are printed too. Exits with 1 if the moderate client waits too long.
"""

import asyncio
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from app.db.core.database import Database
from app.domain.ids import PostId, WorkspaceId
from tests.bench import linux_processes
from tests.bench.load import LOAD_SCRIPT
from tests.bench.requests import REST, Request, graphql_request
from tests.claim_benchmark import insert_due_posts, open_migrated_database
from tests.command_processes import spawn
from tests.factories import add_account, add_api_key, add_post, add_workspace, queued
from tests.load_client import (
    CLAIM_DESTINATIONS,
    REPORT_PUBLISHED,
    START_ATTEMPT,
    HttpConnection,
    RequestFailed,
    check_liveness,
    execute,
    publish_one,
)
from tests.retrying_client import CREATE_POST
from tests.servers import ServerProcess, run_server
from tests.subscriptions.latency import ENGINES, durable_database
from tests.subscriptions.latency_results import LatencyPercentiles
from tests.subscriptions.subscriber_pool import raise_fd_limit

MAX_P99_MS: Mapping[str, float] = MappingProxyType(
    {"claim": 1000, "start": 1000, "report": 1000, "write": 1000, "/livez": 500}
)
MIN_GOODPUT = 0.8
"""Lowest number of operations during a flood, relative to that without one."""

_OPERATIONS: Mapping[str, str] = MappingProxyType(
    {
        CLAIM_DESTINATIONS: "claim",
        START_ATTEMPT: "start",
        REPORT_PUBLISHED: "report",
        CREATE_POST: "write",
    }
)
"""Document → kind of operation."""
_WORKERS = 8
_INTERVAL = 0.4
"""Seconds between two operations of each kind of a worker."""
_WARM_UP_SECONDS = 2
_MAX_SECONDS = 300
"""Limit for a flood that is not stopped."""
_UNLIMITED: Mapping[str, str] = MappingProxyType({"RATE_LIMIT": "off"})
_LIMITED: Mapping[str, str] = MappingProxyType(
    {"RATE_LIMIT": "2000/minute", "CREATE_RATE_LIMIT": "100000/minute"}
)
"""Limits that the moderate client does not reach; the flood exceeds them within a second."""


@dataclass(frozen=True, slots=True)
class Flood:
    """Kind of flood. Its requests have the API key of another workspace, or none."""

    name: str
    request: Request
    has_key: bool = True
    is_limited: bool = False
    """True if the server has rate limits."""


_READ = REST["R1"]
_WRITE = graphql_request(CREATE_POST, input={"content": "Spring sale", "draft": True})
FLOODS = (
    Flood("reading", _READ),
    Flood("writing", _WRITE),
    Flood("without a key", _READ, has_key=False),
    Flood("refused with 429", _READ, is_limited=True),
)


@dataclass(frozen=True, slots=True)
class SeededData:
    token: str
    account: int
    flood_token: str
    flood_post: PostId


async def seed(url: str, due_posts: int) -> SeededData:
    """Two workspaces: one with due posts, and one whose key the flood uses."""
    async with open_migrated_database(url) as database:
        workspace, token = await _add_tenant(database)
        account = await add_account(database, workspace)
        await insert_due_posts(database, workspace, account, due_posts)
        other, flood_token = await _add_tenant(database)
        now = datetime.now(UTC)
        post = await add_post(database, other, {await add_account(database, other): queued(now)})
    return SeededData(token, int(account), flood_token, post.id)


async def _add_tenant(database: Database) -> tuple[WorkspaceId, str]:
    workspace = await add_workspace(database)
    return workspace, (await add_api_key(database, workspace)).token


class ModerateClient:
    """Client with a few workers, each of which starts an operation of each kind on a schedule.

    An operation is left out while the last one of its kind and worker still runs.
    """

    def __init__(self, url: str, data: SeededData) -> None:
        self._url, self._data = url, data
        self.durations: dict[str, list[float]] = {name: [] for name in MAX_P99_MS}
        """Seconds of each completed operation by kind."""
        self.failures: list[RequestFailed] = []

    async def run(self, seconds: float) -> None:
        """Run all kinds of operations; returns when the last response has arrived."""
        ends_at = time.monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_WORKERS):
                for operation in (self._publish, self._write, self._check_liveness):
                    tasks.create_task(self._repeat(operation, ends_at))
                await asyncio.sleep(_INTERVAL / _WORKERS)

    async def _repeat(
        self, operation: Callable[[HttpConnection], Awaitable[None]], ends_at: float
    ) -> None:
        connection = HttpConnection(self._url)
        planned_at = time.monotonic()
        while planned_at < ends_at:
            try:
                await operation(connection)
            except RequestFailed as failure:
                self.failures.append(failure)
            planned_at = max(planned_at + _INTERVAL, time.monotonic())
            await asyncio.sleep(planned_at - time.monotonic())
        connection.close()

    async def _publish(self, connection: HttpConnection) -> None:
        await publish_one(partial(self._execute, connection))

    async def _write(self, connection: HttpConnection) -> None:
        post = {"content": "Spring sale", "accountIds": [self._data.account], "draft": True}
        await self._execute(connection, CREATE_POST, {"input": post})

    async def _check_liveness(self, _connection: HttpConnection) -> None:
        started_at = time.monotonic()
        await check_liveness(self._url)
        self._measure("/livez", started_at)

    async def _execute(
        self, connection: HttpConnection, document: str, variables: Mapping[str, object]
    ) -> dict[str, Any]:
        started_at = time.monotonic()
        data = await execute(connection, self._data.token, document, variables)
        self._measure(_OPERATIONS[document], started_at)
        return data

    def _measure(self, name: str, started_at: float) -> None:
        self.durations[name].append(time.monotonic() - started_at)


@dataclass(frozen=True, slots=True)
class FloodResult:
    """Measurements of the moderate client, and what the flood did meanwhile."""

    name: str
    durations: Mapping[str, list[float]]
    """Seconds of each completed operation by kind."""
    failures: int
    server_cpu: float
    """Share of one core, like `flood_cpu`."""
    flood_cpu: float
    flood_rate: float
    """Responses to the flood per second."""

    def lines(self, without_flood: "FloodResult") -> Iterator[str]:
        yield (
            f"{self.name}: {self.flood_rate:,.0f} requests/s; CPU of the server {self.server_cpu:.0%}, of the"
            f" flood {self.flood_cpu:.0%}; {self.failures} failures"
        )
        for name, durations in self.durations.items():
            latency = LatencyPercentiles.from_seconds(durations)
            yield (
                f"  {name:7} p50 {latency.p50:6,.0f} ms   p99 {latency.p99:6,.0f} ms   longest"
                f" {latency.maximum:6,.0f} ms   goodput {self._goodput(name, without_flood):4.0%}"
            )

    def _goodput(self, name: str, without_flood: "FloodResult") -> float:
        return len(self.durations[name]) / len(without_flood.durations[name])

    def meets_goals(self, without_flood: "FloodResult") -> bool:
        return not self.failures and all(
            LatencyPercentiles.from_seconds(durations).p99 <= MAX_P99_MS[name]
            and self._goodput(name, without_flood) >= MIN_GOODPUT
            for name, durations in self.durations.items()
        )


async def measure(
    server: ServerProcess, data: SeededData, seconds: float, flood: Flood | None, connections: int
) -> FloodResult:
    """Run the moderate client for `seconds` beside a flood, or alone."""
    client = ModerateClient(server.url, data)
    async with running_wrk(server.url, data, flood, connections) as wrk:
        pids = [server.process.pid, *([wrk.pid] if wrk else [])]
        started_at, cpu = time.monotonic(), [*map(linux_processes.cpu_seconds, pids)]
        await client.run(seconds)
        elapsed = time.monotonic() - started_at
        shares = [
            (linux_processes.cpu_seconds(pid) - before) / elapsed
            for pid, before in zip(pids, cpu, strict=True)
        ]
        flood_rate = 0.0
        if wrk is not None:
            wrk.send_signal(signal.SIGINT)  # it prints its results
            output, _ = await wrk.communicate()
            result = re.search(rb"RESULT (\d+) (\d+)", output)
            assert result is not None, output
            flood_rate = 1e6 * int(result[1]) / int(result[2])
    return FloodResult(
        name="no flood" if flood is None else f"{connections} connections, {flood.name}",
        durations=client.durations,
        failures=len(client.failures),
        server_cpu=shares[0],
        flood_cpu=shares[1] if wrk else 0,
        flood_rate=flood_rate,
    )


@asynccontextmanager
async def running_wrk(
    url: str, data: SeededData, flood: Flood | None, connections: int
) -> AsyncIterator[asyncio.subprocess.Process | None]:
    """Run wrk, the load generator, with a request of the flood; nothing without a flood."""
    if flood is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        command = _wrk_command(url, data, flood, connections, Path(folder))
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            await asyncio.sleep(_WARM_UP_SECONDS)
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _wrk_command(
    url: str, data: SeededData, flood: Flood, connections: int, folder: Path
) -> list[str]:
    ids, body = folder / "ids", folder / "body"
    ids.write_text(f"{data.flood_post}\n")
    body.write_text(flood.request.body or "")
    return [
        *("wrk", "--threads=1", "--timeout=60s", f"--duration={_MAX_SECONDS}s"),
        *(f"--connections={connections}", f"--script={LOAD_SCRIPT}", url, "--"),
        *(flood.request.path, str(body) if flood.request.body else "-", str(ids)),
        data.flood_token if flood.has_key else "-",
    ]


def run_floods(engine: str, seconds: float, connections: int) -> bool:
    """Print the results on one engine; return whether all meet the goals."""
    results: list[FloodResult] = []
    with tempfile.TemporaryDirectory() as name, durable_database(engine, Path(name)) as url:
        folder = Path(name)
        data = asyncio.run(
            seed(url, due_posts=round(_WORKERS * seconds / _INTERVAL) * (1 + len(FLOODS)))
        )
        for settings, floods in (
            (_UNLIMITED, (None, *[each for each in FLOODS if not each.is_limited])),
            (_LIMITED, [each for each in FLOODS if each.is_limited]),
        ):
            logs = Path(tempfile.mkdtemp(dir=folder))
            with run_server(logs, {"DATABASE_URL": url, **settings}, start=spawn) as server:
                for flood in floods:
                    result = asyncio.run(measure(server, data, seconds, flood, connections))
                    results.append(result)
                    click.echo("\n".join(f"  {each}" for each in result.lines(results[0])))
    return all(result.meets_goals(results[0]) for result in results)


@click.command()
@click.option("--engine", type=click.Choice(ENGINES), help="Run on one engine only.")
@click.option("--connections", default=500, show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="Duration of each measurement.")
def main(engine: str | None, connections: int, seconds: float) -> None:
    """Print how long a moderate client waits beside each flood; exit with 1 if that is too long."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise_fd_limit(connections + 500)
    passed = []
    for name in ENGINES if engine is None else (engine,):
        click.echo(f"{name}: {_WORKERS / _INTERVAL:.0f} operations of each kind per second")
        passed.append(run_floods(name, seconds, connections))
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
