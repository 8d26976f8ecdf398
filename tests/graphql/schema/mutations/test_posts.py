"""Mutations of posts: effects, and errors that change nothing."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.domain.accounts import HealthReason, blocking_message
from app.domain.destinations import DestinationState
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.factories import (
    NOW,
    add_account,
    add_accounts,
    add_workspace,
    claimed,
    draft,
    published,
    queued,
    started,
    unknown,
)
from tests.graphql.schema.mutations.mutation_calls import (
    expect_refusal,
    run_mutation,
    stored_events,
)
from tests.graphql.tenant_objects import add_post_in_states, client_with_settings

NOW_TEXT = "2026-04-15T15:00:00.000Z"
SOON = "2026-04-15T16:00:00.000Z"
LATER = "2026-04-16T09:00:00.000Z"

POST = """
fragment P on Post {
  postId content status scheduledFor timezone mediaIds media platformContent reference version
  createdAt updatedAt
  destinations { accountId platform status outcome scheduledFor attempts error errorCode }
}
"""
CREATE = f"""
mutation ($input: CreatePostInput!) {{
  payload: createPost(input: $input) {{ post {{ ...P }} warnings {{ accountId reason message }} }}
}}
{POST}
"""
CREATE_SEVERAL = f"""
mutation ($input: CreatePostsInput!) {{
  payload: createPosts(input: $input) {{
    succeeded failed
    results {{ index post {{ ...P }} warnings {{ accountId }} error {{ code field message }} }}
  }}
}}
{POST}
"""
UPDATE = f"""
mutation ($input: UpdatePostInput!) {{
  payload: updatePost(input: $input) {{ post {{ ...P }} warnings {{ accountId reason }} }}
}}
{POST}
"""
SCHEDULE = f"""
mutation ($input: SchedulePostInput!) {{ payload: schedulePost(input: $input) {{ post {{ ...P }} }} }}
{POST}
"""
CANCEL = f"""
mutation ($input: CancelPostInput!) {{ payload: cancelPost(input: $input) {{ post {{ ...P }} }} }}
{POST}
"""
DELETE = "mutation ($input: DeletePostInput!) { payload: deletePost(input: $input) { postId } }"
POST_MUTATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "createPost": (CREATE, {"content": "Sale", "draft": True}),
    "createPosts": (CREATE_SEVERAL, {"posts": [{"content": "Sale", "draft": True}]}),
    "updatePost": (UPDATE, {"postId": str(UUID(int=1)), "content": "Else"}),
    "schedulePost": (SCHEDULE, {"postId": str(UUID(int=1)), "publishNow": True}),
    "cancelPost": (CANCEL, {"postId": str(UUID(int=1))}),
    "deletePost": (DELETE, {"postId": str(UUID(int=1))}),
}


async def test_created_post_is_published_immediately(acme: Tenant) -> None:
    first = await add_account(acme.database, acme.workspace, platform="x", is_active=False)
    second = await add_account(acme.database, acme.workspace, platform="instagram")

    answer = await run_mutation(acme, CREATE, content="Spring sale", accountIds=[second, first])

    post, reason = answer["post"], HealthReason.ACCOUNT_INACTIVE
    assert answer["warnings"] == [
        {"accountId": first, "reason": reason.name, "message": blocking_message(reason)}
    ]
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
        "createdAt": NOW_TEXT,
        "updatedAt": NOW_TEXT,
        "destinations": [
            {
                "accountId": account_id,
                "platform": platform,
                "status": "QUEUED",
                "outcome": "NONE",
                "scheduledFor": NOW_TEXT,
                "attempts": 0,
                "error": None,
                "errorCode": None,
            }
            for account_id, platform in ((second, "instagram"), (first, "x"))
        ],
    }
    assert [event[:3] for event in await stored_events(acme.database)] == [
        (1, "post.created", "createPost"),
        (2, "destination.added", "createPost"),
        (3, "destination.added", "createPost"),
    ]


async def test_draft_can_be_updated_scheduled_cancelled_and_deleted(acme: Tenant) -> None:
    account, other = await add_accounts(acme.database, acme.workspace, 2)
    payload = await run_mutation(acme, CREATE, content="Sale", draft=True, scheduledFor=LATER)
    key = {"postId": payload["post"]["postId"]}
    assert summary(payload) == ("DRAFT", 1, "Sale", LATER, [])

    for document, arguments, expected in (
        (
            UPDATE,
            {"content": "Big", "accountIds": [account, other]},
            ("DRAFT", 2, "Big", LATER, [(account, None), (other, None)]),
        ),
        (
            SCHEDULE,
            {"expectedVersion": 2},
            ("SCHEDULED", 3, "Big", LATER, [(account, LATER), (other, LATER)]),
        ),
        (
            UPDATE,
            {"scheduledFor": SOON, "accountIds": [other]},
            ("SCHEDULED", 4, "Big", SOON, [(other, SOON)]),
        ),
        (UPDATE, {"publishNow": True}, ("PUBLISHING", 5, "Big", None, [(other, NOW_TEXT)])),
        (CANCEL, {}, ("DRAFT", 6, "Big", None, [(other, None)])),
    ):
        assert summary(await run_mutation(acme, document, **key, **arguments)) == expected

    assert await run_mutation(acme, DELETE, **key) == key
    assert (await expect_refusal(acme, DELETE, **key))[0] == "NOT_FOUND"


def summary(payload: dict[str, Any]) -> tuple[object, ...]:
    """Status, version, content and time of a post, and account and time of its destinations."""
    post = payload["post"]
    destinations = [(each["accountId"], each["scheduledFor"]) for each in post["destinations"]]
    return post["status"], post["version"], post["content"], post["scheduledFor"], destinations


async def test_create_posts_returns_result_for_each_post(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace, is_active=False)
    inputs = [
        {"content": "One", "accountIds": [account]},
        {"content": "Two", "accountIds": [99]},
        {"content": "", "accountIds": [account]},
        {"content": "Four", "accountIds": [account], "scheduledFor": "2026-01-01T00:00:00Z"},
        {"content": "Five", "draft": True, "platformContent": 5},
        {"content": "Six", "draft": True},
    ]

    answer = await run_mutation(acme, CREATE_SEVERAL, posts=inputs)

    assert (answer["succeeded"], answer["failed"]) == (2, 4)
    contents = [result["post"] and result["post"]["content"] for result in answer["results"]]
    assert contents == ["One", None, None, None, None, "Six"]
    assert answer["results"][0]["warnings"] == [{"accountId": account}]
    errors = [result["error"] for result in answer["results"]]
    assert [error and (error["code"], error["field"]) for error in errors] == [
        None,
        ("VALIDATION_ERROR", "accountIds"),
        ("VALIDATION_ERROR", "content"),
        ("PAST_SCHEDULE_TIME", "scheduledFor"),
        ("VALIDATION_ERROR", "platformContent"),
        None,
    ]
    assert errors[4]["message"] == "platformContent must be an object."


async def add_post_key(tenant: Tenant, *states: DestinationState, **columns: Any) -> dict[str, str]:
    """Add a post with these destinations; return its id as mutation input."""
    return {"postId": str((await add_post_in_states(tenant, *states, **columns)).id)}


@pytest.mark.parametrize(
    ("fields", "code", "argument"),
    [
        ({"content": "a\0"}, "VALIDATION_ERROR", "content"),
        ({"content": "ä" * 100_001}, "CONTENT_TOO_LONG", "content"),
        ({"platformContent": {"x": "Sale"}}, "VALIDATION_ERROR", "platformContent.x"),
        ({"mediaIds": ["a", "b" * 501]}, "VALIDATION_ERROR", "mediaIds[1]"),
        ({"timezone": "Berlin"}, "INVALID_TIMEZONE", "timezone"),
        ({"reference": ""}, "VALIDATION_ERROR", "reference"),
        ({"scheduledFor": "2026-04-15T15:00:00Z"}, "PAST_SCHEDULE_TIME", "scheduledFor"),
        ({"accountIds": []}, "VALIDATION_ERROR", "accountIds"),
        ({"accountIds": [2]}, "VALIDATION_ERROR", "accountIds"),
        ({"accountIds": [1, 0]}, "INVALID_ID", "accountIds[1]"),
        ({"idempotencyKey": ""}, "VALIDATION_ERROR", "idempotencyKey"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_invalid_post_field_is_rejected_by_name(
    acme: Tenant, fields: dict[str, Any], code: str, argument: str
) -> None:
    await add_account(acme.database, acme.workspace)
    await add_account(acme.database, await add_workspace(acme.database), id=2)

    error = await expect_refusal(acme, CREATE, **{"content": "Sale", "accountIds": [1], **fields})

    assert error[:2] == (code, f"input.{argument}")


@pytest.mark.parametrize(
    ("posts", "code", "message"),
    [
        ([], "VALIDATION_ERROR", "There are no posts; 1 to 50 are allowed."),
        (
            [{"content": "Sale", "draft": True}] * 51,
            "BULK_LIMIT_EXCEEDED",
            "There are 51 posts; at most 50 are allowed.",
        ),
        (
            [{"content": "Sale", "accountIds": [*range(1, 402)]}] * 3,
            "BULK_LIMIT_EXCEEDED",
            "The posts go to 1203 accounts in all; at most 1000 are allowed in one request.",
        ),
    ],
    ids=["no posts", "51 posts", "1203 destinations"],
)
async def test_create_posts_limits_posts_and_destinations(
    acme: Tenant, posts: list[dict[str, Any]], code: str, message: str
) -> None:
    error = await expect_refusal(acme, CREATE_SEVERAL, posts=posts)
    assert error == (code, "input.posts", message)


@pytest.mark.parametrize(
    ("states", "document", "arguments", "code"),
    [
        ([claimed()], UPDATE, {"content": "Else"}, "CONFLICT"),
        ([queued()], UPDATE, {"content": None}, "VALIDATION_ERROR"),
        ([unknown()], CANCEL, {}, "CONFLICT"),
        ([started()], DELETE, {}, "CONFLICT"),
        ([published()], DELETE, {}, "POST_ALREADY_PUBLISHED"),
        ([queued()], SCHEDULE, {"publishNow": True}, "CONFLICT"),
        ([draft()], SCHEDULE, {}, "VALIDATION_ERROR"),
        ([draft()], SCHEDULE, {"scheduledFor": "2026-04-15T15:00:00Z"}, "PAST_SCHEDULE_TIME"),
    ],
)
async def test_change_not_allowed_in_state_is_rejected(
    acme: Tenant,
    states: list[DestinationState],
    document: str,
    arguments: dict[str, Any],
    code: str,
) -> None:
    key = await add_post_key(acme, *states)
    await add_account(acme.database, acme.workspace)

    assert (await expect_refusal(acme, document, **key, **arguments))[0] == code


async def test_stale_version_and_missing_post_are_rejected(acme: Tenant) -> None:
    key = await add_post_key(acme, draft(), version=7)
    for name in ("updatePost", "schedulePost", "cancelPost", "deletePost"):
        document, arguments = POST_MUTATIONS[name]
        stale = await expect_refusal(acme, document, **{**arguments, **key, "expectedVersion": 6})
        assert stale[:2] == ("STALE_VERSION", "input.expectedVersion")
        assert (await expect_refusal(acme, document, **arguments))[:2] == ("NOT_FOUND", None)


async def test_null_or_equal_values_leave_post_unchanged(acme: Tenant) -> None:
    tomorrow = NOW + timedelta(days=1)
    key = await add_post_key(acme, queued(tomorrow), scheduled_for=tomorrow, content="Sale")
    before = await all_rows(acme.database)

    for fields in (
        {"scheduledFor": None, "accountIds": None},
        {"content": "Sale", "accountIds": [1]},
    ):
        answer = await run_mutation(acme, UPDATE, **key, **fields)
        assert answer["post"]["version"] == 1

    assert await all_rows(acme.database) == before
    assert await expect_refusal(acme, UPDATE, **key, scheduledFor=LATER, publishNow=True) == (
        "VALIDATION_ERROR",
        "input.scheduledFor",
        "Pass either scheduledFor or publishNow, not both.",
    )


async def test_json_literal_omits_field_of_omitted_variable(acme: Tenant) -> None:
    document = """
    mutation ($left: JSON) {
      createPost(input: {
        content: "Sale", draft: true, platformContent: {x: {settings: {a: $left, b: [$left]}}}
      }) { post { platformContent } }
    }
    """
    data = await acme.client.query(document)
    assert data["createPost"]["post"]["platformContent"] == {"x": {"settings": {"b": [None]}}}


async def test_repeated_request_does_not_count_toward_creation_limit(acme: Tenant) -> None:
    arguments = {"content": "Sale", "draft": True, "idempotencyKey": "k"}
    bulk_arguments = {"posts": [{"content": "Sale", "draft": True}], "idempotencyKey": "k"}
    async with client_with_settings(
        acme, RATE_LIMIT="100/minute", CREATE_RATE_LIMIT="2/minute"
    ) as client:
        for _ in range(3):
            await client.query(CREATE, input=arguments)
            await client.query(CREATE_SEVERAL, input=bulk_arguments)
        error = await client.expect_error(CREATE, input={**arguments, "idempotencyKey": "other"})

    assert error[0] == "RATE_LIMIT_EXCEEDED"
    assert len((await all_rows(acme.database))["post"]) == 2


async def test_post_accepts_at_most_500_accounts(acme: Tenant) -> None:
    accounts = await add_accounts(acme.database, acme.workspace, 500)
    answer = await run_mutation(acme, CREATE, content="Sale", accountIds=accounts)
    assert [destination["accountId"] for destination in answer["post"]["destinations"]] == accounts
    assert await expect_refusal(acme, CREATE, content="Sale", accountIds=[*accounts, 501]) == (
        "LIMIT_EXCEEDED",
        "input.accountIds",
        "input.accountIds has 501 values; at most 500 are allowed.",
    )


async def test_too_long_response_still_returns_created_post(acme: Tenant) -> None:
    arguments = {
        "content": "Sale",
        "accountIds": await add_accounts(acme.database, acme.workspace, 2),
    }
    async with client_with_settings(acme, GRAPHQL_MAX_LIST_ENTRIES="1") as client:
        answer = await client.execute(CREATE, input=arguments)

    (row,) = (await all_rows(acme.database))["post"]
    post = answer["data"]["payload"]["post"]
    assert (post["postId"], post["destinations"]) == (str(row[1]), None)
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "LIMIT_EXCEEDED"}
    assert error["path"] == ["payload", "post", "destinations"]
