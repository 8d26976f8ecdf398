"""Content that does not fit the schema of a platform: refusals, and posts that are sent back as read."""

from collections import Counter

import pytest

from app.domain.accounts import AccountPublisher
from app.domain.ids import AccountId
from app.rest.operations import JsonObject, omit
from tests.clients import Tenant
from tests.db.all_tables import dump_rows
from tests.factories import add_account, add_post, draft, queued
from tests.rest.envelope import success_data
from tests.rest.write_requests import (
    create_post,
    expect_success,
    expect_write_refusal,
    field_error,
)

MISSPELT = {"mastodon": {"settings": {"visiblity": "private"}}}
FIELD = "platform_content.mastodon.settings.visiblity"
MESSAGE = (
    f"{FIELD} is unknown; there is visibility, spoiler_text, sensitive, language; the nearest is"
    " visibility."
)
REFUSAL = field_error("validation_error", FIELD, MESSAGE)


@pytest.fixture
async def mastodon(acme: Tenant) -> AccountId:
    return await add_account(
        acme.database, acme.workspace, platform="mastodon", publisher=AccountPublisher.MASTODON
    )


async def stored_post(acme: Tenant, account: AccountId) -> JsonObject:
    """A draft that an older version stored, as it is read."""
    post = await add_post(
        acme.database,
        acme.workspace,
        {account: draft()},
        is_draft=True,
        platform_content=MISSPELT,
        media=[{"url": "https://example.com/1.png", "title": "A"}],
    )
    data: JsonObject = success_data(await acme.client.get(f"/v1/posts/{post.id}"))
    return data


async def test_created_post_must_fit(acme: Tenant, mastodon: AccountId) -> None:
    body = {"content": "Hi", "account_ids": [mastodon], "platform_content": MISSPELT}
    assert await expect_write_refusal(acme, "POST", "/v1/posts", body, status=400) == REFUSAL


async def test_unknown_platform_is_refused_with_its_path(acme: Tenant, mastodon: AccountId) -> None:
    body = {"content": "Hi", "account_ids": [mastodon], "platform_content": {"mastodn": {}}}
    assert await expect_write_refusal(acme, "POST", "/v1/posts", body, status=400) == field_error(
        "validation_error",
        "platform_content.mastodn",
        "platform_content.mastodn is not the name of a platform; the nearest is mastodon.",
    )


async def test_post_of_a_bulk_request_is_rejected_alone(acme: Tenant, mastodon: AccountId) -> None:
    valid = {"content": "Hi", "account_ids": [mastodon]}
    response = await acme.client.request(
        "POST", "/v1/posts/bulk", json={"posts": [{**valid, "platform_content": MISSPELT}, valid]}
    )
    assert response.status_code == 207
    first, second = response.json()["data"]["results"]
    assert second["ok"]
    assert first == {
        "index": 0,
        "ok": False,
        "error": {
            "code": "validation_error",
            "message": MESSAGE,
            "details": {"validation_errors": [{"field": FIELD, "message": MESSAGE}]},
        },
    }


async def test_post_that_was_read_can_be_changed_and_copied(
    acme: Tenant, mastodon: AccountId
) -> None:
    read = await stored_post(acme, mastodon)
    path = f"/v1/posts/{read['post_id']}"

    changed = await expect_success(acme, "PATCH", path, {**read, "content": "Changed"})
    copy = await create_post(acme, read)

    for data in (changed, copy):
        assert data["platform_content"] == MISSPELT
    assert copy["post_id"] != read["post_id"]
    assert (copy["status"], copy["media"]) == ("draft", [])


async def test_other_content_of_a_post_that_was_read_must_fit(
    acme: Tenant, mastodon: AccountId
) -> None:
    read = await stored_post(acme, mastodon)
    path = f"/v1/posts/{read['post_id']}"
    other = {**read, "platform_content": {"mastodon": {"settings": {"visiblity": "public"}}}}

    assert await expect_write_refusal(acme, "PATCH", path, other, status=400) == REFUSAL
    assert await expect_write_refusal(acme, "POST", "/v1/posts", other, status=400) == REFUSAL
    without_id = {key: read[key] for key in ("content", "account_ids", "platform_content")}
    assert await expect_write_refusal(acme, "POST", "/v1/posts", without_id, status=400) == REFUSAL
    for post_id in ("00000000-0000-4000-8000-000000000000", "x", 7):
        body = {**without_id, "post_id": post_id}
        assert await expect_write_refusal(acme, "POST", "/v1/posts", body, status=400) == REFUSAL


