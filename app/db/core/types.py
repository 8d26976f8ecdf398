"""Column types that mean the same on SQLite and PostgreSQL, and rows of them. No tables."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

import orjson
from sqlalchemy import JSON, CheckConstraint, DateTime, Dialect, String, Uuid
from sqlalchemy.types import TypeDecorator, TypeEngine

from app.domain.times import truncate_to_ms

ColumnValues: TypeAlias = dict[str, object]
"""Values for the columns of a table, by the columns' names."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant in UTC, cut to milliseconds on its way in."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        cut = truncate_to_ms(value)
        return cut.replace(tzinfo=None) if dialect.name == "sqlite" else cut

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.replace(tzinfo=UTC)

    def serializer(self, dialect: Dialect) -> Callable[[Any], str]:
        """From what the driver gives to the text of `format_instant`, without a datetime in between."""
        return _format_stored_datetime if dialect.name == "sqlite" else _format_utc


_STORED_DATETIME_LENGTH = len("2026-04-15 15:00:00.000000")


def _format_stored_datetime(stored: str) -> str:
    datetime.fromisoformat(stored)  # a ValueError for what is none
    if len(stored) != _STORED_DATETIME_LENGTH:
        raise ValueError("an instant that is stored in another way")
    return stored[:10] + "T" + stored[11:23] + "Z"  # faster than one format


def _format_utc(instant: datetime) -> str:
    """By orjson, which takes a third of the time that isoformat does."""
    spelled = orjson.dumps(instant, option=orjson.OPT_UTC_Z)
    return (spelled[1:24] if instant.microsecond else spelled[1:20] + b".000").decode() + "Z"


class PortableUuid(TypeDecorator[UUID]):
    """A UUID: native on PostgreSQL, its 36-character text on SQLite, so that both order alike."""

    impl = Uuid(as_uuid=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[UUID] | TypeEngine[str]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(36))
        return dialect.type_descriptor(Uuid(as_uuid=True))

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        return _uuid_to_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_result_value(self, value: UUID | str | None, _dialect: Dialect) -> UUID | None:
        return UUID(value) if isinstance(value, str) else value

    def serializer(self, dialect: Dialect) -> Callable[[Any], str]:
        """From what the driver gives to the UUID's text."""
        return _format_stored_uuid if dialect.name == "sqlite" else str


def _uuid_to_text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _format_stored_uuid(stored: str) -> str:
    return stored if _CANONICAL_UUID.fullmatch(stored) else str(UUID(stored))


_CANONICAL_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class StrEnumType(TypeDecorator[StrEnum]):
    """One word of an enum, stored as text; the column's CHECK holds the vocabulary."""

    impl = String
    cache_ok = True

    def __init__(self, enum_class: type[StrEnum]) -> None:
        super().__init__(32)
        self.words = enum_class

    def process_bind_param(self, value: StrEnum | None, _dialect: Dialect) -> str | None:
        return None if value is None else self.words(value).value

    def process_result_value(self, value: str | None, _dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.words(value)


PortableJson = JSON()
"""Any JSON value, returned as it was given: as text, since JSONB would order the keys anew."""


def enum_check(column: str, enum_class: type[StrEnum]) -> CheckConstraint:
    """The CHECK that a column holds a word of the enum."""
    listed = ", ".join(f"'{word.value}'" for word in enum_class)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_word")
