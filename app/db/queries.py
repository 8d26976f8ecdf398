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

from app.db.types import Identifier, Instant

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

AnySelect: TypeAlias = Select[*tuple[Any, ...]]

StoredRow: TypeAlias = Row[*tuple[Any, ...]]
"""As a connection of SQLAlchemy returns it, with every value decoded."""

Function: TypeAlias = Callable[[Any], Any]

_KEPT_CLASSES = 512

PART_MARK = "__"
"""Between the name of a part and that of its column, in the label of a column."""


class Query:
    """A SELECT whose values are bind parameters, which each run gives by name.

    Columns of several tables are told apart by labels: `account__platform` is the column `platform` of
    the part `account`. Sets of values are compared with `any_of`: the text is the same for any number.
    """

    def __init__(self, statement: AnySelect) -> None:
        self.statement = statement


class Record:
    """A row as the driver gave it: a tuple whose columns are attributes, decoded when they are asked for."""

    __slots__ = ()

    places: ClassVar[Mapping[str, int]]
    """Where each column of the row itself stands in the tuple."""
    spellings: ClassVar[Mapping[str, Function]]
    """Of columns with an instant or a UUID: from what the driver gave to the text that is answered with."""
    decoders: ClassVar[Mapping[str, Function]]
    """Of columns whose value is not what the driver gave: from that to the value."""
    parts: ClassVar[Mapping[str, "type[Part]"]]
    """Rows of other tables that came along with it."""

    if TYPE_CHECKING:  # the tuple's own

        def __getitem__(self, place: int) -> Any:
            """What the driver gave."""

        def __iter__(self) -> Iterator[Any]: ...

    def __getattr__(self, name: str) -> Any:
        """For type checkers; every column is a property."""
        raise AttributeError(name)

    def part(self, name: str) -> "Part | None":
        """The row that came along; None if none was asked for."""
        part = self.parts.get(name)
        return None if part is None else part(self)


def column_of(records: Sequence[Record], name: str) -> list[Any]:
    """Of rows of one statement the values of a column, as the driver gave them."""
    return [*map(itemgetter(records[0].places[name]), records)] if records else []


class Part:
    """A row of another table inside of a record, with attributes of its own."""

    __slots__ = ("whole",)

    places: ClassVar[Mapping[str, int]]
    """Where its columns stand in the whole."""
    spellings: ClassVar[Mapping[str, Function]]
    decoders: ClassVar[Mapping[str, Function]]
    parts: ClassVar[Mapping[str, "type[Part]"]] = MappingProxyType({})

    def __init__(self, whole: Record) -> None:
        self.whole = whole

    def __getattr__(self, name: str) -> Any:
        """For type checkers; every column is a property."""
        raise AttributeError(name)

    def __iter__(self) -> Iterator[Any]:
        return (self.whole[place] for place in self.places.values())

    def part(self, name: str) -> "Part | None":  # noqa: ARG002 - as of a record
        return None


class _SQLiteRecord(tuple[Any, ...], Record):
    __slots__ = ()


class _PostgreSQLRecord(asyncpg.Record, Record):  # type: ignore[misc]
    __slots__ = ()


AnyRow: TypeAlias = StoredRow | Record | Part
"""A row whose columns are its attributes."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Prepared:
    """A query as one driver takes it."""

    sql: str
    record: type[Record]
    arguments: "Callable[[Mapping[str, object]], list[object]]"
    """The values of a run in the order of the text; KeyError for one that is missing."""


class any_of(FunctionElement[bool]):  # noqa: N801 - reads like the SQL that it is
    """Whether a column has one of the values of a bind parameter, however many there are."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, column: InstrumentedAttribute[Any], parameter: str) -> None:
        super().__init__(column, bindparam(parameter, type_=_Values(column.type)))

    def self_group(self, against: object = None) -> Self:  # noqa: ARG002
        """Without `= 1`, which SQLAlchemy puts behind a truth on SQLite, and which no index serves."""
        return self


def comparisons(**columns: InstrumentedAttribute[Any]) -> dict[str, ColumnElement[bool]]:
    """With the values of `compared`: with one value, and with any number of them.

    An index that begins with the column has the rows of one value in the order of what follows in it.
    """
    return {
        name: condition
        for each, column in columns.items()
        for name, condition in (
            (each, any_of(column, each)),
            (of_one(each), column == bindparam(of_one(each))),
        )
    }


def compared(name: str, values: Sequence[Any]) -> tuple[str, Any]:
    """The name of the comparison that serves these values, and what it takes."""
    return (of_one(name), values[0]) if len(values) == 1 else (name, values)


def given_values(filters: "DataclassInstance") -> dict[str, Any]:
    """What is compared with by those filters that are not None."""
    given = ((each.name, getattr(filters, each.name)) for each in fields(filters))
    return dict(
        compared(name, value) if isinstance(value, list | tuple) else (name, value)
        for name, value in given
        if value is not None
    )


