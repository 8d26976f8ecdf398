"""Refusals of content that does not fit the schema of a platform on which the worker publishes."""

from dataclasses import replace
from typing import Any

import pytest

from app.domain.accounts import AccountPublisher
from app.domain.ids import AccountId
from app.domain.times import parse_instant
from tests.clients import Tenant
from tests.factories import AddedPost, add_account, add_post, add_workspace, draft, queued
from tests.graphql.schema.mutations.mutation_calls import expect_refusal, run_mutation
from tests.graphql.schema.mutations.test_posts import LATER

CREATE, UPDATE, SCHEDULE = (
    f"mutation ($input: {name[0].upper()}{name[1:]}Input!) {{"
    f" payload: {name}(input: $input) {{"
    "  post { postId version platformContent media destinations { contentError } }"
    "  contentWarnings { code message }"
    " } }"
    for name in ("createPost", "updatePost", "schedulePost")
)
CREATE_SEVERAL = """
mutation ($input: CreatePostsInput!) {
  payload: createPosts(input: $input) { results { post { content } error { code field message } } }
}
"""
MISSPELT = {"mastodon": {"settings": {"visiblity": "private"}}}
FIELD = "platformContent.mastodon.settings.visiblity"
MESSAGE = (
    f"{FIELD} is unknown; there is visibility, spoiler_text, sensitive, language; the nearest is"
    " visibility."
)
REFUSAL = ("VALIDATION_ERROR", f"input.{FIELD}", MESSAGE)
LATER_TIME = parse_instant(LATER)
FITTING = {"mastodon": {"settings": {"visibility": "private"}}}


@pytest.fixture
async def mastodon(acme: Tenant) -> AccountId:
    return await add_publishing_account(acme)


async def add_publishing_account(
    tenant: Tenant, publisher: AccountPublisher = AccountPublisher.MASTODON
) -> AccountId:
    return await add_account(
        tenant.database, tenant.workspace, platform=publisher.value, publisher=publisher
    )


async def add_stored_post(tenant: Tenant, *accounts: AccountId, **fields: Any) -> AddedPost:
    """A post that an older version stored."""
    contents = {"platform_content": MISSPELT, "media": [{"url": "ftp://example.com/1"}]} | fields
    state = draft() if fields.get("is_draft") else queued(LATER_TIME)
    return await add_post(
        tenant.database, tenant.workspace, dict.fromkeys(accounts, state), **contents
    )


@pytest.mark.parametrize(
    ("contents", "field", "message"),
    [
        ({"platformContent": MISSPELT}, FIELD, MESSAGE),
        (
            {"platformContent": {"mastodon": {"visibility": "private"}}},
            "platformContent.mastodon.visibility",
            "platformContent.mastodon.visibility is a setting: move it to"
            " platformContent.mastodon.settings.visibility.",
        ),
        (
            {"platformContent": {"mastodn": {"settings": {"visibility": "private"}}}},
            "platformContent.mastodn",
            "platformContent.mastodn is not the name of a platform; the nearest is mastodon.",
        ),
        (
            {"media": [{"url": "https://example.com/1.png", "altText": "A"}]},
            "media[0].altText",
            "media[0].altText is unknown; there is url, alt; the nearest is alt.",
        ),
    ],
)
@pytest.mark.parametrize("is_draft", [True, False])
async def test_created_post_must_fit(
    acme: Tenant,
    mastodon: AccountId,
    contents: dict[str, object],
    field: str,
    message: str,
    is_draft: bool,
) -> None:
    assert await expect_refusal(
        acme, CREATE, content="Hi", accountIds=[mastodon], draft=is_draft, **contents
    ) == ("VALIDATION_ERROR", f"input.{field}", message)


