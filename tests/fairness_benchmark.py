"""Measures fairness between accounts on both engines: `python -m tests.fairness_benchmark`.

One of 50 accounts of a workspace has 5,000 due posts. Posts of the others become due at random times. Two
workers with the default settings publish them on a platform whose calls all take the same time. The lateness
of the other accounts is compared with that without the 5,000 posts. Runs with and without them alternate.
Time in which everything waits is skipped. Exits with 1 above the limit.
"""

import asyncio
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import click
from sqlalchemy import bindparam, func, select

from app.db.core.database import Database, Reader
from app.db.core.statements import Statement
from app.db.models import Destination
from app.domain.accounts import AccountPublisher
from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.domain.ids import AccountId, WorkspaceId
from app.domain.retry_policy import DEFAULT_POLICIES
from app.observability.logs import configure_logging
from app.outbound.client import OutboundClient
from app.platforms.protocol import (
    AccountIdentity,
    Credentials,
    LookupFailure,
    NotPublished,
    PublishRequest,
)
from app.platforms.sandbox import PLATFORM_NAME
from app.worker.context import make_system_functions
from app.worker.process import make_context, publish_in_background
from app.worker.stats import WorkerStats
from tests.claim_benchmark import analyze, copy_post
from tests.credential_rows import SERVER_SETTINGS
from tests.factories import NOW, add_account, add_post, add_workspace, queued
from tests.outages.pds import FixedWindow
from tests.outbound.local_servers import LOCAL_RULES
from tests.server_kills import temporary_database
from tests.virtual_time import (
    LoopClock,
    open_in_virtual_time,
    open_migrated_in_virtual_time,
    run_in_virtual_time,
)

