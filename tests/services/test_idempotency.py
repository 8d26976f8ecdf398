"""What was answered to earlier requests is kept as long as it counts, and then forgotten."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select

from app.db.core.database import Database, WriteSession
from app.db.models import IdempotencyKey
from app.domain.ids import WorkspaceId
from app.services.retention import prune_idempotency_keys
from tests.factories import NOW, add_workspace


async def add_keys(database: Database, workspace: WorkspaceId, *expiries: datetime) -> None:
    rows: list[dict[str, Any]] = [
        {
            "workspace_id": workspace,
            "operation": "createPost",
            "key": f"given:{number}",
            "fingerprint": bytes(32),
            "outcome": {},
            "created_at": NOW,
            "expires_at": expires_at,
        }
        for number, expires_at in enumerate(expiries)
    ]

    async def work(session: WriteSession) -> None:
        await session.execute(insert(IdempotencyKey), rows)

    await database.write(work)


async def stored_keys(database: Database) -> list[datetime]:
    async with database.unscoped_connection() as connection:
        return list(
            await connection.scalars(
                select(IdempotencyKey.expires_at).order_by(IdempotencyKey.expires_at)
            )
        )


async def test_what_has_expired_is_forgotten_however_much_it_is(database: Database) -> None:
    later = [NOW + timedelta(milliseconds=1), NOW + timedelta(days=1)]
    for number in range(2):
        workspace = await add_workspace(database)
        old = [NOW - timedelta(seconds=second // 2) for second in range(1, 1300)]
        await add_keys(database, workspace, *old, NOW, later[number])

    await prune_idempotency_keys(database, NOW)

    assert await stored_keys(database) == later
    await prune_idempotency_keys(database, NOW)
    assert await stored_keys(database) == later