async def test_each_of_several_posts_is_checked(acme: Tenant, mastodon: AccountId) -> None:
    external = await add_account(acme.database, acme.workspace, platform="mastodon")
    fields = {"accountIds": [mastodon], "platformContent": MISSPELT}
    posts = [
        {**fields, "content": "a"},
        {**fields, "content": "b", "platformContent": FITTING},
        {**fields, "content": "c", "platformContent": {"my-blog": {}}},
        {**fields, "content": "d", "accountIds": [external]},
    ]

    payload = await run_mutation(acme, CREATE_SEVERAL, posts=posts)

    assert payload["results"] == [
        {"post": None, "error": {"code": "VALIDATION_ERROR", "field": FIELD, "message": MESSAGE}},
        {"post": {"content": "b"}, "error": None},
        {
            "post": None,
            "error": {
                "code": "VALIDATION_ERROR",
                "field": "platformContent.my-blog",
                "message": "platformContent.my-blog is not the name of a platform.",
            },
        },
        {"post": {"content": "d"}, "error": None},
    ]


async def test_platform_of_any_account_of_the_workspace_is_known(
    acme: Tenant, mastodon: AccountId
) -> None:
    await add_account(acme.database, acme.workspace, platform="my-blog", is_active=False)
    contents = {"my-blog": {"title": 1}, "linkedin": {"anything": 2}, **FITTING}

    payload = await run_mutation(
        acme, CREATE, content="Hi", accountIds=[mastodon], platformContent=contents
    )

    assert payload["post"]["platformContent"] == contents


async def test_post_of_others_is_stored_as_it_is(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace, platform="mastodon")
    contents = {"mastodn": {"poll": 1}, **MISSPELT}
    media = [{"url": "ftp://example.com/1", "title": "A"}, "m1"]

    payload = await run_mutation(
        acme, CREATE, content="Hi", accountIds=[account], platformContent=contents, media=media
    )

    assert payload["contentWarnings"] == []
    assert payload["post"]["platformContent"] == contents
    assert payload["post"]["media"] == media


async def test_changed_content_must_fit(acme: Tenant, mastodon: AccountId) -> None:
    post = await add_post(
        acme.database,
        acme.workspace,
        {mastodon: queued(LATER_TIME)},
        platform_content=FITTING,
    )
    assert (
        await expect_refusal(acme, UPDATE, postId=str(post.id), platformContent=MISSPELT) == REFUSAL
    )


async def test_unchanged_content_stays_accepted_with_a_warning(
    acme: Tenant, mastodon: AccountId
) -> None:
    post = await add_stored_post(acme, mastodon)

    payload = await run_mutation(
        acme,
        UPDATE,
        postId=str(post.id),
        content="Changed",
        platformContent=MISSPELT,
        media=[{"url": "https://example.com/0.png"}, {"url": "ftp://example.com/1"}],
    )

    assert payload["post"]["version"] == 2
    assert payload["post"]["destinations"] == [{"contentError": MESSAGE}]
    assert payload["contentWarnings"][0] == {"code": "INVALID_SETTING", "message": MESSAGE}

    other = {"mastodon": {"settings": {"visiblity": "unlisted"}}}
    assert await expect_refusal(acme, UPDATE, postId=str(post.id), platformContent=other) == REFUSAL

    payload = await run_mutation(
        acme, UPDATE, postId=str(post.id), platformContent=FITTING, media=[]
    )
    assert payload["post"]["destinations"] == [{"contentError": None}]
    assert payload["contentWarnings"] == []


async def test_another_account_needs_content_that_fits(acme: Tenant, mastodon: AccountId) -> None:
    external = await add_account(acme.database, acme.workspace, platform="mastodon")
    post = await add_stored_post(acme, external, media=[])
    for accounts in ([external, mastodon], [mastodon]):
        assert (
            await expect_refusal(acme, UPDATE, postId=str(post.id), accountIds=accounts) == REFUSAL
        )
    other = await add_publishing_account(acme, AccountPublisher.BLUESKY)
    payload = await run_mutation(acme, UPDATE, postId=str(post.id), accountIds=[external, other])
    assert payload["post"]["destinations"] == [{"contentError": None}] * 2


async def test_submitted_draft_must_fit(acme: Tenant, mastodon: AccountId) -> None:
    post = await add_stored_post(acme, mastodon, is_draft=True, media=[])
    assert await expect_refusal(acme, SCHEDULE, postId=str(post.id), scheduledFor=LATER) == (
        "VALIDATION_ERROR",
        f"input.{FIELD}",
        MESSAGE,
    )


