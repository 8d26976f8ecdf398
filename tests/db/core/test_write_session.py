"""Statements of a write: rows of values with too many or too few keys."""

import pytest
from sqlalchemy import bindparam, select, update

from app.db.core.database import Database
from app.db.core.write_session import WriteSession
from app.db.models import Workspace
from tests.factories import add_workspace

RENAME = update(Workspace).where(Workspace.id == bindparam("workspace_key"))


@pytest.mark.parametrize(
    ("second", "error", "message"),
    [
        ({"event_seq": 7}, TypeError, r"the statement has no parameters \['event_seq'\]"),
        ({"name": None}, KeyError, "'name'"),
    ],
)
async def test_row_with_other_keys_than_the_first_run_is_refused_and_changes_nothing(
    database: Database, second: dict[str, object], error: type[Exception], message: str
) -> None:
    workspace = await add_workspace(database, name="before")

    async def work(session: WriteSession) -> None:
        row = {"workspace_key": workspace, "name": "after"}
        await session.execute_many(RENAME, [row])
        changed = {name: value for name, value in {**row, **second}.items() if value is not None}
        await session.execute_many(RENAME, [changed])

    with pytest.raises(error, match=message):
        await database.write(work)
    async with database.read_connection() as connection:
        names = await connection.scalars(select(Workspace.name).where(Workspace.id == workspace))
        assert names.all() == ["before"]
