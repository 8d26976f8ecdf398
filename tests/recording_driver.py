"""Records the read statements of a database."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event

from app.db.core.database import Database, ReadDriver
from app.db.core.statements import CompiledStatement, Record


@dataclass(frozen=True, slots=True)
class RecordedStatement:
    text: str
    arguments: Any
    """Arguments in the form of the driver."""
    prepared: CompiledStatement | None
    """The compiled statement; None if SQLAlchemy executed it."""


class RecordingDriver:
    """Driver that records the statements it executes."""

    def __init__(self, driver: ReadDriver) -> None:
        self._driver = driver

    async def fetch(
        self, query: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        _record(RecordedStatement(query.sql, tuple(arguments), query))
        return await self._driver.fetch(query, arguments)

    async def close(self) -> None:
        await self._driver.close()


@contextmanager
def record_statements(database: Database) -> Iterator[list[RecordedStatement]]:
    """Record the reads of this context, except the lookup of the API key.

    Reads of other tasks, such as the change feed of a server, are not recorded.
    """
    assert isinstance(database.driver, RecordingDriver)
    statements: list[RecordedStatement] = []

    def record(_connection: Any, _cursor: Any, text: str, parameters: Any, *_rest: Any) -> None:
        _record(RecordedStatement(text, parameters, None))

    engine = database.read_engine.sync_engine
    event.listen(engine, "before_cursor_execute", record)
    token = _current_recording.set(statements)
    try:
        yield statements
    finally:
        _current_recording.reset(token)
        event.remove(engine, "before_cursor_execute", record)


def _record(statement: RecordedStatement) -> None:
    statements = _current_recording.get()
    if statements is not None and "api_key.digest" not in statement.text:
        statements.append(statement)


_current_recording: ContextVar[list[RecordedStatement] | None] = ContextVar(
    "current_recording", default=None
)
