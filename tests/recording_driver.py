"""The statements that a database runs for reading, as they run. Reads nothing itself."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event

from app.db.core.database import Database, Driver
from app.db.core.statements import CompiledStatement, Record


@dataclass(frozen=True, slots=True)
class RecordedStatement:
    text: str
    arguments: Any
    """As the driver takes them."""
    prepared: CompiledStatement | None
    """What it was run from; None for one that SQLAlchemy ran."""


class RecordingDriver:
    """A driver whose statements can be recorded."""

    def __init__(self, driver: Driver) -> None:
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
    """Everything that a watched database reads meanwhile, except the look-up of the API key.

    What a server reads on its own, beside the one who records, is left out too.
    """
    assert isinstance(database.driver, RecordingDriver)
    statements: list[RecordedStatement] = []

    def record(_c: Any, _cursor: Any, text: str, parameters: Any, *_rest: Any) -> None:
        _record(RecordedStatement(text, parameters, None))

    engine = database.read_engine.sync_engine
    event.listen(engine, "before_cursor_execute", record)
    before = _current_recording.set(statements)
    try:
        yield statements
    finally:
        _current_recording.reset(before)
        event.remove(engine, "before_cursor_execute", record)


def _record(statement: RecordedStatement) -> None:
    statements = _current_recording.get()
    if statements is not None and "api_key.digest" not in statement.text:
        statements.append(statement)


_current_recording: ContextVar[list[RecordedStatement] | None] = ContextVar(
    "recorded_for", default=None
)
