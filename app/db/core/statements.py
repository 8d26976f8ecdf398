"""Statements that are built once and run often, and the records they return. No connections, no nouns.

SQLAlchemy builds and compiles such a statement when it is first run; from then on its text goes to the
driver as it is, with the values of each run. The ordinary way through SQLAlchemy takes several times as
long as either database needs to answer.
"""

import json
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import asyncpg
from sqlalchemy import ARRAY, JSON, Boolean, ColumnElement, Dialect, Row, Select, String, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import ExpandedState, SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from app.db.core.types import PortableUuid, UtcDateTime

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

AnySelect: TypeAlias = Select[*tuple[Any, ...]]

DecodedRow: TypeAlias = Row[*tuple[Any, ...]]
"""As a connection of SQLAlchemy returns it, with every value decoded."""

UnaryFunction: TypeAlias = Callable[[Any], Any]

_RECORD_CLASS_CACHE_SIZE = 512

LABEL_SEPARATOR = "__"
"""Between the name of a part and that of its column, in the label of a column."""


class Statement:
    """A SELECT whose values are bind parameters, which each run gives by name.

    Columns of several tables are told apart by labels: `account__platform` is the column `platform` of
    the part `account`. Sets of values are compared with `any_of`: the text is the same for any number.
    """

    def __init__(self, select: AnySelect) -> None:
        self.statement = select


class Record:
    """A row as the driver gave it: a tuple whose columns are attributes, decoded when they are asked for."""

    __slots__ = ()

    indexes: ClassVar[Mapping[str, int]]
    """Where each column of the row itself stands in the tuple."""
    serializers: ClassVar[Mapping[str, UnaryFunction]]
    """Of columns with an instant or a UUID: from what the driver gave to the text that is answered with."""
    decoders: ClassVar[Mapping[str, UnaryFunction]]
    """Of columns whose value is not what the driver gave: from that to the value."""
    related_classes: ClassVar[Mapping[str, "type[RelatedRecord]"]]
    """Rows of other tables that came along with it."""

    if TYPE_CHECKING:  # the tuple's own

        def __getitem__(self, index: int) -> Any:
            """What the driver gave."""

        def __iter__(self) -> Iterator[Any]: ...

    def __getattr__(self, name: str) -> Any:
        """For type checkers; every column is a property."""
        raise AttributeError(name)

    def related_row(self, name: str) -> "RelatedRecord | None":
        """The row that came along; None if none was asked for."""
        part = self.related_classes.get(name)
        return None if part is None else part(self)


def column_values(records: Sequence[Record], name: str) -> list[Any]:
    """Of rows of one statement the values of a column, as the driver gave them."""
    return [*map(itemgetter(records[0].indexes[name]), records)] if records else []


class RelatedRecord:
    """A row of another table inside of a record, with attributes of its own."""

    __slots__ = ("record",)

    indexes: ClassVar[Mapping[str, int]]
    """Where its columns stand in the whole."""
    serializers: ClassVar[Mapping[str, UnaryFunction]]
    decoders: ClassVar[Mapping[str, UnaryFunction]]
    related_classes: ClassVar[Mapping[str, "type[RelatedRecord]"]] = MappingProxyType({})

    def __init__(self, record: Record) -> None:
        self.record = record

    def __getattr__(self, name: str) -> Any:
        """For type checkers; every column is a property."""
        raise AttributeError(name)

    def __iter__(self) -> Iterator[Any]:
        return (self.record[place] for place in self.indexes.values())

    def related_row(self, name: str) -> "RelatedRecord | None":  # noqa: ARG002 - as of a record
        return None


class _SQLiteRecord(tuple[Any, ...], Record):
    __slots__ = ()


class _PostgreSQLRecord(asyncpg.Record, Record):  # type: ignore[misc]
    __slots__ = ()


AnyRow: TypeAlias = DecodedRow | Record | RelatedRecord
"""A row whose columns are its attributes."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class CompiledStatement:
    """A query as one driver takes it."""

    sql: str
    record_class: type[Record]
    encode_arguments: "Callable[[Mapping[str, object]], list[object]]"
    """The values of a run in the order of the text; KeyError for one that is missing."""


class any_of(FunctionElement[bool]):  # noqa: N801 - reads like the SQL that it is
    """Whether a column has one of the values of a bind parameter, however many there are."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, column: InstrumentedAttribute[Any], parameter: str) -> None:
        super().__init__(column, bindparam(parameter, type_=_ValueList(column.type)))

    def self_group(self, against: object = None) -> Self:  # noqa: ARG002
        """Without `= 1`, which SQLAlchemy puts behind a truth on SQLite, and which no index serves."""
        return self


def filter_conditions(**columns: InstrumentedAttribute[Any]) -> dict[str, ColumnElement[bool]]:
    """With the values of `compared`: with one value, and with any number of them.

    An index that begins with the column has the rows of one value in the order of what follows in it.
    """
    return {
        name: condition
        for each, column in columns.items()
        for name, condition in (
            (each, any_of(column, each)),
            (single_value_name(each), column == bindparam(single_value_name(each))),
        )
    }


def filter_param(name: str, values: Sequence[Any]) -> tuple[str, Any]:
    """The name of the comparison that serves these values, and what it takes."""
    return (single_value_name(name), values[0]) if len(values) == 1 else (name, values)


