"""PATCH, DELETE and schedule: what becomes of a post, and whatever is refused and changes nothing."""

from typing import Any
from uuid import uuid4

import pytest

from app.domain.destinations import DestinationState
from app.domain.ids import AccountId
from app.rest.endpoints import PREFIXES
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.factories import (
    NOW,
    AddedPost,
    add_account,
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
from tests.rest.envelope import ordered_json, success_data
from tests.rest.write_requests import (
    LATER,
    PAST,
    SOON,
    expect_error,
    expect_success,
    non_retryable_error,
)

NOT_FOUND = non_retryable_error(
    "not_found", None, "The post was not found: this workspace has none with that id."
)
BEING_PUBLISHED = non_retryable_error(
    "conflict", None, "The post is being published. Try again when that has ended."
)
NOBODY_KNOWS = non_retryable_error(
    "conflict",
    None,
    "It is unknown whether the post was published. Check the platform and record the result.",
)
STALE = non_retryable_error(
    "stale_version",
    "expected_version",
    "expected_version: The post is at version 1, not 2: it was changed in the meantime.",
    "The post is at version 1, not 2: it was changed in the meantime.",
)


@pytest.fixture
async def account(acme: Tenant) -> AccountId:
    return await add_account(acme.database, acme.workspace, id=2280)


@pytest.fixture
async def idea(acme: Tenant, account: AccountId) -> str:
    """The path of a draft on an account, without a time."""
    return await path_of(acme, draft(), is_draft=True)


@pytest.fixture
async def plan(acme: Tenant, account: AccountId) -> str:
    """The path of a post that goes out later."""
    return await path_of(acme, queued())


async def path_of(acme: Tenant, state: DestinationState, **post: Any) -> str:
    destinations = {await add_account(acme.database, acme.workspace): state}
    added = await add_post(acme.database, acme.workspace, destinations, **post)
    return f"/v1/posts/{added.id}"


async def version(acme: Tenant, path: str) -> int:
    document = "query($id: UUID!) { post(postId: $id) { version } }"
    data = await acme.client.query(document, id=path.rpartition("/")[2])
    return int(data["post"]["version"])


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_patch_changes_what_it_names_and_shows_the_post(
    acme: Tenant, idea: str, account: AccountId, prefix: str
) -> None:
    path = idea.replace("/v1", prefix)
    before = success_data(await acme.client.get(path))
    changes = {
        "content": "Bigger sale",
        "account_ids": [account],
        "scheduled_for": LATER,
        "timezone": "Asia/Tokyo",
        "media_ids": ["m-1"],
        "platform_content": {"x": {"content": "Sale!"}},
    }

    data = await expect_success(acme, "PATCH", path, changes)

    (destination,) = data["destinations"]
    assert (destination["account_id"], destination["scheduled_for"]) == (account, None)
    assert ordered_json(data) == ordered_json(
        {**before, **changes, "destinations": [destination], "updated_at": data["updated_at"]}
    )
    assert ordered_json(data) == ordered_json(success_data(await acme.client.get(path)))
    assert await version(acme, path) == 2


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"content": None, "media_ids": ["m"]}, "content", ""),
        ({"media_ids": None}, "media_ids", []),
        ({"platform_content": None}, "platform_content", {}),
        ({"timezone": None}, "timezone", "UTC"),
        ({"scheduled_at": SOON}, "scheduled_for", SOON),
        ({"account_ids": []}, "account_ids", []),
    ],
)
async def test_null_empties_what_it_names(
    acme: Tenant, account: AccountId, changes: dict[str, Any], key: str, value: object
) -> None:
    post = await add_post(
        acme.database,
        acme.workspace,
        {account: draft()},
        is_draft=True,
        scheduled_for=NOW,
        timezone="Asia/Tokyo",
        media_ids=["m-1"],
        platform_content={"x": {"content": "Sale!"}},
    )

    data = await expect_success(acme, "PATCH", f"/v1/posts/{post.id}", changes)

    assert data[key] == value
    assert await version(acme, f"/v1/posts/{post.id}") == 2


@pytest.mark.parametrize("name", ["scheduled_for", "scheduled_at", "account_ids", "publish_now"])
async def test_null_leaves_alone_what_goes_out(acme: Tenant, account: AccountId, name: str) -> None:
    body = {"content": "Sale", "account_ids": [account], "scheduled_for": LATER}
    post = await expect_success(acme, "POST", "/v1/posts", body, status=201)

    data = await expect_success(acme, "PATCH", f"/v1/posts/{post['id']}", {name: None})

    assert (data["status"], data["scheduled_for"]) == ("scheduled", LATER)
    assert data["account_ids"] == [account]


