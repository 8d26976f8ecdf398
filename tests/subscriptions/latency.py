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
from tests.servers import TIMEOUT_SECONDS, ServerProcess
from tests.subscriptions.latency_results import ResourceCost, DeliveryResult, LatencyResults, CpuShares, LatencyPercentiles, compute_delivery
from tests.subscriptions.log_errors import log_errors
from tests.subscriptions.retrying_client import RetryingClient
from tests.subscriptions.subscriber_pool import SubscriberPool, SubscriberPlan, raise_fd_limit

CREATE = (
    "mutation($input: CreatePostInput!) { made: createPost(input: $input) { post { postId } } }"
)
CHANGES_PER_WRITE = 2
"""Of a post with one account: the post, and its destination."""
INITIAL_WRITES = 25
"""Whoever follows begins behind one of their changes, as if they had come at different times."""
ENGINES = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyLoad:
    """What is asked of a server."""

    connections: int
    subscriptions_per_connection: int
    """Subscriptions of a connection."""
    use_sse: bool
    """Server-sent events instead of WebSockets."""
    changes_per_second: float
    """Changes a second."""
    seconds: float
    processes: int
    """Of followers."""

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
            f" {self.changes_per_second:g} changes a second for {self.seconds:g} s"
        )


class TimedWriter:
    """Creates posts at their times, whether those before were answered or not."""

    def __init__(self, client: RetryingClient, accounts: Sequence[int]) -> None:
        self._client = client
        self._accounts = accounts
        self.sent_at: dict[str, float] = {}
        """When, by post, as the monotonic clock has it."""
        self.answered_count: list[float] = []
        """Within so many seconds."""

    async def write(self) -> None:
        sent_at = time.monotonic()
        given = {
            "content": "Spring sale starts today",
            "accountIds": self._accounts,
            "scheduledFor": "2100-01-01T00:00:00Z",
            "idempotencyKey": secrets.token_hex(),
        }
        answer = await self._client.execute(CREATE, input=given)
        self.sent_at[answer["made"]["post"]["postId"]] = sent_at
        self.answered_count.append(time.monotonic() - sent_at)

    async def write_on_schedule(self, load: LatencyLoad) -> None:
        begun_at, pause = time.monotonic(), load.seconds / load.writes
        async with asyncio.TaskGroup() as writes:
            for number in range(load.writes):
                await asyncio.sleep(begun_at + number * pause - time.monotonic())
                writes.create_task(self.write())


class ResourceMeter:
    """What a server and those who follow it have taken since now."""

    def __init__(self, pid: int, pool: SubscriberPool) -> None:
        self._pid, self._pool = pid, pool
        self._began_at, self._cpu = time.monotonic(), linux_processes.cpu_seconds(pid)
        self._waited, self._of_crowd = _cpu_wait_seconds(pid), pool.cpu_seconds()

    def cpu_shares(self, deliveries: int) -> CpuShares:
        """`deliveries` is how often somebody was told of a change meanwhile."""
        seconds = time.monotonic() - self._began_at
        server = linux_processes.cpu_seconds(self._pid) - self._cpu
        of_crowd = zip(self._pool.cpu_seconds(), self._of_crowd, strict=True)
        return CpuShares(
            server=server / seconds,
            microseconds_per_delivery=1e6 * server / deliveries,
            cpu_wait=(_cpu_wait_seconds(self._pid) - self._waited) / seconds,
            subscribers=max(now - then for now, then in of_crowd) / seconds,
        )


async def run_load(url: str, logs: Path, load: LatencyLoad, start_server: StartProcess) -> LatencyResults:
    """On an empty database; the folder keeps the server's log."""
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
            measured = await measure_load(server.process.pid, client, writer, plan, load)
        server.stop()
    finally:
        server.kill()
    return LatencyResults(*measured, log_errors(logs))


