"""Runs a worker in the test process, with fake clocks and platforms, and reads what it stored."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from app.db.core.database import Database
from app.db.repositories.attempts import load_attempts, load_evidence
from app.db.repositories.posts import load_posts
from app.domain.accounts import AccountPublisher
from app.domain.attempts import Attempt, AttemptKind, Publication
from app.domain.destinations import DestinationState, DestinationStatus, Outcome
from app.domain.ids import AccountId, DestinationId, IdFactory, PostId, WorkspaceId
from app.domain.retry_policy import DEFAULT_POLICIES, RetryPolicies
from app.domain.settlement import RetryDecider
from app.platforms.protocol import (
    AccountIdentity,
    Credentials,
    LookupFailure,
    PlatformAdapter,
    PublishRequest,
)
from app.platforms.sandbox import PLATFORM_NAME, Sandbox
from app.platforms.sandbox_store import SandboxStore
from app.services.account_pauses import AccountPauses
from app.services.circuit_breakers import CircuitBreakers
from app.services.claims import ClaimService
from app.services.credential_files import CredentialFiles
from app.services.duplicate_checks import DuplicateCheckService
from app.services.publishing_secrets import PublishingSecrets
from app.services.reports import ReportService
from app.services.secret_cipher import SecretCipher
from app.worker.connectivity import Connectivity, Reach
from app.worker.context import OPERATOR_PUBLISHER, SystemFunctions, WorkerContext
from app.worker.duplicates import check_due
from app.worker.stats import WorkerStats
from app.worker.worker import Worker, run_in_background
from tests.factories import NOW, add_account, add_post, add_workspace, queued

SECRETS_KEY = "c2VjcmV0cyBrZXkgb2YgdGhlIHRlc3RzIG9ubHkhISE="
CIPHER = SecretCipher([SECRETS_KEY])
LEASE = timedelta(minutes=1)
TIMEOUT_SECONDS = 30
"""Longest time that any step takes on a busy machine; only a failing test takes that long."""

SECOND = timedelta(seconds=1)
_MILLISECOND = timedelta(milliseconds=1)
IMMEDIATE_RETRIES = RetryPolicies(
    {
        kind: replace(policy, base=_MILLISECOND, cap=_MILLISECOND)
        for kind, policy in DEFAULT_POLICIES.by_kind.items()
    }
)
"""The default limits without backoff."""

PUBLICATION = Publication(platform_post_id="42", platform_post_url=None, published_at=NOW)


class FakeClock:
    """A clock that only sleeps and the test move forward."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)


class PausedClock(FakeClock):
    """A clock that only the test moves forward; a sleep waits for that."""

    async def sleep(self, seconds: float) -> None:
        ends_at = self.seconds + seconds
        await wait_until(lambda: self.seconds >= ends_at)


