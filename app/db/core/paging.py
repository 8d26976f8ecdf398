"""Keyset pages over any list: forwards, backwards or by offset, nulls last, alike on both engines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.database import Reader
from app.db.core.statements import AnySelect, Statement
from app.domain.cursors import KeysetPosition


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
    after: KeysetPosition | None = None
    before: KeysetPosition | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in the list's order, whichever end they were taken from."""

    rows: list[Any]
    has_next_page: bool
    has_previous_page: bool


class NullGroup(StrEnum):
    """Which rows of a list a statement reads: nulls are at its end, but not in an index."""

    ALL = "all"
    NON_NULL = "with_time"
    NULL = "without_time"


@dataclass(frozen=True, slots=True)
class PageSlice:
    """A statement of a page: which rows it reads, from which end, and between which bounds."""

    null_group: NullGroup
    from_end: bool
    has_after: bool
    has_before: bool
    has_offset: bool


async def read_page(
    reader: Reader,
    build_statement: Callable[[PageSlice], Statement],
    values: Mapping[str, object],
    order: Order,
    request: PageRequest,
) -> Page:
    """One row more than asked is fetched, to know whether another page follows.

    `query` makes the statement of a part by `page_part`, and may keep it. Rows without the time are a
    statement of their own, which is run where the rows with it leave room on the page. A row that gains
    or loses its time in between may be missed or repeated, as it may be between two pages.
    """
    wanted = request.size + 1
    bounds = {**_bound_params("after", request.after), **_bound_params("before", request.before)}
    rows: list[Any] = []
    for part in _page_slices(order, request):
        room = wanted - len(rows)
        if room:
            more = {**values, **bounds, "room": room, "offset": request.offset}
            rows.extend(await reader.rows(build_statement(part), **more))

    has_more = len(rows) > request.size
    rows = rows[: request.size]
    if request.from_end:
        rows.reverse()
        return Page(rows, has_next_page=request.before is not None, has_previous_page=has_more)
    came_from_before = request.after is not None or request.offset > 0
    return Page(rows, has_next_page=has_more, has_previous_page=came_from_before)


def slice_statement(statement: AnySelect, order: Order, page_slice: PageSlice) -> Statement:
    """The statement of a part; either part is in the order of an index, which the whole is not."""
    value, key = order.column.expression, order.id_column.expression
    descending = order.direction is Direction.DESC
    if page_slice.null_group is NullGroup.ALL and value.nullable:
        value, key = (value.desc(), key.desc()) if descending else (value, key)
        statement = statement.order_by(value.nulls_last(), key)
    elif page_slice.null_group is NullGroup.NULL:
        statement = _apply_keyset(statement.where(value.is_(None)), order, page_slice, key)
    elif page_slice.null_group is NullGroup.NON_NULL:
        statement = _apply_keyset(
            statement.where(value.is_not(None)), order, page_slice, value, key
        )
    else:
        statement = _apply_keyset(statement, order, page_slice, value, key)
    statement = statement.limit(bindparam("room"))
    return Statement(statement.offset(bindparam("offset")) if page_slice.has_offset else statement)


def _page_slices(order: Order, request: PageRequest) -> list[PageSlice]:
    """The rows with the time and those without, in the order they are read."""
    after, before = request.after, request.before
    if not order.column.expression.nullable or request.offset:
        # Of a list with nulls, only a count could say how many rows to skip of the second part.
        bounds = (after is not None, before is not None)
        return [PageSlice(NullGroup.ALL, request.from_end, *bounds, request.offset > 0)]

    parts = []
    for rows, has_time in ((NullGroup.NON_NULL, True), (NullGroup.NULL, False)):
        # A position without the time is one of the rows that the id alone puts in order.
        has_after = after is not None and (after.value is not None) == has_time
        has_before = before is not None and (before.value is not None) == has_time
        is_behind = has_time and after is not None and not has_after
        is_ahead = not has_time and before is not None and not has_before
        if not is_behind and not is_ahead:
            parts.append(PageSlice(rows, request.from_end, has_after, has_before, has_offset=False))
    return parts[::-1] if request.from_end else parts


def _apply_keyset(
    statement: AnySelect, order: Order, page_slice: PageSlice, *columns: ColumnElement[Any]
) -> AnySelect:
    """Rows that the columns alone put in order, between the bounds of the part."""
    descending = order.direction is Direction.DESC
    row = tuple_(*columns)
    for bound, follows in (
        (_AFTER_PARAMS if page_slice.has_after else None, True),
        (_BEFORE_PARAMS if page_slice.has_before else None, False),
    ):
        if bound is not None:
            place = tuple_(
                *(
                    bindparam(name, type_=column.type)
                    for name, column in zip(bound[-len(columns) :], columns, strict=True)
                )
            )
            statement = statement.where(row < place if follows == descending else row > place)
    backwards = descending != page_slice.from_end
    return statement.order_by(*(column.desc() if backwards else column for column in columns))


_AFTER_PARAMS, _BEFORE_PARAMS = (("after_time", "after_id"), ("before_time", "before_id"))


def _bound_params(name: str, position: KeysetPosition | None) -> dict[str, object]:
    if position is None:
        return {}
    return {f"{name}_time": position.value, f"{name}_id": UUID(position.key)}