MAX_RATIO = 3
"""Limit of the 99th percentile of the lateness beside the due posts, relative to that without them."""
ENGINES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
WORKERS = 2
_PERIOD = timedelta(minutes=2)
"""Period in which the posts of the other accounts become due."""
_MAX_DURATION = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Posts of one run, and the platform on which they are published."""

    accounts: int
    """Accounts besides the one with the due posts."""
    posts_each: int
    """Posts of each of these accounts."""
    call_time: timedelta
    posts_per_minute: int | None
    """Posts that the platform accepts for an account in a minute; None for any number."""


@dataclass
class SlowPlatform:
    """Platform whose calls take the same time, and which limits the posts of each account."""

    load: Load
    clock: LoopClock

    def __post_init__(self) -> None:
        limit = self.load.posts_per_minute or sys.maxsize
        self._windows = defaultdict[AccountId, FixedWindow](lambda: FixedWindow(limit, _MINUTE))

    async def publish(self, request: PublishRequest) -> Publication:
        await asyncio.sleep(self.load.call_time.total_seconds())
        now = self.clock.now()
        window = self._windows[request.account.id]
        window.count_call(now)
        if window.remaining < 0:
            raise NotPublished(
                ErrorCategory.RATE_LIMITED,
                "TOO_MANY_POSTS",
                "Too many posts.",
                retry_after=window.resets_in(now),
            )
        return Publication(
            platform_post_id=request.publication_key, platform_post_url=None, published_at=now
        )

    async def look_up(self, request: PublishRequest) -> LookupFailure:
        return LookupFailure.INCONCLUSIVE

    async def verify_credentials(self, credentials: Credentials) -> AccountIdentity:
        return AccountIdentity()


@dataclass(frozen=True, slots=True)
class Lateness:
    """Lateness of the posts of the other accounts in one run, and what was published meanwhile."""

    seconds: Sequence[float]
    busy_published: int
    """Posts of the account with due posts that were published in the same time."""


async def measure_lateness(url: str, load: Load, due: int, seed: int) -> Lateness:
    """Run a load on an empty database, beside `due` posts of another account; must run in virtual time."""
    async with open_migrated_in_virtual_time(url) as database, AsyncExitStack() as stack:
        workspace = await add_workspace(database)
        busy = await _add_account(database, workspace)
        if due:
            await _add_due_posts(database, workspace, busy, due)
        await _add_posts(database, workspace, load, random.Random(seed))
        await analyze(database)
        clock = LoopClock()
        platform = SlowPlatform(load, clock)
        for number in range(WORKERS):
            await stack.enter_async_context(_running_worker(url, f"worker-{number}", platform))
        reader = database.reader(workspace)
        async with asyncio.timeout(_MAX_DURATION.total_seconds()):
            while await reader.count(_COUNT_UNPUBLISHED, busy=busy):  # noqa: ASYNC110 - no event
                await asyncio.sleep(1)
        return await _read_lateness(reader, busy)


async def _add_account(database: Database, workspace: WorkspaceId) -> AccountId:
    return await add_account(
        database, workspace, platform=PLATFORM_NAME, publisher=AccountPublisher.SANDBOX
    )


async def _add_due_posts(
    database: Database, workspace: WorkspaceId, account: AccountId, count: int
) -> None:
    post = await add_post(database, workspace, {account: queued(NOW)}, submitted_now=True)
    await database.write_all_workspaces(partial(copy_post, post=post.id, count=count - 1))


async def _add_posts(
    database: Database, workspace: WorkspaceId, load: Load, randomness: random.Random
) -> None:
    for _ in range(load.accounts):
        account = await _add_account(database, workspace)
        for _ in range(load.posts_each):
            due_at = NOW + timedelta(milliseconds=randomness.randrange(_PERIOD // _MILLISECOND))
            await add_post(database, workspace, {account: queued(due_at)}, scheduled_for=due_at)


_MILLISECOND = timedelta(milliseconds=1)


@asynccontextmanager
async def _running_worker(url: str, name: str, platform: SlowPlatform) -> AsyncIterator[None]:
    clock = platform.clock
    system = replace(make_system_functions(clock.now), monotonic=clock.monotonic)
    async with open_in_virtual_time(url) as database, OutboundClient(LOCAL_RULES) as client:
        context = make_context(
            SERVER_SETTINGS,
            database,
            client,
            DEFAULT_POLICIES,
            WorkerStats(),
            system,
            worker_name=name,
        )
        context = replace(context, adapters={AccountPublisher.SANDBOX: platform})
        async with publish_in_background(context, SERVER_SETTINGS, database):
            yield


async def _read_lateness(reader: Reader, busy: AccountId) -> Lateness:
    rows = await reader.rows(_READ_LATENESS)
    return Lateness(
        [row.lateness_ms / 1000 for row in rows if row.account_id != busy],
        sum(row.account_id == busy for row in rows),
    )


_COUNT_UNPUBLISHED = Statement(
    select(func.count()).where(
        Destination.account_id != bindparam("busy"), Destination.lateness_ms.is_(None)
    )
)
_READ_LATENESS = Statement(
    select(Destination.account_id, Destination.lateness_ms).where(
        Destination.lateness_ms.is_not(None)
    )
)


def compare(engine: str, load: Load, due: int, rounds: int) -> bool:
    """Print the lateness with and without the due posts; return whether the limit is not exceeded."""
    runs: Mapping[int, list[Lateness]] = {0: [], due: []}
    for number in range(rounds):
        for posts, results in runs.items():
            with (
                tempfile.TemporaryDirectory() as folder,
                temporary_database(engine, Path(folder)) as url,
            ):
                results.append(run_in_virtual_time(measure_lateness(url, load, posts, seed=number)))
    click.echo(ENGINES[engine])
    p99 = {}
    for posts, results in runs.items():
        seconds = sorted(each for result in results for each in result.seconds)
        p99[posts] = _percentile(seconds, 99)
        click.echo(
            f"  beside {posts} due posts, of which {_published(results)} were published meanwhile:"
            f" {_percentile(seconds, 50):.2f} s (p50), {p99[posts]:.2f} s (p99),"
            f" {seconds[-1]:.2f} s (longest) of {len(seconds)} posts"
        )
    ratio = p99[due] / p99[0]
    click.echo(f"  ratio of the 99th percentiles: {ratio:.2f}")
    return ratio <= MAX_RATIO


def _published(results: Sequence[Lateness]) -> str:
    return " / ".join(str(result.busy_published) for result in results)


def _percentile(seconds: Sequence[float], percent: int) -> float:
    return seconds[len(seconds) * percent // 100]


@click.command()
@click.option(
    "--engine",
    "engines",
    type=click.Choice([*ENGINES]),
    multiple=True,
    default=[*ENGINES],
    help="Only this engine.",
)
@click.option("--due", type=click.IntRange(min=1), default=5000, show_default=True)
@click.option("--accounts", type=click.IntRange(min=1), default=49, show_default=True)
@click.option("--posts-each", type=click.IntRange(min=1), default=6, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--call-seconds", default=0.5, show_default=True, help="Time of a platform's call.")
@click.option(
    "--posts-per-minute",
    type=click.IntRange(min=1),
    help="Posts that the platform accepts for an account; otherwise any number.",
)
def main(
    engines: Sequence[str],
    due: int,
    accounts: int,
    posts_each: int,
    rounds: int,
    call_seconds: float,
    posts_per_minute: int | None,
) -> None:
    """Print the lateness on each engine; exit with 1 if the limit is exceeded."""
    configure_logging("error", "text")
    load = Load(
        accounts=accounts,
        posts_each=posts_each,
        call_time=timedelta(seconds=call_seconds),
        posts_per_minute=posts_per_minute,
    )
    results = [compare(engine, load, due, rounds) for engine in engines]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
