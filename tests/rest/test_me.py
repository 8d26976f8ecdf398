"""`GET /me`: the key, its workspace, and constant values for members of a hosted service."""

from datetime import timedelta
from uuid import UUID

from app.db.core.database import Database
from app.domain.api_keys import Scope
from tests.clients import app_client
from tests.factories import NOW, add_account, add_api_key, add_post, add_workspace
from tests.rest.envelope import ordered_json, success_data

WORKSPACE = UUID("0b1e7a30-0000-4000-8000-000000000001")
KEY = UUID("0b1e7a30-0000-4000-8000-000000000002")
DAY = timedelta(days=1)


async def test_me_has_key_workspace_and_usage(database: Database) -> None:
    workspace = await add_workspace(database, id=WORKSPACE, name="Acme")
    key = await add_api_key(
        database,
        workspace,
        id=KEY,
        name="Dashboard",
        scopes=[Scope.READ, Scope.PUBLISH_ALL],
        created_at=NOW - DAY,
        expires_at=NOW + DAY,
        last_used_at=NOW - timedelta(minutes=1),
    )
    for number in (1, 2):
        await add_account(database, workspace, id=number, is_active=number == 1)
    for age in (0, 29, 31):
        await add_post(database, workspace, created_at=NOW - age * DAY)
    async with app_client(database, token=key.token) as client:
        response = await client.get("/v1/me")
    assert ordered_json(success_data(response)) == ordered_json(
        {
            "api_key": {
                "id": str(KEY),
                "key_prefix": key.token[:12],
                "name": "Dashboard",
                "scopes": ["read", "publish:all"],
                "last_used_at": "2026-04-15T14:59:00.000Z",
                "created_at": "2026-04-14T15:00:00.000Z",
                "expires_at": "2026-04-16T15:00:00.000Z",
            },
            "scopes": ["read", "publish:all"],
            "workspace": {"id": str(WORKSPACE), "name": "Acme"},
            "user": {"id": 1, "email": "", "name": "Acme"},
            "organization": {
                "id": str(WORKSPACE),
                "name": "Acme",
                "subscription_plan": "self-hosted",
                "subscription_status": "active",
                "subscription_source": None,
                "trial_end": None,
                "current_period_end": None,
                "cancel_at_period_end": False,
                "entitled": True,
            },
            "quota": {
                "accounts": {"used": 2, "limit": 2_147_483_647},
                "ai_credits": {"used": 0, "limit": 2_147_483_647, "bonus": 0},
                "storage_bytes": {"used": 0, "limit": 2_147_483_647},
                "team_seats": {"limit": 2_147_483_647},
            },
            "stats": {"posts_last_30d": 2, "total_posts": 3},
        }
    )


async def test_unused_key_has_time_of_this_request_as_last_use(database: Database) -> None:
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace, last_used_at=None)
    async with app_client(database, token=key.token) as client:
        data = success_data(await client.get("/v1/me"))
    assert data["api_key"]["last_used_at"] == "2026-04-15T15:00:00.000Z"
    assert data["api_key"]["expires_at"] is None
