"""Times of last use of API keys: the latest wins, in whatever order processes write."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.models import ApiKey
from app.db.repositories.api_keys import update_last_used
from app.domain.ids import ApiKeyId, WorkspaceId
from tests.factories import NOW, add_api_key, add_workspace

MS = timedelta(milliseconds=1)


async def last_used_at(database: Database) -> dict[ApiKeyId, datetime | None]:
    async with database.read_connection() as connection:
        rows = await connection.execute(select(ApiKey.id, ApiKey.last_used_at))
        return {row.id: row.last_used_at for row in rows}


async def update_used_at(
    database: Database, used_at: dict[tuple[WorkspaceId, ApiKeyId], datetime]
) -> None:
    await database.write_all_workspaces(lambda session: update_last_used(session, used_at))


@pytest.mark.parametrize(
    ("stored", "written", "expected"),
    [
        (None, NOW, NOW),
        (NOW, NOW + MS, NOW + MS),
        (NOW, NOW, NOW),
        (NOW, NOW - MS, NOW),
    ],
)
async def test_older_use_never_replaces_a_newer_one(
    database: Database, stored: datetime | None, written: datetime, expected: datetime
) -> None:
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace, last_used_at=stored)

    await update_used_at(database, {(workspace, key.id): written})

    assert await last_used_at(database) == {key.id: expected}


async def test_each_key_is_compared_with_its_own_time(database: Database) -> None:
    workspace, another = await add_workspace(database), await add_workspace(database)
    fresh = await add_api_key(database, workspace)
    older = await add_api_key(database, workspace, last_used_at=NOW - MS)
    newer = await add_api_key(database, another, last_used_at=NOW + MS)
    idle = await add_api_key(database, another)

    await update_used_at(
        database,
        {(workspace, fresh.id): NOW, (workspace, older.id): NOW, (another, newer.id): NOW},
    )

    assert await last_used_at(database) == {
        fresh.id: NOW,
        older.id: NOW,
        newer.id: NOW + MS,
        idle.id: None,
    }
