"""Reading rows of which some cannot be read: a value that fails comes as Unreadable. No rules.

Each value is read by the type of its column, as the service reads it. What the service could not
answer with is found here, instead of ending the reading of all rows behind it.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias, cast
from uuid import UUID

import aiosqlite
import orjson
import sqlalchemy
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ColumnElement,
    Date,
    Dialect,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import NullType, TypeEngine, UserDefinedType

from app.db.core.statements import AnySelect, DecodedRow
from app.db.core.types import PortableUuid, StrEnumType, UtcDateTime
from app.domain.api_keys import Scope

ReadValue: TypeAlias = Callable[[Any], object]
"""From what the driver gives to the value; ValueError, TypeError and their like if it is none."""


_BATCH_ROWS = 500


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a value that is stored and cannot be read."""

    expected: str
    """What it should have been, as in "created_at is not a time"."""


def make_tolerant(statement: AnySelect, dialect: Dialect) -> AnySelect:
    """The same statement, whose values come as they are read or as Unreadable.

    NULL is Unreadable in a column that forbids it. Under a label it never is: so the columns of an
    outer join are selected, which are NULL where there is no partner.
    """
    columns = [_tolerant_column(column, dialect) for column in statement.selected_columns]
    return statement.with_only_columns(*columns)


def raw_column(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The value as the driver gives it, to name a row by a key that cannot be read."""
    return type_coerce(column, NullType())


async def stream_readable_rows(
    connection: AsyncConnection, statement: AnySelect
) -> AsyncIterator[DecodedRow]:
    """The rows that can be read, as they come; the others are left out."""
    async for row in stream_rows(connection, make_tolerant(statement, connection.dialect)):
        if not has_unreadable(row):
            yield row


def has_unreadable(row: DecodedRow) -> bool:
    """Whether a value of the row is Unreadable."""
    return any(isinstance(value, Unreadable) for value in row)


async def stream_rows(
    connection: AsyncConnection, statement: AnySelect
) -> AsyncIterator[DecodedRow]:
    """The rows as they come, a batch in memory at a time."""
    result = await connection.stream(statement, execution_options={"yield_per": _BATCH_ROWS})
    async for row in result:
        yield row


def to_printable(value: object) -> str:
    """On one line of a terminal, whatever is stored."""
    text = str(value)
    return text if text.isprintable() else ascii(text)


@asynccontextmanager
async def tolerant_decoding(connection: AsyncConnection) -> AsyncIterator[None]:
    """Within a transaction: let the driver pass on whatever is stored.

    On SQLite, what is not UTF-8 comes as lone surrogates, which no text of the service has. PostgreSQL
    lets no such text in; there, times are spelled so that they can be read back from their text.
    """
    if connection.dialect.name != "sqlite":
        await connection.exec_driver_sql("SET LOCAL datestyle TO 'ISO'")
        yield
        return
    pooled = await connection.get_raw_connection()
    driver = cast("aiosqlite.Connection", pooled.driver_connection)
    driver.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = str


class _Tolerant(UserDefinedType[Any]):
    """What is stored in a column of some type, read without fail."""

    cache_ok = True  # the arguments are all that there is to it

    def __init__(self, name: str, kind: TypeEngine[Any], required: bool) -> None:
        self.name = name
        self.kind = kind
        self.required = required

    def result_processor(self, dialect: Dialect, _coltype: object) -> ReadValue:
        expected, read = _value_reader(self.name, self.kind, dialect)
        return _tolerant_reader(read, Unreadable(expected), required=self.required)


def _tolerant_column(column: ColumnElement[Any], dialect: Dialect) -> ColumnElement[Any]:
    name = str(column.key)
    required = getattr(column, "nullable", True) is False
    source = column
    if dialect.name == "postgresql" and isinstance(column.type, UtcDateTime | Date | JSON):
        source = sqlalchemy.cast(column, Text)  # the driver would fail for the whole batch
    return type_coerce(source, _Tolerant(name, column.type, required)).label(name)


def _tolerant_reader(read: ReadValue, unreadable: Unreadable, *, required: bool) -> ReadValue:
    null = unreadable if required else None

    def read_or_unreadable(stored: object) -> object:
        if stored is None:
            return null
        try:
            return read(stored)
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            return unreadable

    return read_or_unreadable


def _value_reader(name: str, kind: TypeEngine[Any], dialect: Dialect) -> tuple[str, ReadValue]:
    """What a value of the type is called, and the function that makes it of the driver's."""
    as_text = dialect.name == "postgresql"
    read: ReadValue
    match kind:
        case UtcDateTime():
            expected, read = (
                "a time",
                datetime.fromisoformat if as_text else _type_reader(kind, dialect),
            )
        case Date():
            expected, read = "a day", date.fromisoformat if as_text else _type_reader(kind, dialect)
        case PortableUuid():
            expected, read = "a UUID", partial(_read_instance, UUID, _type_reader(kind, dialect))
        case StrEnumType():
            expected, read = f"one of {', '.join(kind.words)}", _type_reader(kind, dialect)
        case JSON():
            expected, fits = _JSON_SHAPES[name]
            read = partial(_read_json, fits)
        case Boolean():
            expected, read = "true or false", _read_boolean
        case Integer():
            bits = next(
                (bits for each, bits in _INTEGER_BITS.items() if isinstance(kind, each)), 32
            )
            expected, read = f"an integer of {bits} bits", partial(_read_integer, bits)
        case LargeBinary():
            expected, read = "bytes", partial(_read_instance, bytes, _identity)
        case _:
            expected, read = "text", _read_text
    return expected, read


def _type_reader(kind: TypeEngine[Any], dialect: Dialect) -> ReadValue:
    return kind.dialect_impl(dialect).result_processor(dialect, None) or _identity


def _identity(value: object) -> object:
    return value


def _read_instance(python_type: type, read: ReadValue, stored: object) -> object:
    value = read(stored)
    if not isinstance(value, python_type):
        raise TypeError(value)
    return value


_INTEGER_BITS: Mapping[type[Integer], int] = MappingProxyType({SmallInteger: 16, BigInteger: 64})


def _read_integer(bits: int, stored: object) -> int:
    """SQLite stores any number, and text, where PostgreSQL and GraphQL have so many bits."""
    if not isinstance(stored, int) or not -(1 << bits - 1) <= stored < 1 << bits - 1:
        raise ValueError(stored)
    return stored


def _read_boolean(stored: object) -> bool:
    if stored not in (0, 1):
        raise ValueError(stored)
    return bool(stored)


def _read_text(stored: str) -> object:
    """UnicodeEncodeError, a ValueError, for what is not Unicode."""
    stored.encode()
    return stored


def _read_json(is_valid: Callable[[Any], bool], stored: str) -> object:
    """JSON of the right shape, which can also be answered: its text is Unicode, its numbers end."""
    value = json.loads(stored)
    if not is_valid(value):
        raise ValueError(stored)
    orjson.dumps(value)
    return value


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_string_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_scope_list(value: object) -> bool:
    return isinstance(value, list) and all(each in _SCOPES for each in value)


_SCOPES = tuple(Scope)

_JSON_SHAPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        "media_ids": ("a list of texts", _is_string_list),
        "media": ("a list", _is_list),
        "platform_content": ("an object", _is_object),
        "scopes": ("a list of known scopes", _is_scope_list),
        "events": ("a list of texts", _is_string_list),
        "payload": ("an object", _is_object),
        "outcome": ("an object", _is_object),
    }
)
"""Of every column with a document, by its name: the shape of what the service stores there."""
