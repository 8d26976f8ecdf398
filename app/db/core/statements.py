"""Precompiled statements, and the records they return.

SQLAlchemy builds and compiles a statement before its first run. Later runs pass the stored text and their
values straight to the driver. A run through SQLAlchemy takes several times as long as the database needs.

`compile_statement` turns a statement into SQL text, an encoder of the arguments, and a class of records
whose properties decode the columns on access.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import asyncpg
import orjson
from sqlalchemy import JSON, Dialect, Row, Select, TextClause
from sqlalchemy.sql.compiler import ExpandedState, SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.types import TypeEngine

from app.db.core.types import LongText, PortableUuid, UtcDateTime

AnySelect: TypeAlias = Select[*tuple[Any, ...]]

AnyStatement: TypeAlias = AnySelect | UpdateBase | TextClause
"""SELECT, INSERT, UPDATE, DELETE or raw SQL."""

DecodedRow: TypeAlias = Row[*tuple[Any, ...]]
"""Row from an SQLAlchemy connection, with every value decoded."""

UnaryFunction: TypeAlias = Callable[[Any], Any]

_RECORD_CLASS_CACHE_SIZE = 512

LABEL_SEPARATOR = "__"
"""Separates the name of a related row from the column name in a label."""


class Statement:
    """SELECT inside a workspace, whose values are named bind parameters.

    Labels distinguish the columns of several tables: `account__platform` is the column `platform` of the
    related row `account`.

    `point_key` names the parameter with the key of a point read, which must be the only parameter. Point
    reads of any workspaces may run as one statement on PostgreSQL, see `app.db.core.postgresql_batching`.
    A list of `any_of` counts as a key if it has one item.

    With `counts_rows`, the result is one row with the number of rows that the SELECT returns.
    """

    def __init__(
        self, select: AnySelect, *, point_key: str | None = None, counts_rows: bool = False
    ) -> None:
        self.select = select
        self.point_key = point_key
        self.counts_rows = counts_rows


class AllWorkspacesStatement:
    """Statement that no workspace restricts; the only one that a reader or session of all workspaces runs.

    `reason` says why it needs rows of several workspaces, or of none. `scripts/tenancy --list` prints all.
    """

    def __init__(self, statement: AnyStatement, *, reason: str) -> None:
        self.unrestricted = statement
        self.reason = reason


class _ColumnAttributes:
    """Base of records, in which each column is a property that decodes the driver's value."""

    __slots__ = ()

    indexes: ClassVar[Mapping[str, int]]
    """Index in the tuple of each column of the row itself."""
    serializers: ClassVar[Mapping[str, UnaryFunction]]
    """For columns with a datetime or a UUID: function from the driver's value to the response text."""
    decoders: ClassVar[Mapping[str, UnaryFunction]]
    """For columns that need decoding: function from the driver's value to the Python value."""
    related_classes: ClassVar[Mapping[str, "type[RelatedRecord]"]] = MappingProxyType({})
    """Classes of the related rows in the same tuple, by name."""
    long_columns: ClassVar[Container[str]]
    """Columns whose values may be long."""
    json_indexes: ClassVar[Sequence[int]] = ()
    """Indexes in the tuple of the columns with JSON, also of related rows."""

    def __getattr__(self, name: str) -> Any:
        """Raise AttributeError; declared for type checkers, as every column is a property."""
        raise AttributeError(name)


class Record(_ColumnAttributes):
    """Row as returned by the driver: a tuple whose columns are attributes, decoded on access."""

    __slots__ = ()

    if TYPE_CHECKING:  # inherited from the tuple

        def __getitem__(self, index: int) -> Any:
            """Return a value as returned by the driver."""

        def __iter__(self) -> Iterator[Any]: ...

    def related_row(self, name: str) -> "RelatedRecord | None":
        """Return the related row in the same tuple; None if the statement does not select it."""
        related_class = self.related_classes.get(name)
        return None if related_class is None else related_class(self)