@pytest.mark.parametrize("method", ["PATCH", "POST"])
async def test_very_many_accounts_are_refused_before_anybody_looks_for_them(
    acme: Tenant, account: AccountId, method: str
) -> None:
    body = {"content": "Sale", "account_ids": [account], "scheduled_for": LATER}
    post = await expect_success(acme, "POST", "/v1/posts", body, status=201)
    many = {"content": "Sale", "account_ids": [*range(1, 40_001)]}
    path = f"/v1/posts/{post['id']}" if method == "PATCH" else "/v1/posts"

    response = await acme.client.request(method, path, json=many)

    assert response.status_code == 400
    assert response.json()["error"]["message"] == (
        "account_ids: There are 40000 accounts; at most 500 are allowed."
    )


async def test_a_post_is_changed_to_go_out_at_once(acme: Tenant, account: AccountId) -> None:
    body = {"content": "Sale", "account_ids": [account], "scheduled_for": LATER}
    post = await expect_success(acme, "POST", "/v1/posts", body, status=201)

    data = await expect_success(
        acme, "PATCH", f"/v1/posts/{post['id']}", {"publish_now": True, "scheduled_for": None}
    )

    assert (data["status"], data["scheduled_for"]) == ("publishing", None)
    assert data["destinations"][0]["scheduled_for"] == "2026-04-15T15:00:00.000Z"


@pytest.mark.parametrize(
    "body", [None, {}, {"status": "published", "post_status": "failed", "destinations": []}]
)
async def test_a_patch_that_names_nothing_changes_nothing(
    acme: Tenant, plan: str, body: dict[str, Any] | None
) -> None:
    before = await all_rows(acme.database)
    assert await expect_success(acme, "PATCH", plan, body) == success_data(
        await acme.client.get(plan)
    )
    assert await all_rows(acme.database) == before


CHANGES_REFUSED: list[tuple[dict[str, Any], int, dict[str, Any]]] = [
    (
        {"content": 5},
        400,
        non_retryable_error("validation_error", "content", "content must be a string."),
    ),
    (
        {"content": ""},
        400,
        non_retryable_error(
            "validation_error",
            "content",
            "The post is empty: it needs content, media, or content for a platform.",
        ),
    ),
    (
        {"account_ids": []},
        400,
        non_retryable_error(
            "validation_error",
            "account_ids",
            "account_ids: A post that is not a draft needs at least one account.",
            "A post that is not a draft needs at least one account.",
        ),
    ),
    (
        {"account_ids": [99]},
        400,
        non_retryable_error(
            "validation_error",
            "account_ids",
            "account_ids: There is no account 99 in this workspace.",
            "There is no account 99 in this workspace.",
        ),
    ),
    (
        {"account_ids": [2280, 2280]},
        400,
        non_retryable_error(
            "validation_error",
            "account_ids",
            "account_ids: Account 2280 is listed twice.",
            "Account 2280 is listed twice.",
        ),
    ),
    (
        {"scheduled_for": PAST},
        400,
        non_retryable_error(
            "past_schedule_time",
            "scheduled_for",
            "scheduled_for: The time is not in the future.",
            "The time is not in the future.",
        ),
    ),
    (
        {"timezone": "CEST"},
        400,
        non_retryable_error(
            "invalid_timezone",
            "timezone",
            "timezone: There is no such time zone.",
            "There is no such time zone.",
        ),
    ),
    (
        {"media_ids": ["a\0"]},
        400,
        non_retryable_error(
            "validation_error",
            "media_ids[0]",
            "media_ids[0] must not contain a NUL character.",
        ),
    ),
    (
        {"media": []},
        400,
        non_retryable_error(
            "invalid_field_name",
            "media",
            "media is not a field of a post; use media_ids, a list of ids.",
        ),
    ),
    (
        {"post_id": "x", "media_id": "m"},
        400,
        non_retryable_error(
            "invalid_field_name",
            "media_id",
            "media_id is not a field of a post; use media_ids, a list of ids.",
        ),
    ),
    (
        {"content": "Other", "draft": False},
        400,
        non_retryable_error(
            "invalid_field_name",
            "draft",
            "draft cannot be changed by PATCH; POST /v1/posts/{post_id}/schedule submits a draft.",
        ),
    ),
    ({"content": "Other", "expected_version": 2}, 409, STALE),
    (
        {"content": "Other", "expected_version": "1"},
        400,
        non_retryable_error(
            "validation_error", "expected_version", "expected_version must be a whole number."
        ),
    ),
    (
        {"content": "Other", "expected_version": 2**31},
        400,
        non_retryable_error(
            "validation_error",
            "expected_version",
            "expected_version must be a whole number from 1 to 2147483647.",
        ),
    ),
]


