"""Query `viewer`: API key, workspace and totals."""

from datetime import timedelta

from app.db.core.database import Database
from app.domain.api_keys import Scope
from tests.clients import Tenant, app_client
from tests.factories import NOW, add_account, add_api_key, add_post, add_workspace, queued

DAYS = timedelta(days=1)


async def test_viewer_returns_api_key_and_workspace(database: Database) -> None:
    workspace = await add_workspace(
        database, name="Acme — Ünited", mirror_of="https://posts.example.com"
    )
    key = await add_api_key(
        database,
        workspace,
        name="Dashboard",
        scopes=[Scope.READ, Scope.PUBLISH_ALL],
        created_at=NOW - 30 * DAYS,
        expires_at=NOW + 30 * DAYS,
        last_used_at=NOW - 1 * DAYS,
    )
    async with app_client(database, token=key.token) as client:
        data = await client.query(
            "{ viewer { apiKey { keyId keyPrefix name scopes createdAt lastUsedAt expiresAt }"
            " scopes workspace { workspaceId name kind } } }"
        )
    assert data == {
        "viewer": {
            "apiKey": {
                "keyId": str(key.id),
                "keyPrefix": key.token[: len("pe_live_") + 4],
                "name": "Dashboard",
                "scopes": ["READ", "PUBLISH_ALL"],
                "createdAt": "2026-03-16T15:00:00.000Z",
                "lastUsedAt": "2026-04-14T15:00:00.000Z",
                "expiresAt": "2026-05-15T15:00:00.000Z",
            },
            "scopes": ["READ", "PUBLISH_ALL"],
            "workspace": {
                "workspaceId": str(workspace),
                "name": "Acme — Ünited",
                "kind": "MIRROR",
            },
        }
    }


async def test_unused_key_without_expiry_has_null_times(acme: Tenant) -> None:
    data = await acme.client.query(
        "{ viewer { apiKey { lastUsedAt expiresAt } workspace { kind } } }"
    )
    assert data["viewer"] == {
        "apiKey": {"lastUsedAt": None, "expiresAt": None},
        "workspace": {"kind": "LOCAL"},
    }


async def test_totals_exclude_only_deleted_posts(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    await add_account(acme.database, acme.workspace, is_active=False)
    for age in (timedelta(0), 30 * DAYS, 30 * DAYS + timedelta(milliseconds=1)):
        await add_post(acme.database, acme.workspace, {account: queued()}, created_at=NOW - age)
    await add_post(acme.database, acme.workspace, deleted_at=NOW)
    await add_post(acme.database, await add_workspace(acme.database))
    data = await acme.client.query("{ viewer { stats { totalPosts postsLast30d accounts } } }")
    assert data["viewer"]["stats"] == {"totalPosts": 3, "postsLast30d": 2, "accounts": 2}
