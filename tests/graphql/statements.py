"""The statements that a database runs for reading, as they run. Reads nothing itself."""

from collections.abc import Iterator
from contextlib import contextmanager
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
    """Everything that is read meanwhile, except the look-up of the API key."""
    statements: list[Statement] = []

    def note(_c: Any, _cursor: Any, text: str, _p: Any, context: Any, _many: bool) -> None:
        if "api_key.digest" not in text:
            statements.append(Statement(text, context.cache_hit))

    engine = database.reading.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)
