"""Keyset pages over any list: forwards, backwards or by offset, nulls last, alike on both engines."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, false, literal, or_, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from app.db.engine import AnySelect, Reader
from app.domain.cursors import Position


class Direction(StrEnum):
    ASC = "asc"
    DESC = "desc"


@dataclass(frozen=True, slots=True)
class Order:
    """A total order: a time, then the id. Rows without the time come last in either direction."""

    column: InstrumentedAttribute[Any]
    id_column: InstrumentedAttribute[UUID]
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """`size` rows after or before a position; `from_end` takes them from the far end instead."""

    size: int
    from_end: bool = False
    after: Position | None = None
    before: Position | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in the list's order, whichever end they were taken from."""

    rows: list[Any]
    has_next_page: bool
    has_previous_page: bool


async def read_page(
    reader: Reader, statement: AnySelect, order: Order, request: PageRequest
) -> Page:
    """One statement that fetches one row more than asked, to know whether another page follows."""
    if request.after is not None:
        statement = statement.where(_beyond(order, request.after, forwards=True))
    if request.before is not None:
        statement = statement.where(_beyond(order, request.before, forwards=False))
    statement = statement.order_by(*_order_by(order, forwards=not request.from_end))
    statement = statement.limit(request.size + 1).offset(request.offset or None)

    rows = list(await reader.rows(statement))
    more = len(rows) > request.size
    rows = rows[: request.size]
    if request.from_end:
        rows.reverse()
        return Page(rows, has_next_page=request.before is not None, has_previous_page=more)
    came_from_before = request.after is not None or request.offset > 0
    return Page(rows, has_next_page=more, has_previous_page=came_from_before)


def _order_by(order: Order, *, forwards: bool) -> tuple[ColumnElement[Any], ...]:
    descending = (order.direction is Direction.DESC) == forwards
    value, key = order.column.expression, order.id_column.expression
    if descending:
        value, key = value.desc(), key.desc()
    if order.column.expression.nullable:
        value = value.nulls_last() if forwards else value.nulls_first()
    return value, key


def _beyond(order: Order, position: Position, *, forwards: bool) -> ColumnElement[bool]:
    """What comes strictly after the position when reading in the given direction."""
    value, key = order.column.expression, order.id_column.expression
    descending = (order.direction is Direction.DESC) == forwards
    further: Callable[[Any, Any], ColumnElement[bool]] = _less if descending else _greater
    id_literal = literal(UUID(position.key), order.id_column.type)
    if not value.nullable:
        return further(tuple_(value, key), tuple_(literal(position.value, value.type), id_literal))

    further_in_tie = further(key, id_literal)
    if position.value is None:
        beyond = and_(value.is_(None), further_in_tie)
        return beyond if forwards else or_(value.is_not(None), beyond)
    instant = literal(position.value, value.type)
    return or_(
        further(value, instant),
        and_(value == instant, further_in_tie),
        value.is_(None) if forwards else false(),
    )


def _less(left: Any, right: Any) -> Any:
    return left < right


def _greater(left: Any, right: Any) -> Any:
    return left > right
