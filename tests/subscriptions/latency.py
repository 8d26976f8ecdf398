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
from tests.subscriptions.latency_results import Cost, Delivery, Figures, Shares, Times, delivery_of
from tests.subscriptions.log_errors import complaints
from tests.subscriptions.retrying_client import Patient
from tests.subscriptions.subscriber_pool import Crowd, Plan, allow_files

CREATE = (
    "mutation($input: CreatePostInput!) { made: createPost(input: $input) { post { postId } } }"
)
CHANGES_OF_A_WRITE = 2
"""Of a post with one account: the post, and its destination."""
WRITES_BEFORE = 25
"""Whoever follows begins behind one of their changes, as if they had come at different times."""
ENGINES = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of a server."""

    connections: int
    each: int
    """Subscriptions of a connection."""
    as_events: bool
    """Server-sent events instead of WebSockets."""
    rate: float
    """Changes a second."""
    seconds: float
    processes: int
    """Of followers."""

    @property
    def subscriptions(self) -> int:
        return self.connections * self.each

    @property
    def writes(self) -> int:
        return round(self.seconds * self.rate / CHANGES_OF_A_WRITE)

    def __str__(self) -> str:
        kind = "event streams" if self.as_events else "WebSockets"
        return (
            f"{self.subscriptions:,} subscriptions on {self.connections:,} {kind},"
            f" {self.rate:g} changes a second for {self.seconds:g} s"
        )


class Writer:
    """Creates posts at their times, whether those before were answered or not."""

    def __init__(self, client: Patient, accounts: Sequence[int]) -> None:
        self._client = client
        self._accounts = accounts
        self.sent: dict[str, float] = {}
        """When, by post, as the monotonic clock has it."""
        self.answered: list[float] = []
        """Within so many seconds."""

    async def write(self) -> None:
        sent_at = time.monotonic()
        given = {
            "content": "Spring sale starts today",
            "accountIds": self._accounts,
            "scheduledFor": "2100-01-01T00:00:00Z",
            "idempotencyKey": secrets.token_hex(),
        }
        answer = await self._client.ask(CREATE, input=given)
        self.sent[answer["made"]["post"]["postId"]] = sent_at
        self.answered.append(time.monotonic() - sent_at)

    async def write_in_time(self, load: Load) -> None:
        begun_at, pause = time.monotonic(), load.seconds / load.writes
        async with asyncio.TaskGroup() as writes:
            for number in range(load.writes):
                await asyncio.sleep(begun_at + number * pause - time.monotonic())
                writes.create_task(self.write())


class Meter:
    """What a server and those who follow it have taken since now."""

    def __init__(self, pid: int, crowd: Crowd) -> None:
        self._pid, self._crowd = pid, crowd
        self._began_at, self._cpu = time.monotonic(), linux_processes.cpu_seconds(pid)
        self._waited, self._of_crowd = _waited_for_cpu(pid), crowd.cpu_seconds()

    def shares(self, deliveries: int) -> Shares:
        """`deliveries` is how often somebody was told of a change meanwhile."""
        seconds = time.monotonic() - self._began_at
        server = linux_processes.cpu_seconds(self._pid) - self._cpu
        of_crowd = zip(self._crowd.cpu_seconds(), self._of_crowd, strict=True)
        return Shares(
            server=server / seconds,
            each_us=1e6 * server / deliveries,
            waiting=(_waited_for_cpu(self._pid) - self._waited) / seconds,
            followers=max(now - then for now, then in of_crowd) / seconds,
        )


async def run(url: str, logs: Path, load: Load, start: StartProcess) -> Figures:
    """On an empty database; the folder keeps the server's log."""
    token, accounts = await prepare(url, accounts=1)
    server = ServerProcess(logs, _settings(url, load), start=start)
    try:
        server.wait_until_ready()
        async with Patient([server.url], token) as client:
            plan = Plan(
                url=server.url,
                token=token,
                connections=load.connections,
                each=load.each,
                as_events=load.as_events,
                seconds=TIMEOUT_SECONDS,
            )
            writer = Writer(client, accounts)
            measured = await _measure(server.process.pid, client, writer, plan, load)
        server.stop()
    finally:
        server.kill()
    return Figures(*measured, complaints(logs))


async def _measure(
    pid: int, client: Patient, writer: Writer, plan: Plan, load: Load
) -> tuple[Delivery, Times, Cost]:
    origin = await client.latest_cursor()
    for _ in range(WRITES_BEFORE):
        await writer.write()
    before = [change["cursor"] for change in await client.changes(origin)]
    kib, began_at = _resident_kib(pid), time.monotonic()
    with Crowd(plan, before[:-1], load.processes) as crowd:
        await crowd.have_seen(before[-1])
        opened_within, kib_when_open = time.monotonic() - began_at, _resident_kib(pid) - kib
        writer.answered.clear()
        meter = Meter(pid, crowd)
        await writer.write_in_time(load)
        await crowd.have_seen(await client.latest_cursor())
        cost = Cost(
            opened_within=opened_within,
            kib_when_open=kib_when_open / load.subscriptions,
            kib_at_the_end=(_resident_kib(pid) - kib) / load.subscriptions,
            shares=meter.shares(load.subscriptions * load.writes * CHANGES_OF_A_WRITE),
        )
        told = await crowd.leave()
    changes = await client.changes(origin)
    delivery = delivery_of(changes, told, writer.sent, measured_from=len(before))
    return delivery, Times.of(writer.answered), cost


async def prepare(url: str, *, accounts: int) -> tuple[str, list[int]]:
    """A key, and so many accounts."""
    async with Database(url) as database:
        await migrate(database, now=datetime.now(UTC), random_bytes=secrets.token_bytes)
        workspace = await add_workspace(database)
        made = [int(await add_account(database, workspace)) for _ in range(accounts)]
        return (await add_api_key(database, workspace)).token, made


def _settings(url: str, load: Load) -> dict[str, str]:
    """Without a limit that they would reach."""
    most = str(max(load.subscriptions, 10_000))
    return {
        "DATABASE_URL": url,
        "RATE_LIMIT": "off",
        "MAX_SOCKETS": most,
        "MAX_SUBSCRIPTIONS": most,
        "MAX_SUBSCRIPTIONS_PER_KEY": most,
        "MAX_SUBSCRIPTIONS_PER_SOCKET": str(load.each),
    }


def _resident_kib(pid: int) -> int:
    found = re.search(r"^Rss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def _waited_for_cpu(pid: int) -> float:
    """Seconds; of its main thread."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


@contextmanager
def new_database(engine: str, folder: Path) -> Iterator[str]:
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
    load = Load(
        connections=sockets * each if sse else sockets,
        each=1 if sse else each,
        as_events=sse,
        rate=rate,
        seconds=seconds,
        processes=processes,
    )
    allow_files(load.connections + 500)
    is_right = True
    for name in ENGINES if engine is None else (engine,):
        with tempfile.TemporaryDirectory() as folder, new_database(name, Path(folder)) as url:
            logs = Path(folder) / "logs"
            logs.mkdir()
            figures = asyncio.run(run(url, logs, load, spawn))
        click.echo("\n  ".join([f"{name}: {load}", *figures.lines()]))
        is_right = is_right and figures.delivery.is_whole and (figures.meets_the_goals or not goals)
    sys.exit(not is_right)


if __name__ == "__main__":
    main()
