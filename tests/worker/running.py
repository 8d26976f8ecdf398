"""A worker's loop in this process, on a clock that runs when somebody sleeps; what it left. No tests."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

from app.db.attempts import load_attempts
from app.db.engine import Database
from app.db.post_writes import load_posts
from app.domain.attempts import Attempt, AttemptKind, Publication
from app.domain.destinations import DestinationState, DestinationStatus, Outcome
from app.domain.endings import RetryRules
from app.domain.ids import AccountId, DestinationId, NewId, PostId, WorkspaceId
from app.domain.retry_policy import DEFAULT_POLICIES
from app.platforms.ledger import Ledger
from app.platforms.protocol import Absence, Platform, Posting
from app.platforms.sandbox import NAME, Sandbox
from app.worker.loop import Worker, working
from app.worker.means import Edges, Means
from app.worker.tally import Tally
from tests.factories import NOW, add_account, add_post, add_workspace, queued

LEASE = timedelta(minutes=1)
SECONDS = 30
"""How long a busy machine may take for anything here; only a failure takes so long."""

SECOND = timedelta(seconds=1)


class FakeClock:
    """Stands still until somebody sleeps, or it is set forward."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def elapsed(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)


class DrivenClock(FakeClock):
    """Runs only as the test sets it forward; who sleeps waits for that."""

    async def sleep(self, seconds: float) -> None:
        ends_at = self.seconds + seconds
        await eventually(lambda: self.seconds >= ends_at)


class RealClock:
    """Begins at NOW, and runs."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.elapsed())

    def elapsed(self) -> float:
        return time.monotonic() - self._began

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class Bench:
    """What a test gives its workers; each can be exchanged."""

    database: Database
    clock: FakeClock | RealClock = field(default_factory=FakeClock)
    ledger: Ledger = field(default_factory=lambda: Ledger(None))
    lease: timedelta = LEASE
    new_id: NewId = uuid4
    platforms: Mapping[str, Platform] | None = None
    latency: timedelta = SECOND
    concurrency: int = 8
    stop_within: timedelta = timedelta(seconds=10)
    longest_call: timedelta = timedelta(seconds=SECONDS)
    longest_look: timedelta = timedelta(seconds=SECONDS)
    tally: Tally = field(default_factory=Tally)

    def worker(self, name: str = "worker-1") -> Worker:
        sandbox = Sandbox(
            self.ledger, now=self.clock.now, sleep=self.clock.sleep, latency=self.latency
        )
        means = Means(
            database=self.database,
            platforms=self.platforms or {NAME: sandbox},
            rules=RetryRules(DEFAULT_POLICIES, lambda: 0.0),
            edges=Edges(
                now=self.clock.now,
                elapsed=self.clock.elapsed,
                sleep=self.clock.sleep,
                new_id=self.new_id,
                random=lambda: 0.5,
            ),
            tally=self.tally,
            name=name,
            lease=self.lease,
            longest_call=self.longest_call,
            longest_look=self.longest_look,
        )
        return Worker(
            means,
            concurrency=self.concurrency,
            stop_within=self.stop_within,
            poll=timedelta(milliseconds=10),
        )

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Worker]:
        worker = self.worker()
        async with working(worker):
            yield worker


@dataclass(frozen=True, slots=True)
class Sent:
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

    async def until(self, holds: Callable[[DestinationState], bool]) -> DestinationState:
        """Its state as soon as that is so."""
        async with asyncio.timeout(SECONDS):
            while True:
                state = await self.state()
                if holds(state):
                    return state
                await asyncio.sleep(0.01)

    async def log(self) -> Sequence[Attempt]:
        reader = self.database.read(self.workspace)
        attempts = await load_attempts(reader, self.id)
        return sorted(attempts, key=lambda each: (each.number is None, each.number))

    async def short_log(self) -> list[tuple[int | None, AttemptKind, str, str | None]]:
        """Number, kind, outcome and code of each attempt."""
        return [
            (
                each.number,
                each.kind,
                str(each.outcome),
                None if each.failure is None else each.failure.code,
            )
            for each in await self.log()
        ]


class Scripted:
    """A platform that answers what it is told."""

    def __init__(
        self,
        answer: Publication | Exception,
        found: Publication | Absence = Absence.CANNOT_SAY,
    ) -> None:
        self.answer, self.found = answer, found
        self.calls: list[Posting] = []
        self.may_answer = asyncio.Event()

    async def publish(self, posting: Posting) -> Publication:
        self.calls.append(posting)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def find(self, posting: Posting) -> Publication | Absence:
        return self.found


class Mute(Scripted):
    """A platform that ends no look which was begun before the test lets it answer."""

    looks = 0

    async def find(self, posting: Posting) -> Publication | Absence:
        self.looks += 1
        if not self.may_answer.is_set():
            await asyncio.Event().wait()
        return self.found


def is_final(state: DestinationState) -> bool:
    return state.status.is_final


def is_published(state: DestinationState) -> bool:
    return state.status is DestinationStatus.PUBLISHED


def is_unknown(state: DestinationState) -> bool:
    return state.outcome is Outcome.UNKNOWN


def is_waiting(state: DestinationState) -> bool:
    return state.next_retry_at is not None


async def send(
    database: Database, account_name: str, *, platform: str = NAME, due_at: datetime = NOW
) -> Sent:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, platform=platform, account_name=account_name)
    post = await add_post(database, workspace, {account: queued(due_at)}, submitted_now=True)
    return Sent(database, workspace, account, post.id, post.destinations[0])


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)
