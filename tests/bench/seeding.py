"""The rows that every server of the benchmark reads: one workspace, the same on both engines.

Everything derived is derived by the service's own rules, so that its check finds nothing wrong.
"""

from asyncio import gather
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from random import Random
from uuid import UUID

from sqlalchemy import insert, text

from app.db.core.database import Database, WriteSession
from app.db.migrations import migrate
from app.db.models import Base
from app.db.repositories import api_keys, workspaces
from app.db.repositories.demo import DemoRows
from app.demo import courses
from app.demo.accounts import DemoAccount
from app.demo.courses import Course, Try
from app.demo.failures import LASTING, PASSING
from app.demo.phrases import draw_content
from app.demo.posts import DemoPost
from app.demo.rows import demo_rows
from app.demo.scene import Scene
from app.demo.tries import draw_seconds, draw_uuid, failed_tries
from app.domain.api_keys import NewApiKey, Scope, make_key
from app.domain.destinations import PERMANENT_CATEGORIES, ErrorCategory
from app.domain.ids import AccountId, ApiKeyId, WorkspaceId
from app.domain.times import truncate_to_ms
from app.domain.workspaces import WorkspaceKind
from tests.factories import KEY_PREFIX
from tests.postgres import script_runner

WORKSPACE_ID = WorkspaceId(UUID("be9c0000-0000-4000-8000-000000000be9"))
ACCOUNTS = 300
DESTINATIONS_PER_POST = 3

_SEED = 20_000
_INSERT_BATCH_SIZE = 5_000
_POST_INTERVAL = timedelta(seconds=37)
_NEWEST_POST_AGE = timedelta(days=3)
"""The newest post was created so long ago: whatever was tried on it is over."""
_LEASE_MARGIN = timedelta(days=1)
"""What falls due, or loses its lease, does so only then."""
_MAX_ATTEMPTS = 5
_TIMEZONES = ("UTC", "Europe/Berlin", "America/New_York", None)
_DESTINATION_PHASES = ("over", "scheduled", "retrying", "publishing", "draft")
_PHASE_WEIGHTS = (80, 8, 4, 4, 4)
_LARGE_CACHE_PRAGMA = "PRAGMA cache_size = -524288"
"""In KiB; random ids touch every page of an index."""
_FAILURE_RATE, _RECOVERY_RATE = 0.06, 0.09


@dataclass(frozen=True, slots=True)
class Dataset:
    """So many posts, each on three accounts; the same instant gives the same rows."""

    posts: int
    now: datetime

    @property
    def api_key(self) -> NewApiKey:
        """It reads them."""
        return make_key(KEY_PREFIX, Random(_SEED).randbytes)

    def created_at(self, depth: int) -> datetime:
        """Of the post that so many are newer than."""
        return truncate_to_ms(self.now) - _NEWEST_POST_AGE - (depth + 1) * _POST_INTERVAL

    def batches(self, size: int) -> Iterator[DemoRows]:
        """All rows, of so many posts at a time, from the oldest to the newest; accounts come first."""
        rng = Random(_SEED)
        accounts = list(_accounts(self.created_at(self.posts) - timedelta(days=30)))
        scene = Scene(truncate_to_ms(self.now), {account.id: account for account in accounts}, rng)
        drawn = (
            _post(scene, rng.sample(accounts, DESTINATIONS_PER_POST), self.created_at(depth))
            for depth in reversed(range(self.posts))
        )
        for first in range(0, self.posts, size):
            rows = demo_rows(rng, WORKSPACE_ID, accounts, islice(drawn, size))
            if first:
                rows.accounts.clear()
            yield rows


async def seed(urls: Iterable[str], dataset: Dataset) -> list[UUID]:
    """Put the rows into empty databases, and let SQLite's planner know them; the ids of the posts.

    Batch by batch, so that memory does not grow with the rows, and into all at once, because drawing
    takes long.
    """
    async with AsyncExitStack() as stack:
        databases = [
            await stack.enter_async_context(Database(url, timeout=timedelta(minutes=10)))
            for url in urls
        ]
        for database in databases:
            await migrate(database, now=dataset.now, random_bytes=Random(_SEED).randbytes)
            await database.write(lambda session: _insert_workspace(session, dataset))
        ids: list[UUID] = []
        for rows in dataset.batches(_INSERT_BATCH_SIZE):
            await gather(*(each.write(partial(_insert, rows=rows)) for each in databases))
            ids += (UUID(str(row["id"])) for row in rows.posts)
        for database in databases:
            if database.is_sqlite:
                await database.write(lambda session: session.execute(text("ANALYZE")))
    return ids


