"""POST …/retry and retry-failed: what is queued again, what is skipped, and invalid filters."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.domain.destinations import ErrorCategory
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.domain.errors import ACCOUNT_ID_MESSAGE, TIME_MESSAGE, UUID_MESSAGE
from tests.factories import (
    NOW,
    AddedPost,
    add_account,
    add_accounts,
    add_post,
    add_workspace,
    draft,
    failed,
    published,
    unknown,
    waiting_for_retry,
)
from tests.graphql.tenant_objects import add_post_in_states
from tests.rest.envelope import ordered_json, result_data, success_data
from tests.rest.write_requests import (
    expect_success,
    expect_write_refusal,
    field_error,
    member_errors,
    non_retryable_error,
    send_json,
)

POST = UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479")
DESTINATIONS = [UUID(int=number) for number in range(1, 4)]
HOUR = timedelta(hours=1)
NOTHING_RETRIED_MESSAGE = "Nothing was retried."
ONE_REFUSED_MESSAGE = " 1 was refused: its account needs to be reconnected first."


async def test_retry_queues_failed_and_skips_others(acme: Tenant) -> None:
    instagram = await add_account(acme.database, acme.workspace, id=2280, account_name="@acme")
    x = await add_account(acme.database, acme.workspace, id=2282, platform="x")
    expired = await add_account(acme.database, acme.workspace, id=2285, token_expires_at=NOW)
    await add_post(
        acme.database,
        acme.workspace,
        {instagram: failed(due_at=NOW - HOUR, attempts=3), x: published(), expired: failed()},
        id=POST,
        destination_ids=DESTINATIONS,
    )

    data = await expect_success(acme, "POST", f"/v1/posts/{POST}/retry")

    assert ordered_json(data) == ordered_json(
        {
            "post_id": str(POST),
            "id": str(POST),
            "retried_count": 1,
            "retried": 1,
            "destinations": [
                result_data(
                    2280,
                    DESTINATIONS[0],
                    attempts=3,
                    scheduled_for="2026-04-15T14:00:00.000Z",
                    new_status="queued",
                )
            ],
            "next_step": f"Poll GET /v1/posts/{POST}/results for the result.",
            "message": "1 destination is queued again.",
            "skipped": [
                {"account_id": 2282, "reason": "already_published"},
                {"account_id": 2285, "reason": "account_needs_reconnection"},
            ],
        }
    )
    results = success_data(await acme.client.get(f"/v1/posts/{POST}/results"))["results"]
    assert [result["status"] for result in results] == ["queued", "published", "failed"]


@pytest.mark.parametrize("body", [{}, {"account_ids": None}, {"force": True, "unknown": 1}])
async def test_retry_without_accounts_covers_all(acme: Tenant, body: dict[str, Any]) -> None:
    post = await add_post_in_states(acme, failed(), failed(), unknown())

    data = await expect_success(acme, "POST", f"/v1/posts/{post.id}/retry", body)

    assert (data["retried"], data["message"]) == (2, "2 destinations are queued again.")
    assert [item["reason"] for item in data["skipped"]] == ["outcome_unknown"]


@pytest.mark.parametrize(
    ("account_ids", "code", "field", "message"),
    [
        (5, "validation_error", "account_ids", "account_ids must be a list."),
        (["1"], "invalid_id", "account_ids[0]", ACCOUNT_ID_MESSAGE),
        ([1, 77], "validation_error", "account_ids", "The post does not go to account 77."),
    ],
)
async def test_accounts_outside_of_post_are_refused(
    acme: Tenant, account_ids: object, code: str, field: str, message: str
) -> None:
    post = await add_post_in_states(acme, failed())
    error = await expect_write_refusal(
        acme, "POST", f"/v1/posts/{post.id}/retry", {"account_ids": account_ids}, status=400
    )

    assert error == field_error(code, field, message)


async def test_retry_with_idempotency_key_runs_once(acme: Tenant) -> None:
    post = await add_post_in_states(acme, failed())
    path = f"/v1/posts/{post.id}/retry"
    first = await expect_success(acme, "POST", path, Idempotency_Key="k1")
    repeated = await expect_success(acme, "POST", path, Idempotency_Key="k1")
    later = await expect_success(acme, "POST", path)

    assert ordered_json(repeated) == ordered_json(first)
    assert (first["retried"], later["retried"]) == (1, 0)
    error = await expect_write_refusal(
        acme, "POST", path, {"account_ids": [1]}, status=422, Idempotency_Key="k1"
    )
    assert error["code"] == "idempotency_key_reused"


async def test_repeated_retry_omits_removed_destinations(acme: Tenant) -> None:
    post = await add_post_in_states(acme, failed(attempts=0), failed(attempts=0))
    path = f"/v1/posts/{post.id}"
    first = await expect_success(acme, "POST", f"{path}/retry", Idempotency_Key="k1")
    remaining = first["destinations"][1]
    await expect_success(acme, "PATCH", path, {"account_ids": [remaining["account_id"]]})

    repeated = await expect_success(acme, "POST", f"{path}/retry", Idempotency_Key="k1")

    assert ordered_json(repeated) == ordered_json({**first, "destinations": [remaining]})
    await expect_success(acme, "DELETE", path)
    error = await expect_write_refusal(
        acme, "POST", f"{path}/retry", status=404, Idempotency_Key="k1"
    )
    assert error == non_retryable_error(
        "not_found", None, "The retried post has been deleted since."
    )


@pytest.fixture
async def failed_posts(acme: Tenant) -> list[AddedPost]:
    """Posts that failed 1, 2 and 3 hours ago after as many attempts, and others that retries skip."""
    posts = [
        await add_post_in_states(
            acme, failed(due_at=NOW - hours * HOUR, attempts=hours), created_at=NOW - hours * HOUR
        )
        for hours in (1, 2, 3)
    ]
    x = await add_account(acme.database, acme.workspace, platform="x")
    expired = await add_account(acme.database, acme.workspace, token_expires_at=NOW)
    rejected = failed(due_at=NOW - 4 * HOUR, category=ErrorCategory.AUTH, code="AUTH")
    posts += [
        await add_post(acme.database, acme.workspace, destinations, created_at=NOW - 5 * HOUR)
        for destinations in ({x: failed(due_at=NOW - 5 * HOUR, attempts=5)}, {expired: rejected})
    ]
    await add_post_in_states(acme, published(), unknown(), waiting_for_retry(), draft())
    workspace = await add_workspace(acme.database)
    account = await add_account(acme.database, workspace)
    posts.append(await add_post(acme.database, workspace, {account: failed()}))
    return posts


@pytest.mark.parametrize(
    ("body", "indexes", "refusals"),
    [
        ({"account_id": 2}, [1], 0),
        ({"platform": "x"}, [3], 0),
        ({"platform": "threads"}, [], 0),
        ({"failed_after": "2026-04-15T13:00:00Z"}, [0, 1], 0),
        ({"failed_before": "2026-04-15T13:00:00Z"}, [2, 3], 1),
        ({"max_attempts": 2}, [0, 1], 1),
        ({"failed_after": "1900-01-01", "post_ids": None, "unknown": 1}, [0, 1, 2, 3], 1),
    ],
)
async def test_retry_failed_queues_matching_failures(
    acme: Tenant,
    failed_posts: list[AddedPost],
    body: dict[str, Any],
    indexes: list[int],
    refusals: int,
) -> None:
    data = await expect_success(acme, "POST", "/v1/posts/retry-failed", body)

    count = len(indexes)
    message = f"{count} destination{' is' if count == 1 else 's are'} queued again."
    assert ordered_json(data) == ordered_json(
        {
            "retried_count": count,
            "destinations": [
                {
                    "destination_id": str(failed_posts[index].destinations[0]),
                    "post_id": str(failed_posts[index].id),
                    "platform": "x" if index == 3 else "instagram",
                    "new_status": "queued",
                }
                for index in indexes
            ],
            "message": (message if indexes else NOTHING_RETRIED_MESSAGE)
            + (ONE_REFUSED_MESSAGE if refusals else ""),
        }
    )
    repeated = await expect_success(acme, "POST", "/v1/posts/retry-failed", body)
    assert (repeated["retried_count"], repeated["destinations"]) == (0, [])


async def test_post_ids_filter_ignores_unknown_posts(
    acme: Tenant, failed_posts: list[AddedPost]
) -> None:
    first, _, third, _, expired, foreign = (str(post.id) for post in failed_posts)
    post_ids = [third, first.upper(), expired, foreign, *(str(uuid4()) for _ in range(196))]
    assert len(post_ids) == 200

    data = await expect_success(acme, "POST", "/v1/posts/retry-failed", {"post_ids": post_ids})

    assert [destination["post_id"] for destination in data["destinations"]] == [first, third]
    unknown = {"post_ids": [str(uuid4()), foreign]}
    before = await all_rows(acme.database)
    data = await expect_success(acme, "POST", "/v1/posts/retry-failed", unknown)
    assert data == {"retried_count": 0, "destinations": [], "message": NOTHING_RETRIED_MESSAGE}
    assert await all_rows(acme.database) == before


async def test_retry_failed_is_paged(acme: Tenant) -> None:
    accounts = await add_accounts(acme.database, acme.workspace, 167)
    for _ in range(3):
        never_sent = dict.fromkeys(accounts, failed(attempts=0))
        await add_post(acme.database, acme.workspace, never_sent)
    body = {"max_attempts": 0}

    data = await expect_success(acme, "POST", "/v1/posts/retry-failed", body)

    assert data["retried_count"] == len(data["destinations"]) == 500
    assert data["message"] == (
        "500 destinations are queued again. Older failures match too; repeat the request with this after."
    )
    data = await expect_success(
        acme, "POST", "/v1/posts/retry-failed", {**body, "after": data["after"]}
    )
    assert "after" not in data
    assert data["message"] == "1 destination is queued again."


NO_FILTER = non_retryable_error(
    "validation_error",
    None,
    "Pass at least one of post_ids, account_id, platform, failed_after, failed_before and max_attempts.",
)


@pytest.mark.parametrize("body", [None, {}, {"post_ids": None}, {"status": "failed", "dry_run": 1}])
async def test_retry_failed_requires_filter(acme: Tenant, body: dict[str, Any] | None) -> None:
    await add_post_in_states(acme, failed())
    assert (
        await expect_write_refusal(acme, "POST", "/v1/posts/retry-failed", body, status=400)
        == NO_FILTER
    )


INVALID_FILTERS = [
    *member_errors(
        "validation_error",
        {
            "post_ids": {
                "post_ids has 0 values; 1 to 200 are allowed.": [[]],
                "post_ids has 201 values; 1 to 200 are allowed.": [[str(POST)] * 201],
                "post_ids must be a list.": [str(POST)],
            },
            "platform": {
                "platform must be a string.": [["x"]],
                "platform is missing.": [""],
                "platform must not contain a NUL character.": ["\0"],
            },
            "failed_after": {TIME_MESSAGE: ["soon"]},
            "failed_before": {TIME_MESSAGE: [""], "failed_before must be a string.": [5]},
            "max_attempts": {
                "max_attempts must be a whole number from 0 to 2147483647.": [-1],
                "max_attempts must be a whole number.": ["3"],
            },
        },
    ),
    *member_errors("invalid_id", {"account_id": {ACCOUNT_ID_MESSAGE: ["1", 0, True]}}),
    (
        {"post_ids": [5]},
        field_error("validation_error", "post_ids[0]", "post_ids[0] must be a string."),
    ),
    ({"post_ids": [str(POST), "x"]}, field_error("invalid_id", "post_ids[1]", UUID_MESSAGE)),
]


@pytest.mark.parametrize(("body", "refusal"), INVALID_FILTERS, ids=lambda value: str(value)[:40])
async def test_invalid_filter_is_refused_by_name(
    acme: Tenant, body: dict[str, Any], refusal: dict[str, Any]
) -> None:
    await add_post_in_states(acme, failed())
    error = await expect_write_refusal(
        acme, "POST", "/v1/posts/retry-failed", {"platform": "instagram", **body}, status=400
    )
    assert ordered_json(error) == ordered_json(refusal)


async def test_retry_failed_with_idempotency_key_runs_once(acme: Tenant) -> None:
    await add_post_in_states(acme, failed())
    path, body = "/v1/posts/retry-failed", {"account_id": 1}
    first = await expect_success(acme, "POST", path, body, Idempotency_Key="k1")
    assert first["retried_count"] == 1
    repeated = await send_json(acme, "POST", path, body, Idempotency_Key="k1")
    assert ordered_json(repeated.json()["data"]) == ordered_json(first)
    error = await expect_write_refusal(
        acme, "POST", path, {"account_id": 2}, status=422, Idempotency_Key="k1"
    )
    assert error["code"] == "idempotency_key_reused"
    error = await expect_write_refusal(acme, "POST", path, body, status=400, Idempotency_Key=" ")
    assert error["details"]["validation_errors"][0]["field"] == "Idempotency-Key"
