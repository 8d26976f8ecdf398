"""SQL functions of statistics: spans of time from a list of edges, and lists of values as JSON.

A scalar subquery for each span reads one range of an index. GROUP BY would sort all rows on SQLite, which
takes three times as long. JSON carries several lists in the one value that a subquery can return.
"""

from typing import Any

import orjson
from sqlalchemy import TableValuedAlias, Text, bindparam, column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Integer

from app.db.core.conditions import ValueList
from app.db.core.types import UtcDateTime

EDGES = "edges"
"""Bind parameter with the limits of consecutive spans, in order."""


class _edge_spans(FunctionElement[Any]):  # noqa: N801 - reads like SQL
    """Rows with the number of a span from 0, its start, and its stop, which is the next start."""

    inherit_cache = True


class json_list(FunctionElement[str]):  # noqa: N801 - reads like SQL
    """JSON array of the values of a group. On PostgreSQL, NULL for an empty group.

    All lists of one SELECT have the same order.
    """

    type = Text()
    inherit_cache = True


class json_row(FunctionElement[str]):  # noqa: N801 - reads like SQL
    """JSON array of its arguments; a `json_list` among them is an array in the array."""

    type = Text()
    inherit_cache = True


def edge_spans() -> TableValuedAlias:
    """Return a FROM clause with the columns `number`, `start` and `stop` of each span of EDGES.

    The last edge has a row without `stop`, in which no time is.
    """
    instant = UtcDateTime()
    return (
        _edge_spans(bindparam(EDGES, type_=ValueList(instant)))
        .table_valued(
            column("number", Integer()), column("start", instant), column("stop", instant)
        )
        .alias("span")
    )


def parse_json_row(row: str) -> list[Any]:
    """Return the values of a `json_row`."""
    values: list[Any] = orjson.loads(row)
    return values


@compiles(_edge_spans)
def _compile_unnest(element: "_edge_spans", compiler: SQLCompiler, **options: Any) -> str:
    edges = compiler.process(element.clauses, **options)
    return (
        "(SELECT number - 1 AS number, start, lead(start) OVER (ORDER BY number) AS stop"  # noqa: S608
        f" FROM unnest({edges}) WITH ORDINALITY AS edge(start, number))"
    )


@compiles(_edge_spans, "sqlite")
def _compile_json_each(element: "_edge_spans", compiler: SQLCompiler, **options: Any) -> str:
    edges = compiler.process(element.clauses, **options)
    return (
        "(SELECT key AS number, value AS start, lead(value) OVER (ORDER BY key) AS stop"  # noqa: S608
        f" FROM json_each({edges}))"
    )


@compiles(json_list)
def _compile_json_agg(element: "json_list", compiler: SQLCompiler, **options: Any) -> str:
    return f"json_agg({compiler.process(element.clauses, **options)})"


@compiles(json_list, "sqlite")
def _compile_group_array(element: "json_list", compiler: SQLCompiler, **options: Any) -> str:
    return f"json_group_array({compiler.process(element.clauses, **options)})"


@compiles(json_row)
def _compile_build_array(element: "json_row", compiler: SQLCompiler, **options: Any) -> str:
    return f"json_build_array({compiler.process(element.clauses, **options)})"


@compiles(json_row, "sqlite")
def _compile_json_array(element: "json_row", compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array({compiler.process(element.clauses, **options)})"
