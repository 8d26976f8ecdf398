"""Calendar: posts by their scheduled time, against a plain computation."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from app.domain.ids import AccountId
from app.domain.times import format_instant
from app.settings import read_settings
from tests.clients import Tenant, app_client
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    draft,
    failed,
    published,
    queued,
)

CLOCK_CHANGE = datetime(2026, 3, 29, 1, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
STATUSES = "draft scheduled publishing published partiallyFailed failed"
CALENDAR = f"""
query (
  $from: DateTime!, $to: DateTime!, $timezone: String!, $bucket: CalendarInterval!, $first: Int!,
  $filter: CalendarFilter
) {{
  calendar(
    from: $from, to: $to, timezone: $timezone, bucket: $bucket, first: $first, filter: $filter
  ) {{ buckets {{ start end counts {{ total {STATUSES} }} posts {{ postId }} }} }}
}}
"""


class StoredPost(NamedTuple):
    """A post that is not deleted."""

    time: datetime
    post_id: str
    status: str
    accounts: Sequence[AccountId]


async def add_random_posts(tenant: Tenant, random: Random) -> list[StoredPost]:
    accounts = [
        await add_account(tenant.database, tenant.workspace, platform=platform)
        for platform in ("x", "instagram", "x")
    ]
    stored = []
    for _ in range(80):
        time = CLOCK_CHANGE + random.randint(-4 * 24 * 60, 4 * 24 * 60) * MINUTE
        states, status, is_draft = random.choice(
            [
                ([draft()], "draft", True),
                ([queued(time)], "scheduled", False),
                ([published(due_at=time)], "published", False),
                ([published(due_at=time), failed(due_at=time)], "partiallyFailed", False),
                ([failed(due_at=time)], "failed", False),
            ]
        )
        used = random.sample(accounts, len(states))
        is_deleted, has_time = random.random() < 0.2, random.random() < 0.6
        post = await add_post(
            tenant.database,
            tenant.workspace,
            dict(zip(used, states, strict=True)),
            is_draft=is_draft,
            scheduled_for=time if has_time else None,
            created_at=time - DAY if has_time else time,
            deleted_at=NOW if is_deleted else None,
        )
        if not is_deleted:
            stored.append(StoredPost(time, str(post.id), status, used))
    return sorted(stored)


def expected_day(day: int, zone: ZoneInfo, posts: Sequence[StoredPost], first: int) -> Any:
    """One whole day of March 2026 in the calendar."""
    members = [
        post
        for post in posts
        if post.time.astimezone(zone).date() == datetime(2026, 3, day, tzinfo=UTC).date()
    ]
    counts = Counter(post.status for post in members)
    return {
        "start": format_instant(datetime(2026, 3, day, tzinfo=zone)),
        "end": format_instant(datetime(2026, 3, day, tzinfo=zone) + DAY),
        "counts": {"total": len(members), **{name: counts[name] for name in STATUSES.split()}},
        "posts": [{"postId": post.post_id} for post in members[:first]],
    }


async def test_days_of_a_calendar_equal_a_plain_computation(acme: Tenant) -> None:
    zone = ZoneInfo("Europe/Berlin")
    posts = await add_random_posts(acme, Random(1))
    variables = {
        "from": format_instant(datetime(2026, 3, 26, tzinfo=zone)),
        "to": format_instant(datetime(2026, 3, 31, tzinfo=zone)),
        "timezone": "Europe/Berlin",
        "bucket": "DAY",
        "first": 2,
    }
    filters: list[tuple[dict[str, Any], list[StoredPost]]] = [
        ({}, posts),
        ({"status": ["FAILED"]}, [post for post in posts if post.status == "failed"]),
        ({"platform": ["instagram"]}, [post for post in posts if 2 in post.accounts]),
        ({"accountId": [1, 2]}, [post for post in posts if {1, 2} & {*post.accounts}]),
        ({"accountId": []}, []),
    ]
    for filter_, matching in filters:
        data = await acme.client.query(CALENDAR, **variables, filter=filter_)
        assert data["calendar"]["buckets"] == [
            expected_day(day, zone, matching, first=2) for day in range(26, 31)
        ]


async def test_hours_of_the_calendar_skip_the_hour_that_the_clock_skips(acme: Tenant) -> None:
    data = await acme.client.query(
        '{ calendar(from: "2026-03-29T00:30:00+01:00", to: "2026-03-29T04:00:00+02:00",'
        ' timezone: "Europe/Berlin", bucket: HOUR) { buckets { start posts { postId } } } }'
    )
    assert data["calendar"]["buckets"] == [
        {"start": f"2026-03-{time}:00.000Z", "posts": []}
        for time in ("28T23:30", "29T00:00", "29T01:00")
    ]


RANGE = 'from: "2026-04-01", to: "2026-04-02"'


@pytest.mark.parametrize(
    ("arguments", "field", "message"),
    [
        (
            f'{RANGE}, timezone: "Mars/Olympus"',
            "timezone",
            "timezone must be the name of a time zone of the IANA database, such as Europe/Berlin.",
        ),
        (f"{RANGE}, first: 21", "first", "first must be from 0 to 20; it is 21."),
        (f"{RANGE}, first: -1", "first", "first must be from 0 to 20; it is -1."),
        (
            'from: "2026-04-02", to: "2026-04-01"',
            "to",
            "to must be later than from.",
        ),
        (
            'from: "2026-01-01", to: "2026-04-01", bucket: HOUR',
            "bucket",
            "The period from `from` to `to` has more than 2,000 buckets of one hour; from 1 to 2,000 are"
            " allowed. Use a longer bucket or a shorter period.",
        ),
    ],
)
async def test_invalid_argument_is_refused(
    acme: Tenant, arguments: str, field: str, message: str
) -> None:
    error = await acme.client.expect_error(f"{{ calendar({arguments}) {{ timezone }} }}")
    assert error == ("VALIDATION_ERROR", field, message)


async def test_buckets_and_posts_count_as_list_entries(acme: Tenant) -> None:
    key = await add_api_key(acme.database, acme.workspace)
    for _ in range(3):
        await add_post(acme.database, acme.workspace)
    settings = read_settings({"RATE_LIMIT": "off", "GRAPHQL_MAX_LIST_ENTRIES": "3"})
    document = """
    query ($to: DateTime!) {
      calendar(from: "2026-04-15", to: $to, first: 2) { buckets { posts { id } } }
    }
    """
    async with app_client(acme.database, token=key.token, settings=settings) as client:
        data = await client.query(document, to="2026-04-16")
        assert len(data["calendar"]["buckets"][0]["posts"]) == 2
        code, _, _ = await client.expect_error(document, to="2026-04-17")
    assert code == "LIMIT_EXCEEDED"
