"""The worker on Threads and Instagram: stored tokens and checkpoints, and lost answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from app.db.core.database import Database
from app.domain.accounts import AccountPublisher
from app.domain.destinations import DestinationState
from app.outbound.client import OutboundClient
from app.platforms.meta.adapter import MetaAdapter
from app.services.secret_cipher import SecretCipher
from tests.credential_rows import add_credentials
from tests.factories import NOW, add_account, add_post, add_workspace, queued
from tests.outbound.local_servers import LOCAL_RULES, local_server
from tests.platforms.meta.adapter_run import CONTAINER, IMAGE, PLATFORMS
from tests.platforms.meta.stub_graph import NO_RESPONSE, TOKEN, USER, Fault, StubGraph
from tests.worker.worker_bench import (
    SECRETS_KEY,
    FakeClock,
    SentPost,
    WorkerBench,
    is_published,
)

CIPHER = SecretCipher([SECRETS_KEY])


async def add_connected_post(database: Database, name: str) -> SentPost:
    """Add a due post on an account whose token expires soon."""
    workspace = await add_workspace(database)
    publisher = AccountPublisher(name)
    account = await add_account(database, workspace, platform=name, publisher=publisher)
    values = {"userId": USER, "accessToken": TOKEN, "expiresAt": "2026-04-20T15:00:00Z"}
    set_at = NOW - timedelta(days=50)
    await add_credentials(
        database, workspace, account, values, cipher=CIPHER, platform=name, set_at=set_at
    )
    post = await add_post(
        database, workspace, {account: queued(NOW)}, submitted_now=True, media=[IMAGE]
    )
    return SentPost(database, workspace, account, post.id, post.destinations[0])


@asynccontextmanager
async def running_worker(
    database: Database, name: str, stub: StubGraph
) -> AsyncIterator[FakeClock]:
    platform, _ = PLATFORMS[name]
    async with local_server(stub.handle) as server, OutboundClient(LOCAL_RULES) as client:
        clock = FakeClock()
        adapter = MetaAdapter(
            replace(platform, origin=server.url("")),
            client=client,
            now=clock.now,
            sleep=clock.sleep,
        )
        bench = WorkerBench(database, clock=clock, adapters={AccountPublisher(name): adapter})
        async with bench.running_worker():
            yield clock


def is_verified_later(state: DestinationState) -> bool:
    """Return whether a lookup was inconclusive, and the next one is planned."""
    return (
        state.verification_token is None
        and state.verifiable_at is not None
        and state.verifiable_at > NOW
    )


@pytest.mark.parametrize("is_processed", [True, False])
@pytest.mark.parametrize("name", PLATFORMS)
async def test_post_whose_answer_is_lost_is_published_once(
    database: Database, name: str, *, is_processed: bool
) -> None:
    sent = await add_connected_post(database, name)
    fault = Fault(NO_RESPONSE, is_processed=is_processed)
    stub = StubGraph(PLATFORMS[name][1], NOW, faults={"publish": [fault]})
    async with running_worker(database, name, stub) as clock:
        if not is_processed:
            await sent.wait_until(is_verified_later)
            clock.seconds += timedelta(minutes=6).total_seconds()
        state = await sent.wait_until(is_published)

    (post,) = stub.posts
    assert (state.platform_post_id, state.platform_post_url) == (post["id"], post["permalink"])
    assert state.attempts == (1 if is_processed else 2)
    assert list(stub.containers) == [CONTAINER]
    assert len(stub.calls_of("GET", "refresh_access_token")) == 1