def filter_params(filters: "DataclassInstance") -> dict[str, Any]:
    """What is compared with by those filters that are not None."""
    given = ((each.name, getattr(filters, each.name)) for each in fields(filters))
    return dict(
        filter_param(name, value) if isinstance(value, list | tuple) else (name, value)
        for name, value in given
        if value is not None
    )


def single_value_name(name: str) -> str:
    """The name of the comparison with one value."""
    return f"one_{name}"


class _ValueList(TypeDecorator[Sequence[Any]]):
    """Many values of one type: an array, or the text of a JSON array where there are none."""

    impl = ARRAY
    cache_ok = True

    def __init__(self, item_type: TypeEngine[Any]) -> None:
        super().__init__(item_type)
        self.item = item_type

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String() if dialect.name == "sqlite" else ARRAY(self.item))

    def process_bind_param(self, value: Sequence[Any] | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        encode = self.item.dialect_impl(dialect).bind_processor(dialect)
        return json.dumps([encode(each) for each in value] if encode else list(value))


@compiles(any_of)
def _compile_any_array(element: "any_of", compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} = ANY ({values})"


@compiles(any_of, "sqlite")
def _compile_any_json(element: "any_of", compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - compiled parts


LIKE_ESCAPE = "/"


def escape_like(text: str) -> str:
    """The text as LIKE takes it with this ESCAPE, to match nothing but itself."""
    return re.sub(f"([{LIKE_ESCAPE}%_])", rf"{LIKE_ESCAPE}\1", text)


def compile_statement(statement: AnySelect, dialect: Dialect) -> CompiledStatement:
    """Compile a statement for a driver, and make the class of its rows."""
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 - as that of every SELECT is
    open_ones = {each.key for each in compiled.binds.values() if each.required}
    # A list of `in_` is spelled out.
    expanded = compiled.construct_expanded_state(dict.fromkeys(open_ones))
    arguments = _argument_encoder(compiled, expanded, open_ones)
    return CompiledStatement(expanded.statement, _record_class(statement, dialect), arguments)


def _argument_encoder(
    compiled: SQLCompiler, expanded: ExpandedState, required_names: Container[str]
) -> Callable[[Mapping[str, object]], list[object]]:
    """How the values of a run become the driver's; those that the statement has itself are ready."""
    encoders: Mapping[str, Any] = {**compiled._bind_processors, **expanded.processors}
    names = expanded.positiontup or []
    encode_open = {name: encoders.get(name, _identity) for name in names if name in required_names}
    ready = {
        name: encoders.get(name, _identity)(expanded.parameters[name])
        for name in names
        if name not in required_names
    }

    def encode_arguments(values: Mapping[str, object]) -> list[object]:
        encoded = {name: encode(values[name]) for name, encode in encode_open.items()}
        encoded.update(ready)
        return [encoded[name] for name in names]

    return encode_arguments


def _identity(value: object) -> object:
    return value


def _record_class(statement: AnySelect, dialect: Dialect) -> type[Record]:
    columns = ((str(column.key), column.type) for column in statement.selected_columns)
    return _build_record_class(tuple(columns), dialect)


@lru_cache(_RECORD_CLASS_CACHE_SIZE)
def _build_record_class(
    columns: tuple[tuple[str, TypeEngine[Any]], ...], dialect: Dialect
) -> type[Record]:
    """One for all statements with these columns, however they choose their rows."""
    own: dict[str, tuple[int, TypeEngine[Any]]] = {}
    parts: dict[str, dict[str, tuple[int, TypeEngine[Any]]]] = {}
    for place, (key, kind) in enumerate(columns):
        part, is_part, name = key.rpartition(LABEL_SEPARATOR)
        of_part = parts.setdefault(part, {}) if is_part else own
        of_part[name] = (place, kind)
    base: type[Record] = _SQLiteRecord if dialect.name == "sqlite" else _PostgreSQLRecord
    part_classes = {
        name: type("Part", (RelatedRecord,), _class_attributes(of_part, dialect, _related_getter))
        for name, of_part in parts.items()
    }
    attributes = _class_attributes(own, dialect, itemgetter)
    return type("Record", (base,), {**attributes, "related_classes": part_classes})


def _related_getter(index: int) -> UnaryFunction:
    return lambda related: related.record[index]


def _class_attributes(
    columns: Mapping[str, tuple[int, TypeEngine[Any]]],
    dialect: Dialect,
    getter: Callable[[int], UnaryFunction],
) -> dict[str, object]:
    decoders = {
        name: decode
        for name, (_, kind) in columns.items()
        if (decode := _decoder(kind, dialect)) is not None
    }
    properties = {
        name: property(_decoding_getter(getter(place), decoders.get(name)))
        for name, (place, _) in columns.items()
    }
    spellings = {
        name: kind.serializer(dialect)
        for name, (_, kind) in columns.items()
        if isinstance(kind, UtcDateTime | PortableUuid)
    }
    places = {name: place for name, (place, _) in columns.items()}
    attributes = {"indexes": places, "serializers": spellings, "decoders": decoders}
    return {"__slots__": (), **properties, **attributes}


def _decoding_getter(get: UnaryFunction, decode: UnaryFunction | None) -> UnaryFunction:
    return get if decode is None else lambda row: decode(get(row))


def _decoder(kind: TypeEngine[Any], dialect: Dialect) -> UnaryFunction | None:
    if isinstance(kind, JSON):  # on PostgreSQL, SQLAlchemy has its own connections decode it
        return _load_json
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def _load_json(stored: str | None) -> object:
    return None if stored is None else json.loads(stored)
