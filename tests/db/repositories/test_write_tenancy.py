"""Tenancy of writes: beside another workspace with the same ids, each write does what it does alone.

The other workspace is a copy of the own one. Only what is unique in the whole database differs: its name,
and the digests of its key and its session.
"""

import inspect as python_inspect
import pkgutil
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any, get_type_hints
from uuid import UUID

import pytest
from sqlalchemy import Table, delete, insert, select

import app.db.repositories
from app.db.core.database import Database
from app.db.core.statements import CompiledStatement, Record, Statement
from app.db.core.tenancy import S, WorkspaceIdOrParam, restrict_to_workspace
from app.db.core.write_session import AllWorkspacesWriteSession, Transaction, WriteSession
from app.db.models import Account, ApiKey, Base, Workspace
from app.db.repositories.api_keys import upsert_key
from app.domain.api_keys import NewApiKey
from app.domain.ids import ApiKeyId, WorkspaceId
from tests.databases import DatabaseTemplates, cached_database
from tests.db.all_tables import add_row_in_every_table, all_rows, dump_statement
from tests.db.repositories.write_cases import CASES, LOCKING_CASES, OWN, WriteCase
from tests.factories import NOW
from tests.raw_statements import of_test, run_raw
from tests.tenancy_removals import REMOVE, remove, sql_text, writes_or_locks

OTHER = WorkspaceId(UUID(int=0xAA))

TABLES = [
    table
    for table in Base.metadata.sorted_tables
    if "workspace_id" in table.c or table is Workspace.__table__
]
"""Tables with rows of workspaces, each after those to which it refers."""


def workspace_column(table: Table) -> Any:
    return table.c.id if table is Workspace.__table__ else table.c.workspace_id


async def add_workspace_and_copy(database: Database) -> None:
    await add_row_in_every_table(database)
    async with database.snapshot() as reader, database.schema_transaction() as writer:
        for table in TABLES:
            for row in await reader.execute(select(table).where(workspace_column(table) == OWN)):
                copy = {**row._mapping, workspace_column(table).key: OTHER}
                if "digest" in copy:
                    copy["digest"] = copy["digest"][::-1] + b"!"
                if table is Workspace.__table__:
                    copy["name"] = "Copy"
                await writer.execute(insert(table).values(copy))


@pytest.fixture
def copied_database_url(database_templates: DatabaseTemplates) -> Iterator[str]:
    with database_templates.copy(add_workspace_and_copy) as url:
        yield url


@pytest.fixture
async def copied_database(anyio_backend: str, copied_database_url: str) -> AsyncIterator[Database]:
    async with cached_database(copied_database_url) as opened:
        yield opened


@dataclass
class RowRecorder:
    """Transaction that records the rows of each statement."""

    transaction: Transaction
    rows: list[list[tuple[object, ...]]] = field(default_factory=list)

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        return self._record(await self.transaction.fetch(statement, arguments))

    async def fetch_many(
        self, statement: CompiledStatement, arguments: Sequence[Sequence[object]]
    ) -> Sequence[Record]:
        return self._record(await self.transaction.fetch_many(statement, arguments))

    def _record(self, rows: Sequence[Record]) -> Sequence[Record]:
        self.rows.append([tuple(row) for row in rows])
        return rows


@dataclass
class Effect(Exception):
    """What a write read and left behind; raised to roll it back."""

    rows: list[list[tuple[object, ...]]]
    """Rows that its statements returned."""
    own: list[tuple[str, str]]
    """Table and text of all rows but those of the other workspace."""
    other: list[tuple[str, str]]


async def effect_of(database: Database, case: WriteCase | None, *, is_alone: bool) -> Effect:
    """Run a case, with or without the other workspace, and roll it back."""

    async def work(session: AllWorkspacesWriteSession) -> None:
        if is_alone:
            for table in reversed(TABLES):
                await run_raw(session, delete(table).where(workspace_column(table) == OTHER))
        recorder = session.transaction = RowRecorder(session.transaction)
        own_session = session.in_workspace(OWN)
        if case is not None:
            await case(own_session, database.reader_in(own_session))
        recorded = [*recorder.rows]
        dump = await session.rows(of_test(dump_statement(is_sqlite=session.is_sqlite)))
        rows = sorted((table, row) for table, row in dump)
        own = [row for row in rows if str(OTHER) not in row[1]]
        raise Effect(recorded, own, [row for row in rows if row not in own])

    with pytest.raises(Effect) as raised:
        await database.write_all_workspaces(work)
    return raised.value


