"""Seeds the databases of the benchmark: one workspace with the same rows on both engines.

Posts pass through the domain's own functions, so the integrity check finds no problem.
"""

from asyncio import gather
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from random import Random
from uuid import UUID

from sqlalchemy import text

from app.db.core.database import Database
from app.db.core.write_session import WriteSession
from app.db.migrations import migrate
from app.db.repositories import api_keys, workspaces
from app.db.repositories.accounts import write_accounts
from app.db.repositories.attempts import insert_histories
from app.db.repositories.posts import write_posts
from app.demo.accounts import DemoAccount, demo_account
from app.demo.contents import FINAL_FAILURES, RECOVERABLE_FAILURES, draw_content, draw_uuid
from app.demo.simulation import (
    WAIT,
    PostHistory,
    PublisherScript,
    SimulatedDestination,
    Simulator,
    draw_seconds,
    fail,
    publish,
)
from app.domain.api_keys import NewApiKey, Scope, make_key
from app.domain.destinations import ErrorCategory
from app.domain.ids import AccountId, ApiKeyId, WorkspaceId, WorkspaceKind
from app.domain.times import truncate_to_ms
from app.domain.transitions import extended
from tests.factories import KEY_PREFIX
from tests.postgres import script_runner
from tests.raw_statements import run_raw

WORKSPACE_ID = WorkspaceId(UUID("be9c0000-0000-4000-8000-000000000be9"))
ACCOUNTS = 300
DESTINATIONS_PER_POST = 3

_SEED = 20_000
_INSERT_BATCH_SIZE = 5_000
_POST_INTERVAL = timedelta(seconds=37)
_NEWEST_POST_AGE = timedelta(days=3)
"""Age of the newest post, all of whose attempts are over."""
_LEASE_MARGIN = timedelta(days=1)
"""Time from the seeding until the first due time, retry and lease expiry, none of which falls into a run."""
_TIMEZONES = ("UTC", "Europe/Berlin", "America/New_York", None)
_DESTINATION_PHASES = ("over", "scheduled", "retrying", "publishing", "draft")
_PHASE_WEIGHTS = (80, 8, 4, 4, 4)
_LARGE_CACHE = text("PRAGMA cache_size = -524288")
"""Size in KiB; random ids touch every page of an index."""
_FAILURE_RATE, _RECOVERY_RATE = 0.06, 0.09


@dataclass(frozen=True, slots=True)
class Dataset:
    """A number of posts, each on three accounts; the same `now` gives the same rows."""

    posts: int
    now: datetime
    posts_on_all_accounts: int = 0
    """Number of the newest posts that are on all accounts instead."""

    @property
    def api_key(self) -> NewApiKey:
        """The key that reads the posts."""
        return make_key(KEY_PREFIX, Random(_SEED).randbytes)

    @property
    def accounts(self) -> Sequence[DemoAccount]:
        platforms = tuple(RECOVERABLE_FAILURES)
        return [
            demo_account(
                AccountId(number),
                platforms[number % len(platforms)],
                f"@brand-{number}",
                f"brand-{number}",
                created_at=self.created_at(self.posts) - timedelta(days=30),
            )
            for number in range(1, ACCOUNTS + 1)
        ]

    def created_at(self, depth: int) -> datetime:
        """When the post was created that `depth` posts are newer than."""
        return truncate_to_ms(self.now) - _NEWEST_POST_AGE - (depth + 1) * _POST_INTERVAL

    def histories(self) -> Iterator[PostHistory]:
        """All posts, from the oldest to the newest."""
        rng = Random(_SEED)
        accounts = self.accounts
        simulator = Simulator(
            truncate_to_ms(self.now), {account.account.id: account for account in accounts}, rng
        )
        for depth in reversed(range(self.posts)):
            is_on_all = depth < self.posts_on_all_accounts
            post_accounts = rng.sample(accounts, ACCOUNTS if is_on_all else DESTINATIONS_PER_POST)
            yield _post(simulator, post_accounts, self.created_at(depth))


