"""Mutations of accounts: effects on accounts and posts, and errors."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.db.tools.integrity import find_problems
from app.domain.accounts import HealthReason, blocking_message
from app.domain.destinations import DestinationState, ErrorCategory
from app.domain.ids import MAX_ACCOUNT_ID, AccountId
from app.domain.times import format_instant
from app.services.expirations import fail_due_on_blocked_accounts
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.domain.errors import ACCOUNT_ID_MESSAGE
from tests.factories import (
    NOW,
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
from tests.graphql.schema.mutations.mutation_calls import (
    expect_refusal,
    run_mutation,
    stored_events,
)

NOW_TEXT = "2026-04-15T15:00:00.000Z"
LATER = "2026-06-14T15:00:00.000Z"
LONG_AGO = NOW - timedelta(days=30)

ACCOUNT = """
fragment A on Account {
  accountId platform publisher accountName displayName platformUserId platformUsername avatarUrl
  isActive needsReconnectionSince readiness { canPost } token { expiresAt lastRefresh }
  connectedAt createdAt updatedAt
}
"""
CONNECT = f"""
mutation ($input: ConnectAccountInput!) {{ payload: connectAccount(input: $input) {{ account {{ ...A }} }} }}
{ACCOUNT}
"""
UPDATE = f"""
mutation ($input: UpdateAccountInput!) {{ payload: updateAccount(input: $input) {{ account {{ ...A }} }} }}
{ACCOUNT}
"""
DISCONNECT = f"""
mutation ($input: DisconnectAccountInput!) {{
  payload: disconnectAccount(input: $input) {{ account {{ ...A }} waitingPosts }}
}}
{ACCOUNT}
"""
RECONNECTED = f"""
mutation ($input: MarkReconnectedInput!) {{
  payload: markReconnected(input: $input) {{ account {{ ...A }} }}
}}
{ACCOUNT}
"""
RETRY_AUTH_FAILURES = f"""
mutation ($input: RetryAfterReconnectInput!) {{
  payload: retryAfterReconnect(input: $input) {{
    account {{ ...A }} postIds retriedCount hasMore matchingCount
  }}
}}
{ACCOUNT}
"""
ACCOUNT_ID_MUTATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "updateAccount": (UPDATE, {"accountId": 1, "displayName": "Else"}),
    "disconnectAccount": (DISCONNECT, {"accountId": 1}),
    "markReconnected": (RECONNECTED, {"accountId": 1}),
    "retryAfterReconnect": (RETRY_AUTH_FAILURES, {"accountId": 1}),
}
ACCOUNT_MUTATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "connectAccount": (CONNECT, {"platform": "x"}),
    **ACCOUNT_ID_MUTATIONS,
}
NAMES = {
    "platform": "linkedin",
    "accountName": "Acme Inc.",
    "displayName": "Acme",
    "platformUserId": "urn:li:organization:7",
    "platformUsername": "acme-inc",
    "avatarUrl": "https://example.com/acme.png",
}
CONNECT_INPUT = {**NAMES, "tokenExpiresAt": LATER}
CONNECTED = {
    "accountId": 1,
    **NAMES,
    "publisher": "EXTERNAL",
    "isActive": True,
    "needsReconnectionSince": None,
    "readiness": {"canPost": True},
    "token": {"expiresAt": LATER, "lastRefresh": NOW_TEXT},
    "connectedAt": NOW_TEXT,
    "createdAt": NOW_TEXT,
    "updatedAt": NOW_TEXT,
}
UNNAMED = {
    **CONNECTED,
    **dict.fromkeys(("displayName", "platformUserId", "platformUsername", "avatarUrl")),
    "token": {"expiresAt": None, "lastRefresh": NOW_TEXT},
}
ONLY_SANDBOX = (
    "publisher SANDBOX publishes on the platform sandbox only, not on x. Choose EXTERNAL, and publish with a"
    " client of the API."
)
NOT_NULL = "publisher must not be null. Omit it to leave it unchanged."
UNDECIDED = (
    "The publisher of an account cannot be changed while a post is being published on it or has an unknown"
    " outcome. Try again when their results are known. Number of these posts: 1."
)
NO_ACCOUNT = "The account was not found: this workspace has none with that number."
BLOCKED: dict[str, Any] = {
    "is_active": False,
    "needs_reconnection_since": LONG_AGO,
    "token_expires_at": NOW,
}
"""Columns of an account that cannot post, for three reasons."""


def auth_failed(*, settled_at: datetime = NOW) -> DestinationState:
    return failed(category=ErrorCategory.AUTH, code="AUTH", attempts=0, settled_at=settled_at)


async def add_posts_on(
    tenant: Tenant, account: AccountId, states: Sequence[DestinationState]
) -> list[str]:
    """Add one post on the account for each state; return the ids."""
    added = [
        await add_post(
            tenant.database, tenant.workspace, {account: state}, is_draft=state == draft()
        )
        for state in states
    ]
    return [str(post.id) for post in added]


async def test_connected_account_gets_next_number(acme: Tenant) -> None:
    assert (await run_mutation(acme, CONNECT, **CONNECT_INPUT))["account"] == CONNECTED
    second = (await run_mutation(acme, CONNECT, platform="x"))["account"]

    names = {"accountId": 2, "platform": "x", "accountName": "x account 2"}
    assert second == {**UNNAMED, **names, "createdAt": NOW_TEXT}
    assert [event[1:4] for event in await stored_events(acme.database)] == [
        ("account.connected", "connectAccount", 1),
        ("account.connected", "connectAccount", 2),
    ]


async def test_connecting_known_platform_user_reconnects_account(acme: Tenant) -> None:
    identity: dict[str, Any] = {"platform": "linkedin", "platform_user_id": "urn:li:organization:7"}
    columns: dict[str, Any] = {
        "account_name": "Old",
        "platform_username": "old",
        "created_at": LONG_AGO,
    }
    await add_account(acme.database, acme.workspace, **identity, **columns, **BLOCKED)
    await add_account(acme.database, acme.workspace, **{**identity, "platform": "x"})
    await add_account(acme.database, await add_workspace(acme.database), id=9, **identity)
    fields = {name: CONNECT_INPUT[name] for name in ("platform", "platformUserId", "displayName")}

    account = (await run_mutation(acme, CONNECT, **fields))["account"]

    assert account == {
        **CONNECTED,
        "accountName": "Old",
        "platformUsername": "old",
        "avatarUrl": None,
        "token": {"expiresAt": None, "lastRefresh": NOW_TEXT},
        "createdAt": "2026-03-16T15:00:00.000Z",
    }
    assert [event[1:4] for event in await stored_events(acme.database)] == [
        ("account.changed", "connectAccount", 1)
    ]
    accounts = (await all_rows(acme.database))["account"]
    assert sorted(row[1] for row in accounts) == [1, 2, 9]


async def test_concurrent_connects_of_same_platform_user_share_one_account(acme: Tenant) -> None:
    inputs = [CONNECT_INPUT] * 20 + [{"platform": "x"}] * 20
    answers = await asyncio.gather(*(acme.client.query(CONNECT, input=fields) for fields in inputs))

    numbers = [answer["payload"]["account"]["accountId"] for answer in answers]
    assert len(set(numbers[:20])) == 1
    assert sorted([numbers[0], *numbers[20:]]) == list(range(1, 22))
    assert await find_problems(acme.database) == []


async def test_connect_fails_without_free_account_number(acme: Tenant) -> None:
    await add_account(acme.database, acme.workspace, id=MAX_ACCOUNT_ID - 2)
    last = (await run_mutation(acme, CONNECT, platform="x"))["account"]

    assert last["accountId"] == 2_147_483_646
    assert await expect_refusal(acme, CONNECT, platform="x") == (
        "CONFLICT",
        None,
        "This workspace has no number left for another account.",
    )


async def test_update_changes_passed_fields_and_null_clears(acme: Tenant) -> None:
    await run_mutation(acme, CONNECT, **CONNECT_INPUT)
    changed = await run_mutation(
        acme, UPDATE, accountId=1, accountName=None, platformUsername="acme", tokenExpiresAt=None
    )

    assert changed["account"] == {
        **CONNECTED,
        "accountName": "Acme",
        "platformUsername": "acme",
        "token": {"expiresAt": None, "lastRefresh": NOW_TEXT},
    }
    changed_names = {"account_name", "platform_username", "token_expires_at"}
    assert [event[1:] for event in (await stored_events(acme.database))[1:]] == [
        ("account.changed", "updateAccount", 1, changed_names)
    ]


async def test_publisher_is_chosen_and_changed(acme: Tenant) -> None:
    for connection, publisher in (
        ({"platform": "sandbox", "platformUserId": "1"}, "SANDBOX"),
        ({"platform": "sandbox", "platformUserId": "2", "publisher": "EXTERNAL"}, "EXTERNAL"),
        ({"platform": "sandbox", "platformUserId": "1", "publisher": "EXTERNAL"}, "EXTERNAL"),
    ):
        account = (await run_mutation(acme, CONNECT, **connection))["account"]
        assert account["publisher"] == publisher
    changed = await run_mutation(acme, UPDATE, accountId=1, publisher="SANDBOX")
    assert changed["account"]["publisher"] == "SANDBOX"
    assert (await stored_events(acme.database))[-1].changed == {"publisher"}


async def test_impossible_publisher_is_refused(acme: Tenant) -> None:
    await add_account(acme.database, acme.workspace, platform="x")
    sandbox = await add_account(acme.database, acme.workspace, platform="sandbox")
    await add_posts_on(acme, sandbox, [started()])

    for account, publisher, error in (
        (1, "SANDBOX", ("VALIDATION_ERROR", "input.publisher", ONLY_SANDBOX)),
        (1, None, ("VALIDATION_ERROR", "input.publisher", NOT_NULL)),
        (sandbox, "EXTERNAL", ("CONFLICT", "input.publisher", UNDECIDED)),
    ):
        refusal = await expect_refusal(acme, UPDATE, accountId=account, publisher=publisher)
        assert refusal == error


async def test_mutations_without_effect_write_nothing(acme: Tenant) -> None:
    await run_mutation(acme, CONNECT, **CONNECT_INPUT)
    await run_mutation(acme, CONNECT, platform="x")
    await run_mutation(acme, DISCONNECT, accountId=2)
    before = await all_rows(acme.database)

    await run_mutation(acme, CONNECT, **CONNECT_INPUT)
    await run_mutation(acme, UPDATE, accountId=1, displayName="Acme", tokenExpiresAt=LATER)
    await run_mutation(acme, UPDATE, accountId=1)
    await run_mutation(acme, RECONNECTED, accountId=1, tokenExpiresAt=LATER)
    await run_mutation(acme, DISCONNECT, accountId=2)
    await run_mutation(acme, RETRY_AUTH_FAILURES, accountId=1)

    assert await all_rows(acme.database) == before


async def test_disconnect_returns_number_of_waiting_posts(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    other = await add_account(acme.database, acme.workspace)
    tomorrow = NOW + timedelta(days=1)
    waiting = [queued(), queued(tomorrow), waiting_for_retry()]
    others = [draft(), claimed(), started(), published(), failed(), unknown()]
    await add_posts_on(acme, account, waiting + others)
    await add_posts_on(acme, other, waiting)

    answer = await run_mutation(acme, DISCONNECT, accountId=account)

    assert answer["waitingPosts"] == 3
    assert (answer["account"]["isActive"], answer["account"]["readiness"]) == (
        False,
        {"canPost": False},
    )
    assert [event[1:] for event in await stored_events(acme.database)] == [
        ("account.changed", "disconnectAccount", account, {"is_active"})
    ]


async def test_reconnected_account_can_post(acme: Tenant) -> None:
    await add_account(acme.database, acme.workspace, created_at=LONG_AGO, **BLOCKED)
    for arguments, expiry in (({}, None), ({"tokenExpiresAt": LATER}, LATER)):
        account = (await run_mutation(acme, RECONNECTED, accountId=1, **arguments))["account"]

        assert account == {
            **UNNAMED,
            "platform": "instagram",
            "accountName": "acme",
            "token": {"expiresAt": expiry, "lastRefresh": NOW_TEXT},
            "createdAt": "2026-03-16T15:00:00.000Z",
        }


async def test_retry_after_reconnect_retries_only_auth_failures(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    other = await add_account(acme.database, acme.workspace)
    earlier, later = NOW - timedelta(days=2), NOW - timedelta(days=1)
    early, late = await add_posts_on(
        acme, account, [auth_failed(settled_at=earlier), auth_failed(settled_at=later)]
    )
    await add_posts_on(acme, account, [failed(), unknown(), queued(), published(), started()])
    await add_posts_on(acme, other, [auth_failed()])
    invisible = {account: auth_failed()}
    await add_post(acme.database, acme.workspace, invisible, deleted_at=NOW)
    await add_post(acme.database, acme.workspace, invisible, imported_at=NOW)
    before = {row[1]: row for row in (await all_rows(acme.database))["destination"]}

    for after, post_id in ((format_instant(later), late), (None, early)):
        answer = await run_mutation(acme, RETRY_AUTH_FAILURES, accountId=account, failedAfter=after)
        assert answer["postIds"] == [post_id]
        assert (answer["retriedCount"], answer["hasMore"]) == (1, False)

    rows = (await all_rows(acme.database))["destination"]
    assert sum(before[row[1]] != row for row in rows) == 2
    assert [event[1:3] for event in await stored_events(acme.database)] == [
        ("post.changed", "retryAfterReconnect"),
        ("destination.changed", "retryAfterReconnect"),
    ] * 2


async def test_retry_after_reconnect_requires_usable_account(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace, is_active=False)
    await add_posts_on(acme, account, [auth_failed(), auth_failed()])

    assert await expect_refusal(
        acme, RETRY_AUTH_FAILURES, accountId=account, idempotencyKey="k1"
    ) == (
        "ACCOUNT_NEEDS_RECONNECTION",
        "input.accountId",
        blocking_message(HealthReason.ACCOUNT_INACTIVE),
    )
    await run_mutation(acme, RECONNECTED, accountId=account)
    answer = await run_mutation(acme, RETRY_AUTH_FAILURES, accountId=account, idempotencyKey="k1")
    assert answer["retriedCount"] == 2


async def test_dry_run_after_reconnect_counts_what_would_be_retried(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace, is_active=False)
    earlier, later = NOW - timedelta(days=2), NOW - timedelta(days=1)
    states = [auth_failed(settled_at=earlier), auth_failed(settled_at=later), failed(), unknown()]
    early, late, *_ = await add_posts_on(acme, account, states)
    hidden = {account: auth_failed()}
    await add_post(acme.database, acme.workspace, hidden, deleted_at=NOW)
    await add_post(acme.database, acme.workspace, hidden, imported_at=NOW)
    before = await all_rows(acme.database)

    for after, expected in ((None, [early, late]), (format_instant(later), [late])):
        dry = await run_mutation(
            acme, RETRY_AUTH_FAILURES, accountId=account, failedAfter=after, dryRun=True
        )
        count = len(expected)
        assert (dry["postIds"], dry["retriedCount"], dry["matchingCount"]) == (
            expected,
            count,
            count,
        )
        assert dry["hasMore"] is False
    assert await all_rows(acme.database) == before
    error = await expect_refusal(acme, RETRY_AUTH_FAILURES, accountId=9, dryRun=True)
    assert error[0] == "NOT_FOUND"


async def test_concurrent_retries_retry_each_post_once(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    expected = await add_posts_on(acme, account, [auth_failed()] * 5)

    answers = await asyncio.gather(
        *(acme.client.query(RETRY_AUTH_FAILURES, input={"accountId": account}) for _ in range(5))
    )

    retried = [answer for answer in answers for answer in answer["payload"]["postIds"]]
    assert sorted(retried) == sorted(expected)
    assert len(await stored_events(acme.database)) == 10


async def test_retry_after_reconnect_retries_500_posts_per_call(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace, is_active=False)
    posts = [{"content": "Sale", "accountIds": [account]}] * 50
    for batch in [posts] * 10 + [posts[:1]]:
        await acme.client.query(
            "mutation ($input: CreatePostsInput!) { createPosts(input: $input) { succeeded } }",
            input={"posts": batch},
        )
    await fail_due_on_blocked_accounts(acme.database, NOW)
    data = await acme.client.query(
        '{ destinations(filter: {errorCode: ["AUTH"], status: [FAILED]}) { totalCount } }'
    )
    assert data["destinations"]["totalCount"] == 501
    await run_mutation(acme, RECONNECTED, accountId=account)

    pages = [await run_mutation(acme, RETRY_AUTH_FAILURES, accountId=account) for _ in range(3)]

    assert [(page["retriedCount"], page["hasMore"]) for page in pages] == [
        (500, True),
        (1, False),
        (0, False),
    ]
    assert len({post_id for page in pages for post_id in page["postIds"]}) == 501


@pytest.mark.parametrize(
    "fields",
    [
        {"platform": "Instagram"},
        {"accountName": "a\0"},
        {"platformUsername": "😀" * 501},
        {"platformUserId": ""},
        {"avatarUrl": "ftp://example.com/a.png"},
        {"idempotencyKey": ""},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_invalid_account_field_is_rejected_by_name(
    acme: Tenant, fields: dict[str, Any]
) -> None:
    (field,) = fields
    error = await expect_refusal(acme, CONNECT, **{"platform": "x", **fields})
    assert error[:2] == ("VALIDATION_ERROR", f"input.{field}")

    await add_account(acme.database, acme.workspace)
    if field in ("accountName", "platformUsername", "avatarUrl"):
        assert await expect_refusal(acme, UPDATE, accountId=1, **fields) == error


async def test_missing_or_impossible_account_is_rejected(acme: Tenant) -> None:
    for document, arguments in ACCOUNT_ID_MUTATIONS.values():
        for number, expected in (
            (8, ("NOT_FOUND", None, NO_ACCOUNT)),
            (MAX_ACCOUNT_ID, ("NOT_FOUND", None, NO_ACCOUNT)),
            (0, ("INVALID_ID", "input.accountId", ACCOUNT_ID_MESSAGE)),
        ):
            error = await expect_refusal(acme, document, **{**arguments, "accountId": number})
            assert error == expected
