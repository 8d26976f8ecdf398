"""Outages of a platform, of which no post that was not sent may fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from app.db.core.database import Database
from app.db.repositories.posts import load_posts
from app.domain.accounts import AccountPublisher
from app.domain.destinations import DestinationState, DestinationStatus
from app.domain.ids import PostId, WorkspaceId
from app.domain.retry_policy import DEFAULT_POLICIES
from app.outbound.client import OutboundClient
from app.platforms import make_adapters
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
from tests.worker.worker_bench import CIPHER, PausedClock, WorkerBench

UNAVAILABLE = error_response(503, "UpstreamFailure")
HOUR = timedelta(hours=1)
STEP = 5
"""Seconds by which the clock moves on."""


@dataclass
class InterruptedPds(ScriptedPds):
    """A server that answers 503 to everything, or closes its connections, until the outage ends."""

    clock: PausedClock = field(default_factory=PausedClock)
    outage_seconds: float = 0
    answer: bytes = UNAVAILABLE

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.clock.seconds >= self.outage_seconds:
            await super().handle(reader, writer)
            return
        await reader.readuntil(b"\r\n\r\n")
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
        states = await outage.states()
        while any(state.settled_at is None for state in states):
            assert outage.clock.seconds < HOUR.total_seconds()
            outage.clock.seconds += STEP
            await asyncio.sleep(0.02)
            states = await outage.states()

    assert {state.status for state in states} == {DestinationStatus.PUBLISHED}
    assert len(outage.pds.sent(PUT_RECORD)) == len(outage.pds.records) == len(states)
