"""Measures the delivery of webhooks on both engines: `python -m tests.webhook_load`.

First, how many events per second one worker delivers to one receiver. Then, how long events take to healthy
endpoints beside many that never answer, and whether the memory of the worker grows meanwhile.
"""

import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from app.db.core.database import Database
from app.db.migrations import migrate
from app.db.repositories.events import append_events
from app.domain.events import Event, EventKind
from app.domain.ids import AccountId, WorkspaceId
from app.domain.times import format_instant
from app.domain.webhooks.event_types import WebhookEventType
from tests.bench.linux_processes import cpu_seconds, memory
from tests.factories import AddedPost, add_account, add_post, add_workspace, published
from tests.server_kills import temporary_database
from tests.servers import LoggedProcess
from tests.webhook_endpoints import WebhookEndpoints
from tests.webhook_receiver import LOOPBACK_SETTINGS
from tests.webhook_rows import SECRETS_KEY

MIN_RATE = 500
"""Deliveries per second, and per second of the worker's CPU time if it has a core for itself."""
MAX_P99_SECONDS = 2.0
MAX_MEMORY_GROWTH = 16.0
"""MiB, from the end of the first third to the end."""

EVENT_TYPES = (WebhookEventType.POST_PUBLISHED,)
POSTS = 100
WORKSPACES, SILENT_PER_WORKSPACE, HEALTHY_PER_WORKSPACE = 5, 20, 4
EVENTS_PER_SECOND = 50
TIMEOUT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Tenant:
    """A workspace with published posts, whose events are appended."""

    workspace_id: WorkspaceId
    account_id: AccountId
    posts: Sequence[AddedPost]

    async def publish(self, database: Database, number: int, first: int = 0) -> None:
        """Append events of publications, of one post after the other."""
        now = datetime.now(UTC)
        events = [self._event(self.posts[(first + index) % POSTS], now) for index in range(number)]
        await database.write(
            self.workspace_id,
            lambda session: append_events(
                session, events, actor=None, operation="reportPublished", now=now
            ),
        )

    def _event(self, post: AddedPost, now: datetime) -> Event:
        return Event(
            kind=EventKind.DESTINATION_CHANGED,
            post_id=post.id,
            destination_id=post.destinations[0],
            account_id=self.account_id,
            values={
                "outcome": "published",
                "published_at": format_instant(now),
                "platform_post_url": "https://example.com/posts/1",
            },
            previous={"outcome": "none"},
        )


async def measure_rate(database_url: str, folder: Path, *, events: int) -> tuple[float, float]:
    """Return deliveries per second, and per second of the worker's CPU time, to one receiver."""
    endpoints = WebhookEndpoints()
    async with _opened(database_url) as database, endpoints.receiver.running():
        tenant = await _add_tenant(database)
        await endpoints.add(database, tenant.workspace_id, ["/hook"], EVENT_TYPES)
        await tenant.publish(database, events)
        worker = _start_worker(folder, database_url)
        try:
            await _wait_for(endpoints, "/hook", 1)
            start, cpu, first = (
                time.monotonic(),
                cpu_seconds(worker.process.pid),
                endpoints.count("/hook"),
            )
            await _wait_for(endpoints, "/hook", events)
            seconds, cpu = time.monotonic() - start, cpu_seconds(worker.process.pid) - cpu
        finally:
            worker.kill()
    assert endpoints.invalid == 0
    return (events - first) / seconds, (events - first) / cpu


@dataclass(frozen=True, slots=True)
class IsolationResult:
    """Delays of healthy endpoints beside others that never answer."""

    delivered: int
    lost: int
    p99: float
    """Seconds from the commit of an event to its receipt."""
    longest: float
    memory_growth: float
    """MiB of the worker."""

    @property
    def is_good(self) -> bool:
        return (
            self.lost == 0
            and self.p99 <= MAX_P99_SECONDS
            and self.memory_growth <= MAX_MEMORY_GROWTH
        )