@pytest.mark.parametrize("name", [*CASES, *LOCKING_CASES])
async def test_write_has_the_same_effect_beside_a_workspace_with_the_same_ids(
    copied_database: Database, name: str
) -> None:
    case = CASES.get(name) or LOCKING_CASES[name]
    before = await effect_of(copied_database, None, is_alone=False)
    alone = await effect_of(copied_database, case, is_alone=True)
    beside = await effect_of(copied_database, case, is_alone=False)

    assert len(before.other) >= len(TABLES)
    assert beside.other == before.other
    assert beside.own == alone.own
    assert beside.rows == alone.rows
    assert (beside.own != before.own) == (name in CASES)
    assert name in CASES or all(alone.rows)


async def test_key_of_another_workspace_is_not_changed(copied_database: Database) -> None:
    """Digests are unique in the whole database: that of the other workspace's key is a conflict."""
    async with copied_database.snapshot() as connection:
        digest = await connection.scalar(select(ApiKey.digest).where(ApiKey.workspace_id == OTHER))
    assert digest is not None
    before = await all_rows(copied_database)

    is_stored = await copied_database.write(
        OWN,
        lambda session: upsert_key(
            session,
            ApiKeyId(UUID(int=0x98)),
            NewApiKey(token="", digest=digest, display_prefix="pe_"),
            name="taken",
            scopes=(),
            expires_at=None,
            now=NOW,
        ),
    )

    assert not is_stored
    assert await all_rows(copied_database) == before


async def test_every_statement_that_writes_or_locks_in_a_workspace_has_a_case(
    copied_database_url: str,
) -> None:
    compiled: set[str] = set()

    def record(statement: S, workspace_id: WorkspaceIdOrParam) -> S:
        compiled.add(sql_text(statement))
        return restrict_to_workspace(statement, workspace_id)

    async with Database(copied_database_url, workspace_filter=record) as database:
        for case in (*CASES.values(), *LOCKING_CASES.values()):
            await effect_of(database, case, is_alone=False)

    stored = {
        f"{module.__name__}.{name} {key}": sql_text(statement)
        for module in repository_modules()
        for name, value in vars(module).items()
        for key, statement in statements_of(value)
        if writes_or_locks(statement)
    }
    assert [name for name, text in stored.items() if text not in compiled] == []
    assert len(stored) > 40


def statements_of(value: object) -> Iterator[tuple[object, Any]]:
    """Yield the statement of a module's variable without a key, or those of a dictionary with theirs."""
    for key, each in value.items() if isinstance(value, dict) else [("", value)]:
        yield key, each.select if isinstance(each, Statement) else each


def repository_modules() -> list[ModuleType]:
    package = app.db.repositories
    return [
        import_module(f"{package.__name__}.{each.name}")
        for each in pkgutil.iter_modules(package.__path__)
    ]


async def test_removal_of_a_condition_lets_a_lock_reach_all_workspaces(
    copied_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Statement(select(Account.id).with_for_update())
    monkeypatch.setenv(REMOVE, sql_text(lock.select))
    workspace = WorkspaceId(UUID(int=0xBB))

    async def work(session: WriteSession) -> int:
        return len(await database.reader_in(session).rows(lock))

    async with Database(copied_database_url, workspace_filter=remove) as database:
        stored = len((await all_rows(database))["account"])
        assert await database.write(workspace, work) == stored > 0


def test_every_function_that_writes_in_a_workspace_has_a_case() -> None:
    functions = {
        name
        for module in repository_modules()
        for name, function in python_inspect.getmembers(module, python_inspect.iscoroutinefunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and next(iter(get_type_hints(function).values())) is WriteSession
    }
    assert functions - {name.partition(" ")[0] for name in (*CASES, *LOCKING_CASES)} == set()
    assert len(functions) > 40
