"""Keyset pages over any list: forwards, backwards or by offset, nulls last, alike on both engines."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from app.db.engine import Reader
from app.db.queries import AnySelect
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
    """`size` rows after or before a position; `from_end` takes them from the far end instead.

    `offset` skips rows at the start of the list, and goes with none of the other three.
    """

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
    """One row more than asked is fetched, to know whether another page follows.

    Rows without the time are a statement of their own, which is run where the rows with it leave room
    on the page. A row that gains or loses its time in between may be missed or repeated, as it may be
    between two pages.
    """
    wanted = request.size + 1
    rows: list[Any] = []
    for part in _parts(statement, order, request):
        room = wanted - len(rows)
        if room:
            rows.extend(await reader.rows(part.limit(room).offset(request.offset or None)))

    more = len(rows) > request.size
    rows = rows[: request.size]
    if request.from_end:
        rows.reverse()
        return Page(rows, has_next_page=request.before is not None, has_previous_page=more)
    came_from_before = request.after is not None or request.offset > 0
    return Page(rows, has_next_page=more, has_previous_page=came_from_before)


def _parts(statement: AnySelect, order: Order, request: PageRequest) -> list[AnySelect]:
    """The rows with the time and those without, in the order they are read.

    Either part is in the order of an index. The whole is not: engines differ on where nulls go.
    """
    value, key = order.column.expression, order.id_column.expression
    descending = order.direction is Direction.DESC
    if not value.nullable:
        return [_part(statement, order, request, value, key)]
    if request.offset:  # Only a count could say how many rows to skip of the second part.
        value, key = (value.desc(), key.desc()) if descending else (value, key)
        return [statement.order_by(value.nulls_last(), key)]

    parts = []
    if request.after is None or request.after.value is not None:
        parts.append(_part(statement.where(value.is_not(None)), order, request, value, key))
    if request.before is None or request.before.value is None:
        parts.append(_part(statement.where(value.is_(None)), order, request, key))
    return parts[::-1] if request.from_end else parts


def _part(
    statement: AnySelect, order: Order, request: PageRequest, *columns: ColumnElement[Any]
) -> AnySelect:
    """Rows that the columns alone put in order, between those positions that are among them."""
    descending = order.direction is Direction.DESC
    row = tuple_(*columns)
    # A position without the time is one of the rows that the id alone puts in order.
    for position, follows in ((request.after, True), (request.before, False)):
        if position is not None and (position.value is None) == (len(columns) == 1):
            bound = tuple_(*_literals(position, order)[-len(columns) :])
            statement = statement.where(row < bound if follows == descending else row > bound)
    backwards = descending != request.from_end
    return statement.order_by(*(column.desc() if backwards else column for column in columns))


def _literals(position: Position, order: Order) -> list[ColumnElement[Any]]:
    return [
        literal(position.value, order.column.type),
        literal(UUID(position.key), order.id_column.type),
    ]
