"""The statements that a database runs for reading, as they run. Reads nothing itself."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event

from app.db.engine import Database, Driver
from app.db.queries import Prepared, Record


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    arguments: Any
    """As the driver takes them."""
    prepared: Prepared | None
    """What it was run from; None for one that SQLAlchemy ran."""


class Watched:
    """A driver whose statements can be recorded."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def fetch(self, query: Prepared, arguments: Sequence[object]) -> Sequence[Record]:
        _note(Statement(query.sql, tuple(arguments), query))
        return await self._driver.fetch(query, arguments)

    async def close(self) -> None:
        await self._driver.close()


@contextmanager
def recorded(database: Database) -> Iterator[list[Statement]]:
    """Everything that a watched database reads meanwhile, except the look-up of the API key.

    What a server reads on its own, beside the one who records, is left out too.
    """
    assert isinstance(database.driver, Watched)
    statements: list[Statement] = []

    def note(_c: Any, _cursor: Any, text: str, parameters: Any, *_rest: Any) -> None:
        _note(Statement(text, parameters, None))

    engine = database.reading.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    before = _recorded_for.set(statements)
    try:
        yield statements
    finally:
        _recorded_for.reset(before)
        event.remove(engine, "before_cursor_execute", note)


def _note(statement: Statement) -> None:
    statements = _recorded_for.get()
    if statements is not None and "api_key.digest" not in statement.text:
        statements.append(statement)


_recorded_for: ContextVar[list[Statement] | None] = ContextVar("recorded_for", default=None)