def vacuum(postgresql_url: str) -> None:
    """What PostgreSQL would do by itself while servers are timed."""
    with script_runner(postgresql_url) as run:
        run("VACUUM (ANALYZE)")
        run("CHECKPOINT")


async def _insert_workspace(session: WriteSession, dataset: Dataset) -> None:
    await workspaces.insert_workspace(
        session,
        WORKSPACE_ID,
        name="Benchmark",
        kind=WorkspaceKind.LOCAL,
        mirror_of=None,
        next_account_id=ACCOUNTS + 1,
        now=dataset.now,
    )
    await api_keys.insert_key(
        session,
        WORKSPACE_ID,
        ApiKeyId(draw_uuid(Random(_SEED))),
        dataset.api_key,
        name="benchmark",
        scopes=(Scope.READ,),
        expires_at=None,
        now=dataset.now,
    )


async def _insert(session: WriteSession, rows: DemoRows) -> None:
    connection = await session.connection()
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql(_LARGE_CACHE_PRAGMA)
    # On the tables: what knows the classes would make a statement of every few rows.
    tables = Base.metadata.tables
    for name, of_table in (
        ("account", rows.accounts),
        ("post", rows.posts),
        ("destination", rows.destinations),
        ("attempt", rows.attempts),
        ("publish_evidence", rows.evidence),
    ):
        if of_table:
            await connection.execute(insert(tables[name]), of_table)


def _accounts(created_at: datetime) -> Iterator[DemoAccount]:
    platforms = tuple(PASSING)
    for number in range(1, ACCOUNTS + 1):
        yield DemoAccount(
            id=AccountId(number),
            platform=platforms[number % len(platforms)],
            account_name=f"@brand-{number}",
            platform_username=f"brand-{number}",
            created_at=created_at,
        )


def _post(builder: Scene, accounts: list[DemoAccount], created_at: datetime) -> DemoPost:
    rng = builder.rng
    (fate,) = rng.choices(_DESTINATION_PHASES, _PHASE_WEIGHTS)
    submitted_now = fate not in ("scheduled", "draft") and rng.random() < 0.3
    due_at = created_at if submitted_now else created_at + draw_seconds(rng, 60, 3600)
    if fate == "scheduled":
        due_at = builder.now + _LEASE_MARGIN + draw_seconds(rng, 0, 7 * 86400)
    return DemoPost(
        content=f"{draw_content(rng)} {draw_content(rng)}",
        courses={each.id: _destination_history(builder, each, fate, due_at) for each in accounts},
        created_at=created_at,
        scheduled_for=None if submitted_now or fate == "draft" else due_at,
        submitted_now=submitted_now,
        is_draft=fate == "draft",
        timezone=rng.choice(_TIMEZONES),
    )


def _destination_history(builder: Scene, account: DemoAccount, phase: str, due_at: datetime) -> Course:
    """What became of it there; of a post that is not over, on two accounts of three."""
    if phase == "draft":
        return courses.not_submitted()
    if phase == "scheduled":
        return courses.waiting(due_at)
    if phase == "over" or builder.rng.random() < 1 / 3:
        return _final_history(builder, account, due_at)
    if phase == "retrying":
        return _retrying_history(builder, account, due_at)
    return _publishing_history(builder, due_at)


def _final_history(builder: Scene, account: DemoAccount, due_at: datetime) -> Course:
    luck = builder.rng.random()
    if luck < _FAILURE_RATE:
        failure = builder.rng.choice(
            [
                each
                for each in LASTING[account.platform]
                if each.category is not ErrorCategory.RATE_LIMITED  # that takes days
            ]
        )
        is_permanent = failure.category in PERMANENT_CATEGORIES
        return builder.failed(due_at, *[failure] * (1 if is_permanent else _MAX_ATTEMPTS))
    if luck < _FAILURE_RATE + _RECOVERY_RATE:
        return builder.published(account.id, due_at, builder.rng.choice(PASSING[account.platform]))
    return builder.published(account.id, due_at)


def _retrying_history(builder: Scene, account: DemoAccount, due_at: datetime) -> Course:
    tries = failed_tries(builder.rng, due_at, [builder.rng.choice(PASSING[account.platform])])
    again = builder.now + _LEASE_MARGIN + draw_seconds(builder.rng, 0, 3600)
    return courses.retrying(due_at, tries, next_retry_at=again)


def _publishing_history(builder: Scene, due_at: datetime) -> Course:
    running = Try(
        fence=1,
        worker="publisher-1",
        started_at=due_at + draw_seconds(builder.rng, 0.4, 6),
        finished_at=None,
    )
    return courses.publishing(
        due_at,
        [running],
        token=draw_uuid(builder.rng),
        lease_expires_at=builder.now + _LEASE_MARGIN,
    )
