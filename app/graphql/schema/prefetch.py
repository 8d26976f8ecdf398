"""Rows for the ways in, read with all that the document asks of them. What is found is described in types."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

import structlog

from app.db.core.database import Reader
from app.db.core.paging import Direction, Page, PageRequest
from app.db.core.statements import AnyRow
from app.db.repositories import destinations, posts
from app.db.repositories.destinations import POST_RELATION, DestinationCriteria, DestinationSort
from app.db.repositories.posts import PostCriteria, PostSort
from app.domain.errors import RequestError
from app.domain.ids import PostId
from app.graphql.loading.loaders import ListSizeLimit
from app.graphql.schema.connections import CountResult
from app.graphql.schema.context import Info
from app.graphql.schema.lookahead import is_only_root_field, is_selected, selected_projection
from app.graphql.schema.types import Post

T = TypeVar("T")

DESTINATIONS = "destinations"

logger = structlog.stdlib.get_logger(__name__)


class PrefetchedRelations(Mapping[str, Sequence[AnyRow]]):
    """A post's destinations that were read with it, which count each time they go into the answer."""

    __slots__ = ("_list_limit", "_rows")

    def __init__(self, rows: Sequence[AnyRow], list_limit: ListSizeLimit) -> None:
        self._rows = rows
        self._list_limit = list_limit

    def __getitem__(self, name: str) -> Sequence[AnyRow]:
        if name not in self:
            raise KeyError(name)
        self._list_limit.add(len(self._rows))
        return self._rows

    def __contains__(self, name: object) -> bool:
        return name == DESTINATIONS

    def __iter__(self) -> Iterator[str]:
        return iter((DESTINATIONS,))

    def __len__(self) -> int:
        return 1


async def read_post(info: Info, post_id: PostId) -> Post | None:
    """With its destinations in one statement, where the document asks for nothing else."""
    context, shape = info.context, selected_projection(info)
    along = shape.relation(DESTINATIONS)
    if along is not None and is_only_root_field(info):
        rows = await _try_joined_read(
            destinations.destinations_with_post(context.read(), post_id, along, shape)
        )
        if rows:
            known = PrefetchedRelations(rows, context.list_limit)
            return Post.from_row(
                rows[0].related_classes[POST_RELATION](rows[0]), context.clock(), known
            )
    row = await context.loaders.posts_by_id.load(post_id)
    return None if row is None else Post.from_row(row, context.clock())


async def read_posts(
    info: Info,
    post_filter: PostCriteria,
    sort_by: PostSort,
    direction: Direction,
    page_request: PageRequest,
) -> tuple[Page, list[Post]]:
    """A page, and its posts with their destinations where the document asks for those."""
    context, shape = info.context, selected_projection(info, ("nodes",), ("edges", "node"))
    page = await posts.posts_page(
        context.read(), post_filter, sort_by, direction, page_request, shape
    )
    now, along = context.clock(), shape.relation(DESTINATIONS)
    found = None
    if along is not None and page.rows:
        found = await _try_joined_read(
            destinations.destinations_for_posts(context.read(), page.rows, along)
        )
    if found is None:
        return page, [Post.from_row(row, now) for row in page.rows]
    return page, [
        Post.from_row(row, now, PrefetchedRelations(rows, context.list_limit))
        for row, rows in zip(page.rows, found, strict=True)
    ]


async def read_destinations(
    info: Info,
    destination_filter: DestinationCriteria,
    sort_by: DestinationSort,
    direction: Direction,
    page_request: PageRequest,
    now: datetime,
) -> Page:
    """A page, with the accounts where the document asks for them and they can be read."""
    shape = selected_projection(info, ("nodes",), ("edges", "node"))
    read = partial(
        destinations.destinations_page,
        info.context.read(),
        destination_filter,
        sort_by,
        direction,
        page_request,
        now,
    )
    page = await _try_joined_read(read(shape))
    return await read() if page is None else page


async def read_count(info: Info, count: Callable[[Reader], Awaitable[int]]) -> CountResult:
    """Of a list whose document asks for the total; it is told, or fails, where it is asked for."""
    if not is_selected(info, "totalCount"):
        return None
    try:
        return await count(info.context.read())
    except Exception as error:  # noqa: BLE001 - raised again by the field
        return error


async def _try_joined_read(read: Awaitable[T]) -> T | None:
    """None where rows cannot be read together: then each is read, and fails, for itself."""
    try:
        return await read
    except RequestError:
        raise
    except Exception:
        logger.warning("not read together", exc_info=True)
        return None
