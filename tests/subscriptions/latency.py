"""Measures the delivery latency and memory of subscriptions: `python -m tests.subscriptions.latency`."""

import asyncio
import re
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from app.db.core.database import Database
from app.db.migrations import migrate
from tests import postgres
from tests.bench import linux_processes
from tests.command_processes import StartProcess, spawn
from tests.factories import add_account, add_api_key, add_workspace
from tests.retrying_client import RetryingClient
from tests.servers import TIMEOUT_SECONDS, ServerProcess, log_errors
from tests.subscriptions.latency_results import (
    CpuShares,
    DeliveryResult,
    LatencyPercentiles,
    LatencyResults,
    ResourceCost,
    compute_delivery,
)
from tests.subscriptions.subscriber_pool import SubscriberPlan, SubscriberPool, raise_fd_limit

CHANGES_PER_WRITE = 2
"""A created post with one account has two changes: the post and its destination."""
INITIAL_WRITES = 25
"""Writes before the measurement; the subscriptions start after one of their changes."""
ENGINES = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyLoad:
    """Load of a run."""

    connections: int
    subscriptions_per_connection: int
    use_sse: bool
    """Use server-sent events instead of WebSockets."""
    changes_per_second: float
    seconds: float
    processes: int
    """Number of subscriber processes."""

    @property
    def subscriptions(self) -> int:
        return self.connections * self.subscriptions_per_connection

    @property
    def writes(self) -> int:
        return round(self.seconds * self.changes_per_second / CHANGES_PER_WRITE)

    def __str__(self) -> str:
        kind = "event streams" if self.use_sse else "WebSockets"
        return (
            f"{self.subscriptions:,} subscriptions on {self.connections:,} {kind},"
            f" {self.changes_per_second:g} changes per second for {self.seconds:g} s"
        )


class TimedWriter:
    """Creates posts on a schedule, without waiting for earlier responses."""

    def __init__(self, client: RetryingClient, accounts: Sequence[int]) -> None:
        self._client = client
        self._accounts = accounts
        self.sent_at: dict[str, float] = {}
        """Post id → monotonic time of the request."""
        self.response_times: list[float] = []
        """Durations of the requests in seconds."""

    async def write(self) -> None:
        sent_at = time.monotonic()
        post_id = await self._client.create_post(
            content="Spring sale starts today",
            accountIds=self._accounts,
            idempotencyKey=secrets.token_hex(),
        )
        self.sent_at[post_id] = sent_at
        self.response_times.append(time.monotonic() - sent_at)

    async def write_on_schedule(self, load: LatencyLoad) -> None:
        started_at, interval = time.monotonic(), load.seconds / load.writes
        async with asyncio.TaskGroup() as writes:
            for number in range(load.writes):
                await asyncio.sleep(started_at + number * interval - time.monotonic())
                writes.create_task(self.write())


class ResourceMeter:
    """Measures the CPU use of a server and its subscribers from the creation of this object on."""

    def __init__(self, pid: int, pool: SubscriberPool) -> None:
        self._pid, self._pool = pid, pool
        self._started_at = time.monotonic()
        self._server_cpu, self._cpu_wait = linux_processes.cpu_seconds(pid), _cpu_wait_seconds(pid)
        self._subscriber_cpu = pool.cpu_seconds()

    def cpu_shares(self, deliveries: int) -> CpuShares:
        """CPU shares since the start; `deliveries` is the number of changes that subscriptions received."""
        seconds = time.monotonic() - self._started_at
        server = linux_processes.cpu_seconds(self._pid) - self._server_cpu
        subscribers = zip(self._pool.cpu_seconds(), self._subscriber_cpu, strict=True)
        return CpuShares(
            server=server / seconds,
            microseconds_per_delivery=1e6 * server / deliveries,
            cpu_wait=(_cpu_wait_seconds(self._pid) - self._cpu_wait) / seconds,
            subscribers=max(now - start for now, start in subscribers) / seconds,
        )


async def run_subscription_load(
    url: str, logs: Path, load: LatencyLoad, start_server: StartProcess
) -> LatencyResults:
    """Run a server and a load on an empty database; `logs` stores the log of the server."""
    token, accounts = await seed_database(url, accounts=1)
    server = ServerProcess(logs, _server_settings(url, load), start=start_server)
    try:
        server.wait_until_ready()
        async with RetryingClient([server.url], token) as client:
            plan = SubscriberPlan(
                url=server.url,
                token=token,
                connections=load.connections,
                subscriptions_per_connection=load.subscriptions_per_connection,
                use_sse=load.use_sse,
                timeout=TIMEOUT_SECONDS,
            )
            writer = TimedWriter(client, accounts)
            measurements = await measure_load(server.process.pid, client, writer, plan, load)
        server.stop()
    finally:
        server.kill()
    return LatencyResults(*measurements, log_errors(logs))


