"""Records the statements of a database: reads, and those of writes, which can also be replaced."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from app.db.core.database import Database, ReadDriver
from app.db.core.statements import CompiledStatement, Record
from app.db.core.write_session import Transaction, WriteDriver

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RecordedStatement:
    text: str
    arguments: Any
    """Arguments in the form of the driver."""
    compiled: CompiledStatement


class RecordingDriver:
    """Driver that records the statements it executes."""

    def __init__(self, driver: ReadDriver) -> None:
        self._driver = driver
        self.running = 0
        """Number of running statements."""

    async def fetch(
        self, query: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        _record(RecordedStatement(query.sql, tuple(arguments), query))
        self.running += 1
        try:
            return await self._driver.fetch(query, arguments)
        finally:
            self.running -= 1

    async def close(self) -> None:
        await self._driver.close()


@contextmanager
def record_statements(database: Database) -> Iterator[list[RecordedStatement]]:
    """Record the reads of this context, except the lookup of the API key.

    Reads of other tasks, such as the change feed of a server, are not recorded.
    """
    assert isinstance(database.driver, RecordingDriver)
    statements: list[RecordedStatement] = []

    token = _current_recording.set(statements)
    try:
        yield statements
    finally:
        _current_recording.reset(token)


def _record(statement: RecordedStatement) -> None:
    statements = _current_recording.get()
    if statements is not None and "api_key.digest" not in statement.text:
        statements.append(statement)


_current_recording: ContextVar[list[RecordedStatement] | None] = ContextVar(
    "current_recording", default=None
)


Intercept: TypeAlias = Callable[[CompiledStatement, Sequence[object]], CompiledStatement]


@dataclass(frozen=True, slots=True)
class InterceptingWriter:
    """Driver that passes each statement of a write to a function, which may replace it."""

    writer: WriteDriver
    intercept: Intercept

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        return await self.writer.write(
            lambda transaction: work(_InterceptedTransaction(transaction, self.intercept))
        )

    async def close(self) -> None:
        await self.writer.close()


@dataclass(frozen=True, slots=True)
class _InterceptedTransaction:
    transaction: Transaction
    intercept: Intercept

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        return await self.transaction.fetch(self.intercept(statement, arguments), arguments)

    async def fetch_many(
        self, statement: CompiledStatement, arguments: Sequence[Sequence[object]]
    ) -> Sequence[Record]:
        replaced = self.intercept(statement, arguments[0])
        return await self.transaction.fetch_many(replaced, arguments)


class RecordingWriter:
    """Driver that records the statements of its transactions."""

    def __init__(self, writer: WriteDriver) -> None:
        self.recording: list[RecordedStatement] | None = None
        self._writer = InterceptingWriter(writer, self._record)

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        return await self._writer.write(work)

    async def close(self) -> None:
        await self._writer.close()

    def _record(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> CompiledStatement:
        if self.recording is not None:
            self.recording.append(RecordedStatement(statement.sql, tuple(arguments), statement))
        return statement


@contextmanager
def record_writes(database: Database) -> Iterator[list[RecordedStatement]]:
    """Record the statements of all write transactions, also of other tasks."""
    assert isinstance(database.writer, RecordingWriter)
    statements = database.writer.recording = []
    try:
        yield statements
    finally:
        database.writer.recording = None
