"""Outages of a platform, of which no post that was not sent may fail."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from app.db.core.database import Database
from app.db.repositories.outages import count_open_breakers
from app.db.repositories.posts import load_posts
from app.domain.accounts import AccountPublisher
from app.domain.attempts import Publication
from app.domain.circuit_breakers import OpenBreakers
from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory
from app.domain.ids import PostId, WorkspaceId
from app.domain.retry_policy import DEFAULT_POLICIES
from app.outbound.client import OutboundClient
from app.outbound.errors import OutboundFailure
from app.platforms import make_adapters
from app.platforms.protocol import NotPublished, PublishRequest
from app.platforms.server_contacts import record_failure, record_status
from app.worker.worker import run_in_background
from tests.credential_rows import add_credentials
from tests.factories import NOW, add_account, add_post, add_workspace, queued
from tests.outbound.local_servers import LOCAL_RULES, local_server
from tests.platforms.bluesky.scripted_pds import (
    PUT_RECORD,
    ScriptedPds,
    error_response,
    login_credentials,
)
from tests.worker.worker_bench import (
    CIPHER,
    PUBLICATION,
    TIMEOUT_SECONDS,
    PausedClock,
    ScriptedPlatform,
    WorkerBench,
    wait_until,
)

UNAVAILABLE = error_response(503, "UpstreamFailure")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
MAX_FIRST_ATTEMPTS = 6
"""Attempts until the breaker of the account opens: all that run when the third one fails."""
MAX_PROBE_WAIT = 300
STEP = 5
"""Seconds by which the clock moves on."""


@dataclass
class InterruptedPds(ScriptedPds):
    """A server that answers 503 to everything, or closes its connections, until the outage ends."""

    clock: PausedClock = field(default_factory=PausedClock)
    outage_seconds: float = 0
    answer: bytes = UNAVAILABLE
    refused: int = 0
    """Requests during the outage."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.clock.seconds >= self.outage_seconds:
            await super().handle(reader, writer)
            return
        await reader.readuntil(b"\r\n\r\n")
        self.refused += 1
        writer.write(self.answer)


@dataclass
class Outage:
    """Two workers and due posts of a Bluesky account whose server is away."""

    database: Database
    workspace: WorkspaceId
    posts: list[PostId]
    pds: InterruptedPds
    clock: PausedClock

    async def states(self) -> list[DestinationState]:
        posts = await load_posts(self.database.reader(self.workspace), self.posts)
        return [post.destinations[0].state for post in posts.values()]


@asynccontextmanager
async def running_outage(
    database: Database, *, seconds: float, answer: bytes, post_count: int
) -> AsyncIterator[Outage]:
    clock = PausedClock()
    pds = InterruptedPds(clock=clock, outage_seconds=seconds, answer=answer)
    workspace = await add_workspace(database)
    account = await add_account(
        database, workspace, platform="bluesky", publisher=AccountPublisher.BLUESKY
    )
    posts = [
        (await add_post(database, workspace, {account: queued(NOW)}, submitted_now=True)).id
        for _ in range(post_count)
    ]
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(local_server(pds.handle))
        client = await stack.enter_async_context(OutboundClient(LOCAL_RULES))
        pds.url = server.url("")
        values = login_credentials(pds.url)
        await add_credentials(
            database, workspace, account, values, cipher=CIPHER, platform="bluesky", set_at=NOW
        )
        adapters = make_adapters(sandbox_file=None, client=client, now=clock.now, sleep=clock.sleep)
        bench = WorkerBench(database, clock=clock, adapters=adapters, policies=DEFAULT_POLICIES)
        for number in range(2):
            await stack.enter_async_context(run_in_background(bench.worker(f"worker-{number}")))
        yield Outage(database, workspace, posts, pds, clock)


