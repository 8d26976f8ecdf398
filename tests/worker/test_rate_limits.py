"""Rate limits of platforms: workers learn them from answers, and wait together."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.core.statements import CompiledStatement
from app.db.models import AccountPause
from app.db.tools.integrity import find_problems
from app.domain.account_pauses import RemainingCalls
from app.domain.accounts import AccountPublisher
from app.domain.attempts import Publication
from app.domain.destinations import DestinationStatus, ErrorCategory
from app.domain.errors import ServiceUnavailable
from app.domain.ids import DestinationId
from app.platforms.protocol import (
    AccountIdentity,
    Credentials,
    LookupFailure,
    NotPublished,
    OutcomeUnknown,
    PublishRequest,
)
from tests.factories import NOW, add_account, add_post, add_workspace, queued, unknown
from tests.recording_driver import InterceptingWriter
from tests.worker.worker_bench import (
    PUBLICATION,
    SECOND,
    FakeClock,
    RealClock,
    ScriptedPlatform,
    SentPost,
    WorkerBench,
    add_sent_post,
    is_published,
    wait_until,
)

SANDBOX = AccountPublisher.SANDBOX
MINUTE = timedelta(minutes=1)


async def add_posts_on_one_account(
    database: Database, count: int, *, of_unknown_outcome: bool = False
) -> list[SentPost]:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, platform="sandbox")
    sent = []
    for _ in range(count):
        state = unknown(due_at=NOW - MINUTE, settled_at=NOW) if of_unknown_outcome else queued()
        post = await add_post(database, workspace, {account: state})
        sent.append(SentPost(database, workspace, account, post.id, post.destinations[0]))
    return sent


def rate_limited(retry_after: timedelta | None) -> NotPublished:
    return NotPublished(
        ErrorCategory.RATE_LIMITED,
        "HTTP_429",
        "Too many.",
        http_status=429,
        retry_after=retry_after,
    )


@dataclass
class LimitedPlatform:
    """A platform that allows some calls in each window of time, and refuses all others."""

    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]
    calls: int
    window: timedelta
    states_remaining: bool
    """True if its answers state how many calls remain."""
    published: Counter[DestinationId] = field(default_factory=Counter)
    used: Counter[int] = field(default_factory=Counter)
    """Allowed calls by number of the window."""
    refused: Counter[int] = field(default_factory=Counter)

    async def publish(self, request: PublishRequest) -> Publication:
        now = self.now()
        number = (now - NOW) // self.window
        resets_in = NOW + (number + 1) * self.window - now
        is_allowed = self.used[number] < self.calls
        if is_allowed:
            self.used[number] += 1
            self.published[request.destination_id] += 1
            if self.states_remaining:
                remaining = RemainingCalls(self.calls - self.used[number], resets_in)
                request.rate_limit.remaining = remaining
        else:
            self.refused[number] += 1
        await self.sleep(0.01)
        if not is_allowed:
            raise rate_limited(resets_in)
        return PUBLICATION

    async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
        raise NotImplementedError

    async def verify_credentials(self, credentials: Credentials) -> AccountIdentity:
        raise NotImplementedError


@pytest.mark.parametrize("states_remaining", [True, False])
async def test_two_workers_share_the_rate_limit_of_an_account(
    database: Database, database_url: str, states_remaining: bool
) -> None:
    sent = await add_posts_on_one_account(database, 45)
    clock = RealClock()
    platform = LimitedPlatform(
        clock.now, clock.sleep, calls=15, window=2 * SECOND, states_remaining=states_remaining
    )
    async with Database(database_url, timeout=MINUTE) as other_database:
        benches = [
            WorkerBench(opened, clock=clock, adapters={SANDBOX: platform}, concurrency=3)
            for opened in (database, other_database)
        ]
        async with benches[0].running_worker(), benches[1].running_worker():
            await wait_until(lambda: len(platform.published) == len(sent))
            for post in sent:
                await post.wait_until(is_published)

    assert set(platform.published.values()) == {1}
    states = [await post.state() for post in sent]
    assert {state.round_attempts for state in states} == {1}
    assert sum(state.attempts for state in states) == len(sent) + platform.refused.total()
    # At most all calls that are in flight in a window when a worker stores the pause.
    assert platform.refused.total() <= 2 * 3 * len(platform.used)
    assert await find_problems(database) == []


async def test_after_the_last_allowed_call_only_posts_of_its_account_wait(
    database: Database,
) -> None:
    sent = await add_posts_on_one_account(database, 3)
    other = await add_sent_post(database, "succeeds", due_at=NOW)

    class LastCall(ScriptedPlatform):
        async def publish(self, request: PublishRequest) -> Publication:
            if request.account.id == sent[0].account and request.workspace_id == sent[0].workspace:
                request.rate_limit.remaining = RemainingCalls(0, MINUTE)
            return await super().publish(request)

    platform = LastCall(PUBLICATION)
    bench = WorkerBench(database, adapters={SANDBOX: platform}, concurrency=1)
    async with bench.running_worker():
        await other.wait_until(is_published)
        await wait_until(lambda: len(platform.calls) == 2)
        (first,) = [
            post
            for post in sent
            if post.id in {request.destination_id for request in platform.calls}
        ]
        await first.wait_until(is_published)
        states = [await post.state() for post in sent]
        assert Counter((state.status, state.attempts, state.fence) for state in states) == {
            (DestinationStatus.PUBLISHED, 1, 1): 1,
            (DestinationStatus.QUEUED, 0, 0): 2,
        }
        assert len(platform.calls) == 2
        advance(bench.clock, 63)
        await wait_until(lambda: len(platform.calls) == 3)


def advance(clock: FakeClock | RealClock, seconds: float) -> FakeClock:
    assert isinstance(clock, FakeClock)
    clock.seconds += seconds
    return clock


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (rate_limited(MINUTE), 60),
        (rate_limited(None), 30),
        (OutcomeUnknown("The record cannot be read.", http_status=429), 30),
    ],
)
async def test_refused_lookup_pauses_its_account(
    database: Database, error: Exception, pause: int
) -> None:
    class LimitedLookups(ScriptedPlatform):
        async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
            raise error

    (sent,) = await add_posts_on_one_account(database, 1, of_unknown_outcome=True)
    bench = WorkerBench(database, adapters={SANDBOX: LimitedLookups(PUBLICATION)})
    async with bench.running_worker():
        await sent.wait_until(lambda state: state.verifiable_at == NOW + 15 * SECOND)

    async with database.read_connection() as connection:
        ends = [*await connection.scalars(select(AccountPause.paused_until))]
    assert ends == [NOW + pause * SECOND]


async def test_result_is_reported_even_if_the_pause_cannot_be_stored(
    database: Database, database_url: str
) -> None:
    class LastCall(ScriptedPlatform):
        async def publish(self, request: PublishRequest) -> Publication:
            request.rate_limit.remaining = RemainingCalls(0, MINUTE)
            return await super().publish(request)

    refused = []

    def refuse_pauses(statement: CompiledStatement, _: Sequence[object]) -> CompiledStatement:
        if statement.sql.startswith("INSERT INTO account_pause"):
            refused.append(statement)
            raise ServiceUnavailable("The database is full.")
        return statement

    sent = await add_sent_post(database, "succeeds")
    async with Database(
        database_url, wrap_writer=lambda writer: InterceptingWriter(writer, refuse_pauses)
    ) as full:
        bench = WorkerBench(full, adapters={SANDBOX: LastCall(PUBLICATION)})
        async with bench.running_worker():
            await sent.wait_until(is_published)

    assert len(refused) == 1
