"""The statements that a database runs for reading, as they run. Reads nothing itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine.interfaces import CacheStats

from app.db.engine import Database


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    cache: CacheStats
    """Whether its text had been made before, or could not be kept."""


@contextmanager
def recorded(database: Database) -> Iterator[list[Statement]]:
    """Everything that is read meanwhile, except the look-up of the API key.

    What a server reads on its own, beside the one who records, is left out too.
    """
    statements: list[Statement] = []

    def note(_c: Any, _cursor: Any, text: str, _p: Any, context: Any, _many: bool) -> None:
        if _recorded_for.get() is statements and "api_key.digest" not in text:
            statements.append(Statement(text, context.cache_hit))

    engine = database.reading.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    before = _recorded_for.set(statements)
    try:
        yield statements
    finally:
        _recorded_for.reset(before)
        event.remove(engine, "before_cursor_execute", note)


_recorded_for: ContextVar[list[Statement] | None] = ContextVar("recorded_for", default=None)
