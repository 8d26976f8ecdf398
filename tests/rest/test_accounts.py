"""Accounts and their health: all keys in their documented order."""

from datetime import timedelta
from typing import Any

import pytest

from app.domain.destinations import ErrorCategory
from tests.clients import Tenant
from tests.factories import NOW, add_account, add_post, failed, published, queued
from tests.rest.envelope import failure_error, ordered_json, success_data
from tests.rest.write_requests import non_retryable_error

DAY = timedelta(days=1)


async def test_account_response_has_documented_keys_in_order(acme: Tenant) -> None:
    account = await add_account(
        acme.database,
        acme.workspace,
        id=2280,
        platform="linkedin",
        account_name="acme",
        display_name="Acme Inc.",
        platform_user_id="urn:li:person:1",
        platform_username="acme-inc",
        avatar_url="https://example.com/a.png",
        created_at=NOW - 30 * DAY,
    )
    response = await acme.client.get(f"/v1/accounts/{account}")
    assert ordered_json(success_data(response)) == ordered_json(
        {
            "id": 2280,
            "account_id": 2280,
            "platform": "linkedin",
            "account_name": "acme",
            "avatar_url": "https://example.com/a.png",
            "is_active": True,
            "created_at": "2026-03-16T15:00:00.000Z",
            "health": {"status": "healthy", "can_post": True, "message": None},
            "platform_user_id": "urn:li:person:1",
            "platform_username": "acme-inc",
            "display_name": "Acme Inc.",
        }
    )


async def test_accounts_are_listed_in_order_of_id(acme: Tenant) -> None:
    for number in (12, 3, 7):
        await add_account(acme.database, acme.workspace, id=number)
    data = success_data(await acme.client.get("/v1/accounts"))
    assert list(data) == ["accounts", "account_ids", "total"]
    assert [account["id"] for account in data["accounts"]] == [3, 7, 12]
    assert (data["account_ids"], data["total"]) == ([3, 7, 12], 3)
    alone = success_data(await acme.client.get("/v1/accounts/7"))
    assert ordered_json(data["accounts"][1]) == ordered_json(alone)


async def test_account_that_cannot_post_has_message_with_fix(acme: Tenant) -> None:
    account = await add_account(
        acme.database, acme.workspace, id=5, platform="x", account_name=None, is_active=False
    )
    data = success_data(await acme.client.get(f"/v1/accounts/{account}"))
    assert data["health"] == {
        "status": "unhealthy",
        "can_post": False,
        "message": "The account is switched off or disconnected. Connect it again to post.",
    }
    assert data["account_name"] == "x account 5"
    assert data["platform_username"] is data["display_name"] is None


async def test_health_is_computed_from_access_and_outcomes(acme: Tenant) -> None:
    account = await add_account(
        acme.database,
        acme.workspace,
        id=2285,
        platform="linkedin",
        account_name="Acme Inc.",
        platform_user_id="urn:li:person:1",
        token_expires_at=NOW + 3 * DAY,
        token_refreshed_at=NOW - 57 * DAY,
        created_at=NOW - 60 * DAY,
    )
    for state in (
        published(NOW - DAY, due_at=NOW - DAY),
        failed(),
        failed(category=ErrorCategory.AUTH, code="TOKEN_EXPIRED"),
        failed(category=ErrorCategory.PERMANENT, code="GONE"),
        failed(category=ErrorCategory.TRANSIENT, code="TIMEOUT"),
        queued(),
    ):
        await add_post(acme.database, acme.workspace, {account: state})
    response = await acme.client.get(f"/v1/accounts/{account}/health")
    assert ordered_json(success_data(response)) == ordered_json(
        {
            "account_id": 2285,
            "platform": "linkedin",
            "account_name": "Acme Inc.",
            "platform_account_id": "urn:li:person:1",
            "status": "warning",
            "can_post": True,
            "reasons": ["token_expiring_soon", "recent_permanent_failures"],
            "is_active": True,
            "needs_reconnection": False,
            "needs_reconnection_since": None,
            "token": {
                "expires_at": "2026-04-18T15:00:00.000Z",
                "last_refresh": "2026-02-17T15:00:00.000Z",
                "expired": False,
                "expiring_soon": True,
            },
            "activity": {
                "last_published_at": "2026-04-14T15:00:00.000Z",
                "failures_last_7d": 4,
                "permanent_failures_last_7d": 3,
                "queued_count": 1,
            },
            "connected_at": "2026-02-14T15:00:00.000Z",
        }
    )


async def test_health_has_reasons_and_time_of_broken_account(acme: Tenant) -> None:
    account = await add_account(
        acme.database, acme.workspace, is_active=False, needs_reconnection_since=NOW - DAY
    )
    data = success_data(await acme.client.get(f"/v1/accounts/{account}/health"))
    assert (data["status"], data["can_post"], data["is_active"]) == ("broken", False, False)
    assert data["reasons"] == ["account_inactive", "needs_reconnection"]
    assert data["needs_reconnection"] is True
    assert data["needs_reconnection_since"] == "2026-04-14T15:00:00.000Z"
    assert data["activity"]["last_published_at"] is None


@pytest.mark.parametrize(
    ("row", "account_id"),
    [
        ({"platform_user_id": "178", "platform_username": "acme"}, "178"),
        ({"platform_username": "acme"}, "acme"),
        ({}, ""),
    ],
)
async def test_platform_account_id_is_never_null(
    acme: Tenant, row: dict[str, Any], account_id: str
) -> None:
    account = await add_account(acme.database, acme.workspace, **row)
    data = success_data(await acme.client.get(f"/v1/accounts/{account}/health"))
    assert data["platform_account_id"] == account_id


@pytest.mark.parametrize("path", ["/v1/accounts/77", "/v1/accounts/77/health"])
async def test_unknown_account_is_not_found(acme: Tenant, path: str) -> None:
    error = failure_error(await acme.client.get(path), 404)
    assert ordered_json(error) == ordered_json(
        non_retryable_error(
            "not_found", None, "The account was not found: this workspace has none with that id."
        )
    )
