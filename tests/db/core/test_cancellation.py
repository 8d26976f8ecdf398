"""What is left of writes and schema changes that were cancelled, at each of the places where they wait."""

from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.core.database import Database
from app.domain.ids import WorkspaceId
from tests.db.core.cancellation import cancel_at_await
from tests.db.core.test_database import build_workspace, only_on_sqlite, workspace_names
from tests.factories import add_api_key


async def test_a_write_that_is_broken_off_anywhere_is_kept_whole_or_not_at_all(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def cancel_write(name: str, cancelled_at: int) -> int:
        """Write two rows; at how many places that waits."""

        async def work(session: AsyncSession) -> None:
            for each in (f"{name}, first", f"{name}, second"):
                session.add(build_workspace(each))
                await session.flush()

        return await cancel_at_await(database.write(work), await_number=cancelled_at)

    await cancel_write("once", 0)  # with a connection that is there already
    waits = await cancel_write("whole", 0)
    for wait in range(1, waits + 1):
        before = await workspace_names(database)
        name = f"broken off at {wait:03}"
        await cancel_write(name, wait)
        kept = [each for each in await workspace_names(database) if each not in before]
        assert kept in ([], [f"{name}, first", f"{name}, second"])
        await cancel_write(f"after {wait:03}", 0)
    names = await workspace_names(database)
    assert len([each for each in names if each.startswith("after")]) == 2 * waits
    assert caplog.records == []


@only_on_sqlite
async def test_links_stay_checked_wherever_a_schema_change_is_broken_off(
    database: Database,
) -> None:
    async def change_schema() -> None:
        async with database.schema_transaction() as connection:
            await connection.execute(text("CREATE TABLE IF NOT EXISTS new (id INTEGER)"))

    await change_schema()  # with a connection that is there already
    for wait in range(1, await cancel_at_await(change_schema(), await_number=0) + 1):
        await cancel_at_await(change_schema(), await_number=wait)
        with pytest.raises(IntegrityError):
            await add_api_key(database, WorkspaceId(uuid4()))
