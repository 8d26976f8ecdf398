"""Rows for the ways in, read with all that the document asks of them. What is found is described in types."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

import structlog

from app.db import destinations, posts
from app.db.destinations import POST, DestinationFilter, DestinationSort
from app.db.engine import Reader
from app.db.pages import Direction, Page, PageRequest
from app.db.posts import PostFilter, PostSort
from app.db.queries import AnyRow
from app.domain.errors import RequestError
from app.domain.ids import PostId
from app.graphql.connections import Total
from app.graphql.context import Info
from app.graphql.loaders import ListEntries
from app.graphql.lookahead import asks_for, is_alone, shape_of
from app.graphql.types import Post

T = TypeVar("T")

DESTINATIONS = "destinations"

logger = structlog.stdlib.get_logger(__name__)


class ReadAlong(Mapping[str, Sequence[AnyRow]]):
    """A post's destinations that were read with it, which count each time they go into the answer."""

    __slots__ = ("_entries", "_rows")

    def __init__(self, rows: Sequence[AnyRow], entries: ListEntries) -> None:
        self._rows = rows
        self._entries = entries

    def __getitem__(self, name: str) -> Sequence[AnyRow]:
        if name not in self:
            raise KeyError(name)
        self._entries.add(len(self._rows))
        return self._rows

    def __contains__(self, name: object) -> bool:
        return name == DESTINATIONS

    def __iter__(self) -> Iterator[str]:
        return iter((DESTINATIONS,))

    def __len__(self) -> int:
        return 1


async def read_post(info: Info, post_id: PostId) -> Post | None:
    """With its destinations in one statement, where the document asks for nothing else."""
    context, shape = info.context, shape_of(info)
    along = shape.part(DESTINATIONS)
    if along is not None and is_alone(info):
        rows = await _together(
            destinations.destinations_with_post(context.read(), post_id, along, shape)
        )
        if rows:
            known = ReadAlong(rows, context.list_entries)
            return Post.from_row(rows[0].parts[POST](rows[0]), context.clock(), known)
    row = await context.loaders.posts_by_id.load(post_id)
    return None if row is None else Post.from_row(row, context.clock())


async def read_posts(
    info: Info,
    wanted: PostFilter,
    sort_by: PostSort,
    direction: Direction,
    request: PageRequest,
) -> tuple[Page, list[Post]]:
    """A page, and its posts with their destinations where the document asks for those."""
    context, shape = info.context, shape_of(info, ("nodes",), ("edges", "node"))
    page = await posts.posts_page(context.read(), wanted, sort_by, direction, request, shape)
    now, along = context.clock(), shape.part(DESTINATIONS)
    found = None
    if along is not None and page.rows:
        found = await _together(
            destinations.destinations_of_posts(context.read(), page.rows, along)
        )
    if found is None:
        return page, [Post.from_row(row, now) for row in page.rows]
    return page, [
        Post.from_row(row, now, ReadAlong(rows, context.list_entries))
        for row, rows in zip(page.rows, found, strict=True)
    ]


async def read_destinations(
    info: Info,
    wanted: DestinationFilter,
    sort_by: DestinationSort,
    direction: Direction,
    request: PageRequest,
    now: datetime,
) -> Page:
    """A page, with the accounts where the document asks for them and they can be read."""
    shape = shape_of(info, ("nodes",), ("edges", "node"))
    read = partial(
        destinations.destinations_page,
        info.context.read(),
        wanted,
        sort_by,
        direction,
        request,
        now,
    )
    page = await _together(read(shape))
    return await read() if page is None else page


async def read_total(info: Info, count: Callable[[Reader], Awaitable[int]]) -> Total:
    """Of a list whose document asks for the total; it is told, or fails, where it is asked for."""
    if not asks_for(info, "totalCount"):
        return None
    try:
        return await count(info.context.read())
    except Exception as error:  # noqa: BLE001 - raised again by the field
        return error


async def _together(read: Awaitable[T]) -> T | None:
    """None where rows cannot be read together: then each is read, and fails, for itself."""
    try:
        return await read
    except RequestError:
        raise
    except Exception:
        logger.warning("not read together", exc_info=True)
        return None
