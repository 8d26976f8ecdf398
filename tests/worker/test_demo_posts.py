"""Tests of the demo posts: a worker takes them through every state within two minutes."""

import asyncio
from collections import Counter
from uuid import uuid4

import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.core.statements import Statement
from app.db.models import Account, Destination
from app.db.tools.integrity import find_problems
from app.demo import DEMO_WORKSPACE_ID, load_demo, send_demo_posts
from app.platforms.sandbox import Behaviour
from app.services.expirations import fail_due_on_blocked_accounts
from app.settings import read_settings
from tests.factories import KEY_PREFIX, NOW
from tests.worker.worker_bench import TIMEOUT_SECONDS, PausedClock, WorkerBench, count_duplicates

SentResult = tuple[str, str, str | None, int]


@pytest.mark.slow
async def test_demo_posts_reach_every_result_within_two_minutes(database: Database) -> None:
    clock = PausedClock()
    token = read_settings({}).demo_key()
    await load_demo(database, token=token, api_key_prefix=KEY_PREFIX, now=NOW)
    await send_demo_posts(database, new_id=uuid4, now=clock.now())
    bench = WorkerBench(database, clock=clock)
    async with bench.running_worker(), asyncio.timeout(TIMEOUT_SECONDS):
        while any(
            status in ("queued", "publishing") for _, status, _, _ in await _sent_results(database)
        ):
            clock.seconds += 0.5
            await fail_due_on_blocked_accounts(database, clock.now())
            await asyncio.sleep(0.02)

    assert 55 < clock.seconds < 120
    assert Counter(await _sent_results(database)) == {
        ("succeeds", "published", None, 1): 6,
        ("flaky", "published", None, 2): 2,
        ("rate-limited", "published", None, 2): 2,
        ("slow", "published", None, 1): 3,
        ("times-out", "published", None, 1): 2,
        ("rejects", "failed", "CONTENT_REFUSED", 1): 2,
        ("loses-token", "failed", "TOKEN_EXPIRED", 1): 1,
        ("loses-token", "failed", "AUTH", 0): 1,
    }
    assert count_duplicates(bench.store) == 0
    assert await find_problems(database) == []


async def test_accounts_of_demo_posts_are_created_once(database: Database) -> None:
    token = read_settings({}).demo_key()
    await load_demo(database, token=token, api_key_prefix=KEY_PREFIX, now=NOW)
    before = await _accounts(database)
    for _ in range(2):
        await send_demo_posts(database, new_id=uuid4, now=NOW)

    created = (await _accounts(database)) - before
    assert sorted(str(name) for _, name in created) == sorted(Behaviour)


async def _sent_results(database: Database) -> list[SentResult]:
    """Account name, status, error code and attempts of each destination on the sandbox."""
    statement = (
        select(
            Account.account_name, Destination.status, Destination.error_code, Destination.attempts
        )
        .join(Destination, Destination.account_id == Account.id)
        .where(Destination.platform == "sandbox")
    )
    rows = await database.reader(DEMO_WORKSPACE_ID).rows(Statement(statement))
    return [(row.account_name, str(row.status), row.error_code, row.attempts) for row in rows]


async def _accounts(database: Database) -> set[tuple[int, str | None]]:
    statement = select(Account.id, Account.account_name)
    return {
        tuple(row) for row in await database.reader(DEMO_WORKSPACE_ID).rows(Statement(statement))
    }
