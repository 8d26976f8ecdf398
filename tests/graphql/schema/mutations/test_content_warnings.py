"""Warnings of texts and media that the platform of a destination would not accept."""

from typing import Any

from app.domain.accounts import AccountPublisher
from app.domain.ids import AccountId
from tests.clients import Tenant
from tests.factories import NOW, add_account, add_post, failed, queued
from tests.graphql.schema.mutations.mutation_calls import run_mutation
from tests.graphql.schema.mutations.test_posts import LATER

WARNINGS = """
  warnings { accountId reason message } contentWarnings { accountId platform code message }
"""
CREATE, UPDATE, SCHEDULE = (
    f"mutation ($input: {name[0].upper()}{name[1:]}Input!) {{"
    f" payload: {name}(input: $input) {{ post {{ postId version }} {WARNINGS} }} }}"
    for name in ("createPost", "updatePost", "schedulePost")
)
CREATE_SEVERAL = f"""
mutation ($input: CreatePostsInput!) {{
  payload: createPosts(input: $input) {{
    results {{ post {{ postId }} {WARNINGS} error {{ code }} }}
  }}
}}
"""
TOO_LONG = "a" * 310
BLUESKY_MESSAGE = "The text has 310 characters; Bluesky allows 300. Shorten the text by 10."
MASTODON_MESSAGE = (
    "The text has 501 characters; Mastodon by default allows 500. Each URL"
    " counts as 23 characters. Shorten the text by 1."
)


def warning(
    account: int, platform: str, message: str, code: str = "TEXT_TOO_LONG"
) -> dict[str, object]:
    return {"accountId": account, "platform": platform, "code": code, "message": message}


async def add_accounts_on_platforms(tenant: Tenant, *platforms: str) -> list[AccountId]:
    return [
        await add_account(tenant.database, tenant.workspace, platform=platform)
        for platform in platforms
    ]


async def test_each_account_whose_platform_has_a_lower_limit_gets_a_warning(acme: Tenant) -> None:
    accounts = await add_accounts_on_platforms(acme, "x", "bluesky", "mastodon", "bluesky")
    _, first, _, second = accounts

    payload = await run_mutation(acme, CREATE, content=TOO_LONG, accountIds=accounts)

    assert payload["warnings"] == []
    assert payload["contentWarnings"] == [
        warning(first, "bluesky", BLUESKY_MESSAGE),
        warning(second, "bluesky", BLUESKY_MESSAGE),
    ]


async def test_account_can_have_both_kinds_of_warnings(acme: Tenant) -> None:
    account = await add_account(
        acme.database,
        acme.workspace,
        platform="bluesky",
        publisher=AccountPublisher.BLUESKY,
        needs_reconnection_since=NOW,
    )
    payload = await run_mutation(
        acme, CREATE, content=TOO_LONG, accountIds=[account], mediaIds=["m1"]
    )
    assert [each["reason"] for each in payload["warnings"]] == ["NEEDS_RECONNECTION"]
    assert [each["code"] for each in payload["contentWarnings"]] == [
        "TEXT_TOO_LONG",
        "MEDIA_REJECTED",
    ]


async def test_each_of_several_posts_has_its_own_warnings(acme: Tenant) -> None:
    bluesky, mastodon = await add_accounts_on_platforms(acme, "bluesky", "mastodon")
    own = {"bluesky": {"content": "Short"}, "mastodon": {"content": "a" * 501}}
    posts = [
        {"content": TOO_LONG, "accountIds": [bluesky, mastodon], "platformContent": own},
        {"content": TOO_LONG, "accountIds": [99]},
        {"content": TOO_LONG, "accountIds": [bluesky], "draft": True},
    ]

    payload = await run_mutation(acme, CREATE_SEVERAL, posts=posts, idempotencyKey="k")

    assert [each["contentWarnings"] for each in payload["results"]] == [
        [warning(mastodon, "mastodon", MASTODON_MESSAGE)],
        [],
        [warning(bluesky, "bluesky", BLUESKY_MESSAGE)],
    ]
    assert await run_mutation(acme, CREATE_SEVERAL, posts=posts, idempotencyKey="k") == payload


async def test_change_and_schedule_warn_until_the_text_is_short_enough(acme: Tenant) -> None:
    (account,) = await add_accounts_on_platforms(acme, "bluesky")
    payload = await run_mutation(acme, CREATE, content="Sale", draft=True, accountIds=[account])
    assert payload["contentWarnings"] == []
    key = {"postId": payload["post"]["postId"]}

    for document, fields, expected in (
        (UPDATE, {"content": TOO_LONG}, [warning(account, "bluesky", BLUESKY_MESSAGE)]),
        (SCHEDULE, {"scheduledFor": LATER}, [warning(account, "bluesky", BLUESKY_MESSAGE)]),
        (UPDATE, {"content": "a" * 300}, []),
        (
            UPDATE,
            {"mediaIds": ["m"] * 5},
            [
                warning(
                    account,
                    "bluesky",
                    "The post has 5 media; Bluesky allows 4. Remove 1 of them.",
                    code="TOO_MANY_MEDIA",
                )
            ],
        ),
    ):
        payload = await run_mutation(acme, document, **key, **fields)
        assert payload["contentWarnings"] == expected


async def test_final_destination_gets_no_warning(acme: Tenant) -> None:
    accounts = await add_accounts_on_platforms(acme, *["bluesky"] * 2)
    states = dict(zip(accounts, (failed(), queued()), strict=True))
    post = await add_post(acme.database, acme.workspace, states)

    payload = await run_mutation(acme, UPDATE, postId=str(post.id), content=TOO_LONG)

    assert [each["accountId"] for each in payload["contentWarnings"]] == [accounts[1]]


async def test_repeated_request_returns_the_warnings_of_the_first(acme: Tenant) -> None:
    (account,) = await add_accounts_on_platforms(acme, "bluesky")
    request: dict[str, Any] = {
        "content": TOO_LONG,
        "accountIds": [account],
        "scheduledFor": LATER,
        "idempotencyKey": "k",
    }
    first = await run_mutation(acme, CREATE, **request)
    await run_mutation(acme, UPDATE, postId=first["post"]["postId"], content="Sale")

    repeated = await run_mutation(acme, CREATE, **request)

    assert repeated["contentWarnings"] == first["contentWarnings"] != []
    assert repeated["post"]["version"] == 2