def of_one(name: str) -> str:
    """The name of the comparison with one value."""
    return f"one_{name}"


class _Values(TypeDecorator[Sequence[Any]]):
    """Many values of one type: an array, or the text of a JSON array where there are none."""

    impl = ARRAY
    cache_ok = True

    def __init__(self, item: TypeEngine[Any]) -> None:
        super().__init__(item)
        self.item = item

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String() if dialect.name == "sqlite" else ARRAY(self.item))

    def process_bind_param(self, value: Sequence[Any] | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        encode = self.item.dialect_impl(dialect).bind_processor(dialect)
        return json.dumps([encode(each) for each in value] if encode else list(value))


@compiles(any_of)
def _in_array(element: "any_of", compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} = ANY ({values})"


@compiles(any_of, "sqlite")
def _in_json(element: "any_of", compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - compiled parts


ESCAPE = "/"


def escaped(text: str) -> str:
    """The text as LIKE takes it with this ESCAPE, to match nothing but itself."""
    return re.sub(f"([{ESCAPE}%_])", rf"{ESCAPE}\1", text)


def prepare(statement: AnySelect, dialect: Dialect) -> Prepared:
    """Compile a statement for a driver, and make the class of its rows."""
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 - as that of every SELECT is
    open_ones = {each.key for each in compiled.binds.values() if each.required}
    # A list of `in_` is spelled out.
    expanded = compiled.construct_expanded_state(dict.fromkeys(open_ones))
    arguments = _argument_list(compiled, expanded, open_ones)
    return Prepared(expanded.statement, _record_class(statement, dialect), arguments)


def _argument_list(
    compiled: SQLCompiler, expanded: ExpandedState, open_ones: Container[str]
) -> Callable[[Mapping[str, object]], list[object]]:
    """How the values of a run become the driver's; those that the statement has itself are ready."""
    encoders: Mapping[str, Any] = {**compiled._bind_processors, **expanded.processors}
    names = expanded.positiontup or []
    encode_open = {name: encoders.get(name, _as_it_is) for name in names if name in open_ones}
    ready = {
        name: encoders.get(name, _as_it_is)(expanded.parameters[name])
        for name in names
        if name not in open_ones
    }

    def arguments(values: Mapping[str, object]) -> list[object]:
        encoded = {name: encode(values[name]) for name, encode in encode_open.items()}
        encoded.update(ready)
        return [encoded[name] for name in names]

    return arguments


def _as_it_is(value: object) -> object:
    return value


def _record_class(statement: AnySelect, dialect: Dialect) -> type[Record]:
    columns = ((str(column.key), column.type) for column in statement.selected_columns)
    return _class_of(tuple(columns), dialect)


@lru_cache(_KEPT_CLASSES)
def _class_of(columns: tuple[tuple[str, TypeEngine[Any]], ...], dialect: Dialect) -> type[Record]:
    """One for all statements with these columns, however they choose their rows."""
    own: dict[str, tuple[int, TypeEngine[Any]]] = {}
    parts: dict[str, dict[str, tuple[int, TypeEngine[Any]]]] = {}
    for place, (key, kind) in enumerate(columns):
        part, is_part, name = key.rpartition(PART_MARK)
        of_part = parts.setdefault(part, {}) if is_part else own
        of_part[name] = (place, kind)
    base: type[Record] = _SQLiteRecord if dialect.name == "sqlite" else _PostgreSQLRecord
    part_classes = {
        name: type("Part", (Part,), _attributes(of_part, dialect, _of_whole))
        for name, of_part in parts.items()
    }
    attributes = _attributes(own, dialect, itemgetter)
    return type("Record", (base,), {**attributes, "parts": part_classes})


def _of_whole(place: int) -> Function:
    return lambda part: part.whole[place]


def _attributes(
    columns: Mapping[str, tuple[int, TypeEngine[Any]]],
    dialect: Dialect,
    getter: Callable[[int], Function],
) -> dict[str, object]:
    decoders = {
        name: decode
        for name, (_, kind) in columns.items()
        if (decode := _decoder(kind, dialect)) is not None
    }
    properties = {
        name: property(_decoded(getter(place), decoders.get(name)))
        for name, (place, _) in columns.items()
    }
    spellings = {
        name: kind.spelling(dialect)
        for name, (_, kind) in columns.items()
        if isinstance(kind, Instant | Identifier)
    }
    places = {name: place for name, (place, _) in columns.items()}
    told = {"places": places, "spellings": spellings, "decoders": decoders}
    return {"__slots__": (), **properties, **told}


def _decoded(get: Function, decode: Function | None) -> Function:
    return get if decode is None else lambda row: decode(get(row))


def _decoder(kind: TypeEngine[Any], dialect: Dialect) -> Function | None:
    if isinstance(kind, JSON):  # on PostgreSQL, SQLAlchemy has its own connections decode it
        return _document
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def _document(stored: str | None) -> object:
    return None if stored is None else json.loads(stored)