async def measure_load(
    pid: int, client: RetryingClient, writer: TimedWriter, plan: SubscriberPlan, load: LatencyLoad
) -> tuple[DeliveryResult, LatencyPercentiles, ResourceCost]:
    origin = await client.latest_cursor()
    for _ in range(INITIAL_WRITES):
        await writer.write()
    before = [change["cursor"] for change in await client.changes_after(origin)]
    kib, began_at = _resident_kib(pid), time.monotonic()
    with SubscriberPool(plan, before[:-1], load.processes) as crowd:
        await crowd.wait_for_cursor(before[-1])
        opened_within, kib_when_open = time.monotonic() - began_at, _resident_kib(pid) - kib
        writer.answered_count.clear()
        meter = ResourceMeter(pid, crowd)
        await writer.write_on_schedule(load)
        await crowd.wait_for_cursor(await client.latest_cursor())
        cost = ResourceCost(
            connect_seconds=opened_within,
            kib_after_connect=kib_when_open / load.subscriptions,
            kib_at_end=(_resident_kib(pid) - kib) / load.subscriptions,
            shares=meter.cpu_shares(load.subscriptions * load.writes * CHANGES_PER_WRITE),
        )
        told = await crowd.finish()
    changes = await client.changes_after(origin)
    delivery = compute_delivery(changes, told, writer.sent_at, measured_from=len(before))
    return delivery, LatencyPercentiles.from_seconds(writer.answered_count), cost


async def seed_database(url: str, *, accounts: int) -> tuple[str, list[int]]:
    """A key, and so many accounts."""
    async with Database(url) as database:
        await migrate(database, now=datetime.now(UTC), random_bytes=secrets.token_bytes)
        workspace = await add_workspace(database)
        made = [int(await add_account(database, workspace)) for _ in range(accounts)]
        return (await add_api_key(database, workspace)).token, made


def _server_settings(url: str, load: LatencyLoad) -> dict[str, str]:
    """Without a limit that they would reach."""
    most = str(max(load.subscriptions, 10_000))
    return {
        "DATABASE_URL": url,
        "RATE_LIMIT": "off",
        "MAX_SOCKETS": most,
        "MAX_SUBSCRIPTIONS": most,
        "MAX_SUBSCRIPTIONS_PER_KEY": most,
        "MAX_SUBSCRIPTIONS_PER_SOCKET": str(load.subscriptions_per_connection),
    }


def _resident_kib(pid: int) -> int:
    found = re.search(r"^Rss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def _cpu_wait_seconds(pid: int) -> float:
    """Seconds; of its main thread."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


@contextmanager
def temporary_database(engine: str, folder: Path) -> Iterator[str]:
    if engine == "sqlite":
        yield f"sqlite+aiosqlite:///{folder / 'post-results.db'}"
    else:
        with postgres.local_server() as server, postgres.new_database(server.url) as url:
            yield url


@click.command()
@click.option("--engine", type=click.Choice(ENGINES), help="Only this one.")
@click.option("--sockets", default=100, show_default=True)
@click.option("--each", default=10, show_default=True, help="Subscriptions of a socket.")
@click.option("--sse", is_flag=True, help="As many event streams instead.")
@click.option("--rate", default=20.0, show_default=True, help="Changes a second.")
@click.option("--seconds", default=30.0, show_default=True)
@click.option("--processes", default=1, show_default=True, help="Of those who follow.")
@click.option("--goals", is_flag=True, help="Also fail where it is too late or too much.")
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
    """Print how late changes reach many, and what they cost; exits with 1 if one is missing or twice."""
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
    is_right = True
    for name in ENGINES if engine is None else (engine,):
        with tempfile.TemporaryDirectory() as folder, temporary_database(name, Path(folder)) as url:
            logs = Path(folder) / "logs"
            logs.mkdir()
            figures = asyncio.run(run_load(url, logs, load, spawn))
        click.echo("\n  ".join([f"{name}: {load}", *figures.lines()]))
        is_right = is_right and figures.delivery.is_complete and (figures.meets_goals or not goals)
    sys.exit(not is_right)


if __name__ == "__main__":
    main()
