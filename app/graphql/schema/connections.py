"""Relay connections by keyset: arguments into a page request, rows into edges. No nouns' SQL."""

from dataclasses import dataclass
from typing import Protocol

import strawberry
from strawberry import field

from app.db.core.paging import Page, PageRequest
from app.db.core.statements import AnyRow
from app.domain.cursors import CursorCodec, KeysetPosition
from app.domain.errors import InvalidInput
from app.graphql.schema.types import Destination, Post

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 100
MAX_OFFSET = 10_000
PAGE_ARGUMENT_RANGES = {
    "first": (1, MAX_PAGE_SIZE),
    "last": (1, MAX_PAGE_SIZE),
    "offset": (0, MAX_OFFSET),
}
"""The arguments that are numbers, with their ranges."""

CountResult = int | Exception | None
"""How many there are, why that could not be counted, or None where nobody asks."""


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool = field(
        description="Whether more follows; when paging backwards, whether `before` was given."
    )
    has_previous_page: bool = field(
        description="Whether more comes before; when paging forwards, whether `after` or an"
        " `offset` was given."
    )
    start_cursor: str | None = field(description="The first edge's cursor; null on an empty page.")
    end_cursor: str | None = field(description="The last edge's cursor; null on an empty page.")


class SortField(Protocol):
    """A sort whose value is the name of the row's column."""

    @property
    def value(self) -> str: ...


@dataclass(frozen=True, slots=True)
class CursorPage:
    """A page whose cursors are spelled when they are asked for: they cost as much as all else of it."""

    page: Page
    codec: CursorCodec
    sort_by: SortField

    def cursors(self) -> list[str]:
        """One for each row."""
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
        return self.codec.encode(KeysetPosition(getattr(row, self.sort_by.value), str(row.id)))


@strawberry.type(description="A post in a list.")
class PostEdge:
    cursor: str = field(description="Its place; pass it as `after` or `before`.")
    node: Post = field(description="The post.")


@strawberry.type(description="A page of posts.")
class PostConnection:
    nodes: list[Post] = field(description="The posts alone.")
    page: strawberry.Private[CursorPage]
    total: strawberry.Private[CountResult]

    @strawberry.field(description="The posts with their cursors.")
    def edges(self) -> list[PostEdge]:
        pairs = zip(self.page.cursors(), self.nodes, strict=True)
        return [PostEdge(cursor=cursor, node=node) for cursor, node in pairs]

    @strawberry.field(description="Where the page stands.")
    def page_info(self) -> PageInfo:
        return self.page.info()

    @strawberry.field(description="All posts that match; counted only when asked for.")
    def total_count(self) -> int | None:
        return _raise_or_return(self.total)


@strawberry.type(description="A destination in a list.")
class DestinationEdge:
    cursor: str = field(description="Its place; pass it as `after` or `before`.")
    node: Destination = field(description="The destination.")


@strawberry.type(description="A page of destinations.")
class DestinationConnection:
    nodes: list[Destination] = field(description="The destinations alone.")
    page: strawberry.Private[CursorPage]
    total: strawberry.Private[CountResult]

    @strawberry.field(description="The destinations with their cursors.")
    def edges(self) -> list[DestinationEdge]:
        pairs = zip(self.page.cursors(), self.nodes, strict=True)
        return [DestinationEdge(cursor=cursor, node=node) for cursor, node in pairs]

    @strawberry.field(description="Where the page stands.")
    def page_info(self) -> PageInfo:
        return self.page.info()

    @strawberry.field(description="All destinations that match; counted only when asked for.")
    def total_count(self) -> int | None:
        return _raise_or_return(self.total)


def _raise_or_return(count: CountResult) -> int | None:
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
    """Check the paging arguments and decode their cursors; each refusal names its argument."""
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
    """The refusal of a number of PAGE_ARGUMENTS, or of what is no number at all."""
    low, high = PAGE_ARGUMENT_RANGES[name]
    given = "" if number is None else f"; it is {number:,}"
    return InvalidInput(f"{name} must be from {low:,} to {high:,}{given}.", argument=name)