def count_json_characters(rows: Iterable["AnyRow"]) -> int:
    """Return the number of characters in the columns with JSON."""
    return sum(
        len(value)
        for row in rows
        if isinstance(row, Record)
        for index in row.json_indexes
        if (value := row[index]) is not None
    )


def column_values(records: Sequence[Record], name: str) -> list[Any]:
    """Return the values of one column in the records of one statement, as returned by the driver."""
    return [*map(itemgetter(records[0].indexes[name]), records)] if records else []


class RelatedRecord(_ColumnAttributes):
    """Row of another table inside a record, with its own attributes."""

    __slots__ = ("record",)

    def __init__(self, record: Record) -> None:
        self.record = record

    def __iter__(self) -> Iterator[Any]:
        return (self.record[index] for index in self.indexes.values())

    def related_row(self, name: str) -> "RelatedRecord | None":  # noqa: ARG002 - interface of Record
        return None


def decoded_values(
    record: Record, names: Iterable[str], relation: str | None = None
) -> dict[str, Any]:
    """Return decoded values of the row, or of a related row in it, by column name.

    Takes less time than reading attribute by attribute.
    """
    row = record if relation is None else record.related_classes[relation]
    indexes, decoders = row.indexes, row.decoders
    return {
        name: decoders[name](record[indexes[name]]) if name in decoders else record[indexes[name]]
        for name in names
    }


def decoded_rows(records: Sequence[Record]) -> list[list[Any]]:
    """Return a list of decoded values for each record of a statement without related rows.

    Takes less time than reading attribute by attribute.
    """
    if not records:
        return []
    decoders = [records[0].decoders.get(name) for name in records[0].indexes]
    return [
        [
            value if value is None or decode is None else decode(value)
            for decode, value in zip(decoders, record, strict=True)
        ]
        for record in records
    ]


class _SQLiteRecord(tuple[Any, ...], Record):
    __slots__ = ()


class _PostgreSQLRecord(asyncpg.Record, Record):  # type: ignore[misc]
    __slots__ = ()


AnyRow: TypeAlias = DecodedRow | Record | RelatedRecord
"""Row whose columns are attributes."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class CompiledStatement:
    """Statement compiled for one driver."""

    sql: str
    record_class: type[Record]
    encode_arguments: "Callable[[Mapping[str, object]], list[object]]"
    """Returns the values of a run in the order of the text; raises KeyError for a missing one."""
    parameters: Sequence[str] = ()
    """Names of the arguments, in the order of the text."""
    batch: "BatchedStatement | None" = None
    """The same point read for several requests, if the driver can run it."""
    uses_reserved_connections: bool = False
    """True for a statement of the server itself, which must not wait for those of clients."""


@dataclass(frozen=True, slots=True, eq=False)
class BatchedStatement:
    """Point read for any number of requests; the last column of a row is the number of its request."""

    statement: CompiledStatement
    """Its parameters are `workspaces` and `keys`, two lists with one item for each request."""
    workspace_index: int
    key_index: int
    """Positions of workspace and key in the arguments of the statement for one request."""


def compile_statement(
    statement: AnyStatement, dialect: Dialect, column_keys: Sequence[str] | None = None
) -> CompiledStatement:
    """Compile a statement for a driver, and create the class of its records.

    `column_keys` are the columns that an INSERT or UPDATE sets by parameters of the same names.
    """
    compiled = statement.compile(dialect=dialect, column_keys=column_keys)
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 - true for every statement but DDL
    required_names = {parameter.key for parameter in compiled.binds.values() if parameter.required}
    # Expands the lists of `in_` into one parameter for each item.
    expanded = compiled.construct_expanded_state(dict.fromkeys(required_names))
    returned = () if isinstance(statement, TextClause) else statement.exported_columns
    columns = tuple((str(column.key), column.type) for column in returned)
    return CompiledStatement(
        expanded.statement,
        _record_class(columns, dialect),
        _argument_encoder(compiled, expanded, required_names),
        tuple(expanded.positiontup or ()),
    )


def _argument_encoder(
    compiled: SQLCompiler, expanded: ExpandedState, required_names: Container[str]
) -> Callable[[Mapping[str, object]], list[object]]:
    """Return the encoder of a run's values; constants of the statement are encoded only once."""
    encoders: Mapping[str, Any] = {**compiled._bind_processors, **expanded.processors}
    names = expanded.positiontup or []
    constants = {
        name: encode(value) if (encode := encoders.get(name)) else value
        for name, value in expanded.parameters.items()
        if name in names and name not in required_names
    }
    required = [
        (name, encoders[name])
        for name in dict.fromkeys(names)
        if name in required_names and encoders.get(name)
    ]

    def encode_arguments(values: Mapping[str, object]) -> list[object]:
        encoded = {**values, **constants}
        for name, encode in required:
            encoded[name] = encode(values[name])
        return [encoded[name] for name in names]

    return encode_arguments


