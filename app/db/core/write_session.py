"""Sessions of write transactions: their statements, compiled once and run by the driver of the engine."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import BindParameter, Dialect, Insert, Update, UpdateBase, bindparam

from app.db.core.statements import (
    AllWorkspacesStatement,
    AnySelect,
    CompiledStatement,
    Record,
    compile_statement,
)
from app.db.core.tenancy import (
    WorkspaceFilter,
    check_workspace_unchanged,
    set_workspace,
    value_columns,
)
from app.domain.ids import WorkspaceId

T = TypeVar("T")

WORKSPACE_PARAM = "workspace"
"""Bind parameter with the workspace id in every restricted statement."""

WorkspaceStatement: TypeAlias = AnySelect | UpdateBase
"""SELECT, INSERT, UPDATE or DELETE inside a workspace."""

StatementT = TypeVar("StatementT", WorkspaceStatement, AllWorkspacesStatement)


class Transaction(Protocol):
    """Statements of one open transaction of a driver; both methods raise the errors of the driver."""

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]: ...

    async def fetch_many(
        self, statement: CompiledStatement, arguments: Sequence[Sequence[object]]
    ) -> Sequence[Record]: ...


class WriteDriver(Protocol):
    """Driver of write transactions."""

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in one transaction and commit it; any exception rolls it back.

        The error of a statement rolls it back also if `work` caught it: PostgreSQL cannot commit after one.
        """
        ...

    async def close(self) -> None: ...


def suppressed_statement_error() -> RuntimeError:
    """Return the error of a write whose work caught the error of a statement."""
    return RuntimeError("the work of a write ignored the error of a statement")


class WriteStatements:
    """Statements of writes, each compiled before its first run and stored for as long as it exists.

    `unrestricted` are apart from `restricted`, so that a session of a workspace can never run one of them.
    """

    restricted: WeakKeyDictionary[WorkspaceStatement, CompiledStatement]
    unrestricted: WeakKeyDictionary[AllWorkspacesStatement, CompiledStatement]

    def __init__(self, dialect: Dialect, workspace_filter: WorkspaceFilter) -> None:
        self.is_sqlite = dialect.name == "sqlite"
        self._dialect = dialect
        self._workspace_filter = workspace_filter
        self.restricted = WeakKeyDictionary()
        self.unrestricted = WeakKeyDictionary()

    def compile_restricted(
        self, statement: WorkspaceStatement, column_keys: Sequence[str] | None = None
    ) -> CompiledStatement:
        """Compile a statement, restricted to the workspace of the parameter `workspace`.

        `column_keys` are those of `compile_statement`, by default all columns of an INSERT. Raises TypeError
        for what cannot be restricted, and for a row that names its workspace.
        """
        workspace: BindParameter[Any] = bindparam(WORKSPACE_PARAM)
        inside = statement
        if isinstance(inside, Insert | Update):
            check_workspace_unchanged(inside.table, column_keys or ())
        if isinstance(inside, Insert):
            column_keys = column_keys or value_columns(inside)
            inside = set_workspace(inside, workspace)
        restricted = self._workspace_filter(inside, workspace)
        compiled = compile_statement(restricted, self._dialect, column_keys)
        self.restricted[statement] = compiled
        return compiled

    def encode_many(
        self, statement: WorkspaceStatement, rows: Sequence[Mapping[str, object]]
    ) -> tuple[CompiledStatement, Sequence[Sequence[object]]]:
        """Return the compiled statement, restricted to workspaces, and its arguments for each row of values.

        The rows have the parameter `workspace`. Raises KeyError and TypeError, see `execute_many`.
        """
        compiled = self.restricted.get(statement) or self.compile_restricted(
            statement, [name for name in rows[0] if name != WORKSPACE_PARAM]
        )
        if unknown := rows[0].keys() - {WORKSPACE_PARAM, *compiled.parameters}:
            raise TypeError(f"the statement has no parameters {sorted(unknown)}")
        return compiled, [compiled.encode_arguments(row) for row in rows]

    def compile_unrestricted(self, statement: AllWorkspacesStatement) -> CompiledStatement:
        compiled = compile_statement(statement.unrestricted, self._dialect)
        self.unrestricted[statement] = compiled
        return compiled


@dataclass(slots=True)
class _Session(ABC, Generic[StatementT]):
    """Statements of one write transaction.

    On SQLite no method ever suspends, so that the whole transaction runs in one thread. A module should
    create each statement once, because a new one is compiled again.
    """

    transaction: Transaction
    _statements: WriteStatements

    @property
    def is_sqlite(self) -> bool:
        return self._statements.is_sqlite

    @abstractmethod
    async def rows(self, statement: StatementT, **values: object) -> Sequence[Record]:
        """Run a statement with `values` for its bind parameters; return the rows that it selects or returns.

        Raises KeyError for a missing value, and the errors of sqlite3 or asyncpg.
        """

    async def first(self, statement: StatementT, **values: object) -> Record | None:
        """Run a statement and return its first row, or None."""
        rows = await self.rows(statement, **values)
        return rows[0] if rows else None


@dataclass(slots=True)
class WriteSession(_Session[WorkspaceStatement]):
    """Statements of one write transaction in one workspace, to which each is restricted automatically.

    New rows get the workspace, so no row of values names it.
    """

    workspace_id: WorkspaceId

    def all_workspaces(self) -> "AllWorkspacesWriteSession":
        """Return a session of all workspaces in the same transaction."""
        return AllWorkspacesWriteSession(self.transaction, self._statements)

    async def rows(self, statement: WorkspaceStatement, **values: object) -> Sequence[Record]:
        statements = self._statements
        compiled = statements.restricted.get(statement) or statements.compile_restricted(statement)
        values[WORKSPACE_PARAM] = self.workspace_id
        return await self.transaction.fetch(compiled, compiled.encode_arguments(values))

    async def execute_many(
        self, statement: WorkspaceStatement, rows: Sequence[Mapping[str, object]]
    ) -> Sequence[Record]:
        """Run a statement once for each row of values, of which there is at least one.

        Returns the rows that all runs return. All rows must have the same keys, in all calls; raises
        KeyError for a missing one, and TypeError for one that the statement does not have.
        """
        own = {WORKSPACE_PARAM: self.workspace_id}
        compiled, arguments = self._statements.encode_many(
            statement, [{**row, **own} for row in rows]
        )
        return await self.transaction.fetch_many(compiled, arguments)


@dataclass(slots=True)
class AllWorkspacesWriteSession(_Session[AllWorkspacesStatement]):
    """Statements of one write transaction over all workspaces, each of which has a reason."""

    def in_workspace(self, workspace_id: WorkspaceId) -> WriteSession:
        """Return a session of one workspace in the same transaction."""
        return WriteSession(self.transaction, self._statements, workspace_id)

    async def rows(self, statement: AllWorkspacesStatement, **values: object) -> Sequence[Record]:
        statements = self._statements
        compiled = statements.unrestricted.get(statement) or statements.compile_unrestricted(
            statement
        )
        return await self.transaction.fetch(compiled, compiled.encode_arguments(values))

    async def execute_many(
        self,
        statement: WorkspaceStatement,
        rows: Sequence[tuple[WorkspaceId, Mapping[str, object]]],
    ) -> Sequence[Record]:
        """Do what `WriteSession.execute_many` does, each row in its own workspace."""
        compiled, arguments = self._statements.encode_many(
            statement, [{**row, WORKSPACE_PARAM: workspace_id} for workspace_id, row in rows]
        )
        return await self.transaction.fetch_many(compiled, arguments)