@pytest.mark.parametrize(
    ("changes", "status", "error"), CHANGES_REFUSED, ids=lambda each: str(each)[:60]
)
async def test_a_patch_that_is_wrong_is_refused_by_name(
    acme: Tenant, plan: str, changes: dict[str, Any], status: int, error: dict[str, Any]
) -> None:
    assert ordered_json(
        await expect_error(acme, "PATCH", plan, changes, status=status)
    ) == ordered_json(error)


async def test_a_patch_of_the_version_that_it_saw_is_made(acme: Tenant, plan: str) -> None:
    await expect_success(acme, "PATCH", plan, {"content": "Other", "expected_version": 1})
    error = await expect_error(
        acme, "PATCH", plan, {"content": "Third", "expected_version": 1}, status=409
    )
    assert error["code"] == "stale_version"


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (
            published(),
            non_retryable_error(
                "conflict",
                None,
                "The post was published on a platform and can no longer be changed.",
            ),
        ),
        (claimed(), BEING_PUBLISHED),
        (started(), BEING_PUBLISHED),
        (unknown(), NOBODY_KNOWS),
    ],
)
async def test_what_may_be_out_already_cannot_be_changed(
    acme: Tenant, state: DestinationState, error: dict[str, Any]
) -> None:
    path = await path_of(acme, state)
    assert await expect_error(acme, "PATCH", path, {"content": "Other"}, status=409) == error


@pytest.mark.parametrize("state", [queued(), failed(), waiting_for_retry()])
async def test_what_did_not_go_out_is_deleted_and_not_found_any_more(
    acme: Tenant, state: DestinationState
) -> None:
    path = await path_of(acme, state)
    post_id = path.rpartition("/")[2]

    data = await expect_success(acme, "DELETE", path)

    assert ordered_json(data) == ordered_json(
        {
            "post_id": post_id,
            "id": post_id,
            "deleted": True,
            "message": "The post was deleted; nothing of it goes out from here.",
        }
    )
    for method, sub in (("GET", ""), ("GET", "/results"), ("DELETE", ""), ("PATCH", "")):
        assert await expect_error(acme, method, path + sub, status=404) == NOT_FOUND
    assert success_data(await acme.client.get("/v1/posts"))["total"] == 0


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (
            published(),
            non_retryable_error(
                "post_already_published",
                None,
                "The post was published on a platform and cannot be deleted here.",
            ),
        ),
        (claimed(), BEING_PUBLISHED),
        (started(), BEING_PUBLISHED),
        (unknown(), NOBODY_KNOWS),
    ],
)
async def test_what_may_be_out_already_stays_on_record(
    acme: Tenant, state: DestinationState, error: dict[str, Any]
) -> None:
    path = await path_of(acme, state)
    assert await expect_error(acme, "DELETE", path, status=409) == error


async def test_a_deletion_may_say_which_version_it_saw(acme: Tenant, plan: str) -> None:
    assert await expect_error(acme, "DELETE", plan, {"expected_version": 2}, status=409) == STALE
    await expect_success(acme, "DELETE", plan, {"expected_version": 1})


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    ("when", "status", "scheduled_for"),
    [
        ({"scheduled_for": LATER}, "scheduled", LATER),
        ({"scheduled_at": LATER, "publish_now": False}, "scheduled", LATER),
        ({"publish_now": True}, "publishing", None),
    ],
)
async def test_a_draft_is_scheduled_or_goes_out_at_once(
    acme: Tenant,
    idea: str,
    prefix: str,
    when: dict[str, Any],
    status: str,
    scheduled_for: str | None,
) -> None:
    path = idea.replace("/v1", prefix)

    data = await expect_success(acme, "POST", f"{path}/schedule", when)

    shown = success_data(await acme.client.get(path))
    message = f"The post goes out at {LATER}." if scheduled_for else "The post goes out now."
    assert (shown["status"], shown["scheduled_for"]) == (status, scheduled_for)
    assert ordered_json(data) == ordered_json(
        {**shown, "publish_now": scheduled_for is None, "message": message}
    )


async def test_an_account_that_cannot_post_is_a_warning_of_every_change(
    acme: Tenant, idea: str
) -> None:
    expired = await add_account(acme.database, acme.workspace, token_expires_at=NOW)
    warnings = [
        {
            "account_id": expired,
            "reason": "token_expired",
            "message": "The account's access has expired. Reconnect the account to post.",
        }
    ]

    changed = await expect_success(acme, "PATCH", idea, {"account_ids": [expired]})
    scheduled = await expect_success(acme, "POST", f"{idea}/schedule", {"scheduled_for": LATER})

    assert changed["warnings"] == scheduled["warnings"] == warnings