async def measure_isolation(database_url: str, folder: Path, *, seconds: int) -> IsolationResult:
    """Append events for some seconds, while most endpoints accept connections and never answer."""
    endpoints = WebhookEndpoints(is_silent=lambda path: path.startswith("/silent"))
    healthy = [f"/healthy-{number}" for number in range(HEALTHY_PER_WORKSPACE)]
    silent = [f"/silent-{number}" for number in range(SILENT_PER_WORKSPACE)]
    async with _opened(database_url) as database, endpoints.receiver.running():
        tenants = [await _add_tenant(database) for _ in range(WORKSPACES)]
        for number, tenant in enumerate(tenants):
            paths = [f"{path}-of-{number}" for path in (*healthy, *silent)]
            await endpoints.add(database, tenant.workspace_id, paths, EVENT_TYPES)
        worker = _start_worker(folder, database_url)
        appended, memory_before = 0, 0.0
        try:
            start = time.monotonic()
            while (elapsed := time.monotonic() - start) < seconds:
                if appended < elapsed * EVENTS_PER_SECOND:
                    await tenants[appended % WORKSPACES].publish(database, 1, appended)
                    appended += 1
                else:
                    await asyncio.sleep(0.005)
                if elapsed < seconds / 3:
                    memory_before = memory(worker.process.pid).private
            expected = {
                f"{path}-of-{number}": len(range(number, appended, WORKSPACES))
                for number in range(WORKSPACES)
                for path in healthy
            }
            for path, count in expected.items():
                await _wait_for(endpoints, path, count)
            growth = memory(worker.process.pid).private - memory_before
        finally:
            worker.kill()
    delays = sorted(endpoints.delays)
    return IsolationResult(
        delivered=len(delays),
        lost=sum(max(count - endpoints.count(path), 0) for path, count in expected.items()),
        p99=delays[int(len(delays) * 0.99)],
        longest=delays[-1],
        memory_growth=growth,
    )


@asynccontextmanager
async def _opened(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as database:
        await migrate(database, now=datetime.now(UTC), random_bytes=secrets.token_bytes)
        yield database


async def _add_tenant(database: Database) -> Tenant:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    posts = [await add_post(database, workspace, {account: published()}) for _ in range(POSTS)]
    return Tenant(workspace, account, posts)


def _start_worker(folder: Path, database_url: str) -> LoggedProcess:
    environment = {
        "DATABASE_URL": database_url,
        "SECRETS_KEY": SECRETS_KEY,
        **LOOPBACK_SETTINGS,
    }
    return LoggedProcess(folder, environment, "worker", "--only", "webhooks")


async def _wait_for(endpoints: WebhookEndpoints, path: str, number: int) -> None:
    """Wait until an endpoint has received this number of events, or for the timeout."""
    ends_at = time.monotonic() + TIMEOUT_SECONDS
    while endpoints.count(path) < number:
        await asyncio.sleep(0.01)
        if time.monotonic() > ends_at:
            return


@click.command()
@click.option("--events", default=5_000, show_default=True, help="Events to one receiver.")
@click.option("--seconds", default=60, show_default=True, help="Time with silent receivers.")
def main(events: int, seconds: int) -> None:
    """Print the rate and the delays of deliveries. Exits with 1 if one exceeds its limit."""
    is_good = True
    for engine in ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory() as name, temporary_database(engine, Path(name)) as url:
            rate, rate_by_cpu = asyncio.run(measure_rate(url, _logs(name), events=events))
        click.echo(
            f"{engine}: {rate:.0f} deliveries/s to one receiver, {rate_by_cpu:.0f} per second of CPU time"
        )
        with tempfile.TemporaryDirectory() as name, temporary_database(engine, Path(name)) as url:
            result = asyncio.run(measure_isolation(url, _logs(name), seconds=seconds))
        click.echo(
            f"{engine}: {result.delivered} deliveries to {WORKSPACES * HEALTHY_PER_WORKSPACE} endpoints"
            f" beside {WORKSPACES * SILENT_PER_WORKSPACE} that never answer: p99 {result.p99:.2f} s,"
            f" longest {result.longest:.2f} s, {result.lost} lost, memory {result.memory_growth:+.1f} MiB"
        )
        is_good = is_good and result.is_good and max(rate, rate_by_cpu) >= MIN_RATE
    sys.exit(not is_good)


def _logs(folder: str) -> Path:
    logs = Path(folder) / "logs"
    logs.mkdir()
    return logs


if __name__ == "__main__":
    main()