@pytest.mark.parametrize("answer", [UNAVAILABLE, b""], ids=["503", "closed"])
async def test_posts_that_are_due_in_an_outage_are_published_after_it(
    database: Database, answer: bytes
) -> None:
    async with running_outage(database, seconds=300, answer=answer, post_count=6) as outage:
        states = await settled_states(database, outage.workspace, outage.posts, outage.clock)

    assert {state.status for state in states} == {DestinationStatus.PUBLISHED}
    assert len(outage.pds.sent(PUT_RECORD)) == len(outage.pds.records) == len(states)
    # The first attempts, and one probe after each wait of 11, 22, 45, 90, 180 s. A server allows 30 logins.
    assert outage.pds.refused <= MAX_FIRST_ATTEMPTS + 5
    assert sum(state.attempts for state in states) <= 2 * len(states) + MAX_FIRST_ATTEMPTS + 5
    assert outage.clock.seconds < 300 + MAX_PROBE_WAIT


async def test_post_that_waits_for_a_breaker_is_due_as_soon_as_it_closes(
    database: Database,
) -> None:
    """Its own wait would be at least 15 s."""
    async with running_outage(database, seconds=300, answer=UNAVAILABLE, post_count=1) as outage:
        (state,) = await outage.states()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while state.next_retry_at is None:
                await asyncio.sleep(0.02)
                (state,) = await outage.states()
    assert (state.status, state.attempts, state.not_sent) == (DestinationStatus.QUEUED, 1, True)
    assert state.claimable_at == state.next_retry_at == NOW


class UnreachablePlatform(ScriptedPlatform):
    """A platform whose servers, one for each account, cannot be connected to."""

    def __init__(self) -> None:
        super().__init__(
            NotPublished(ErrorCategory.TRANSIENT, "CONNECTION_FAILED", "No route.", not_sent=True)
        )

    async def publish(self, request: PublishRequest) -> Publication:
        if isinstance(self.publish_result, Exception):
            record_failure(
                f"https://server-{request.account.id}.example/api",
                OutboundFailure.CONNECTION_FAILED,
                may_have_been_sent=False,
            )
        else:
            record_status(f"https://server-{request.account.id}.example/api", 200)
        return await super().publish(request)


async def settled_states(
    database: Database, workspace: WorkspaceId, posts: Sequence[PostId], clock: PausedClock
) -> list[DestinationState]:
    """Move the clock on until all posts are settled; at most an hour."""
    start = clock.seconds
    while clock.seconds < start + HOUR.total_seconds():
        loaded = await load_posts(database.reader(workspace), posts)
        states = [post.destinations[0].state for post in loaded.values()]
        if all(state.settled_at is not None for state in states):
            return states
        clock.seconds += STEP
        await asyncio.sleep(0.02)
    raise AssertionError


async def test_worker_without_a_network_claims_nothing_and_opens_no_breaker(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    accounts = [
        await add_account(
            database, workspace, platform="mastodon", publisher=AccountPublisher.MASTODON
        )
        for _ in range(3)
    ]
    platform, clock, has_network = UnreachablePlatform(), PausedClock(), False
    platform.publish_result = PUBLICATION

    async def reach(_origin: str) -> bool:
        return has_network

    bench = WorkerBench(
        database,
        clock=clock,
        adapters={AccountPublisher.MASTODON: platform},
        policies=DEFAULT_POLICIES,
        reach=reach,
    )
    first = [(await add_post(database, workspace, {each: queued(NOW)})).id for each in accounts]
    async with bench.running_worker():
        await settled_states(database, workspace, first, clock)
        clock.seconds = 60
        platform.publish_result = UnreachablePlatform().publish_result
        due = [
            (await add_post(database, workspace, {each: queued(NOW + MINUTE)})).id
            for each in (*accounts, *accounts)
        ]
        await wait_until(lambda: len(platform.calls) > len(first))
        await asyncio.sleep(0.5)
        tried = len(platform.calls)
        clock.seconds += 600
        await asyncio.sleep(0.5)
        assert len(platform.calls) == tried <= len(first) + len(due)
        assert await count_open_breakers(database.all_workspaces, NOW) == OpenBreakers(0, 0)

        has_network, platform.publish_result = True, PUBLICATION
        clock.seconds += 600
        states = await settled_states(database, workspace, due, clock)
    assert {state.status for state in states} == {DestinationStatus.PUBLISHED}
