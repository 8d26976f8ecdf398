"""Posts, their results, and lists of posts: all keys in their documented order."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.domain.accounts import LostAccessPolicy
from app.domain.destinations import DestinationState, ErrorCategory
from tests.clients import Tenant
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
from tests.graphql.tenant_objects import add_post_in_states
from tests.rest.envelope import failure_error, ordered_json, result_data, success_data
from tests.rest.write_requests import field_error

POST = UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479")
FIRST = UUID("d1e2f3a4-b5c6-7890-abcd-ef1234567890")
SECOND = UUID("e2f3a4b5-c6d7-8901-abcd-ef1234567890")

HOUR = timedelta(hours=1)


async def test_results_have_documented_keys_in_order(acme: Tenant) -> None:
    instagram = await add_account(acme.database, acme.workspace, id=2280, account_name="@acme")
    linkedin = await add_account(
        acme.database,
        acme.workspace,
        id=2279,
        platform="linkedin",
        account_name=None,
        display_name="Acme Inc.",
    )
    await add_post(
        acme.database,
        acme.workspace,
        {
            instagram: published(NOW - HOUR, due_at=NOW - HOUR),
            linkedin: failed(
                attempts=3, error="Token expired.", category=ErrorCategory.AUTH, code="EXPIRED"
            ),
        },
        id=POST,
        destination_ids=[FIRST, SECOND],
    )
    response = await acme.client.get(f"/v1/posts/{POST}/results")
    assert ordered_json(success_data(response)) == ordered_json(
        {
            "post_id": str(POST),
            "post_status": "partially_failed",
            "results": [
                result_data(
                    2280,
                    FIRST,
                    status="published",
                    published_at="2026-04-15T14:00:00.000Z",
                    platform_post_id="17895695668004550",
                    platform_post_url="https://www.instagram.com/p/C1a2b3c4d5e/",
                    attempts=1,
                ),
                result_data(
                    2279,
                    SECOND,
                    account_name="Acme Inc.",
                    platform="linkedin",
                    status="failed",
                    error="Token expired.",
                    attempts=3,
                ),
            ],
        }
    )


async def test_post_has_documented_keys_in_order(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace, id=2280, account_name="@acme")
    await add_post(
        acme.database,
        acme.workspace,
        {account: waiting_for_retry(NOW + timedelta(seconds=90), attempts=2)},
        id=POST,
        destination_ids=[FIRST],
        content="Ünïcode — naïve 🎉",
        scheduled_for=NOW,
        timezone="Europe/Berlin",
        media_ids=["m-1"],
        media=[{"url": "https://example.com/1.png", "alt": None}],
        platform_content={"instagram": {"contentType": "REELS", "settings": {"b": 1, "a": [2]}}},
        reference="spring",
        created_at=NOW - HOUR,
        updated_at=NOW + timedelta(milliseconds=7),
    )
    response = await acme.client.get(f"/v1/posts/{POST}")
    assert ordered_json(success_data(response)) == ordered_json(
        {
            "post_id": str(POST),
            "id": str(POST),
            "status": "publishing",
            "post_status": "publishing",
            "content": "Ünïcode — naïve 🎉",
            "account_ids": [2280],
            "scheduled_for": "2026-04-15T15:00:00.000Z",
            "timezone": "Europe/Berlin",
            "media_ids": ["m-1"],
            "media": [{"url": "https://example.com/1.png", "alt": None}],
            "platform_content": {
                "instagram": {"contentType": "REELS", "settings": {"b": 1, "a": [2]}}
            },
            "campaign_id": None,
            "destinations": [
                result_data(
                    2280,
                    FIRST,
                    error="The platform did not answer in time.",
                    attempts=2,
                    next_retry_at="2026-04-15T15:01:30.000Z",
                    scheduled_for="2026-04-15T15:00:00.000Z",
                )
            ],
            "created_at": "2026-04-15T14:00:00.000Z",
            "updated_at": "2026-04-15T15:00:00.007Z",
            "reference": "spring",
        }
    )


async def test_draft_without_accounts_has_empty_lists(acme: Tenant) -> None:
    post = await add_post(acme.database, acme.workspace, is_draft=True, content="")
    data = success_data(await acme.client.get(f"/v1/posts/{post.id}"))
    assert data["status"] == data["post_status"] == "draft"
    assert (data["content"], data["timezone"]) == ("", "UTC")
    assert (data["account_ids"], data["destinations"], data["media"]) == ([], [], [])
    assert data["scheduled_for"] is None
    response = await acme.client.get(f"/v1/posts/{post.id}/results")
    assert success_data(response) == {
        "post_id": str(post.id),
        "post_status": "draft",
        "results": [],
    }


@pytest.mark.parametrize(
    ("state", "status", "error"),
    [
        (claimed(), "publishing", None),
        (started(), "publishing", None),
        (
            unknown(),
            "failed",
            "The publisher did not report the platform's response in time.",
        ),
    ],
    ids=lambda value: value.status if isinstance(value, DestinationState) else "",
)
async def test_every_state_has_documented_status(
    acme: Tenant, state: DestinationState, status: str, error: str | None
) -> None:
    post = await add_post_in_states(acme, state)
    (result,) = success_data(await acme.client.get(f"/v1/posts/{post.id}/results"))["results"]
    assert (result["status"], result["error"], result["last_error"]) == (status, error, error)


@pytest.mark.parametrize(
    ("states", "seconds"),
    [
        ([started()], "2"),
        ([queued(NOW + timedelta(minutes=5))], "300"),
        ([queued(NOW + 100 * HOUR)], "3600"),
        ([published(), waiting_for_retry(NOW + timedelta(seconds=90))], "90"),
        ([waiting_for_retry(NOW + timedelta(seconds=90)), queued(NOW + HOUR)], "90"),
        ([published(), failed(), unknown()], None),
        ([draft()], None),
    ],
)
async def test_unfinished_results_have_retry_after(
    acme: Tenant, states: list[DestinationState], seconds: str | None
) -> None:
    post = await add_post_in_states(acme, *states)
    response = await acme.client.get(f"/v1/posts/{post.id}/results")
    assert response.headers.get("Retry-After") == seconds
    success_data(response)


async def test_list_has_pagination_and_total(acme: Tenant) -> None:
    posts = [
        await add_post(acme.database, acme.workspace, created_at=NOW - n * HOUR) for n in range(3)
    ]
    data = success_data(await acme.client.get("/v1/posts?limit=2"))
    assert list(data) == ["posts", "pagination", "total", "limit", "offset"]
    assert [post["id"] for post in data["posts"]] == [str(posts[0].id), str(posts[1].id)]
    assert ordered_json(data["pagination"]) == ordered_json(
        {"limit": 2, "offset": 0, "total": 3, "has_more": True}
    )
    assert (data["total"], data["limit"], data["offset"]) == (3, 2, 0)

    rest = success_data(await acme.client.get("/v1/posts?limit=2&offset=2"))
    assert [post["id"] for post in rest["posts"]] == [str(posts[2].id)]
    assert rest["pagination"] == {"limit": 2, "offset": 2, "total": 3, "has_more": False}
    assert (rest["total"], rest["limit"], rest["offset"]) == (3, 2, 2)


async def test_list_entry_equals_single_post(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(acme.database, acme.workspace, {account: published()})
    (entry,) = success_data(await acme.client.get("/v1/posts"))["posts"]
    assert ordered_json(entry) == ordered_json(
        success_data(await acme.client.get(f"/v1/posts/{post.id}"))
    )


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("status=done", ["published"]),
        ("platform=x,instagram&order=asc", ["published", "failed", "scheduled"]),
        ("account_id=2", ["failed"]),
        ("created_after=2026-04-15T16:00:00%2B02:00", ["scheduled", "failed"]),
        ("sort=scheduled_for&order=asc&limit=1", ["scheduled"]),
    ],
)
async def test_list_is_filtered_and_ordered(acme: Tenant, query: str, names: list[str]) -> None:
    instagram = await add_account(acme.database, acme.workspace, id=1)
    x = await add_account(acme.database, acme.workspace, id=2, platform="x")
    later = NOW + 24 * HOUR
    posts: dict[str, dict[str, Any]] = {
        "published": {"destinations": {instagram: published()}, "created_at": NOW - 2 * HOUR},
        "failed": {"destinations": {x: failed()}, "created_at": NOW - HOUR},
        "scheduled": {"destinations": {instagram: queued(later)}, "scheduled_for": later},
    }
    name_of = {
        str((await add_post(acme.database, acme.workspace, **post)).id): name
        for name, post in posts.items()
    }
    data = success_data(await acme.client.get(f"/v1/posts?{query}"))
    assert [name_of[post["id"]] for post in data["posts"]] == names


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("limit=0", "limit", "limit must be a whole number from 1 to 100; it is '0'."),
        (
            f"search={'a' * 201}",
            "search",
            "search is 201 characters long; at most 200 are allowed.",
        ),
        ("reference=%00", "reference", "reference must not contain a NUL character."),
        ("platform=x,%00", "platform", "platform must not contain a NUL character."),
    ],
)
async def test_invalid_parameter_is_refused_by_name(
    acme: Tenant, query: str, field: str, message: str
) -> None:
    error = failure_error(await acme.client.get(f"/v1/posts?{query}"), 400)
    assert error == field_error("validation_error", field, message)


async def test_destination_that_waits_for_a_reconnection_is_queued(acme: Tenant) -> None:
    account = await add_account(
        acme.database,
        acme.workspace,
        needs_reconnection_since=NOW - HOUR,
        on_lost_access=LostAccessPolicy.WAIT,
    )
    await add_post(acme.database, acme.workspace, {account: queued(NOW - HOUR)}, id=POST)
    data = success_data(await acme.client.get(f"/v1/posts/{POST}/results"))
    (result,) = data["results"]
    shown = {name: result[name] for name in ("status", "next_retry_at", "error", "attempts")}
    assert shown == {"status": "queued", "next_retry_at": None, "error": None, "attempts": 0}
    assert data["post_status"] == "scheduled"
