"""Keyset pagination: forwards, backwards or by offset, nulls last, equal on both engines."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, bindparam, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.conditions import sort_key
from app.db.core.database import Reader
from app.db.core.statements import AnySelect, Statement
from app.domain.signing import KeysetPosition


class Direction(StrEnum):
    ASC = "asc"
    DESC = "desc"


@dataclass(frozen=True, slots=True)
class Order:
    """Total order by a time or number (`column`), then by id; rows without one come last in any direction."""

    column: InstrumentedAttribute[Any]
    id_column: InstrumentedAttribute[Any]
    """UUID or number, and not NULL; may be `column` itself."""
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Request for `size` rows between two positions, from the start or from the end.

    `offset` skips rows at the start of the list; it cannot be combined with the other three.
    """

    size: int
    from_end: bool = False
    after: KeysetPosition | None = None
    before: KeysetPosition | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in the order of the list, whichever end they were read from."""

    rows: list[Any]
    has_next_page: bool
    has_previous_page: bool


def page_of_rows(rows: Sequence[Any], request: PageRequest) -> Page:
    """Return the page of rows as they were read, with one extra row if more follow in that direction."""
    has_more = len(rows) > request.size
    page_rows = list(rows[: request.size])
    if request.from_end:
        page_rows.reverse()
        return Page(page_rows, has_next_page=request.before is not None, has_previous_page=has_more)
    has_previous = request.after is not None or request.offset > 0
    return Page(page_rows, has_next_page=has_more, has_previous_page=has_previous)


class NullGroup(StrEnum):
    """Rows that a statement reads: all, or only those with or without a sort value.

    No index has NULLS LAST in both directions, so a statement for each group reads in the order of an index.
    """

    ALL = "all"
    NON_NULL = "non_null"
    NULL = "null"


@dataclass(frozen=True, slots=True)
class PageSlice:
    """Properties that determine the SQL text of one statement of a page; values are bind parameters."""

    null_group: NullGroup
    from_end: bool
    has_after: bool
    has_before: bool
    has_offset: bool


ALL_NULL_GROUPS = frozenset(NullGroup)


async def read_page(
    reader: Reader,
    build_statement: Callable[[PageSlice], Statement],
    values: Mapping[str, object],
    order: Order,
    request: PageRequest,
    *,
    null_groups: Collection[NullGroup] = ALL_NULL_GROUPS,
) -> Page:
    """Read one page, fetching one extra row to determine whether another page follows.

    `null_groups` has the groups in which rows can match; the others are not read. `build_statement` calls
    `slice_statement`, and may cache the result. Rows without a value need a second statement, which runs only
    if the first returns too few rows. A row that gains or loses its value between the two may be missed or
    repeated, as between two pages.
    """
    limit = request.size + 1
    bounds = {
        **_bound_params("after", request.after, order),
        **_bound_params("before", request.before, order),
    }
    rows: list[Any] = []
    slices = _page_slices(order, request)
    for page_slice in (each for each in slices if each.null_group in null_groups):
        if remaining := limit - len(rows):
            parameters = {**values, **bounds, "limit": remaining, "offset": request.offset}
            rows.extend(await reader.rows(build_statement(page_slice), **parameters))
    return page_of_rows(rows, request)


def slice_statement(
    statement: AnySelect, order: Order, page_slice: PageSlice, *, selects_few: bool = False
) -> Statement:
    """Return the statement of a slice. An index serves its order, except ALL with a nullable column.

    With `selects_few`, the rows that the conditions select are sorted, instead of reading all in order.
    """
    value: ColumnElement[Any] = order.column.expression
    key: ColumnElement[Any] = order.id_column.expression
    is_nullable, descending = order.column.expression.nullable, order.direction is Direction.DESC
    if selects_few:
        value, key = sort_key(value), sort_key(key)
    if page_slice.null_group is NullGroup.ALL and is_nullable:
        value, key = (value.desc(), key.desc()) if descending else (value, key)
        statement = statement.order_by(value.nulls_last(), key)
    elif page_slice.null_group is NullGroup.NULL:
        statement = _apply_keyset(statement.where(value.is_(None)), order, page_slice, key)
    elif page_slice.null_group is NullGroup.NON_NULL:
        statement = _apply_keyset(
            statement.where(value.is_not(None)), order, page_slice, value, key
        )
    elif order.column is order.id_column:
        statement = _apply_keyset(statement, order, page_slice, key)
    else:
        statement = _apply_keyset(statement, order, page_slice, value, key)
    statement = statement.limit(bindparam("limit"))
    return Statement(statement.offset(bindparam("offset")) if page_slice.has_offset else statement)


def null_groups_of(order: Order, request: PageRequest) -> list[NullGroup]:
    """Return the groups that a page may read, in the order in which they are read."""
    return [page_slice.null_group for page_slice in _page_slices(order, request)]


def _page_slices(order: Order, request: PageRequest) -> list[PageSlice]:
    """Return the slices of a page in the order in which they are read, without those out of bounds."""
    after, before = request.after, request.before
    if not order.column.expression.nullable or request.offset:
        # A second statement would need to know how many rows the first one skipped, which takes a count.
        bounds = (after is not None, before is not None)
        return [PageSlice(NullGroup.ALL, request.from_end, *bounds, request.offset > 0)]

    slices = []
    for null_group, has_value in ((NullGroup.NON_NULL, True), (NullGroup.NULL, False)):
        # A position without a value lies among the rows that are ordered by id alone.
        has_after = after is not None and (after.value is not None) == has_value
        has_before = before is not None and (before.value is not None) == has_value
        is_behind = has_value and after is not None and not has_after
        is_ahead = not has_value and before is not None and not has_before
        if not is_behind and not is_ahead:
            slices.append(
                PageSlice(null_group, request.from_end, has_after, has_before, has_offset=False)
            )
    return slices[::-1] if request.from_end else slices


def _apply_keyset(
    statement: AnySelect, order: Order, page_slice: PageSlice, *columns: ColumnElement[Any]
) -> AnySelect:
    """Order by the columns, and keep the rows between bounds: `(value, id) > (:after_value, :after_id)`."""
    descending = order.direction is Direction.DESC
    row = tuple_(*columns)
    for name, has_bound in (("after", page_slice.has_after), ("before", page_slice.has_before)):
        if has_bound:
            params = (f"{name}_value", f"{name}_id")[-len(columns) :]
            bound = tuple_(
                *(
                    bindparam(param, type_=column.type)
                    for param, column in zip(params, columns, strict=True)
                )
            )
            is_greater = (name == "after") != descending
            statement = statement.where(row > bound if is_greater else row < bound)
    backwards = descending != page_slice.from_end
    return statement.order_by(*(column.desc() if backwards else column for column in columns))


def _bound_params(name: str, position: KeysetPosition | None, order: Order) -> dict[str, object]:
    if position is None:
        return {}
    parse_key = order.id_column.expression.type.python_type
    return {f"{name}_value": position.value, f"{name}_id": parse_key(position.key)}
