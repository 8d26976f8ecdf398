"""Query field `boardCounts`: what counts, what the time changes, and how often it is computed."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from app import services
from app.db import repositories
from app.db.core.database import Database
from app.domain.times import format_instant
from app.domain.transitions import unclaimable
from tests.clients import Client, Tenant
from tests.factories import (
    NOW,
    add_account,
    add_post,
    claimed,
    draft,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)
from tests.graphql.schema.mutations.publisher_client import open_publisher
from tests.graphql.tenant_objects import add_post_in_states, add_tenant

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
MILLISECOND = timedelta(milliseconds=1)
NAMES = [
    *("failed", "unknown", "overdue", "retrying", "publishing"),
    *("dueSoon", "willFail", "invalidContent", "mediaWarning", "duplicated", "brokenAccounts"),
]
DOCUMENT = (
    "query ($since: DateTime!) { boardCounts(since: $since) {"
    + " ".join(f"{name} {{ count capped }}" for name in NAMES)
    + " } }"
)


async def read_counts(client: Client, since: datetime = NOW) -> dict[str, int]:
    """Return the counts that are not zero; none may be capped."""
    data = await client.query(DOCUMENT, since=format_instant(since))
    counts: Mapping[str, Mapping[str, Any]] = data["boardCounts"]
    assert list(counts) == NAMES
    assert not any(count["capped"] for count in counts.values())
    return {name: count["count"] for name, count in counts.items() if count["count"]}


async def test_each_state_counts_where_it_belongs(acme: Tenant) -> None:
    await add_post_in_states(
        acme,
        draft(),
        queued(NOW - HOUR),
        queued(NOW + HOUR),
        queued(NOW + 25 * HOUR),
        waiting_for_retry(NOW + MINUTE),
        claimed(),
        started(),
        started(NOW - HOUR, lease_expires_at=NOW - 6 * MINUTE),
        published(),
        failed(),
        failed(settled_at=NOW - MILLISECOND),
        unknown(),
    )

    assert await read_counts(acme.client) == {
        "failed": 1,
        "unknown": 1,
        "overdue": 2,
        "retrying": 1,
        "publishing": 3,
        "dueSoon": 1,
    }
    assert (await read_counts(acme.client, NOW - MILLISECOND))["failed"] == 2


async def test_overdue_retry_counts_as_overdue_only(acme: Tenant) -> None:
    await add_post_in_states(acme, waiting_for_retry(NOW - HOUR, due_at=NOW - HOUR))

    assert await read_counts(acme.client) == {"overdue": 1}


async def test_other_workspaces_and_deleted_posts_do_not_count(acme: Tenant) -> None:
    other = await add_tenant(acme)
    for _ in range(2):
        await add_post_in_states(
            other, failed(), unknown(), waiting_for_retry(), queued(NOW + HOUR)
        )
    deleted = failed(), unclaimable(waiting_for_retry())
    await add_post_in_states(acme, *deleted, deleted_at=NOW)

    assert await read_counts(acme.client) == {}
    assert await read_counts(other.client) == {
        "failed": 2,
        "unknown": 2,
        "retrying": 2,
        "dueSoon": 2,
    }


async def test_destinations_due_on_blocked_accounts_will_fail(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace, needs_reconnection_since=NOW)
    for due_at in (NOW - HOUR, NOW + HOUR, NOW + 25 * HOUR):
        await add_post(acme.database, acme.workspace, {account: queued(due_at)})

    assert await read_counts(acme.client) == {
        "overdue": 1,
        "dueSoon": 1,
        "willFail": 2,
        "brokenAccounts": 1,
    }


async def test_time_alone_changes_counts(database: Database) -> None:
    async with open_publisher(database) as publisher:
        account = await add_account(database, publisher.workspace, token_expires_at=NOW + 10 * HOUR)
        await add_post(database, publisher.workspace, {account: queued(NOW + 30 * HOUR)})
        counts = []
        for hours in (0, 7, 11, 31):
            publisher.clock.now = NOW + hours * HOUR
            # another argument each time, as results are reused for two seconds
            counts.append(await read_counts(publisher.client, NOW + hours * MILLISECOND))

    broken = {"willFail": 1, "brokenAccounts": 1}
    assert counts == [{}, {"dueSoon": 1}, {"dueSoon": 1, **broken}, {"overdue": 1, **broken}]


async def test_numbers_above_the_limit_are_capped(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (repositories.board_counts, services.board_counts):
        monkeypatch.setattr(module, "MAX_BOARD_COUNT", 2)
    await add_post_in_states(acme, *[unknown()] * 2, *[failed()] * 3)

    data = await acme.client.query(DOCUMENT, since=format_instant(NOW))

    assert data["boardCounts"]["unknown"] == {"count": 2, "capped": False}
    assert data["boardCounts"]["failed"] == {"count": 2, "capped": True}
