"""The analytics summary: counts of a period, and zeros for metrics that are not measured."""

from datetime import timedelta

import pytest

from tests.clients import Tenant
from tests.factories import NOW, add_account, add_post, draft, failed, published, queued, started
from tests.rest.envelope import failure_error, ordered_json, success_data
from tests.rest.write_requests import non_retryable_error

DAY = timedelta(days=1)


async def test_summary_counts_posts_and_destinations(acme: Tenant) -> None:
    instagram = await add_account(acme.database, acme.workspace)
    x = await add_account(acme.database, acme.workspace, platform="x")
    for destinations in (
        {instagram: published(), x: published()},
        {instagram: published(), x: failed()},
        {instagram: failed()},
        {instagram: queued(NOW + DAY)},
        {x: started()},
    ):
        await add_post(acme.database, acme.workspace, destinations)
    await add_post(acme.database, acme.workspace, {x: draft()}, is_draft=True)
    await add_post(acme.database, acme.workspace, {x: failed()}, created_at=NOW - 31 * DAY)
    response = await acme.client.get("/v1/analytics/summary")
    assert ordered_json(success_data(response)) == ordered_json(
        {
            "period": "month",
            "range": {"from": "2026-03-16T15:00:00.000Z", "to": "2026-04-15T15:00:00.000Z"},
            "posts": {
                "total": 6,
                "draft": 1,
                "scheduled": 1,
                "publishing": 1,
                "published": 1,
                "partially_failed": 1,
                "failed": 1,
            },
            "by_platform": [
                {"platform": "instagram", "total": 4, "scheduled": 1, "published": 2, "failed": 1},
                {"platform": "x", "total": 3, "scheduled": 1, "published": 1, "failed": 1},
            ],
            "metrics": {
                "views": 0,
                "likes": 0,
                "comments": 0,
                "shares": 0,
                "impressions": 0,
                "clicks": 0,
            },
            "ai_credits": {"used_this_period": 0, "bonus": 0},
        }
    )


@pytest.mark.parametrize(
    ("query", "period", "start", "end", "total"),
    [
        ("period=today", "today", "2026-04-15T00:00:00.000Z", "2026-04-15T15:00:00.000Z", 1),
        ("period=", "month", "2026-03-16T15:00:00.000Z", "2026-04-15T15:00:00.000Z", 3),
        ("period=all", "all", None, "2026-04-15T15:00:00.000Z", 4),
        (
            "period=custom&from=2026-04-01&to=2026-04-14T00:00:00Z",
            "custom",
            "2026-04-01T00:00:00.000Z",
            "2026-04-14T00:00:00.000Z",
            1,
        ),
    ],
)
async def test_summary_covers_requested_period(
    acme: Tenant, query: str, period: str, start: str | None, end: str, total: int
) -> None:
    for age in (0, 6, 29, 400):
        await add_post(acme.database, acme.workspace, created_at=NOW - age * DAY)
    data = success_data(await acme.client.get(f"/v1/analytics/summary?{query}"))
    assert (data["period"], data["posts"]["total"]) == (period, total)
    assert ordered_json(data["range"]) == ordered_json({"from": start, "to": end})


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        (
            "period=year",
            "period",
            "period must be one of today, week, month, all, custom; it is 'year'.",
        ),
        ("period=custom&from=2026-02-01&to=2026-01-01", "to", "to must not be earlier than from."),
    ],
)
async def test_invalid_period_is_refused(
    acme: Tenant, query: str, field: str, message: str
) -> None:
    error = failure_error(await acme.client.get(f"/v1/analytics/summary?{query}"), 400)
    assert error == non_retryable_error("validation_error", field, message)
