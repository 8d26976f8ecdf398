"""The worker and a publisher of the user's own: its requests, answers, and credentials in a file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import pytest

from app.db.core.database import Database
from app.domain.accounts import AccountPublisher
from app.domain.destinations import DestinationState, Outcome
from app.outbound.client import OutboundClient
from app.platforms.webhook_publisher import WebhookPublisher
from app.services.secret_cipher import SecretCipher
from tests.credential_rows import add_credentials
from tests.factories import NOW, add_account, add_post, add_workspace, queued
from tests.outbound.local_servers import (
    LOCAL_RULES,
    LocalServer,
    local_server,
    read_request,
    responding,
)
from tests.platforms.test_webhook_publisher import SECRET, http_response
from tests.worker.worker_bench import (
    SECRETS_KEY,
    FakeClock,
    MovableClock,
    RealClock,
    SentPost,
    WorkerBench,
    is_published,
)

CIPHER = SecretCipher([SECRETS_KEY])
DAY = timedelta(days=1)


def is_unknown(state: DestinationState) -> bool:
    return state.outcome is Outcome.UNKNOWN


def is_looked_up(state: DestinationState, now: datetime) -> bool:
    """Return True after a lookup, which has settled the outcome or has planned another lookup."""
    is_planned = state.verifiable_at is not None and state.verifiable_at > now
    return state.outcome is Outcome.FAILED or (is_planned and state.verification_token is None)


async def add_due_post(database: Database, credentials: dict[str, object]) -> SentPost:
    """Add a due post on an account with these credentials."""
    workspace = await add_workspace(database)
    publisher = AccountPublisher.WEBHOOK
    account = await add_account(database, workspace, platform="linkedin", publisher=publisher)
    await add_credentials(
        database,
        workspace,
        account,
        credentials,
        cipher=CIPHER,
        platform="linkedin",
        set_at=NOW - DAY,
    )
    post = await add_post(database, workspace, {account: queued(NOW)}, submitted_now=True)
    return SentPost(database, workspace, account, post.id, post.destinations[0])


@asynccontextmanager
async def running_worker(
    database: Database,
    *,
    clock: FakeClock | RealClock | None = None,
    credentials_dir: Path | None = None,
) -> AsyncIterator[None]:
    async with OutboundClient(LOCAL_RULES) as client:
        clock = clock or FakeClock()
        adapter = WebhookPublisher(client, now=clock.now)
        bench = WorkerBench(
            database,
            clock=clock,
            adapters={AccountPublisher.WEBHOOK: adapter},
            credentials_dir=credentials_dir,
        )
        async with bench.running_worker():
            yield


def credentials_for(server: LocalServer) -> dict[str, object]:
    return {"url": server.url("/publish"), "lookupUrl": server.url("/lookup"), "secret": SECRET}


async def test_post_is_published_by_one_request(database: Database) -> None:
    requests: list[bytes] = []
    answer = http_response(200, {"id": "17"})
    async with local_server(responding(answer, requests=requests)) as server:
        sent = await add_due_post(database, credentials_for(server))
        async with running_worker(database):
            state = await sent.wait_until(is_published)

    assert state.platform_post_id == "17"
    (request,) = requests
    payload = orjson.loads(request.partition(b"\r\n\r\n")[2])
    assert (payload["workspaceId"], payload["postId"], payload["destinationId"]) == (
        str(sent.workspace),
        str(sent.post),
        str(sent.id),
    )


async def test_answer_with_a_status_beyond_http_is_stored(database: Database) -> None:
    answer = b"HTTP/1.1 999 Request denied\r\nContent-Length: 6\r\n\r\nbanned"
    async with local_server(responding(answer)) as server:
        sent = await add_due_post(database, credentials_for(server))
        async with running_worker(database):
            await sent.wait_until(is_unknown)
        (attempt,) = await sent.attempts()

    assert attempt.failure is not None
    assert attempt.failure.message == (
        "The platform answered 999, so the post may be published all the same."
    )
    assert (attempt.failure.http_status, attempt.failure.raw) == (None, "banned")


@pytest.mark.parametrize("is_changed", [True, False])
async def test_lookup_proves_no_absence_after_a_change_of_the_credentials_file(
    database: Database, tmp_path: Path, *, is_changed: bool
) -> None:
    sent = await add_due_post(database, {"ref": "file:publisher.json"})
    (tmp_path / str(sent.workspace)).mkdir()
    file = tmp_path / str(sent.workspace) / "publisher.json"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_lookup = b"/lookup" in await read_request(reader)
        if is_changed and not is_lookup:
            file.write_bytes(file.read_bytes())
        writer.write(http_response(404 if is_lookup else 502, None, "Connection: close"))
        await writer.drain()

    async with local_server(answer) as server:
        file.write_bytes(orjson.dumps(credentials_for(server)))
        await asyncio.sleep(0.5)  # the attempt is later than the file, whose time is not exact
        clock = MovableClock()
        async with running_worker(database, clock=clock, credentials_dir=tmp_path):
            state = await sent.wait_until(lambda state: is_looked_up(state, clock.now()))

    assert state.error_code == ("OUTCOME_UNKNOWN" if is_changed else "NOT_PUBLISHED")
