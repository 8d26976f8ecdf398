"""Queries of accounts: fields, readiness, health and activity."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from app.domain.accounts import HealthReason, blocking_message
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
from tests.graphql.schema.test_query import node_id

MILLISECOND = timedelta(milliseconds=1)
WEEK = timedelta(days=7)

NO_ACTIVITY = {
    "lastPublishedAt": None,
    "failuresLast7d": 0,
    "permanentFailuresLast7d": 0,
    "queuedCount": 0,
}


async def test_account_returns_all_fields(acme: Tenant) -> None:
    account = await add_account(
        acme.database,
        acme.workspace,
        id=2280,
        platform="linkedin",
        account_name="Acme Inc.",
        display_name="Acme",
        platform_user_id="urn:li:organization:7",
        platform_username="acme-inc",
        avatar_url="https://example.com/acme.png",
        token_expires_at=NOW + timedelta(days=60),
        token_refreshed_at=NOW - timedelta(days=1),
        created_at=NOW - timedelta(days=30),
    )
    data = await acme.client.query(
        "{ account(accountId: 2280) { id accountId platform accountName displayName platformUserId"
        " platformUsername avatarUrl isActive needsReconnection needsReconnectionSince"
        " readiness { status canPost message }"
        " token { expiresAt lastRefresh expired expiringSoon }"
        " health { status canPost reasons activity { lastPublishedAt failuresLast7d"
        " permanentFailuresLast7d queuedCount } }"
        " connectedAt createdAt updatedAt } }"
    )
    assert data == {
        "account": {
            "id": node_id("Account", account),
            "accountId": 2280,
            "platform": "linkedin",
            "accountName": "Acme Inc.",
            "displayName": "Acme",
            "platformUserId": "urn:li:organization:7",
            "platformUsername": "acme-inc",
            "avatarUrl": "https://example.com/acme.png",
            "isActive": True,
            "needsReconnection": False,
            "needsReconnectionSince": None,
            "readiness": {"status": "HEALTHY", "canPost": True, "message": None},
            "token": {
                "expiresAt": "2026-06-14T15:00:00.000Z",
                "lastRefresh": "2026-04-14T15:00:00.000Z",
                "expired": False,
                "expiringSoon": False,
            },
            "health": {
                "status": "HEALTHY",
                "canPost": True,
                "reasons": [],
                "activity": NO_ACTIVITY,
            },
            "connectedAt": "2026-03-16T15:00:00.000Z",
            "createdAt": "2026-03-16T15:00:00.000Z",
            "updatedAt": "2026-03-16T15:00:00.000Z",
        }
    }


async def test_accounts_are_ordered_by_number(acme: Tenant) -> None:
    for number in (30, 4, 200):
        await add_account(acme.database, acme.workspace, id=number, is_active=number != 4)
    data = await acme.client.query("{ accounts { accountId isActive } }")
    assert data["accounts"] == [
        {"accountId": 4, "isActive": False},
        {"accountId": 30, "isActive": True},
        {"accountId": 200, "isActive": True},
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"display_name": "Display", "platform_username": "user"}, "Display"),
        ({"platform_username": "user"}, "user"),
        ({"account_name": ""}, "instagram account 7"),
        ({}, "instagram account 7"),
    ],
)
async def test_account_name_is_never_empty(
    acme: Tenant, names: dict[str, Any], expected: str
) -> None:
    await add_account(acme.database, acme.workspace, id=7, **{"account_name": None, **names})
    data = await acme.client.query("{ accounts { accountName } }")
    assert data["accounts"] == [{"accountName": expected}]


DISABLED = blocking_message(HealthReason.ACCOUNT_INACTIVE)
REJECTED = blocking_message(HealthReason.NEEDS_RECONNECTION)
EXPIRED = blocking_message(HealthReason.TOKEN_EXPIRED)


@pytest.mark.parametrize(
    ("row", "readiness", "status", "reasons"),
    [
        (
            {"is_active": False},
            ("UNHEALTHY", DISABLED),
            "BROKEN",
            ["ACCOUNT_INACTIVE"],
        ),
        (
            {"needs_reconnection_since": NOW},
            ("EXPIRED", REJECTED),
            "BROKEN",
            ["NEEDS_RECONNECTION"],
        ),
        ({"token_expires_at": NOW}, ("EXPIRED", EXPIRED), "BROKEN", ["TOKEN_EXPIRED"]),
        (
            {"token_expires_at": NOW + MILLISECOND},
            ("HEALTHY", None),
            "WARNING",
            ["TOKEN_EXPIRING_SOON"],
        ),
        ({"token_expires_at": NOW + WEEK}, ("HEALTHY", None), "WARNING", ["TOKEN_EXPIRING_SOON"]),
        ({"token_expires_at": NOW + WEEK + MILLISECOND}, ("HEALTHY", None), "HEALTHY", []),
        (
            {"is_active": False, "needs_reconnection_since": NOW, "token_expires_at": NOW},
            ("UNHEALTHY", DISABLED),
            "BROKEN",
            ["ACCOUNT_INACTIVE", "NEEDS_RECONNECTION", "TOKEN_EXPIRED"],
        ),
    ],
)
async def test_access_determines_readiness_and_health(
    acme: Tenant,
    row: dict[str, Any],
    readiness: tuple[str, str | None],
    status: str,
    reasons: list[str],
) -> None:
    await add_account(acme.database, acme.workspace, **row)
    data = await acme.client.query(
        "{ accounts { readiness { status canPost message } health { status canPost reasons }"
        " token { expired expiringSoon } needsReconnection needsReconnectionSince } }"
    )
    can_post = status != "BROKEN"
    is_rejected = "needs_reconnection_since" in row
    assert data["accounts"] == [
        {
            "readiness": {"status": readiness[0], "canPost": can_post, "message": readiness[1]},
            "health": {"status": status, "canPost": can_post, "reasons": reasons},
            "token": {
                "expired": "TOKEN_EXPIRED" in reasons,
                "expiringSoon": "TOKEN_EXPIRING_SOON" in reasons,
            },
            "needsReconnection": is_rejected,
            "needsReconnectionSince": "2026-04-15T15:00:00.000Z" if is_rejected else None,
        }
    ]


async def test_three_permanent_failures_within_a_week_are_a_warning(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    health = "{ account(accountId: 1) { health { status canPost reasons } } }"
    for _ in range(2):
        await add_post(acme.database, acme.workspace, {account: failed()})
    assert (await acme.client.query(health))["account"]["health"] == {
        "status": "HEALTHY",
        "canPost": True,
        "reasons": [],
    }
    await add_post(acme.database, acme.workspace, {account: failed(category=ErrorCategory.AUTH)})
    assert (await acme.client.query(health))["account"]["health"] == {
        "status": "WARNING",
        "canPost": True,
        "reasons": ["RECENT_PERMANENT_FAILURES"],
    }


@pytest.mark.parametrize(
    ("state", "post", "activity"),
    [
        (draft(), {"is_draft": True}, {}),
        (queued(NOW + timedelta(days=9)), {}, {"queuedCount": 1}),
        (queued(), {"deleted_at": NOW}, {}),
        (waiting_for_retry(), {}, {"queuedCount": 1}),
        (claimed(), {}, {}),
        (started(), {}, {}),
        (published(NOW), {}, {"lastPublishedAt": "2026-04-15T15:00:00.000Z"}),
        (published(NOW), {"deleted_at": NOW}, {"lastPublishedAt": "2026-04-15T15:00:00.000Z"}),
        (failed(), {}, {"failuresLast7d": 1, "permanentFailuresLast7d": 1}),
        (failed(), {"deleted_at": NOW}, {"failuresLast7d": 1, "permanentFailuresLast7d": 1}),
        (failed(category=ErrorCategory.PERMANENT, code="CANCELLED"), {}, {}),
        (failed(category=ErrorCategory.TRANSIENT), {}, {"failuresLast7d": 1}),
        (unknown(), {}, {"failuresLast7d": 1}),
        (
            failed(settled_at=NOW - WEEK),
            {},
            {"failuresLast7d": 1, "permanentFailuresLast7d": 1},
        ),
        (failed(settled_at=NOW - WEEK - MILLISECOND), {}, {}),
    ],
)
async def test_state_determines_account_activity(
    acme: Tenant, state: DestinationState, post: dict[str, Any], activity: dict[str, object]
) -> None:
    account = await add_account(acme.database, acme.workspace)
    await add_account(acme.database, acme.workspace)
    created_at: datetime = NOW - timedelta(days=30)
    await add_post(
        acme.database,
        acme.workspace,
        {account: state},
        created_at=created_at,
        **{"updated_at": NOW, **post},
    )
    data = await acme.client.query(
        "{ accounts { health { activity { lastPublishedAt failuresLast7d permanentFailuresLast7d"
        " queuedCount } } } }"
    )
    assert [account["health"]["activity"] for account in data["accounts"]] == [
        {**NO_ACTIVITY, **activity},
        NO_ACTIVITY,
    ]