async def seed(urls: Iterable[str], dataset: Dataset) -> list[UUID]:
    """Store the dataset in empty databases, analyze them on SQLite, and return the ids of the posts.

    Posts are stored in batches, which bounds memory, and in all databases concurrently, because
    generating them takes long.
    """
    async with AsyncExitStack() as stack:
        databases = [
            await stack.enter_async_context(Database(url, timeout=timedelta(minutes=10)))
            for url in urls
        ]
        for database in databases:
            await migrate(database, now=dataset.now, random_bytes=Random(_SEED).randbytes)
            await database.write(WORKSPACE_ID, lambda session: _insert_workspace(session, dataset))
        ids: list[UUID] = []
        histories = dataset.histories()
        while batch := list(islice(histories, _INSERT_BATCH_SIZE)):
            await gather(
                *(
                    database.write(WORKSPACE_ID, partial(_insert, histories=batch))
                    for database in databases
                )
            )
            ids += (history.post.id for history in batch)
        for database in databases:
            if database.is_sqlite:
                await database.write_all_workspaces(
                    lambda session: run_raw(session, text("ANALYZE"))
                )
    return ids


def vacuum(postgresql_url: str) -> None:
    """Vacuum now, so that autovacuum does not run while servers are measured."""
    with script_runner(postgresql_url) as run:
        run("VACUUM (ANALYZE)")
        run("CHECKPOINT")


async def _insert_workspace(session: WriteSession, dataset: Dataset) -> None:
    await workspaces.insert_workspace(
        session,
        name="Benchmark",
        kind=WorkspaceKind.LOCAL,
        mirror_of=None,
        next_account_id=ACCOUNTS + 1,
        now=dataset.now,
    )
    accounts = [account.account for account in dataset.accounts]
    await write_accounts(session, accounts, previous=())
    await api_keys.upsert_key(
        session,
        ApiKeyId(draw_uuid(Random(_SEED))),
        dataset.api_key,
        name="benchmark",
        scopes=(Scope.READ, Scope.WRITE),
        expires_at=None,
        now=dataset.now,
    )


async def _insert(session: WriteSession, histories: Sequence[PostHistory]) -> None:
    if session.is_sqlite:
        await run_raw(session.all_workspaces(), _LARGE_CACHE)
    await write_posts(session, [history.post for history in histories], previous={})
    await insert_histories(
        session,
        [each for history in histories for each in history.post.destinations],
        {key: value for history in histories for key, value in history.attempts.items()},
        {key: value for history in histories for key, value in history.evidence.items()},
    )


def _post(
    simulator: Simulator, accounts: Sequence[DemoAccount], created_at: datetime
) -> PostHistory:
    rng = simulator.rng
    (phase,) = rng.choices(_DESTINATION_PHASES, _PHASE_WEIGHTS)
    is_immediate = phase not in ("scheduled", "draft") and rng.random() < 0.3
    scheduled_for = created_at + draw_seconds(rng, 60, 3600)
    if phase == "scheduled":
        scheduled_for = simulator.now + _LEASE_MARGIN + draw_seconds(rng, 0, 7 * 86400)
    return simulator.post(
        f"{draw_content(rng)} {draw_content(rng)}",
        {account.account.id: _script(simulator, account, phase) for account in accounts},
        created_at=created_at,
        scheduled_for=None if is_immediate or phase == "draft" else scheduled_for,
        is_draft=phase == "draft",
        timezone=rng.choice(_TIMEZONES),
    )


def _script(simulator: Simulator, account: DemoAccount, phase: str) -> PublisherScript:
    """Of an unfinished post, a third of the destinations is final."""
    if phase in ("draft", "scheduled"):
        return WAIT
    if phase == "over" or simulator.rng.random() < 1 / 3:
        return _final_script(simulator.rng, account.account.platform)
    return [_retry_later if phase == "retrying" else _start]


def _final_script(rng: Random, platform: str) -> PublisherScript:
    number = rng.random()
    if number < _FAILURE_RATE:
        failures = [
            failure
            for failure in FINAL_FAILURES[platform]
            if failure.category is not ErrorCategory.RATE_LIMITED  # which becomes final after days
        ]
        return fail(rng.choice(failures))
    if number < _FAILURE_RATE + _RECOVERY_RATE:
        return publish(rng.choice(RECOVERABLE_FAILURES[platform]))
    return publish()


def _retry_later(destination: SimulatedDestination) -> None:
    destination.fail_attempt(
        destination.rng.choice(RECOVERABLE_FAILURES[destination.destination.platform])
    )
    retry_at = destination.now + _LEASE_MARGIN + draw_seconds(destination.rng, 0, 3600)
    destination.state = replace(destination.state, claimable_at=retry_at, next_retry_at=retry_at)


def _start(destination: SimulatedDestination) -> None:
    destination.start(destination.seconds_after_due(0) + draw_seconds(destination.rng, 0.4, 6))
    destination.state = extended(destination.state, destination.now + _LEASE_MARGIN)
