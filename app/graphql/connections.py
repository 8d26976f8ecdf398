"""Relay connections by keyset: arguments into a page request, rows into edges. No nouns' SQL."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import strawberry
from strawberry import field

from app.db.pages import Page, PageRequest
from app.db.queries import AnyRow
from app.domain.cursors import CursorCodec, Position
from app.domain.errors import InvalidInput
from app.graphql.types import Destination, Post

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 100
MAX_OFFSET = 10_000
PAGE_ARGUMENTS = {
    "first": (1, MAX_PAGE_SIZE),
    "last": (1, MAX_PAGE_SIZE),
    "offset": (0, MAX_OFFSET),
}
"""The arguments that are numbers, with their ranges."""

Count = Callable[[], Awaitable[int]]


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


@strawberry.type(description="A post in a list.")
class PostEdge:
    cursor: str = field(description="Its place; pass it as `after` or `before`.")
    node: Post = field(description="The post.")


@strawberry.type(description="A page of posts.")
class PostConnection:
    edges: list[PostEdge] = field(description="The posts with their cursors.")
    nodes: list[Post] = field(description="The posts alone.")
    page_info: PageInfo = field(description="Where the page stands.")
    count: strawberry.Private[Count]

    @strawberry.field(description="All posts that match; counted only when asked for.")
    async def total_count(self) -> int | None:
        return await self.count()


@strawberry.type(description="A destination in a list.")
class DestinationEdge:
    cursor: str = field(description="Its place; pass it as `after` or `before`.")
    node: Destination = field(description="The destination.")


@strawberry.type(description="A page of destinations.")
class DestinationConnection:
    edges: list[DestinationEdge] = field(description="The destinations with their cursors.")
    nodes: list[Destination] = field(description="The destinations alone.")
    page_info: PageInfo = field(description="Where the page stands.")
    count: strawberry.Private[Count]

    @strawberry.field(description="All destinations that match; counted only when asked for.")
    async def total_count(self) -> int | None:
        return await self.count()


class SortWord(Protocol):
    """A sort whose value is the name of the row's column."""

    @property
    def value(self) -> str: ...


def page_request(
    cursors: CursorCodec,
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
        low, high = PAGE_ARGUMENTS[name]
        if number is not None and not low <= number <= high:
            raise out_of_range(name, number)
    return PageRequest(
        size=first or last or DEFAULT_PAGE_SIZE,
        from_end=last is not None,
        after=None if after is None else cursors.decode(after, "after"),
        before=None if before is None else cursors.decode(before, "before"),
        offset=offset or 0,
    )


def post_connection(
    page: Page, nodes: list[Post], cursors: CursorCodec, sort_by: SortWord, count: Count
) -> PostConnection:
    places = _places(page.rows, cursors, sort_by)
    return PostConnection(
        edges=[PostEdge(cursor=c, node=n) for c, n in zip(places, nodes, strict=True)],
        nodes=nodes,
        page_info=_page_info(page, places),
        count=count,
    )


def destination_connection(
    page: Page,
    cursors: CursorCodec,
    sort_by: SortWord,
    node_of: Callable[[AnyRow], Destination],
    count: Count,
) -> DestinationConnection:
    nodes = [node_of(row) for row in page.rows]
    places = _places(page.rows, cursors, sort_by)
    return DestinationConnection(
        edges=[DestinationEdge(cursor=c, node=n) for c, n in zip(places, nodes, strict=True)],
        nodes=nodes,
        page_info=_page_info(page, places),
        count=count,
    )


def _places(rows: list[AnyRow], cursors: CursorCodec, sort_by: SortWord) -> list[str]:
    return [cursors.encode(Position(getattr(row, sort_by.value), str(row.id))) for row in rows]


def _page_info(page: Page, places: list[str]) -> PageInfo:
    return PageInfo(
        has_next_page=page.has_next_page,
        has_previous_page=page.has_previous_page,
        start_cursor=places[0] if places else None,
        end_cursor=places[-1] if places else None,
    )


def out_of_range(name: str, number: int | None = None) -> InvalidInput:
    """The refusal of a number of PAGE_ARGUMENTS, or of what is no number at all."""
    low, high = PAGE_ARGUMENTS[name]
    given = "" if number is None else f"; it is {number:,}"
    return InvalidInput(f"{name} must be from {low:,} to {high:,}{given}.", argument=name)
