"""Session of a write transaction: its statements, compiled once and run by the driver of the engine."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Dialect

from app.db.core.statements import AnyStatement, CompiledStatement, Record, compile_statement

T = TypeVar("T")


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


CompiledStatements: TypeAlias = WeakKeyDictionary[AnyStatement, CompiledStatement]
"""Cache of compiled statements, each stored for as long as its statement exists."""


@dataclass(frozen=True, slots=True)
class WriteSession:
    """Statements of one `Database.write` transaction.

    On SQLite no method ever suspends, so that the whole transaction runs in one thread. A module should
    create each statement once, because a new one is compiled again.
    """

    transaction: Transaction
    _dialect: Dialect
    _compiled_statements: CompiledStatements

    @property
    def is_sqlite(self) -> bool:
        return self._dialect.name == "sqlite"

    async def rows(self, statement: AnyStatement, **values: object) -> Sequence[Record]:
        """Run a statement with `values` for its bind parameters; return the rows that it selects or returns.

        Raises KeyError for a missing value, and the errors of sqlite3 or asyncpg.
        """
        compiled = self._compiled_statements.get(statement) or self._compile(statement)
        return await self.transaction.fetch(compiled, compiled.encode_arguments(values))

    async def first(self, statement: AnyStatement, **values: object) -> Record | None:
        """Run a statement and return its first row, or None."""
        rows = await self.rows(statement, **values)
        return rows[0] if rows else None

    async def execute_many(
        self, statement: AnyStatement, rows: Sequence[Mapping[str, object]]
    ) -> Sequence[Record]:
        """Run a statement once for each row of values, of which there is at least one.

        Returns the rows that all runs return. All rows must have the same keys, in all calls; raises
        KeyError for a missing one, and TypeError for one that the statement does not have.
        """
        compiled = self._compiled_statements.get(statement) or self._compile(statement, [*rows[0]])
        if unknown := rows[0].keys() - set(compiled.parameters):
            raise TypeError(f"the statement has no parameters {sorted(unknown)}")
        arguments = [compiled.encode_arguments(row) for row in rows]
        return await self.transaction.fetch_many(compiled, arguments)

    def _compile(
        self, statement: AnyStatement, column_keys: Sequence[str] | None = None
    ) -> CompiledStatement:
        compiled = compile_statement(statement, self._dialect, column_keys)
        self._compiled_statements[statement] = compiled
        return compiled
