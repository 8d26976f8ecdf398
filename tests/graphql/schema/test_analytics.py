"""Analytics summary: periods and counts."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.db.core.database import Database
from app.db.core.write_session import WriteSession
from app.db.models import Destination
from app.db.repositories.analytics import count_destinations_by_platform
from app.db.repositories.posts import load_posts_for_update, write_posts
from app.domain.times import TimeRange, format_instant
from tests.clients import Tenant
from tests.db.core.intercepting_driver import InterceptingDriver
from tests.factories import (
    NOW,
    add_account,
    add_post,
    add_workspace,
    claimed,
    draft,
    failed,
    published,
    queued,
    unknown,
    waiting_for_retry,
)

MILLISECOND = timedelta(milliseconds=1)
DAYS = timedelta(days=1)
EPOCH = NOW - 365 * DAYS

SUMMARY = """
query ($period: AnalyticsPeriod!, $from: DateTime, $to: DateTime) {
  analyticsSummary(period: $period, from: $from, to: $to) { period start end posts { total } }
}
"""


COUNTS_OF_PERIOD = """
query ($from: DateTime!, $to: DateTime!) {
  analyticsSummary(period: CUSTOM, from: $from, to: $to) {
    posts { total }
    byPlatform { platform total }
  }
}
"""


async def test_summary_counts_posts_by_status_and_destinations_by_platform(acme: Tenant) -> None:
    instagram, x, linkedin = [
        await add_account(acme.database, acme.workspace, platform=platform)
        for platform in ("instagram", "x", "linkedin")
    ]
    await add_post(acme.database, acme.workspace)
    await add_post(acme.database, acme.workspace, {linkedin: draft()}, is_draft=True)
    await add_post(acme.database, acme.workspace, {x: queued(NOW + DAYS)})
    await add_post(acme.database, acme.workspace, {x: claimed(), instagram: waiting_for_retry()})
    await add_post(acme.database, acme.workspace, {x: published(), instagram: published()})
    await add_post(acme.database, acme.workspace, {x: published(), instagram: failed()})
    await add_post(acme.database, acme.workspace, {x: failed(), instagram: unknown()})
    await add_post(acme.database, acme.workspace, {x: queued()}, deleted_at=NOW)
    data = await acme.client.query(
        "{ analyticsSummary { period posts { total draft scheduled publishing published"
        " partiallyFailed failed } byPlatform { platform total scheduled published failed } } }"
    )
    assert data["analyticsSummary"] == {
        "period": "MONTH",
        "posts": {
            "total": 7,
            "draft": 2,
            "scheduled": 1,
            "publishing": 1,
            "published": 1,
            "partiallyFailed": 1,
            "failed": 1,
        },
        "byPlatform": [
            {"platform": "instagram", "total": 4, "scheduled": 1, "published": 1, "failed": 2},
            {"platform": "x", "total": 5, "scheduled": 2, "published": 2, "failed": 1},
        ],
    }


@pytest.mark.parametrize(
    ("arguments", "start", "end"),
    [
        ({"period": "MONTH"}, "2026-03-16T15:00:00.000Z", "2026-04-15T15:00:00.000Z"),
        ({"period": "ALL"}, None, "2026-04-15T15:00:00.000Z"),
        (
            {"period": "CUSTOM", "from": "2026-04-01", "to": "2026-04-02T02:00:00+02:00"},
            "2026-04-01T00:00:00.000Z",
            "2026-04-02T00:00:00.000Z",
        ),
    ],
)
async def test_period_includes_start_and_end(
    acme: Tenant, arguments: dict[str, str], start: str | None, end: str
) -> None:
    last = datetime.fromisoformat(end)
    first = EPOCH if start is None else datetime.fromisoformat(start)
    inside = {first, last}
    outside = {last + MILLISECOND} | (set() if start is None else {first - MILLISECOND})
    for created_at in inside | outside:
        await add_post(acme.database, acme.workspace, created_at=created_at)
    data = await acme.client.query(SUMMARY, **arguments)
    assert data["analyticsSummary"] == {
        "period": arguments["period"],
        "start": start,
        "end": end,
        "posts": {"total": len(inside)},
    }


@pytest.mark.parametrize(
    ("arguments", "field"),
    [({"period": "CUSTOM"}, "from"), ({"period": "ALL", "to": "2026-04-01"}, "period")],
)
async def test_invalid_period_is_rejected(
    acme: Tenant, arguments: dict[str, Any], field: str
) -> None:
    error = await acme.client.expect_error(SUMMARY, **arguments)
    assert error[:2] == ("VALIDATION_ERROR", field)


async def test_destination_counts_with_its_post_although_it_was_added_later(acme: Tenant) -> None:
    x, linkedin = [
        await add_account(acme.database, acme.workspace, platform=platform)
        for platform in ("x", "linkedin")
    ]
    created_at, due_at = NOW - 40 * DAYS, NOW + DAYS
    for is_draft, deleted_at in ((False, None), (True, None), (False, NOW)):
        post = await add_post(
            acme.database,
            acme.workspace,
            {x: draft() if is_draft else queued(due_at)},
            is_draft=is_draft,
            scheduled_for=due_at,
            created_at=created_at,
        )
        data = await acme.client.query(
            "mutation ($input: UpdatePostInput!) { updatePost(input: $input)"
            " { post { destinations { createdAt } } } }",
            input={"postId": str(post.id), "accountIds": [x, linkedin]},
        )
        assert data["updatePost"]["post"]["destinations"] == [
            {"createdAt": format_instant(created_at)},
            {"createdAt": format_instant(NOW)},
        ]
        if deleted_at is not None:
            await acme.client.query(
                "mutation ($input: DeletePostInput!) { deletePost(input: $input) { postId } }",
                input={"postId": str(post.id)},
            )
    assert await acme.client.query(
        COUNTS_OF_PERIOD, **{"from": format_instant(created_at), "to": format_instant(created_at)}
    ) == {
        "analyticsSummary": {
            "posts": {"total": 2},
            "byPlatform": [
                {"platform": "linkedin", "total": 1},
                {"platform": "x", "total": 1},
            ],
        }
    }
    assert await acme.client.query(
        COUNTS_OF_PERIOD, **{"from": format_instant(NOW), "to": format_instant(NOW)}
    ) == {"analyticsSummary": {"posts": {"total": 0}, "byPlatform": []}}


async def test_destination_follows_a_changed_creation_of_its_post(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace, platform="x")
    post = await add_post(acme.database, acme.workspace, {account: queued()})
    created_at = NOW - 40 * DAYS

    async def import_earlier_creation(session: WriteSession) -> None:
        reader = acme.database.reader_in(session)
        previous = await load_posts_for_update(reader, [post.id])
        changed = replace(previous[post.id], created_at=created_at)
        await write_posts(session, [changed], previous=previous)

    await acme.database.write(acme.workspace, import_earlier_creation)
    for instant, total, platforms in (
        (created_at, 1, [{"platform": "x", "total": 1}]),
        (NOW, 0, []),
    ):
        period = dict.fromkeys(("from", "to"), format_instant(instant))
        data = await acme.client.query(COUNTS_OF_PERIOD, **period)
        assert data["analyticsSummary"] == {"posts": {"total": total}, "byPlatform": platforms}


async def test_platform_added_during_the_read_makes_no_number_negative(
    database: Database, database_url: str
) -> None:
    """The first destination on each platform was added to its post later."""
    workspace = await add_workspace(database)
    driver = InterceptingDriver()

    async def add_platform() -> None:
        account = await add_account(database, workspace, platform=f"platform-{driver.count}")
        post = await add_post(database, workspace, {account: failed()})
        added_later = update(Destination).where(Destination.id == post.destinations[0])
        async with database.write_engine.begin() as connection:
            await connection.execute(added_later.values(created_at=NOW + DAYS, post_created_at=NOW))

    async with Database(database_url, wrap_driver=driver) as read:
        for number in range(8):
            driver.before_nth(number, add_platform)
            counts = await count_destinations_by_platform(
                read.reader(workspace), TimeRange(EPOCH, NOW)
            )
            assert all(min(each.values()) >= 0 for each in counts.values()), (number, counts)
