"""Statements of a write: in one workspace or in all, and rows of values with too many or too few keys."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import bindparam, delete, func, insert, select, text, update

from app.db.core.database import Database
from app.db.core.statements import AllWorkspacesStatement, Statement
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.core.writes import insert_rows, update_rows
from app.db.models import Account, AccountPause, Workspace
from app.domain.ids import WorkspaceId
from tests.db.all_tables import all_rows
from tests.factories import NOW, add_account, add_workspace

RENAME = update(Workspace).returning(Workspace.name)
ACCOUNT_NAMES = select(Account.workspace_id, Account.account_name).order_by(Account.workspace_id)
OWN, OTHER = WorkspaceId(UUID(int=1)), WorkspaceId(UUID(int=2))


@pytest.fixture
async def workspaces(database: Database) -> None:
    """Two workspaces, each with account 1."""
    for workspace, name in ((OWN, "own"), (OTHER, "other")):
        await add_workspace(database, id=workspace, name=name)
        await add_account(database, workspace, id=1, account_name=name)


async def account_names(database: Database) -> list[str]:
    async with database.read_connection() as connection:
        return [row.account_name for row in await connection.execute(ACCOUNT_NAMES)]


@pytest.mark.usefixtures("workspaces")
async def test_write_is_restricted_to_its_workspace(database: Database) -> None:
    by_id = update(Account).where(Account.id == bindparam("account"))
    rename = by_id.values(account_name=bindparam("new_name"))

    async def work(session: WriteSession) -> Any:
        await session.rows(rename, account=1, new_name="one", workspace=OTHER)
        await session.execute_many(by_id, [{"account": 1, "account_name": "many"}])
        found = await database.reader_in(session).rows(Statement(select(Account.account_name)))
        return [row.account_name for row in found]

    assert await database.write(OTHER, work) == ["many"]
    assert await account_names(database) == ["own", "many"]


@pytest.mark.usefixtures("workspaces")
async def test_session_of_all_workspaces_restricts_each_row_to_its_workspace(
    database: Database,
) -> None:
    by_id = update(Account).where(Account.id == bindparam("account")).returning(Account.id)

    async def work(session: AllWorkspacesWriteSession) -> Any:
        rows = {"account": 1, "account_name": "a"}, {"account": 1, "account_name": "b"}
        changed = await session.execute_many(by_id, [(OTHER, rows[0]), (OWN, rows[1])])
        await session.in_workspace(OTHER).rows(delete(Account))
        return [tuple(row) for row in changed]

    assert await database.write_all_workspaces(work) == [(1,), (1,)]
    assert await account_names(database) == ["b"]


@pytest.mark.usefixtures("workspaces")
async def test_new_rows_get_the_workspace_of_the_session(database: Database) -> None:
    pause = {"account_id": 1, "paused_until": NOW}
    copy = insert(AccountPause).from_select(
        ["account_id", "paused_until"], select(Account.id, Account.created_at)
    )
    await database.write(OWN, lambda session: insert_rows(session, AccountPause, [pause]))
    await database.write(OTHER, lambda session: session.rows(copy))

    rows = (await all_rows(database))["account_pause"]
    assert rows == [(OWN, 1, NOW), (OTHER, 1, NOW)]


def insert_named(session: WriteSession) -> Awaitable[object]:
    row = {"workspace_id": OTHER, "account_id": 1, "paused_until": NOW}
    return insert_rows(session, AccountPause, [row])


def update_named(session: WriteSession) -> Awaitable[object]:
    return update_rows(session, Account, [{"id": 1, "workspace_id": OTHER, "account_name": "a"}])


def update_workspace(session: WriteSession) -> Awaitable[object]:
    return session.execute_many(update(Workspace), [{"id": OTHER, "name": "a"}])


def run_raw_sql(session: WriteSession) -> Awaitable[object]:
    return session.rows(text("DELETE FROM account"))  # type: ignore[arg-type]


DELETE_IN_ALL = AllWorkspacesStatement(
    delete(Account).where(Account.account_name == bindparam("name")), reason="test"
)
DELETE_IN_ONE = delete(Account).where(Account.account_name == bindparam("name"))
NO_ACCOUNT: dict[str, object] = {"name": "none"}


async def run_compiled_statement_of_all(session: Any) -> None:
    await session.all_workspaces().rows(DELETE_IN_ALL, **NO_ACCOUNT)
    await session.rows(DELETE_IN_ALL, name="other")


async def run_compiled_statement_of_all_for_many(session: Any) -> None:
    await session.all_workspaces().rows(DELETE_IN_ALL, **NO_ACCOUNT)
    await session.execute_many(DELETE_IN_ALL, [{"name": "other"}])


async def run_compiled_statement_in_all(session: Any) -> None:
    await session.rows(DELETE_IN_ONE, **NO_ACCOUNT)
    await session.all_workspaces().rows(DELETE_IN_ONE, name="other", workspace=OTHER)


@pytest.mark.parametrize(
    ("work", "error"),
    [
        (insert_named, TypeError),
        (update_named, TypeError),
        (update_workspace, TypeError),
        (run_raw_sql, TypeError),
        (run_compiled_statement_of_all, AttributeError),
        (run_compiled_statement_of_all_for_many, AttributeError),
        (run_compiled_statement_in_all, AttributeError),
    ],
)
@pytest.mark.usefixtures("workspaces")
async def test_write_that_could_leave_its_workspace_is_refused(
    database: Database,
    work: Callable[[WriteSession], Awaitable[object]],
    error: type[Exception],
) -> None:
    before = await all_rows(database)
    with pytest.raises(error):
        await database.write(OWN, work)
    assert await all_rows(database) == before


async def test_statement_without_tables_runs_in_a_workspace(database: Database) -> None:
    count = select(func.length(bindparam("word")))
    rows = await database.write(OWN, lambda session: session.rows(count, word="four"))
    assert [tuple(row) for row in rows] == [(4,)]


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
        row = {"name": "after"}
        await session.execute_many(RENAME, [row])
        changed = {name: value for name, value in {**row, **second}.items() if value is not None}
        await session.execute_many(RENAME, [changed])

    with pytest.raises(error, match=message):
        await database.write(workspace, work)
    async with database.read_connection() as connection:
        names = await connection.scalars(select(Workspace.name).where(Workspace.id == workspace))
        assert names.all() == ["before"]
