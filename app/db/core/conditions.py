"""Conditions of WHERE clauses whose values are bind parameters: sets of values, filters, patterns.

The parameters that are set determine the conditions of a statement, and so its text. A single value has a
text of its own, so that an index can serve the order; any larger number of values shares one text.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from sqlalchemy import ARRAY, Boolean, ColumnElement, Dialect, String, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LIKE_ESCAPE = "/"

AnyColumn: TypeAlias = InstrumentedAttribute[Any] | ColumnElement[Any]


class _Condition(FunctionElement[bool]):
    """Boolean expression of a WHERE clause."""

    type = Boolean()

    def self_group(self, against: object = None) -> Self:  # noqa: ARG002
        """Omit the `= 1` that SQLAlchemy appends to a boolean on SQLite, and that no index serves."""
        return self


class any_of(_Condition):  # noqa: N801 - reads like SQL
    """Condition that a column equals one of the values of a bind parameter, for any number of values.

    `column = ANY (array)` on PostgreSQL, `column IN (SELECT value FROM json_each(text))` on SQLite.
    """

    inherit_cache = True

    def __init__(self, column: AnyColumn, parameter: str) -> None:
        super().__init__(column, bindparam(parameter, type_=ValueList(column.type)))
        self.column = column
        self.parameter = parameter


class unindexed(FunctionElement[Any]):  # noqa: N801 - reads like SQL
    """Column whose comparison no index of SQLite serves; on PostgreSQL the column itself.

    SQLite joins two tables in the only order that an index serves. So a join with it fixes the order,
    whatever statistics an operator collects by ANALYZE.
    """

    inherit_cache = True

    def __init__(self, column: AnyColumn) -> None:
        super().__init__(column)
        self.type = column.type


class sort_key(FunctionElement[Any]):  # noqa: N801 - reads like SQL
    """Column by which matches are sorted, instead of reading all rows in the order of an index.

    `+column` on SQLite, `coalesce(column, column)` on PostgreSQL: no index has this expression.
    """

    inherit_cache = True

    def __init__(self, column: AnyColumn) -> None:
        super().__init__(column)
        self.type = column.type


class without_indexes(_Condition):  # noqa: N801 - reads like SQL
    """Condition that no index of SQLite serves, on PostgreSQL the condition itself.

    Not even a partial index whose condition follows from it, which SQLite would read whole.
    """

    inherit_cache = True

    def __init__(self, condition: ColumnElement[bool]) -> None:
        super().__init__(condition)


MAX_INDEXED_TEXT_LENGTH = 500
"""Characters of the longest text in an index: PostgreSQL limits an entry to 2,700 bytes."""


class is_indexed_text(_Condition):  # noqa: N801 - reads like SQL
    """Condition that a text has at most MAX_INDEXED_TEXT_LENGTH characters.

    Without a bind parameter, because it must imply the condition of a partial index.
    """

    inherit_cache = True

    def __init__(self, column: AnyColumn) -> None:
        super().__init__(column)


def filter_conditions(**columns: AnyColumn) -> dict[str, ColumnElement[bool]]:
    """Return two conditions for each column, by parameter name.

    `filter_conditions(status=Post.status)` has `status` for any number of values and `one_status` for one.
    For one value, an index that begins with the column returns the rows in the order of its next columns.
    """
    conditions: dict[str, ColumnElement[bool]] = {}
    for name, column in columns.items():
        conditions[name] = any_of(column, name)
        conditions[equality_parameter(name)] = column == bindparam(equality_parameter(name))
    return conditions


def time_range_conditions(**columns: InstrumentedAttribute[Any]) -> dict[str, ColumnElement[bool]]:
    """Return the conditions `name_after` (inclusive) and `name_before` (exclusive) for each column."""
    conditions: dict[str, ColumnElement[bool]] = {}
    for name, column in columns.items():
        conditions[f"{name}_after"] = column >= bindparam(f"{name}_after")
        conditions[f"{name}_before"] = column < bindparam(f"{name}_before")
    return conditions


def filter_param(name: str, values: Sequence[Any]) -> tuple[str, Any]:
    """Return the parameter to set for these values, and its value: `status` or `one_status`."""
    return (equality_parameter(name), values[0]) if len(values) == 1 else (name, values)


def filter_params(filters: "DataclassInstance") -> dict[str, Any]:
    """Return parameters and values of the filters that are not None."""
    params: dict[str, Any] = {}
    for field in fields(filters):
        name, value = field.name, getattr(filters, field.name)
        if isinstance(value, list | tuple):
            name, value = filter_param(name, value)
        if value is not None:
            params[name] = value
    return params


def equality_parameter(name: str) -> str:
    """Return the parameter of the condition for exactly one value."""
    return f"one_{name}"


def escape_like(text: str) -> str:
    """Escape text for a LIKE with ESCAPE `LIKE_ESCAPE`, so that it matches literally."""
    return re.sub(f"([{LIKE_ESCAPE}%_])", rf"{LIKE_ESCAPE}\1", text)


class ValueList(TypeDecorator[Sequence[Any]]):
    """Values of one type: an array on PostgreSQL, the text of a JSON array on SQLite."""

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
        return json.dumps([encode(item) for item in value] if encode else list(value))


@compiles(any_of)
def _compile_any_array(element: "any_of", compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = ANY ({values})"


@compiles(any_of, "sqlite")
def _compile_any_json(element: "any_of", compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - compiled parts


@compiles(without_indexes)
def _compile_in_parentheses(
    element: "without_indexes", compiler: SQLCompiler, **options: Any
) -> str:
    return f"({_compile_argument(element, compiler, **options)})"


@compiles(is_indexed_text)
def _compile_is_indexed_text(
    element: is_indexed_text, compiler: SQLCompiler, **options: Any
) -> str:
    return f"length({compiler.process(element.clauses, **options)}) <= {MAX_INDEXED_TEXT_LENGTH}"


@compiles(unindexed)
def _compile_argument(
    element: "unindexed | sort_key | without_indexes", compiler: SQLCompiler, **options: Any
) -> str:
    (argument,) = element.clauses
    return compiler.process(argument, **options)


@compiles(sort_key)
def _compile_coalesce(element: sort_key, compiler: SQLCompiler, **options: Any) -> str:
    column = _compile_argument(element, compiler, **options)
    return f"coalesce({column}, {column})"


@compiles(unindexed, "sqlite")
@compiles(sort_key, "sqlite")
def _compile_unary_plus(
    element: "unindexed | sort_key", compiler: SQLCompiler, **options: Any
) -> str:
    return f"+{_compile_argument(element, compiler, **options)}"


@compiles(without_indexes, "sqlite")
def _compile_ifnull(element: "without_indexes", compiler: SQLCompiler, **options: Any) -> str:
    return f"ifnull({_compile_argument(element, compiler, **options)}, 0)"
