"""Queries of accounts: fields, readiness, health and activity."""

from datetime import timedelta
from typing import Any

import pytest

from app.domain.accounts import HealthReason, blocking_message
from app.domain.destinations import DestinationState, ErrorCategory
from app.domain.transitions import unclaimable
from tests.clients import Tenant
from tests.factories import (
    NOW,
    add_account,
    claimed,
    draft,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)
from tests.graphql.tenant_objects import add_post_in_states, node_id

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
        name = None if number == 4 else "acme"
        await add_account(
            acme.database, acme.workspace, id=number, account_name=name, is_active=number != 4
        )
    data = await acme.client.query("{ accounts { accountId accountName isActive } }")
    assert data["accounts"] == [
        {"accountId": 4, "accountName": "instagram account 4", "isActive": False},
        {"accountId": 30, "accountName": "acme", "isActive": True},
        {"accountId": 200, "accountName": "acme", "isActive": True},
    ]


async def test_access_determines_readiness_and_health(acme: Tenant) -> None:
    rejected: dict[str, Any] = {"needs_reconnection_since": NOW, "token_expires_at": NOW}
    await add_account(acme.database, acme.workspace, **rejected)
    data = await acme.client.query(
        "{ accounts { readiness { status canPost message } health { status canPost reasons }"
        " token { expired expiringSoon } needsReconnection needsReconnectionSince } }"
    )
    message = blocking_message(HealthReason.NEEDS_RECONNECTION)
    reasons = ["NEEDS_RECONNECTION", "TOKEN_EXPIRED"]
    assert data["accounts"] == [
        {
            "readiness": {"status": "EXPIRED", "canPost": False, "message": message},
            "health": {"status": "BROKEN", "canPost": False, "reasons": reasons},
            "token": {"expired": True, "expiringSoon": False},
            "needsReconnection": True,
            "needsReconnectionSince": "2026-04-15T15:00:00.000Z",
        }
    ]


@pytest.mark.parametrize(
    ("state", "post", "activity"),
    [
        (draft(), {}, {}),
        (queued(NOW + timedelta(days=9)), {}, {"queuedCount": 1}),
        (unclaimable(queued()), {"deleted_at": NOW}, {}),
        (unclaimable(queued()), {"imported_at": NOW}, {}),
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
        (failed(settled_at=NOW - WEEK), {}, {"failuresLast7d": 1, "permanentFailuresLast7d": 1}),
        (failed(settled_at=NOW - WEEK - MILLISECOND), {}, {}),
    ],
)
async def test_state_determines_account_activity(
    acme: Tenant, state: DestinationState, post: dict[str, Any], activity: dict[str, object]
) -> None:
    await add_post_in_states(
        acme, state, created_at=NOW - timedelta(days=30), updated_at=NOW, **post
    )
    await add_account(acme.database, acme.workspace)
    data = await acme.client.query(
        "{ accounts { health { activity { lastPublishedAt failuresLast7d permanentFailuresLast7d"
        " queuedCount } } } }"
    )
    assert [account["health"]["activity"] for account in data["accounts"]] == [
        {**NO_ACTIVITY, **activity},
        NO_ACTIVITY,
    ]
