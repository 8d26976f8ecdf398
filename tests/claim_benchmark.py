"""Measures claims on both engines: `python -m tests.claim_benchmark`.

Each destination must be claimed once. A workspace or an account with a long queue must not delay another
one. The cost of a claim, a start and a report must not depend on the length of the queue, and little on the
number of accounts. The backlog of a long queue must be read quickly, as for a scrape of the metrics. Exits
with 1 otherwise.
"""

import asyncio
import multiprocessing
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from uuid import UUID

import click
from sqlalchemy import text

from app.db import models
from app.db.core.database import Database
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.migrations import migrate
from app.db.repositories.overdue import read_backlog
from app.domain.ids import AccountId, WorkspaceId
from app.services.claims import Claim
from tests import postgres
from tests.factories import add_account, add_post, add_workspace, queued
from tests.raw_statements import run_raw
from tests.services import publishing_calls

DUE_AT = datetime.now(UTC) - timedelta(hours=1)
MAX_WAIT = timedelta(seconds=2)
"""Limit of the 99th percentile of the time until a post of another workspace is claimed."""
MAX_COST_RATIO = 1.5
MAX_COST_RATIO_OF_ACCOUNTS = 2
_DUE_POSTS = 4_000
"""Due posts on all accounts together, where costs of accounts are compared."""
MAX_BACKLOG_DURATION = timedelta(milliseconds=50)


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def open_migrated_database(url: str) -> AsyncIterator[Database]:
    async with Database(url, timeout=timedelta(minutes=10), pool_size=20) as database:
        await migrate(database, now=now(), random_bytes=secrets.token_bytes)
        yield database


async def insert_due_posts(
    database: Database, workspace: WorkspaceId, account: AccountId, posts: int
) -> None:
    """Insert posts with one account, due an hour ago, as copies of the first."""
    post = await add_post(
        database, workspace, {account: queued(DUE_AT)}, submitted_now=True, created_at=DUE_AT
    )
    await database.write_all_workspaces(lambda session: copy_post(session, post.id, posts - 1))
    await analyze(database)


async def analyze(database: Database) -> None:
    """Update the statistics of the planner, as a database does some time after many inserts."""
    if database.is_sqlite:
        await database.refresh_statistics()
    else:
        await database.write_all_workspaces(lambda session: run_raw(session, text("ANALYZE")))


async def copy_post(session: AllWorkspacesWriteSession, post: UUID, count: int) -> None:
    """Copy a post with its destination; the copied destination has the id of its post."""
    is_sqlite = session.is_sqlite
    new_id = _SQLITE_UUID if is_sqlite else "gen_random_uuid()"
    columns = ", ".join(column.name for column in models.Post.__table__.c if column.name != "id")
    destination_columns = [column.name for column in models.Destination.__table__.c]
    values = ", ".join(
        "p.id" if name in ("id", "post_id") else f"d.{name}" for name in destination_columns
    )
    post_id = str(post) if is_sqlite else post
    await run_raw(
        session,
        text(
            "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :count)"
            f" INSERT INTO post (id, {columns})"
            f" SELECT {new_id}, {columns} FROM post, number WHERE id = :post"
        ),
        post=post_id,
        count=count,
    )
    await run_raw(
        session,
        text(
            f"INSERT INTO destination ({', '.join(destination_columns)}) SELECT {values} FROM post p"
            " JOIN destination d ON d.workspace_id = p.workspace_id AND d.post_id = :post"
            " WHERE NOT EXISTS (SELECT 1 FROM destination o"
            " WHERE o.workspace_id = p.workspace_id AND o.post_id = p.id)"
        ),
        post=post_id,
    )


_SQLITE_UUID = "||'-'||".join(f"lower(hex(randomblob({size})))" for size in (4, 2, 2, 2, 6))


async def claim_due(database: Database, limit: int) -> list[Claim]:
    return await publishing_calls.claim(database, limit, now=now())


async def publish(database: Database, claim: Claim) -> None:
    await publishing_calls.start_attempt(database, claim.lease, now())
    await publishing_calls.report_published(database, claim.lease, now())