async def test_submitted_draft_must_fit(acme: Tenant, mastodon: AccountId) -> None:
    read = await stored_post(acme, mastodon)
    path = f"/v1/posts/{read['post_id']}/schedule"
    assert (
        await expect_write_refusal(acme, "POST", path, {"publish_now": True}, status=400) == REFUSAL
    )


POST_MEMBERS = (
    "content, account_ids, timezone, media_ids, platform_content, reference, scheduled_for, scheduled_at,"
    " draft, publish_now"
)
PATCH_MEMBERS = (
    "content, account_ids, timezone, media_ids, platform_content, reference, scheduled_for, scheduled_at,"
    " publish_now, expected_version"
)
SCHEDULE_MEMBERS = "scheduled_for, scheduled_at, publish_now, account_ids, expected_version"


def unknown(name: str, members: str, nearest: str | None) -> JsonObject:
    """The error of a member that a request does not have."""
    hint = "" if nearest is None else f"; the nearest is {nearest}"
    return field_error("validation_error", name, f"{name} is unknown; there is {members}{hint}.")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("platform_contents", "platform_content"),
        ("is_draft", "draft"),
        ("schedule_for", "scheduled_for"),
        ("visibility", None),
        ("settings", None),
        ("poll", None),
        ("in_reply_to_id", None),
    ],
)
async def test_unknown_member_of_a_new_post_is_refused(
    acme: Tenant, mastodon: AccountId, name: str, nearest: str | None
) -> None:
    body = {"content": "Sale", "account_ids": [mastodon], name: "private"}
    refusal = unknown(name, POST_MEMBERS, nearest)
    assert await expect_write_refusal(acme, "POST", "/v1/posts", body, status=400) == refusal
    check = await expect_success(acme, "POST", "/v1/posts/check", body)
    assert (check["accepted"], check["errors"]) == (False, [omit(refusal, "retryable")])


@pytest.mark.parametrize(
    ("name", "own_name"),
    [
        ("platformContent", "platform_content"),
        ("scheduledFor", "scheduled_for"),
        ("scheduledAt", "scheduled_for"),
        ("publishNow", "publish_now"),
        ("accountIds", "account_ids"),
        ("expectedVersion", "expected_version"),
    ],
)
async def test_names_of_graphql_are_refused(
    acme: Tenant, account: AccountId, name: str, own_name: str
) -> None:
    refusal = field_error(
        "invalid_field_name", name, f"{name} is not a field of a post; use {own_name}."
    )
    post = await add_post(acme.database, acme.workspace, {account: draft()}, is_draft=True)
    path, body = f"/v1/posts/{post.id}", {"content": "Sale", "account_ids": [account], name: 1}
    for method, each in (("POST", "/v1/posts"), ("PATCH", path), ("POST", f"{path}/schedule")):
        assert await expect_write_refusal(acme, method, each, body, status=400) == refusal


async def test_post_with_an_unknown_member_is_refused_alone(
    acme: Tenant, mastodon: AccountId
) -> None:
    external = await add_account(acme.database, acme.workspace)
    posts = [
        {"content": "Sale", "account_ids": [account], **members}
        for account, members in (
            (mastodon, {"visibility": "private"}),
            (mastodon, {}),
            (external, {"visibility": "private"}),
        )
    ]
    data = await expect_success(
        acme, "POST", "/v1/posts/bulk", {"posts": ["x", *posts]}, status=207
    )
    assert [(each["index"], each["ok"]) for each in data["results"]] == [
        *((0, False), (1, False), (2, True), (3, True))
    ]
    assert data["results"][1]["error"]["message"].startswith("visibility is unknown; ")
    tables = Counter(table for table, _ in await dump_rows(acme.database))
    assert tables["post"] == 2


async def test_unknown_member_of_a_change_is_refused(acme: Tenant, mastodon: AccountId) -> None:
    post = await add_post(acme.database, acme.workspace, {mastodon: draft()}, is_draft=True)
    path, body = f"/v1/posts/{post.id}", {"content": "New", "visibility": "private"}
    assert await expect_write_refusal(acme, "PATCH", path, body, status=400) == unknown(
        "visibility", PATCH_MEMBERS, None
    )
    for name, nearest in (("visibility", None), ("platform_content", None), ("content", None)):
        misplaced: JsonObject = {"publish_now": True, name: {}}
        assert await expect_write_refusal(
            acme, "POST", f"{path}/schedule", misplaced, status=400
        ) == unknown(name, SCHEDULE_MEMBERS, nearest)


