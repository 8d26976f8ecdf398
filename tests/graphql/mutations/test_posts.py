"""Posts over GraphQL: what each mutation makes of them, what it refuses, and that a refusal changes nothing."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.db.integrity import find_problems
from app.domain.api_keys import Scope
from app.domain.destinations import DestinationState
from tests.clients import Tenant, serving
from tests.db.contents import all_rows
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    claimed,
    draft,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)

SOON = "2026-04-15T16:00:00.000Z"
LATER = "2026-04-16T09:00:00.000Z"

POST = """
fragment P on Post {
  postId content status scheduledFor timezone mediaIds media platformContent reference version
  createdAt updatedAt
  destinations { accountId platform status outcome scheduledFor attempts error errorCode }
}
"""
CREATE = f"mutation($input: CreatePostInput!) {{ made: createPost(input: $input) {{ post {{ ...P }} warnings {{ accountId reason message }} }} }} {POST}"
CREATE_SEVERAL = f"mutation($input: CreatePostsInput!) {{ made: createPosts(input: $input) {{ succeeded failed results {{ index post {{ ...P }} warnings {{ accountId }} error {{ code field message }} }} }} }} {POST}"
UPDATE = f"mutation($input: UpdatePostInput!) {{ made: updatePost(input: $input) {{ post {{ ...P }} warnings {{ accountId reason }} }} }} {POST}"
SCHEDULE = f"mutation($input: SchedulePostInput!) {{ made: schedulePost(input: $input) {{ post {{ ...P }} }} }} {POST}"
CANCEL = f"mutation($input: CancelPostInput!) {{ made: cancelPost(input: $input) {{ post {{ ...P }} }} }} {POST}"
DELETE = "mutation($input: DeletePostInput!) { made: deletePost(input: $input) { postId } }"


async def made(tenant: Tenant, document: str, **given: Any) -> dict[str, Any]:
    data = await tenant.client.query(document, input=given)
    assert await find_problems(tenant.database) == []
    return dict(data["made"])


async def refusal(tenant: Tenant, document: str, **given: Any) -> tuple[str, str | None, str]:
    """Of a mutation that must change nothing."""
    before = await all_rows(tenant.database)
    told = await tenant.client.refusal(document, input=given)
    assert await all_rows(tenant.database) == before
    return told


async def events(tenant: Tenant) -> list[tuple[int, str, str, set[str]]]:
    rows = (await all_rows(tenant.database))["event"]
    return [
        (row[1], row[2], eval(row[7])["operation"], set(eval(row[7])["changes"])) for row in rows
    ]


async def test_a_post_is_created_to_go_out_at_once(acme: Tenant) -> None:
    first = await add_account(acme.database, acme.workspace, platform="x")
    second = await add_account(acme.database, acme.workspace, platform="instagram")

    answer = await made(acme, CREATE, content="Spring sale", accountIds=[second, first])

    post = answer["post"]
    assert answer["warnings"] == []
    assert post == {
        "postId": post["postId"],
        "content": "Spring sale",
        "status": "PUBLISHING",
        "scheduledFor": None,
        "timezone": None,
        "mediaIds": [],
        "media": [],
        "platformContent": {},
        "reference": None,
        "version": 1,
        "createdAt": "2026-04-15T15:00:00.000Z",
        "updatedAt": "2026-04-15T15:00:00.000Z",
        "destinations": [
            {
                "accountId": account_id,
                "platform": platform,
                "status": "QUEUED",
                "outcome": "NONE",
                "scheduledFor": "2026-04-15T15:00:00.000Z",
                "attempts": 0,
                "error": None,
                "errorCode": None,
            }
            for account_id, platform in ((second, "instagram"), (first, "x"))
        ],
    }
    assert [each[:3] for each in await events(acme)] == [
        (1, "post.created", "createPost"),
        (2, "destination.added", "createPost"),
        (3, "destination.added", "createPost"),
    ]


async def test_a_draft_is_changed_scheduled_taken_back_and_deleted(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace, platform="x")
    other = await add_account(acme.database, acme.workspace, platform="x")

    post = (await made(acme, CREATE, content="Sale", draft=True, scheduledFor=LATER))["post"]
    assert (post["status"], post["destinations"], post["scheduledFor"]) == ("DRAFT", [], LATER)
    key = {"postId": post["postId"]}

    post = (await made(acme, UPDATE, **key, content="Big sale", accountIds=[account, other]))[
        "post"
    ]
    assert (post["content"], post["version"], post["status"]) == ("Big sale", 2, "DRAFT")
    assert [each["scheduledFor"] for each in post["destinations"]] == [None, None]

    post = (await made(acme, SCHEDULE, **key, expectedVersion=2))["post"]
    assert (post["status"], post["version"]) == ("SCHEDULED", 3)
    assert [each["scheduledFor"] for each in post["destinations"]] == [LATER, LATER]

    post = (await made(acme, UPDATE, **key, scheduledFor=SOON, accountIds=[other]))["post"]
    assert (post["status"], post["version"]) == ("SCHEDULED", 4)
    assert [(each["accountId"], each["scheduledFor"]) for each in post["destinations"]] == [
        (other, SOON)
    ]

    post = (await made(acme, UPDATE, **key, scheduledFor=None))["post"]
    assert (post["status"], post["version"], post["scheduledFor"]) == ("PUBLISHING", 5, None)

    post = (await made(acme, CANCEL, **key))["post"]
    assert (post["status"], post["version"]) == ("DRAFT", 6)
    assert [each["scheduledFor"] for each in post["destinations"]] == [None]

    assert await made(acme, DELETE, **key) == {"postId": post["postId"]}
    assert await acme.client.query(
        "query($id: UUID!) { post(postId: $id) { version } }", id=post["postId"]
    ) == {"post": None}
    assert (await refusal(acme, DELETE, **key))[0] == "NOT_FOUND"


async def test_several_posts_each_have_their_own_result(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace, is_active=False)
    wanted = [
        {"content": "One", "accountIds": [account]},
        {"content": "Two", "accountIds": [99]},
        {"content": "", "accountIds": [account]},
        {"content": "Four", "accountIds": [account], "scheduledFor": "2026-01-01T00:00:00Z"},
        {"content": "Five", "draft": True, "platformContent": 5},
        {"content": "Six", "draft": True},
    ]

    answer = await made(acme, CREATE_SEVERAL, posts=wanted)

    assert (answer["succeeded"], answer["failed"]) == (2, 4)
    assert [each["post"] and each["post"]["content"] for each in answer["results"]] == [
        "One",
        None,
        None,
        None,
        None,
        "Six",
    ]
    assert answer["results"][0]["warnings"] == [{"accountId": account}]
    assert [each["error"] for each in answer["results"]] == [
        None,
        {
            "code": "VALIDATION_ERROR",
            "field": "accountIds",
            "message": "There is no account 99 in this workspace.",
        },
        {
            "code": "VALIDATION_ERROR",
            "field": "content",
            "message": "The post is empty: it needs content, media, or content for a platform.",
        },
        {
            "code": "PAST_SCHEDULE_TIME",
            "field": "scheduledFor",
            "message": "The time is not in the future.",
        },
        {
            "code": "VALIDATION_ERROR",
            "field": "platformContent",
            "message": "platformContent must be an object.",
        },
        None,
    ]


async def test_the_same_key_creates_once_and_another_request_with_it_is_refused(
    acme: Tenant,
) -> None:
    first = await made(acme, CREATE, content="Sale", draft=True, idempotencyKey="k1")
    again = await made(acme, CREATE, content="Sale", draft=True, idempotencyKey="k1")
    other = await made(acme, CREATE, content="Sale", draft=True, idempotencyKey="k2")

    assert first == again
    assert other["post"]["postId"] != first["post"]["postId"]
    assert await refusal(acme, CREATE, content="Else", draft=True, idempotencyKey="k1") == (
        "IDEMPOTENCY_KEY_REUSED",
        "input.idempotencyKey",
        "This idempotency key was used for another request.",
    )