def _claim_until_empty(url: str, claimers: int) -> list[tuple[str, int]]:
    """Destination ids and fences that concurrent claimers of one process claimed."""

    async def claim_until_empty(database: Database) -> list[tuple[str, int]]:
        claimed: list[tuple[str, int]] = []
        while claims := await claim_due(database, 50):
            leases = [claim.lease for claim in claims]
            claimed += [(str(lease.destination_id), lease.fence) for lease in leases]
        return claimed

    async def run() -> list[tuple[str, int]]:
        async with Database(url, timeout=timedelta(minutes=1)) as database:
            by_claimer = await asyncio.gather(
                *(claim_until_empty(database) for _ in range(claimers))
            )
        return list(chain.from_iterable(by_claimer))

    return asyncio.run(run())


def check_claimed_once(url: str, post_count: int, processes: int, claimers: int) -> bool:
    async def prepare() -> None:
        async with open_migrated_database(url) as database:
            workspace = await add_workspace(database)
            await insert_due_posts(
                database, workspace, await add_account(database, workspace), post_count
            )

    asyncio.run(prepare())
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        arguments = [(url, claimers // processes)] * processes
        claimed = list(chain(*pool.starmap(_claim_until_empty, arguments)))
    seconds = time.monotonic() - started
    duplicates = len(claimed) - len(set(claimed))
    click.echo(
        f"  {claimers} claimers in {processes} processes, {post_count} due: {len(claimed)} claimed in"
        f" {seconds:.1f} s, {duplicates} twice, {post_count - len(set(claimed))} never"
    )
    return len(claimed) == post_count and duplicates == 0


async def measure_wait_beside_queue(
    database: Database, workspace: WorkspaceId, claimers: int, samples: int
) -> float:
    """Measure how long posts of a new account wait for a claim; return the 99th percentile in seconds."""
    account = await add_account(database, workspace)
    claimed_at: dict[str, float] = {}
    stop, all_claimed = asyncio.Event(), asyncio.Event()

    async def keep_claiming() -> None:
        while not stop.is_set():
            for claimed in await claim_due(database, 2):
                if (claimed.lease.workspace_id, claimed.account.id) == (workspace, account):
                    claimed_at[str(claimed.post.id)] = time.monotonic()
                    if len(claimed_at) == samples:
                        all_claimed.set()
                await publish(database, claimed)

    workers = [asyncio.create_task(keep_claiming()) for _ in range(claimers)]
    added_at: dict[str, float] = {}
    for _ in range(samples):
        post = await add_post(database, workspace, {account: queued(now())}, submitted_now=True)
        added_at[str(post.id)] = time.monotonic()
        await asyncio.sleep(0.05)
    await asyncio.wait_for(all_claimed.wait(), timeout=120)
    stop.set()
    await asyncio.gather(*workers)
    waits = sorted(claimed_at[post_id] - time for post_id, time in added_at.items())
    p99 = waits[len(waits) * 99 // 100]
    click.echo(
        f"    {claimers} publishers: {_format_ms(waits[len(waits) // 2])} (p50), {_format_ms(p99)} (p99)"
    )
    return p99


async def compare_waits(database: Database, due: int, claimers: int, samples: int) -> bool:
    """Measure the waits of accounts alone, and beside one with many due posts."""
    alone, other, busy = [await add_workspace(database) for _ in range(3)]
    click.echo("  a post waits for its claim alone:")
    await measure_wait_beside_queue(database, alone, claimers, samples)
    await insert_due_posts(database, busy, await add_account(database, busy), due)
    click.echo(f"  beside {due} due posts on an account of another workspace:")
    beside_workspace = await measure_wait_beside_queue(database, other, claimers, samples)
    click.echo(f"  beside {due} due posts on an account of its workspace:")
    beside_account = await measure_wait_beside_queue(database, busy, claimers, samples)
    return max(beside_workspace, beside_account) <= MAX_WAIT.total_seconds()


async def _measure_operations(database: Database, count: int) -> float:
    """Median seconds of a claim with its start and report."""
    durations = []
    for _ in range(count):
        started = time.perf_counter()
        (claimed,) = await claim_due(database, 1)
        await publish(database, claimed)
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


async def _compare_operations(
    first: Database, second: Database, rounds: int
) -> tuple[float, float]:
    """Median costs, measured in rotation, so that the load of the machine affects both equally."""
    costs: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for cost, database in zip(costs, (first, second), strict=True):
            cost.append(await _measure_operations(database, 20))
    return statistics.median(costs[0]), statistics.median(costs[1])


async def compare_costs(few: Database, many: Database, sizes: tuple[int, int], rounds: int) -> bool:
    """Compare the cost of claims from a short and a long queue."""
    workspace = await add_workspace(few)
    await insert_due_posts(few, workspace, await add_account(few, workspace), sizes[0])
    low, high = await _compare_operations(few, many, rounds)
    click.echo(
        f"  claim, start and report: {_format_ms(low)} with {sizes[0]} queued,"
        f" {_format_ms(high)} with {sizes[1]}; ratio {high / low:.2f}"
    )
    return high / low <= MAX_COST_RATIO


async def compare_costs_of_accounts(
    few: Database, many: Database, accounts: int, rounds: int
) -> bool:
    """Compare the cost of claims with one account and with many, of which every tenth has due posts."""
    for database, count in ((few, 1), (many, accounts)):
        workspace = await add_workspace(database)
        ids = [await add_account(database, workspace) for _ in range(count)]
        with_due = ids[::10]
        for account in with_due:
            await insert_due_posts(database, workspace, account, _DUE_POSTS // len(with_due))
    low, high = await _compare_operations(few, many, rounds)
    click.echo(
        f"  claim, start and report: {_format_ms(low)} with 1 account, {_format_ms(high)} with"
        f" {accounts}; ratio {high / low:.2f}"
    )
    return high / low <= MAX_COST_RATIO_OF_ACCOUNTS


async def measure_backlog(database: Database) -> bool:
    """Measure the read of the backlog, without the first one, which also compiles the statement."""
    durations = []
    for _ in range(11):
        started = time.perf_counter()
        backlog = await read_backlog(database.all_workspaces, now())
        durations.append(time.perf_counter() - started)
    median = statistics.median(durations[1:])
    click.echo(f"  backlog: {backlog.due} due counted in {_format_ms(median)}")
    return median <= MAX_BACKLOG_DURATION.total_seconds()


def _format_ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


@contextmanager
def databases_of_both_engines() -> Iterator[Iterator[tuple[str, list[str]]]]:
    """Yield the URLs of five empty databases of each engine."""
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres.running_server() as server,
        ExitStack() as stack,
    ):
        urls = [stack.enter_context(postgres.new_database(server)) for _ in range(5)]
        files = [f"sqlite+aiosqlite:///{folder}/{number}.db" for number in range(5)]
        yield iter([("SQLite", files), ("PostgreSQL", urls)])


@click.command()
@click.option(
    "--due", default=10_000, show_default=True, help="Due posts in the test of unique claims."
)
@click.option(
    "--queued", "many", default=1_000_000, show_default=True, help="Posts in the long queue."
)
@click.option("--accounts", default=1_000, show_default=True, help="Accounts of one workspace.")
@click.option("--claimers", default=16, show_default=True)
@click.option("--processes", default=4, show_default=True)
@click.option("--samples", default=100, show_default=True)
def main(due: int, many: int, accounts: int, claimers: int, processes: int, samples: int) -> None:
    """Print the measurements; exit with 1 if a limit is exceeded."""
    passed = []

    async def compare(first: str, second: str) -> None:
        async with open_migrated_database(first) as few, open_migrated_database(second) as full:
            passed.append(await compare_waits(full, many, claimers, samples))
            passed.append(await measure_backlog(full))
            passed.append(await compare_costs(few, full, (1000, many), rounds=10))

    async def compare_accounts(first: str, second: str) -> None:
        async with open_migrated_database(first) as few, open_migrated_database(second) as crowded:
            passed.append(await compare_costs_of_accounts(few, crowded, accounts, rounds=10))

    with databases_of_both_engines() as engines:
        for engine, (one, two, three, four, five) in engines:
            click.echo(engine)
            passed.append(check_claimed_once(one, due, processes, claimers))
            asyncio.run(compare(two, three))
            asyncio.run(compare_accounts(four, five))
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