_IndexedTypes: TypeAlias = dict[str, tuple[int, TypeEngine[Any]]]
"""Index in the tuple and type of each column, by name."""


@lru_cache(_RECORD_CLASS_CACHE_SIZE)
def _record_class(
    columns: tuple[tuple[str, TypeEngine[Any]], ...], dialect: Dialect
) -> type[Record]:
    """Return the record class of all statements with these columns: a property for each column."""
    own: _IndexedTypes = {}
    relations: dict[str, _IndexedTypes] = {}
    for index, (key, column_type) in enumerate(columns):
        relation, is_related, name = key.rpartition(LABEL_SEPARATOR)
        (relations.setdefault(relation, {}) if is_related else own)[name] = (index, column_type)
    base: type[Record] = _SQLiteRecord if dialect.name == "sqlite" else _PostgreSQLRecord
    related_classes = {
        name: type(
            "RelatedRecord", (RelatedRecord,), _class_attributes(related, dialect, _related_getter)
        )
        for name, related in relations.items()
    }
    attributes = _class_attributes(own, dialect, itemgetter)
    json_indexes = tuple(
        index for index, (_, column_type) in enumerate(columns) if isinstance(column_type, JSON)
    )
    return type(
        "Record",
        (base,),
        {**attributes, "related_classes": related_classes, "json_indexes": json_indexes},
    )


def _related_getter(index: int) -> UnaryFunction:
    return lambda related: related.record[index]


def _class_attributes(
    columns: _IndexedTypes, dialect: Dialect, getter: Callable[[int], UnaryFunction]
) -> dict[str, object]:
    decoders = {
        name: decode
        for name, (_, column_type) in columns.items()
        if (decode := _decoder(column_type, dialect)) is not None
    }
    properties = {
        name: property(_decoding_getter(getter(index), decoders.get(name)))
        for name, (index, _) in columns.items()
    }
    serializers = {
        name: column_type.serializer(dialect)
        for name, (_, column_type) in columns.items()
        if isinstance(column_type, UtcDateTime | PortableUuid)
    }
    long_columns = {
        name
        for name, (_, column_type) in columns.items()
        if isinstance(column_type, JSON | LongText)
    }
    attributes = {
        "indexes": {name: index for name, (index, _) in columns.items()},
        "serializers": serializers,
        "decoders": decoders,
        "long_columns": long_columns,
    }
    return {"__slots__": (), **properties, **attributes}


def _decoding_getter(get: UnaryFunction, decode: UnaryFunction | None) -> UnaryFunction:
    return get if decode is None else lambda row: decode(get(row))


def _decoder(column_type: TypeEngine[Any], dialect: Dialect) -> UnaryFunction | None:
    # SQLAlchemy decodes JSON only on its own PostgreSQL connections.
    if isinstance(column_type, JSON):
        return _load_json
    return column_type.dialect_impl(dialect).result_processor(dialect, None)


def _load_json(stored: str | None) -> object:
    return None if stored is None else orjson.loads(stored)
