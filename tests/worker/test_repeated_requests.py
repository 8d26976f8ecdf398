"""Requests that the network repeats after a clean answer, on servers with and without idempotency keys."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from app.db.core.database import Database
from app.db.tools.integrity import find_problems
from app.domain.accounts import AccountPublisher
from app.domain.settlement import DUPLICATE_CHECK_DELAY
from app.outbound.client import OutboundClient
from app.platforms.mastodon.adapter import Mastodon
from app.platforms.media import Media
from app.platforms.protocol import PublishRequest
from app.services.secret_cipher import SecretCipher
from tests.credential_rows import add_credentials
from tests.factories import NOW, add_account, add_post, add_workspace, queued
from tests.outbound.local_servers import LOCAL_RULES, local_server, read_request
from tests.platforms.mastodon.scripted_instance import response
from tests.worker.worker_bench import SECRETS_KEY, FakeClock, SentPost, WorkerBench, is_published

MASTODON = AccountPublisher.MASTODON
SNAC_VERSION, MASTODON_VERSION = "4.0.0 (not true; really snac/2.75)", "4.3.2"


@dataclass
class RepeatingInstance:
    """An instance behind a network that delivers each request for a status several times."""

    version: str | None
    """None if the instance does not describe itself."""
    deliveries: int = 2
    """Deliveries of each request; the client receives the first response."""
    statuses: list[dict[str, Any]] = field(default_factory=list)
    """Statuses, the newest first."""
    requests: Counter[str] = field(default_factory=Counter)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _, body = (await read_request(reader)).partition(b"\r\n\r\n")
            target = head.decode().split(" HTTP/1.1")[0].partition("?")[0]
            self.requests[target] += 1
            writer.write(self._answer(target, body))
            await writer.drain()

    def _answer(self, target: str, body: bytes) -> bytes:
        match target:
            case "GET /api/v2/instance" if self.version is not None:
                return response(200, {"version": self.version})
            case "POST /api/v1/statuses":
                text = json.loads(body)["status"]
                number = len(self.statuses)
                for _ in range(self.deliveries):
                    self.statuses.insert(0, make_status(len(self.statuses), text))
                return response(200, self.statuses[-1 - number])
            case "GET /api/v1/accounts/verify_credentials":
                return response(200, {"id": "7"})
            case "GET /api/v1/accounts/7/statuses":
                return response(200, self.statuses)
            case _:
                return response(404, b"<html>")


def make_status(number: int, text: str) -> dict[str, Any]:
    return {
        "id": f"{number}",
        "url": f"https://social.example/{number}",
        "created_at": NOW.isoformat(),
        "text": text,
        "media_attachments": [],
    }


@asynccontextmanager
async def running_bench(
    database: Database, instance: RepeatingInstance
) -> AsyncIterator[tuple[WorkerBench, str]]:
    """Yield workers whose clock only the test moves, and the URL of the instance."""

    async def fetch_media(request: PublishRequest) -> list[Media]:
        return []

    async with local_server(instance.handle) as server, OutboundClient(LOCAL_RULES) as client:
        clock = FakeClock()
        adapter = Mastodon(client=client, now=clock.now, sleep=clock.sleep, fetch_media=fetch_media)
        yield WorkerBench(database, clock=clock, adapters={MASTODON: adapter}), server.url("")


async def add_due_posts(database: Database, url: str, *texts: str) -> list[SentPost]:
    """Add due posts on one account of the instance."""
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, platform="mastodon", publisher=MASTODON)
    await add_credentials(
        database,
        workspace,
        account,
        {"instance": url, "accessToken": "token-1"},
        cipher=SecretCipher([SECRETS_KEY]),
        platform="mastodon",
        set_at=NOW - timedelta(days=1),
    )
    posts = [
        await add_post(
            database, workspace, {account: queued(NOW)}, content=text, submitted_now=True
        )
        for text in texts
    ]
    return [SentPost(database, workspace, account, post.id, post.destinations[0]) for post in posts]


async def publish_and_check(bench: WorkerBench, sent: list[SentPost]) -> None:
    """Publish posts, and run the checks for duplicates when no request can be delivered any more."""
    async with bench.running_worker():
        for each in sent:
            await each.wait_until(is_published)
    assert isinstance(bench.clock, FakeClock)
    bench.clock.seconds += DUPLICATE_CHECK_DELAY.total_seconds() + 60
    await bench.check_duplicates()


@pytest.mark.parametrize("deliveries", [1, 2, 3])
@pytest.mark.parametrize("version", [SNAC_VERSION, None])
async def test_further_statuses_of_a_repeated_request_are_duplicates(
    database: Database, version: str | None, deliveries: int
) -> None:
    instance = RepeatingInstance(version, deliveries)
    async with running_bench(database, instance) as (bench, url):
        sent = await add_due_posts(database, url, "One", "Two", "Three")

        await publish_and_check(bench, sent)

    for each in sent:
        state = await each.state()
        post_id = state.platform_post_id
        assert (state.attempts, post_id is not None) == (1, True)
        text = next(status["text"] for status in instance.statuses if status["id"] == post_id)
        further = {
            status["id"]
            for status in instance.statuses
            if status["text"] == text and status["id"] != post_id
        }
        duplicates = await each.duplicates()
        assert len(duplicates) == deliveries - 1
        assert {duplicate.platform_post_id for duplicate in duplicates} == further
    assert instance.requests["POST /api/v1/statuses"] == 3
    # One list, and the page that shows its end.
    assert instance.requests["GET /api/v1/accounts/7/statuses"] == 2
    assert await find_problems(database) == []


async def test_statuses_of_a_server_with_idempotency_keys_are_not_searched_for(
    database: Database,
) -> None:
    instance = RepeatingInstance(MASTODON_VERSION, deliveries=1)
    async with running_bench(database, instance) as (bench, url):
        sent = await add_due_posts(database, url, "One")

        await publish_and_check(bench, sent)

        assert instance.requests == {"GET /api/v2/instance": 1, "POST /api/v1/statuses": 1}
        assert await sent[0].duplicates() == []
