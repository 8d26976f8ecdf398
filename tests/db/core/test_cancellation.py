"""Writes and schema changes cancelled at each of their awaits, and long statements of tools."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.core.database import Database
from app.db.core.write_session import AllWorkspacesWriteSession
from app.domain.ids import WorkspaceId
from tests.db.core.cancellation import cancel_at_await
from tests.db.core.test_database import (
    INTEGRITY_ERRORS,
    MINUTE_LONG_STATEMENT,
    build_workspace,
    only_on_sqlite,
    workspace_names,
)
from tests.factories import add_api_key, insert_objects


async def test_write_cancelled_at_any_await_is_committed_completely_or_not_at_all(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def cancel_write(name: str, cancelled_at: int) -> int:
        """Write two rows, cancelled at an await; return the number of awaits."""

        async def work(session: AllWorkspacesWriteSession) -> None:
            for row_name in (f"{name}, first", f"{name}, second"):
                await insert_objects(session, build_workspace(row_name))

        return await cancel_at_await(database.write_all_workspaces(work), await_number=cancelled_at)

    await cancel_write("once", 0)  # opens the connection
    awaits = await cancel_write("whole", 0)
    for await_number in range(1, awaits + 1):
        before = await workspace_names(database)
        name = f"cancelled at {await_number:03}"
        await cancel_write(name, await_number)
        written = [stored for stored in await workspace_names(database) if stored not in before]
        assert written in ([], [f"{name}, first", f"{name}, second"])
        await cancel_write(f"after {await_number:03}", 0)
    names = await workspace_names(database)
    assert len([stored for stored in names if stored.startswith("after")]) == 2 * awaits
    assert caplog.records == []


@only_on_sqlite
async def test_foreign_keys_stay_enforced_after_a_schema_change_cancelled_at_any_await(
    database: Database,
) -> None:
    async def change_schema() -> None:
        async with database.schema_transaction() as connection:
            await connection.execute(text("CREATE TABLE IF NOT EXISTS new (id INTEGER)"))

    await change_schema()  # opens the connection
    for await_number in range(1, await cancel_at_await(change_schema(), await_number=0) + 1):
        await cancel_at_await(change_schema(), await_number=await_number)
        with pytest.raises(INTEGRITY_ERRORS):
            await add_api_key(database, WorkspaceId(uuid4()))


@pytest.mark.parametrize("method", [Database.snapshot, Database.schema_transaction])
async def test_cancelled_statement_of_a_tool_ends_immediately(
    database: Database, method: Callable[[Database], AbstractAsyncContextManager[AsyncConnection]]
) -> None:
    started = asyncio.Event()

    async def run() -> None:
        async with method(database) as connection:
            started.set()
            await connection.execute(MINUTE_LONG_STATEMENT)

    running = asyncio.create_task(run())
    await started.wait()
    await asyncio.sleep(0.2)
    running.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait([running])

    assert running.cancelled()
    assert await workspace_names(database) == []
