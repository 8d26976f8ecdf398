"""Claims by many publishers of much that is due, on both engines: `python -m tests.claim_benchmark`.

Each claim is handed out once; a workspace with very much delays no other; and claiming, starting and
reporting a destination costs the same however much is queued. Exits with 1 where one of this is not so.
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
from uuid import UUID, uuid4

import click
from sqlalchemy import text

from app.db import models
from app.db.core.database import Database, WriteSession
from app.db.migrations import migrate
from app.domain.attempts import Publication
from app.domain.ids import AccountId, WorkspaceId
from app.services.claims import Claim, ClaimRequest, claim_destinations
from app.services.reports import Publisher, report_published, start_attempt
from tests import postgres
from tests.factories import add_account, add_post, add_workspace, queued

OPERATOR = Publisher(workspace_id=None, actor=None)
LEASE = timedelta(minutes=1)
DUE_AT = datetime.now(UTC) - timedelta(hours=1)
MAX_WAIT = timedelta(seconds=2)
MAX_COST_RATIO = 1.5


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
    """So many posts on one account, due an hour ago, copied from one."""
    made = await add_post(
        database, workspace, {account: queued(DUE_AT)}, submitted_now=True, created_at=DUE_AT
    )
    await database.write(lambda session: _copy_post(session, made.id, posts - 1))
    if database.is_sqlite:
        await database.refresh_statistics()
    else:
        await database.write(lambda session: session.execute(text("ANALYZE")))


async def _copy_post(session: WriteSession, post: UUID, count: int) -> None:
    """A copied destination has the id of its post."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    new_id = _SQLITE_UUID if is_sqlite else "gen_random_uuid()"
    posts = ", ".join(each.name for each in models.Post.__table__.c if each.name != "id")
    on = [each.name for each in models.Destination.__table__.c]
    copied = ", ".join("p.id" if name in ("id", "post_id") else f"d.{name}" for name in on)
    where = {"post": str(post) if is_sqlite else post, "count": count}
    await session.execute(
        text(
            "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :count)"
            f" INSERT INTO post (id, {posts}) SELECT {new_id}, {posts} FROM post, number WHERE id = :post"
        ),
        where,
    )
    await session.execute(
        text(
            f"INSERT INTO destination ({', '.join(on)}) SELECT {copied} FROM post p"
            " JOIN destination d ON d.workspace_id = p.workspace_id AND d.post_id = :post"
            " WHERE NOT EXISTS (SELECT 1 FROM destination o"
            " WHERE o.workspace_id = p.workspace_id AND o.post_id = p.id)"
        ),
        {"post": where["post"]},
    )


_SQLITE_UUID = "||'-'||".join(f"lower(hex(randomblob({each})))" for each in (4, 2, 2, 2, 6))


async def claim(database: Database, limit: int) -> list[Claim]:
    wish = ClaimRequest(limit=limit, lease_duration=LEASE, platforms=None)
    return await claim_destinations(database, OPERATOR, wish, new_id=uuid4, now=now())


async def publish(database: Database, claim: Claim) -> None:
    await start_attempt(database, OPERATOR, claim.lease, worker=None, new_id=uuid4, now=now())
    where = Publication(platform_post_id="1", platform_post_url=None, published_at=now())
    await report_published(database, OPERATOR, claim.lease, where, new_id=uuid4, now=now())


# Each once.


