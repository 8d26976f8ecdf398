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
DESTINATIONS_OF_A_POST = 3

_SEED = 20_000
_POSTS_AT_ONCE = 5_000
_BETWEEN_POSTS = timedelta(seconds=37)
_LONG_AGO = timedelta(days=3)
"""The newest post was created so long ago: whatever was tried on it is over."""
_NOT_DURING_A_RUN = timedelta(days=1)
"""What falls due, or loses its lease, does so only then."""
_LASTING_TRIES = 5
_TIMEZONES = ("UTC", "Europe/Berlin", "America/New_York", None)
_FATES = ("over", "scheduled", "retrying", "publishing", "draft")
_HOW_OFTEN = (80, 8, 4, 4, 4)
_ROOM_FOR_ALL_INDEXES = "PRAGMA cache_size = -524288"
"""In KiB; random ids touch every page of an index."""
_FAILING, _RECOVERING = 0.06, 0.09


@dataclass(frozen=True, slots=True)
class Drawing:
    """So many posts, each on three accounts; the same instant gives the same rows."""

    posts: int
    now: datetime

    @property
    def key(self) -> NewApiKey:
        """It reads them."""
        return make_key(KEY_PREFIX, Random(_SEED).randbytes)

    def created_at(self, depth: int) -> datetime:
        """Of the post that so many are newer than."""
        return truncate_to_ms(self.now) - _LONG_AGO - (depth + 1) * _BETWEEN_POSTS

    def batches(self, size: int) -> Iterator[DemoRows]:
        """All rows, of so many posts at a time, from the oldest to the newest; accounts come first."""
        rng = Random(_SEED)
        accounts = list(_accounts(self.created_at(self.posts) - timedelta(days=30)))
        scene = Scene(truncate_to_ms(self.now), {account.id: account for account in accounts}, rng)
        drawn = (
            _post(scene, rng.sample(accounts, DESTINATIONS_OF_A_POST), self.created_at(depth))
            for depth in reversed(range(self.posts))
        )
        for first in range(0, self.posts, size):
            rows = demo_rows(rng, WORKSPACE_ID, accounts, islice(drawn, size))
            if first:
                rows.accounts.clear()
            yield rows


async def seed(urls: Iterable[str], drawing: Drawing) -> list[UUID]:
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
            await migrate(database, now=drawing.now, random_bytes=Random(_SEED).randbytes)
            await database.write(lambda session: _insert_workspace(session, drawing))
        ids: list[UUID] = []
        for rows in drawing.batches(_POSTS_AT_ONCE):
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


async def _insert_workspace(session: WriteSession, drawing: Drawing) -> None:
    await workspaces.insert_workspace(
        session,
        WORKSPACE_ID,
        name="Benchmark",
        kind=WorkspaceKind.LOCAL,
        mirror_of=None,
        next_account_id=ACCOUNTS + 1,
        now=drawing.now,
    )
    await api_keys.insert_key(
        session,
        WORKSPACE_ID,
        ApiKeyId(draw_uuid(Random(_SEED))),
        drawing.key,
        name="benchmark",
        scopes=(Scope.READ,),
        expires_at=None,
        now=drawing.now,
    )


async def _insert(session: WriteSession, rows: DemoRows) -> None:
    connection = await session.connection()
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql(_ROOM_FOR_ALL_INDEXES)
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


def _post(scene: Scene, accounts: list[DemoAccount], created_at: datetime) -> DemoPost:
    rng = scene.rng
    (fate,) = rng.choices(_FATES, _HOW_OFTEN)
    submitted_now = fate not in ("scheduled", "draft") and rng.random() < 0.3
    due_at = created_at if submitted_now else created_at + draw_seconds(rng, 60, 3600)
    if fate == "scheduled":
        due_at = scene.now + _NOT_DURING_A_RUN + draw_seconds(rng, 0, 7 * 86400)
    return DemoPost(
        content=f"{draw_content(rng)} {draw_content(rng)}",
        courses={each.id: _course(scene, each, fate, due_at) for each in accounts},
        created_at=created_at,
        scheduled_for=None if submitted_now or fate == "draft" else due_at,
        submitted_now=submitted_now,
        is_draft=fate == "draft",
        timezone=rng.choice(_TIMEZONES),
    )


def _course(scene: Scene, account: DemoAccount, fate: str, due_at: datetime) -> Course:
    """What became of it there; of a post that is not over, on two accounts of three."""
    if fate == "draft":
        return courses.not_submitted()
    if fate == "scheduled":
        return courses.waiting(due_at)
    if fate == "over" or scene.rng.random() < 1 / 3:
        return _over(scene, account, due_at)
    if fate == "retrying":
        return _retrying(scene, account, due_at)
    return _publishing(scene, due_at)


def _over(scene: Scene, account: DemoAccount, due_at: datetime) -> Course:
    luck = scene.rng.random()
    if luck < _FAILING:
        failure = scene.rng.choice(
            [
                each
                for each in LASTING[account.platform]
                if each.category is not ErrorCategory.RATE_LIMITED  # that takes days
            ]
        )
        is_permanent = failure.category in PERMANENT_CATEGORIES
        return scene.failed(due_at, *[failure] * (1 if is_permanent else _LASTING_TRIES))
    if luck < _FAILING + _RECOVERING:
        return scene.published(account.id, due_at, scene.rng.choice(PASSING[account.platform]))
    return scene.published(account.id, due_at)


def _retrying(scene: Scene, account: DemoAccount, due_at: datetime) -> Course:
    tries = failed_tries(scene.rng, due_at, [scene.rng.choice(PASSING[account.platform])])
    again = scene.now + _NOT_DURING_A_RUN + draw_seconds(scene.rng, 0, 3600)
    return courses.retrying(due_at, tries, next_retry_at=again)


def _publishing(scene: Scene, due_at: datetime) -> Course:
    running = Try(
        fence=1,
        worker="publisher-1",
        started_at=due_at + draw_seconds(scene.rng, 0.4, 6),
        finished_at=None,
    )
    return courses.publishing(
        due_at,
        [running],
        token=draw_uuid(scene.rng),
        lease_expires_at=scene.now + _NOT_DURING_A_RUN,
    )
