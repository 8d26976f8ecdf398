"""Content that does not fit the schema of a platform: refusals, and posts that are sent back as read."""

import pytest

from app.domain.accounts import AccountPublisher
from app.domain.ids import AccountId
from app.rest.operations import JsonObject
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