async def test_a_draft_that_has_a_time_needs_none_and_takes_other_accounts(
    acme: Tenant, account: AccountId
) -> None:
    other = await add_account(acme.database, acme.workspace)
    body = {"content": "Sale", "draft": True, "scheduled_for": SOON, "account_ids": [account]}
    post = await expect_success(acme, "POST", "/v1/posts", body, status=201)
    path = f"/v1/posts/{post['id']}/schedule"

    data = await expect_success(acme, "POST", path, {"account_ids": [other], "expected_version": 1})

    assert (data["status"], data["scheduled_for"]) == ("scheduled", SOON)
    assert data["account_ids"] == [other]
    assert await expect_error(
        acme, "POST", path, {"publish_now": True}, status=409
    ) == non_retryable_error(
        "conflict", None, "Only a draft can be scheduled; this post is scheduled."
    )


SUBMISSIONS_REFUSED: list[tuple[dict[str, Any] | None, int, dict[str, Any]]] = [
    (
        None,
        400,
        non_retryable_error(
            "validation_error",
            "scheduled_for",
            "The draft has no time yet: pass scheduled_for or publish_now.",
        ),
    ),
    (
        {"scheduled_for": LATER, "publish_now": True},
        400,
        non_retryable_error(
            "validation_error",
            "scheduled_for",
            "Pass either scheduled_for or publish_now, not both.",
        ),
    ),
    (
        {"scheduled_for": PAST},
        400,
        non_retryable_error(
            "past_schedule_time",
            "scheduled_for",
            "scheduled_for: The time is not in the future.",
            "The time is not in the future.",
        ),
    ),
    (
        {"publish_now": True, "account_ids": []},
        400,
        non_retryable_error(
            "validation_error", "account_ids", "The draft has no account: pass account_ids."
        ),
    ),
    (
        {"publish_now": True, "account_ids": [99]},
        400,
        non_retryable_error(
            "validation_error",
            "account_ids",
            "account_ids: There is no account 99 in this workspace.",
            "There is no account 99 in this workspace.",
        ),
    ),
    (
        {"publish_now": "now"},
        400,
        non_retryable_error(
            "validation_error", "publish_now", "publish_now must be true or false."
        ),
    ),
    ({"publish_now": True, "expected_version": 2}, 409, STALE),
]


@pytest.mark.parametrize(
    ("body", "status", "error"), SUBMISSIONS_REFUSED, ids=lambda each: str(each)[:60]
)
async def test_a_submission_that_is_wrong_is_refused_by_name(
    acme: Tenant, idea: str, body: dict[str, Any] | None, status: int, error: dict[str, Any]
) -> None:
    told = await expect_error(acme, "POST", f"{idea}/schedule", body, status=status)
    assert ordered_json(told) == ordered_json(error)


EVERY_CHANGE = [
    ("PATCH", "", {"content": "Theirs"}),
    ("DELETE", "", None),
    ("POST", "/schedule", {"publish_now": True}),
    ("POST", "/retry", None),
]


@pytest.mark.parametrize(("method", "sub", "body"), EVERY_CHANGE)
async def test_a_foreign_post_is_answered_like_a_missing_one(
    acme: Tenant, method: str, sub: str, body: dict[str, Any] | None
) -> None:
    theirs = await foreign_post(acme)
    errors = [
        await expect_error(acme, method, f"/v1/posts/{post_id}{sub}", body, status=404)
        for post_id in (theirs.id, uuid4())
    ]
    assert errors == [NOT_FOUND, NOT_FOUND]


async def foreign_post(acme: Tenant) -> AddedPost:
    workspace = await add_workspace(acme.database)
    account = await add_account(acme.database, workspace)
    return await add_post(acme.database, workspace, {account: draft()}, is_draft=True)


@pytest.mark.parametrize(("method", "sub", "body"), EVERY_CHANGE)
@pytest.mark.parametrize("post_id", ["x", "0" * 32, "f47ac10b-58cc-4372-a567-0e02b2c3d47"])
async def test_a_malformed_id_is_refused(
    acme: Tenant, method: str, sub: str, body: dict[str, Any] | None, post_id: str
) -> None:
    error = await expect_error(acme, method, f"/v1/posts/{post_id}{sub}", body, status=400)
    assert ordered_json(error) == ordered_json(
        non_retryable_error(
            "invalid_id",
            "post_id",
            "post_id: The id must be a UUID in its 36-character form,"
            " such as f47ac10b-58cc-4372-a567-0e02b2c3d479.",
            "The id must be a UUID in its 36-character form,"
            " such as f47ac10b-58cc-4372-a567-0e02b2c3d479.",
        )
    )
