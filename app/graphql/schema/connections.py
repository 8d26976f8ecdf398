"""Relay connections with keyset pagination: page arguments in, edges and cursors out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import strawberry
from strawberry import argument, field

from app.db.core.paging import Page, PageRequest
from app.db.core.statements import AnyRow
from app.domain.errors import InvalidInput
from app.domain.signing import CursorCodec, KeysetPosition

EdgeT = TypeVar("EdgeT")

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 100
MAX_OFFSET = 10_000
PAGE_ARGUMENT_RANGES = {
    "first": (1, MAX_PAGE_SIZE),
    "last": (1, MAX_PAGE_SIZE),
    "offset": (0, MAX_OFFSET),
}
"""Numeric page arguments with their lowest and highest values."""

First = Annotated[
    int | None,
    argument(
        description=f"Page size from the start of the list, 1 to {MAX_PAGE_SIZE}; default"
        f" {DEFAULT_PAGE_SIZE}. Not together with `last`."
    ),
]
PageSize = Annotated[
    int | None,
    argument(description=f"Page size, 1 to {MAX_PAGE_SIZE}; default {DEFAULT_PAGE_SIZE}."),
]
After = Annotated[str | None, argument(description="Return entries after this cursor.")]
Last = Annotated[
    int | None,
    argument(
        description=f"Page size from the end of the list, 1 to {MAX_PAGE_SIZE}. Not together"
        " with `first`."
    ),
]
Before = Annotated[str | None, argument(description="Return entries before this cursor.")]

MAX_CAPPED_TOTAL = 10_001
"""Highest value of `totalCountCapped`, which means that there are more than 10,000 entries."""

CountResult = int | Exception | None
"""Number of entries, the error of counting, or None if it is not selected."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of all matching entries of a connection."""

    exact: CountResult
    capped: CountResult
    """At most MAX_CAPPED_TOTAL."""


@strawberry.type(description="Position of a page in its list.")
class PageInfo:
    has_next_page: bool = field(
        description="True if entries follow the page; with `last`, true if `before` was passed."
    )
    has_previous_page: bool = field(
        description="True if entries precede the page; with `first`, true if `after` or `offset`"
        " was passed."
    )
    start_cursor: str | None = field(description="Cursor of the first edge; null on an empty page.")
    end_cursor: str | None = field(description="Cursor of the last edge; null on an empty page.")


@dataclass(frozen=True, slots=True)
class CursorPage:
    """Page that encodes cursors only if they are selected: they cost as much as the rest of the page."""

    page: Page
    codec: CursorCodec
    order_column: str
    """Column of the rows by which the list is sorted."""

    def edges(self, edge_type: Callable[..., EdgeT], nodes: Sequence[object]) -> list[EdgeT]:
        """Return an edge for each node of the page, in the order of its rows."""
        pairs = zip(self.cursors(), nodes, strict=True)
        return [edge_type(cursor=cursor, node=node) for cursor, node in pairs]

    def cursors(self) -> list[str]:
        """Return the cursor of each row."""
        return [self._cursor(row) for row in self.page.rows]

    def info(self) -> PageInfo:
        rows = self.page.rows
        return PageInfo(
            has_next_page=self.page.has_next_page,
            has_previous_page=self.page.has_previous_page,
            start_cursor=self._cursor(rows[0]) if rows else None,
            end_cursor=self._cursor(rows[-1]) if rows else None,
        )

    def _cursor(self, row: AnyRow) -> str:
        return self.codec.encode(KeysetPosition(getattr(row, self.order_column), str(row.id)))


@strawberry.type
class KeysetConnection:
    page: strawberry.Private[CursorPage]
    totals: strawberry.Private[Totals]

    @strawberry.field(description="Position of the page in the list.")
    def page_info(self) -> PageInfo:
        return self.page.info()

    @strawberry.field(
        description="Number of all matching entries; counted only if selected. With more than 100,000"
        " entries, `totalCountCapped` takes less time."
    )
    def total_count(self) -> int | None:
        return _count_or_raise(self.totals.exact)

    @strawberry.field(
        description=f"Number of all matching entries, but at most {MAX_CAPPED_TOTAL:,}; counted only if"
        " selected."
    )
    def total_count_capped(self) -> int | None:
        return _count_or_raise(self.totals.capped)

    @strawberry.field(
        description=f"True if `totalCountCapped` is {MAX_CAPPED_TOTAL:,}, so that there may be more entries;"
        " counted only if selected."
    )
    def total_count_is_capped(self) -> bool | None:
        count = _count_or_raise(self.totals.capped)
        return None if count is None else count == MAX_CAPPED_TOTAL


def _count_or_raise(count: CountResult) -> int | None:
    if isinstance(count, Exception):
        raise count
    return count


def parse_page_arguments(
    cursor_codec: CursorCodec,
    *,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
    offset: int | None = None,
) -> PageRequest:
    """Validate the page arguments and decode their cursors; errors name the argument."""
    if first is not None and last is not None:
        raise InvalidInput("Pass either first or last, not both.", argument="last")
    if offset is not None and (after is not None or before is not None or last is not None):
        raise InvalidInput(
            "offset cannot be combined with after, before or last.", argument="offset"
        )
    for name, number in (("first", first), ("last", last), ("offset", offset)):
        low, high = PAGE_ARGUMENT_RANGES[name]
        if number is not None and not low <= number <= high:
            raise out_of_range_error(name, number)
    return PageRequest(
        size=first or last or DEFAULT_PAGE_SIZE,
        from_end=last is not None,
        after=None if after is None else cursor_codec.decode(after, "after"),
        before=None if before is None else cursor_codec.decode(before, "before"),
        offset=offset or 0,
    )


def out_of_range_error(name: str, number: int | None = None) -> InvalidInput:
    """Return the error for a value of PAGE_ARGUMENT_RANGES; `number` is None if it is not a number."""
    low, high = PAGE_ARGUMENT_RANGES[name]
    actual = "" if number is None else f"; it is {number:,}"
    return InvalidInput(f"{name} must be from {low:,} to {high:,}{actual}.", argument=name)