async def test_change_that_adds_an_account_with_a_schema_has_no_unknown_member(
    acme: Tenant, mastodon: AccountId
) -> None:
    external = await add_account(acme.database, acme.workspace)
    post = await add_post(acme.database, acme.workspace, {external: draft()}, is_draft=True)
    path, unknown_member = f"/v1/posts/{post.id}", {"visibility": "private"}
    await expect_success(acme, "PATCH", path, {"content": "New", **unknown_member})
    body = {"account_ids": [external, mastodon], **unknown_member}
    assert await expect_write_refusal(acme, "PATCH", path, body, status=400) == unknown(
        "visibility", PATCH_MEMBERS, None
    )


async def test_all_members_of_responses_may_be_sent_back(acme: Tenant, mastodon: AccountId) -> None:
    body = {"content": "x" * 501, "account_ids": [mastodon], "draft": True}
    created = await create_post(acme, body)
    assert created["content_warnings"] != []
    path = f"/v1/posts/{created['post_id']}"
    read = success_data(await acme.client.get(path))
    (listed,) = success_data(await acme.client.get("/v1/posts"))["posts"]
    results = success_data(await acme.client.get(f"{path}/results"))
    changed = await expect_success(acme, "PATCH", path, {**created, "content": "New"})
    for each in (read, listed, results, changed):
        await expect_success(acme, "PATCH", path, each)
    scheduled = await expect_success(
        acme, "POST", f"{path}/schedule", {**changed, "scheduled_for": "2027-04-15T16:00:00Z"}
    )
    await expect_success(acme, "PATCH", path, scheduled)
    for each in (created, read, listed, scheduled):
        await create_post(acme, {**each, "content": "Copy"})


async def test_export_lists_posts_that_will_fail(acme: Tenant, mastodon: AccountId) -> None:
    post = await add_post(
        acme.database, acme.workspace, {mastodon: queued()}, platform_content=MISSPELT
    )
    await add_post(acme.database, acme.workspace, {mastodon: queued()})
    await acme.client.query(
        'mutation ($id: UUID!) { updatePost(input: {postId: $id, content: "New"}) { post { id } } }',
        id=str(post.id),
    )

    lists = [
        (await acme.client.get(f"/v1/destinations.ndjson?invalid_content={value}")).text
        for value in ("true", "false")
    ]

    assert [str(post.id) in text for text in lists] == [True, False]
    assert [text.count("\n") for text in lists] == [1, 1]


async def test_check_names_errors_and_warnings_of_each_account(
    acme: Tenant, mastodon: AccountId
) -> None:
    blocked = await add_account(acme.database, acme.workspace, platform="x", is_active=False)
    body = {"content": "a" * 501, "account_ids": [mastodon, blocked], "platform_content": MISSPELT}
    before = await dump_rows(acme.database)
    checked = success_data(await acme.client.request("POST", "/v1/posts/check", json=body))
    assert await dump_rows(acme.database) == before
    (error,) = checked["errors"]
    assert (error["code"], error["message"]) == ("validation_error", MESSAGE)
    assert error["details"]["validation_errors"][0]["field"] == FIELD
    (of_mastodon, of_blocked) = checked["accounts"]
    assert (checked["accepted"], of_mastodon["errors"], of_blocked["errors"]) == (
        False,
        [error],
        [],
    )
    assert [each["code"] for each in of_mastodon["content_warnings"]] == ["TEXT_TOO_LONG"]
    assert [each["reason"] for each in of_blocked["warnings"]] == ["account_inactive"]


async def test_check_of_a_fitting_post_is_accepted(acme: Tenant, mastodon: AccountId) -> None:
    body = {"content": "Hi", "account_ids": [mastodon]}
    account = {
        "account_id": mastodon,
        "platform": "mastodon",
        "errors": [],
        "warnings": [],
        "content_warnings": [],
    }
    assert success_data(await acme.client.request("POST", "/v1/posts/check", json=body)) == {
        "accepted": True,
        "errors": [],
        "accounts": [account],
    }