async def measure_load(
    pid: int, client: RetryingClient, writer: TimedWriter, plan: SubscriberPlan, load: LatencyLoad
) -> tuple[DeliveryResult, LatencyPercentiles, ResourceCost]:
    origin = await client.latest_cursor()
    for _ in range(INITIAL_WRITES):
        await writer.write()
    before = [change["cursor"] for change in await client.changes_after(origin)]
    kib_before, started_at = _resident_kib(pid), time.monotonic()
    with SubscriberPool(plan, before[:-1], load.processes) as pool:
        await pool.wait_for_cursor(before[-1])
        connect_seconds = time.monotonic() - started_at
        kib_after_connect = _resident_kib(pid) - kib_before
        writer.response_times.clear()
        meter = ResourceMeter(pid, pool)
        await writer.write_on_schedule(load)
        await pool.wait_for_cursor(await client.latest_cursor())
        cost = ResourceCost(
            connect_seconds=connect_seconds,
            kib_after_connect=kib_after_connect / load.subscriptions,
            kib_at_end=(_resident_kib(pid) - kib_before) / load.subscriptions,
            shares=meter.cpu_shares(load.subscriptions * load.writes * CHANGES_PER_WRITE),
        )
        reports = await pool.finish()
    changes = await client.changes_after(origin)
    delivery = compute_delivery(changes, reports, writer.sent_at, measured_from=len(before))
    return delivery, LatencyPercentiles.from_seconds(writer.response_times), cost


async def seed_database(url: str, *, accounts: int) -> tuple[str, list[int]]:
    """An API key and accounts in a new workspace."""
    async with Database(url) as database:
        await migrate(database, now=datetime.now(UTC), random_bytes=secrets.token_bytes)
        workspace = await add_workspace(database)
        account_ids = [int(await add_account(database, workspace)) for _ in range(accounts)]
        return (await add_api_key(database, workspace)).token, account_ids


def _server_settings(url: str, load: LatencyLoad) -> dict[str, str]:
    """Settings whose limits are above the load."""
    limit = str(max(load.subscriptions, 10_000))
    return {
        "DATABASE_URL": url,
        "RATE_LIMIT": "off",
        "MAX_SOCKETS": limit,
        "MAX_SUBSCRIPTIONS": limit,
        "MAX_SUBSCRIPTIONS_PER_KEY": limit,
        "MAX_SUBSCRIPTIONS_PER_SOCKET": str(load.subscriptions_per_connection),
    }


def _resident_kib(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    match = re.search(r"^Rss:\s+(\d+)", rollup, re.MULTILINE)
    assert match is not None
    return int(match[1])


def _cpu_wait_seconds(pid: int) -> float:
    """Seconds in which the main thread was ready to run and had no core."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


@contextmanager
def durable_database(engine: str, folder: Path) -> Iterator[str]:
    """URL of an empty database, whose commits wait for the disk as in production."""
    if engine == "sqlite":
        yield f"sqlite+aiosqlite:///{folder / 'post-results.db'}"
    else:
        with postgres.local_server() as server, postgres.new_database(server.url) as url:
            yield url


@click.command()
@click.option("--engine", type=click.Choice(ENGINES), help="Run on one engine only.")
@click.option("--sockets", default=100, show_default=True)
@click.option("--each", default=10, show_default=True, help="Subscriptions per socket.")
@click.option("--sse", is_flag=True, help="Use as many event streams instead.")
@click.option("--rate", default=20.0, show_default=True, help="Changes per second.")
@click.option("--seconds", default=30.0, show_default=True)
@click.option("--processes", default=1, show_default=True, help="Subscriber processes.")
@click.option(
    "--goals", is_flag=True, help="Also fail if the latency or memory is above its limit."
)
def main(
    engine: str | None,
    sockets: int,
    each: int,
    sse: bool,
    rate: float,
    seconds: float,
    processes: int,
    goals: bool,
) -> None:
    """Print latency and cost of many subscriptions; exit with 1 if a change is missing or doubled."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    load = LatencyLoad(
        connections=sockets * each if sse else sockets,
        subscriptions_per_connection=1 if sse else each,
        use_sse=sse,
        changes_per_second=rate,
        seconds=seconds,
        processes=processes,
    )
    raise_fd_limit(load.connections + 500)
    passed = True
    for name in ENGINES if engine is None else (engine,):
        with tempfile.TemporaryDirectory() as folder, durable_database(name, Path(folder)) as url:
            logs = Path(folder) / "logs"
            logs.mkdir()
            results = asyncio.run(run_subscription_load(url, logs, load, spawn))
        click.echo("\n  ".join([f"{name}: {load}", *results.lines()]))
        passed = passed and results.delivery.is_complete and (results.meets_goals or not goals)
    sys.exit(not passed)


if __name__ == "__main__":
    main()
