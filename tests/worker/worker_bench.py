"""A worker's loop in this process, on a clock that runs when somebody sleeps; what it left. No tests."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

from app.db.core.database import Database
from app.db.repositories.attempts import load_attempts
from app.db.repositories.posts import load_posts
from app.domain.attempts import Attempt, AttemptKind, Publication
from app.domain.destinations import DestinationState, DestinationStatus, Outcome
from app.domain.ids import AccountId, DestinationId, IdFactory, PostId, WorkspaceId
from app.domain.retry_policy import DEFAULT_POLICIES
from app.domain.settlement import RetryDecider
from app.platforms.protocol import LookupMiss, Platform, PublishRequest
from app.platforms.sandbox import PLATFORM_NAME, Sandbox
from app.platforms.sandbox_store import SandboxStore
from app.worker.context import Runtime, WorkerContext
from app.worker.loop import Worker, run_in_background
from app.worker.stats import WorkerStats
from tests.factories import NOW, add_account, add_post, add_workspace, queued

LEASE = timedelta(minutes=1)
TIMEOUT_SECONDS = 30
"""How long a busy machine may take for anything here; only a failure takes so long."""

SECOND = timedelta(seconds=1)


class FakeClock:
    """Stands still until somebody sleeps, or it is set forward."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)


class ManualClock(FakeClock):
    """Runs only as the test sets it forward; who sleeps waits for that."""

    async def sleep(self, seconds: float) -> None:
        ends_at = self.seconds + seconds
        await wait_until(lambda: self.seconds >= ends_at)


class RealClock:
    """Begins at NOW, and runs."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return time.monotonic() - self._started_at

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class WorkerBench:
    """What a test gives its workers; each can be exchanged."""

    database: Database
    clock: FakeClock | RealClock = field(default_factory=FakeClock)
    ledger: SandboxStore = field(default_factory=lambda: SandboxStore(None))
    lease: timedelta = LEASE
    new_id: IdFactory = uuid4
    platforms: Mapping[str, Platform] | None = None
    latency: timedelta = SECOND
    concurrency: int = 8
    shutdown_timeout: timedelta = timedelta(seconds=10)
    publish_timeout: timedelta = timedelta(seconds=TIMEOUT_SECONDS)
    lookup_timeout: timedelta = timedelta(seconds=TIMEOUT_SECONDS)
    stats: WorkerStats = field(default_factory=WorkerStats)

    def worker(self, name: str = "worker-1") -> Worker:
        sandbox = Sandbox(
            self.ledger, now=self.clock.now, sleep=self.clock.sleep, latency=self.latency
        )
        means = WorkerContext(
            database=self.database,
            platforms=self.platforms or {PLATFORM_NAME: sandbox},
            retry_decider=RetryDecider(DEFAULT_POLICIES, lambda: 0.0),
            runtime=Runtime(
                now=self.clock.now,
                monotonic=self.clock.monotonic,
                sleep=self.clock.sleep,
                new_id=self.new_id,
                random=lambda: 0.5,
            ),
            stats=self.stats,
            worker_name=name,
            lease_duration=self.lease,
            publish_timeout=self.publish_timeout,
            lookup_timeout=self.lookup_timeout,
        )
        return Worker(
            means,
            concurrency=self.concurrency,
            shutdown_timeout=self.shutdown_timeout,
            poll_interval=timedelta(milliseconds=10),
        )

    @asynccontextmanager
    async def running_worker(self) -> AsyncIterator[Worker]:
        worker = self.worker()
        async with run_in_background(worker):
            yield worker


@dataclass(frozen=True, slots=True)
class SentPost:
    """A post on one account."""

    database: Database
    workspace: WorkspaceId
    account: AccountId
    post: PostId
    id: DestinationId

    async def state(self) -> DestinationState:
        reader = self.database.read(self.workspace)
        posts = await load_posts(reader, [self.post])
        return posts[self.post].destination(self.id).state

    async def wait_until(self, predicate: Callable[[DestinationState], bool]) -> DestinationState:
        """Its state as soon as that is so."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                state = await self.state()
                if predicate(state):
                    return state
                await asyncio.sleep(0.01)

    async def attempts(self) -> Sequence[Attempt]:
        reader = self.database.read(self.workspace)
        attempts = await load_attempts(reader, self.id)
        return sorted(attempts, key=lambda each: (each.number is None, each.number))

    async def attempt_summaries(self) -> list[tuple[int | None, AttemptKind, str, str | None]]:
        """Number, kind, outcome and code of each attempt."""
        return [
            (
                each.number,
                each.kind,
                str(each.outcome),
                None if each.failure is None else each.failure.code,
            )
            for each in await self.attempts()
        ]


class ScriptedPlatform:
    """A platform that answers what it is told."""

    def __init__(
        self,
        publish_result: Publication | Exception,
        lookup_result: Publication | LookupMiss = LookupMiss.INCONCLUSIVE,
    ) -> None:
        self.answer, self.found = publish_result, lookup_result
        self.calls: list[PublishRequest] = []
        self.may_answer = asyncio.Event()

    async def publish(self, request: PublishRequest) -> Publication:
        self.calls.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def look_up(self, request: PublishRequest) -> Publication | LookupMiss:
        return self.found


class BlockedLookupPlatform(ScriptedPlatform):
    """A platform that ends no look which was begun before the test lets it answer."""

    lookups = 0

    async def look_up(self, request: PublishRequest) -> Publication | LookupMiss:
        self.lookups += 1
        if not self.may_answer.is_set():
            await asyncio.Event().wait()
        return self.found


def is_final(state: DestinationState) -> bool:
    return state.status.is_final


def is_published(state: DestinationState) -> bool:
    return state.status is DestinationStatus.PUBLISHED


def is_unknown(state: DestinationState) -> bool:
    return state.outcome is Outcome.UNKNOWN


def is_retry_scheduled(state: DestinationState) -> bool:
    return state.next_retry_at is not None


async def add_sent_post(
    database: Database, account_name: str, *, platform: str = PLATFORM_NAME, due_at: datetime = NOW
) -> SentPost:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, platform=platform, account_name=account_name)
    post = await add_post(database, workspace, {account: queued(due_at)}, submitted_now=True)
    return SentPost(database, workspace, account, post.id, post.destinations[0])


async def wait_until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            if predicate():
                return
            await asyncio.sleep(0.01)