CANCEL, DELETE = (
    f"mutation ($input: {name[0].upper()}{name[1:]}Input!) {{"
    f" payload: {name}(input: $input) {{ __typename }} }}"
    for name in ("cancelPost", "deletePost")
)


async def test_stored_post_that_does_not_fit_can_be_cancelled_and_deleted(
    acme: Tenant, mastodon: AccountId
) -> None:
    for document in (CANCEL, DELETE):
        post = await add_stored_post(acme, mastodon)
        await run_mutation(acme, document, postId=str(post.id))


async def test_copy_is_accepted_as_it_is_stored(acme: Tenant, mastodon: AccountId) -> None:
    post = await add_stored_post(acme, mastodon, media=[])
    fields = {"content": "Copy", "scheduledFor": LATER, "platformContent": MISSPELT}

    assert await expect_refusal(acme, CREATE, accountIds=[mastodon], **fields) == REFUSAL
    payload = await run_mutation(acme, CREATE, accountIds=[mastodon], copyOf=str(post.id), **fields)
    assert payload["post"]["destinations"] == [{"contentError": MESSAGE}]

    second = await add_publishing_account(acme)
    more = {"accountIds": [mastodon, second], "copyOf": str(post.id), **fields}
    assert await expect_refusal(acme, CREATE, **more) == REFUSAL


async def test_copy_of_a_post_in_another_workspace_is_no_copy(
    acme: Tenant, mastodon: AccountId
) -> None:
    other = replace(acme, workspace=await add_workspace(acme.database))
    post = await add_stored_post(other, await add_publishing_account(other), media=[])
    fields = {"content": "Copy", "accountIds": [mastodon], "platformContent": MISSPELT}
    assert await expect_refusal(acme, CREATE, copyOf=str(post.id), **fields) == REFUSAL


CONNECT = """
mutation ($input: ConnectAccountInput!) {
  payload: connectAccount(input: $input) { account { accountId publisher } contentErrorCount }
}
"""
UPDATE_ACCOUNT = """
mutation ($input: UpdateAccountInput!) {
  payload: updateAccount(input: $input) { account { publisher } contentErrorCount }
}
"""
WAITING = """
{
  destinations(filter: {invalidContent: true}) { nodes { contentError outlook { nextAt sentence } } }
  others: destinations(filter: {invalidContent: false}) { totalCount }
  boardCounts(since: "2026-04-15T00:00:00Z") { invalidContent { count capped } }
}
"""


async def test_another_publisher_reports_posts_that_will_fail(acme: Tenant) -> None:
    account = await add_account(
        acme.database, acme.workspace, platform="mastodon", platform_user_id="1@a.example"
    )
    await add_stored_post(acme, account, media=[])
    await add_stored_post(acme, account, media=[], platform_content=FITTING)
    await add_stored_post(acme, account, media=[], is_draft=True)
    nothing = {
        "destinations": {"nodes": []},
        "others": {"totalCount": 3},
        "boardCounts": {"invalidContent": {"count": 0, "capped": False}},
    }
    assert await acme.client.query(WAITING) == nothing

    payload = await run_mutation(acme, UPDATE_ACCOUNT, accountId=account, publisher="MASTODON")

    assert payload == {"account": {"publisher": "MASTODON"}, "contentErrorCount": 1}
    sentence = f"It will fail at 2026-04-16 09:00 UTC: {MESSAGE}"
    outlook = {"nextAt": LATER, "sentence": sentence}
    assert await acme.client.query(WAITING) == {
        "destinations": {"nodes": [{"contentError": MESSAGE, "outlook": outlook}]},
        "others": {"totalCount": 2},
        "boardCounts": {"invalidContent": {"count": 1, "capped": False}},
    }
    renamed = await run_mutation(acme, UPDATE_ACCOUNT, accountId=account, accountName="A")
    assert renamed["contentErrorCount"] == 1

    reconnected = {"platform": "mastodon", "platformUserId": "1@a.example"}
    payload = await run_mutation(acme, CONNECT, **reconnected, publisher="EXTERNAL")
    assert payload["contentErrorCount"] == 0
    assert await acme.client.query(WAITING) == nothing
    payload = await run_mutation(acme, CONNECT, **reconnected, publisher="MASTODON")
    assert payload["contentErrorCount"] == 1