def _claim_until_empty(url: str, claimers: int) -> list[tuple[str, int]]:
    async def claim_until_empty(database: Database) -> list[tuple[str, int]]:
        got: list[tuple[str, int]] = []
        while claims := await claim(database, 50):
            got += [(str(each.lease.destination_id), each.lease.fence) for each in claims]
        return got

    async def run() -> list[tuple[str, int]]:
        async with Database(url, timeout=timedelta(minutes=1)) as database:
            each = await asyncio.gather(*(claim_until_empty(database) for _ in range(claimers)))
        return list(chain.from_iterable(each))

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
        got = list(
            chain(*pool.starmap(_claim_until_empty, [(url, claimers // processes)] * processes))
        )
    took = time.monotonic() - started
    twice = len(got) - len(set(got))
    click.echo(
        f"  {claimers} claimers in {processes} processes, {post_count} due: {len(got)} handed out in"
        f" {took:.1f} s, {twice} twice, {post_count - len(set(got))} never"
    )
    return len(got) == post_count and twice == 0


# No other waits.


async def measure_other_workspace_wait(
    database: Database, due: int, claimers: int, samples: int
) -> bool:
    """How long a post of another workspace waits, while everybody works at one with very much due."""
    busy, other = [await add_workspace(database) for _ in range(2)]
    await insert_due_posts(database, busy, await add_account(database, busy), due)
    account = await add_account(database, other)
    seen: dict[str, float] = {}
    is_over, all_seen = asyncio.Event(), asyncio.Event()

    async def keep_claiming() -> None:
        while not is_over.is_set():
            for each in await claim(database, 2):
                if each.lease.workspace_id == other:
                    seen[str(each.post.id)] = time.monotonic()
                    if len(seen) == samples:
                        all_seen.set()
                await publish(database, each)

    workers = [asyncio.create_task(keep_claiming()) for _ in range(claimers)]
    added: dict[str, float] = {}
    for _ in range(samples):
        post = await add_post(database, other, {account: queued(now())}, submitted_now=True)
        added[str(post.id)] = time.monotonic()
        await asyncio.sleep(0.05)
    await asyncio.wait_for(all_seen.wait(), timeout=120)
    is_over.set()
    await asyncio.gather(*workers)
    waits = sorted(seen[key] - at for key, at in added.items())
    most = waits[len(waits) * 99 // 100]
    click.echo(
        f"  beside {due} due in one workspace, {claimers} publishers: another one's post waits"
        f" {_format_ms(waits[len(waits) // 2])} (half), {_format_ms(most)} (99 %)"
    )
    return most <= MAX_WAIT.total_seconds()


# The same cost.


async def _measure_operations(database: Database, count: int) -> float:
    """Seconds of a claim, a start and a report, each for itself."""
    took = []
    for _ in range(count):
        started = time.perf_counter()
        (claimed,) = await claim(database, 1)
        await publish(database, claimed)
        took.append(time.perf_counter() - started)
    return statistics.median(took)


async def compare_costs(few: Database, many: Database, sizes: tuple[int, int], rounds: int) -> bool:
    """In rotation, so that both meet the same machine."""
    workspace = await add_workspace(few)
    await insert_due_posts(few, workspace, await add_account(few, workspace), sizes[0])
    costs: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for cost, database in zip(costs, (few, many), strict=True):
            cost.append(await _measure_operations(database, 20))
    less, more = map(statistics.median, costs)
    click.echo(
        f"  claim, start and report of one: {_format_ms(less)} with {sizes[0]} queued, {_format_ms(more)} with"
        f" {sizes[1]}; ratio {more / less:.2f}"
    )
    return more / less <= MAX_COST_RATIO


def _format_ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


@contextmanager
def temporary_databases() -> Iterator[Iterator[tuple[str, list[str]]]]:
    """Three fresh databases of each engine."""
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres.running_server() as server,
        ExitStack() as stack,
    ):
        urls = [stack.enter_context(postgres.new_database(server)) for _ in range(3)]
        files = [f"sqlite+aiosqlite:///{folder}/{number}.db" for number in range(3)]
        yield iter([("SQLite", files), ("PostgreSQL", urls)])


@click.command()
@click.option("--due", default=10_000, show_default=True, help="To be claimed at once.")
@click.option("--queued", "many", default=1_000_000, show_default=True, help="In one workspace.")
@click.option("--claimers", default=16, show_default=True)
@click.option("--processes", default=4, show_default=True)
@click.option("--samples", default=100, show_default=True)
def main(due: int, many: int, claimers: int, processes: int, samples: int) -> None:
    """Print what claims cost and how long they wait; exits with 1 where it is too much."""
    are_right = []

    async def compare(first: str, second: str) -> None:
        async with open_migrated_database(first) as few, open_migrated_database(second) as full:
            are_right.append(await measure_other_workspace_wait(full, many, claimers, samples))
            are_right.append(await compare_costs(few, full, (1000, many), rounds=10))

    with temporary_databases() as engines:
        for name, (one, two, three) in engines:
            click.echo(name)
            are_right.append(check_claimed_once(one, due, processes, claimers))
            asyncio.run(compare(two, three))
    sys.exit(not all(are_right))


if __name__ == "__main__":
    main()