class RealClock:
    """A running clock that starts at NOW."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return time.monotonic() - self._started_at

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def reach_any(_origin: str) -> bool:
    """Reach any server, as a worker with a network does."""
    return True


@dataclass
class WorkerBench:
    """Dependencies and options of a test's workers."""

    database: Database
    clock: FakeClock | RealClock = field(default_factory=FakeClock)
    store: SandboxStore = field(default_factory=lambda: SandboxStore(None))
    lease: timedelta = LEASE
    new_id: IdFactory = uuid4
    adapters: Mapping[AccountPublisher, PlatformAdapter] | None = None
    """None for a sandbox of `store`."""
    credentials_dir: Path | None = None
    latency: timedelta = SECOND
    concurrency: int = 8
    shutdown_timeout: timedelta = timedelta(seconds=10)
    publish_timeout: timedelta = timedelta(seconds=TIMEOUT_SECONDS)
    lookup_timeout: timedelta = timedelta(seconds=TIMEOUT_SECONDS)
    stats: WorkerStats = field(default_factory=WorkerStats)
    policies: RetryPolicies = IMMEDIATE_RETRIES
    reach: Reach = reach_any

    def context(self, name: str = "worker-1") -> WorkerContext:
        sandbox = Sandbox(
            self.store, now=self.clock.now, sleep=self.clock.sleep, latency=self.latency
        )
        return WorkerContext(
            claims=ClaimService(
                database=self.database,
                publisher=OPERATOR_PUBLISHER,
                key_ids=CIPHER.key_ids,
                policies=self.policies,
                new_id=self.new_id,
                clock=self.clock.now,
            ),
            reports=ReportService(
                database=self.database,
                publisher=OPERATOR_PUBLISHER,
                retry_decider=RetryDecider(self.policies, lambda: 0.0),
                new_id=self.new_id,
                clock=self.clock.now,
            ),
            secrets=PublishingSecrets(
                database=self.database,
                cipher=CIPHER,
                files=CredentialFiles(self.credentials_dir),
                clock=self.clock.now,
                sleep=self.clock.sleep,
            ),
            pauses=AccountPauses(database=self.database, clock=self.clock.now),
            breakers=CircuitBreakers(
                database=self.database,
                worker_name=name,
                clock=self.clock.now,
                random=lambda: 0.5,
            ),
            connectivity=Connectivity(self.database, self.reach, self.clock.monotonic),
            duplicate_checks=DuplicateCheckService(
                database=self.database,
                key_ids=CIPHER.key_ids,
                new_id=self.new_id,
                clock=self.clock.now,
            ),
            adapters=self.adapters or {AccountPublisher.SANDBOX: sandbox},
            system=SystemFunctions(
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

    def worker(self, name: str = "worker-1") -> Worker:
        return Worker(
            self.context(name),
            concurrency=self.concurrency,
            shutdown_timeout=self.shutdown_timeout,
            poll_interval=timedelta(milliseconds=10),
        )

    async def check_duplicates(self) -> None:
        """Check for duplicates as a worker does periodically."""
        await check_due(self.context())

    @asynccontextmanager
    async def running_worker(self) -> AsyncIterator[Worker]:
        worker = self.worker()
        async with run_in_background(worker):
            yield worker


@dataclass(frozen=True, slots=True)
class SentPost:
    """A post on one sandbox account."""

    database: Database
    workspace: WorkspaceId
    account: AccountId
    post: PostId
    id: DestinationId

    async def state(self) -> DestinationState:
        reader = self.database.reader(self.workspace)
        posts = await load_posts(reader, [self.post])
        return posts[self.post].destination(self.id).state

    async def wait_until(self, predicate: Callable[[DestinationState], bool]) -> DestinationState:
        """The state, once the predicate is true."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                state = await self.state()
                if predicate(state):
                    return state
                await asyncio.sleep(0.01)

    async def attempts(self) -> Sequence[Attempt]:
        reader = self.database.reader(self.workspace)
        attempts = await load_attempts(reader, self.id)
        return sorted(attempts, key=lambda attempt: (attempt.number is None, attempt.number))

    async def duplicates(self) -> list[Publication]:
        """Publications that were reported after the first one, in the order of their attempts."""
        evidence = await load_evidence(self.database.reader(self.workspace), self.id)
        later = sorted((each.fence, each.publication) for each in evidence if not each.counted)
        return [publication for _, publication in later]

    async def attempt_summaries(self) -> list[tuple[int | None, AttemptKind, str, str | None]]:
        """Number, kind, outcome and code of each attempt."""
        return [
            (
                attempt.number,
                attempt.kind,
                str(attempt.outcome),
                None if attempt.failure is None else attempt.failure.code,
            )
            for attempt in await self.attempts()
        ]


@dataclass
class MovableClock(RealClock):
    """The time of the machine, which a test can move forward."""

    moved_by: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.moved_by

    def monotonic(self) -> float:
        return time.monotonic() + self.moved_by.total_seconds()


class ScriptedPlatform:
    """A platform with scripted results."""

    def __init__(
        self,
        publish_result: Publication | Exception,
        lookup_result: Publication | LookupFailure = LookupFailure.INCONCLUSIVE,
    ) -> None:
        self.publish_result, self.lookup_result = publish_result, lookup_result
        self.calls: list[PublishRequest] = []
        self.may_respond = asyncio.Event()

    async def publish(self, request: PublishRequest) -> Publication:
        self.calls.append(request)
        if isinstance(self.publish_result, Exception):
            raise self.publish_result
        return self.publish_result

    async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
        return self.lookup_result

    async def verify_credentials(self, credentials: Credentials) -> AccountIdentity:
        return AccountIdentity()


class BlockedPlatform(ScriptedPlatform):
    """A platform that publishes once `may_respond` is set."""

    def __init__(self) -> None:
        super().__init__(PUBLICATION)

    async def publish(self, request: PublishRequest) -> Publication:
        self.calls.append(request)
        await self.may_respond.wait()
        return PUBLICATION


class BlockedLookupPlatform(ScriptedPlatform):
    """A platform whose lookups hang if they begin before `may_respond` is set."""

    lookups = 0

    async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
        self.lookups += 1
        if not self.may_respond.is_set():
            await asyncio.Event().wait()
        return self.lookup_result


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
        while not predicate():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


def count_duplicates(store: SandboxStore) -> int:
    """Number of publications after the first one of their destination."""
    posts = store.posts()
    return len(posts) - len({post.destination_id for post in posts})
