"""Reads the rows of root fields together with the relations that the document selects."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

import structlog

from app.db.core.database import Reader
from app.db.core.paging import Direction, Page, PageRequest
from app.db.core.projections import Projection
from app.db.core.statements import AnyRow, Record, Statement
from app.db.repositories import destinations, posts
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destinations import POST_RELATION, DestinationOrderField
from app.db.repositories.posts import PostCriteria, PostOrderField
from app.domain.errors import RequestError, ServiceUnavailable
from app.domain.ids import PostId
from app.graphql.loading.response_limit import ResponseLimit
from app.graphql.schema.connections import MAX_CAPPED_TOTAL, CountResult, Totals
from app.graphql.schema.context import Context, Info
from app.graphql.schema.lookahead import Selection
from app.graphql.schema.posts import Post, load_post

T = TypeVar("T")

_DESTINATIONS = "destinations"

logger = structlog.stdlib.get_logger(__name__)


class PrefetchedRelations(Mapping[str, Sequence[AnyRow]]):
    """Destinations read with their post; each use counts toward the list size limit of the response."""

    __slots__ = ("_response_limit", "_rows")

    def __init__(self, rows: Sequence[AnyRow], response_limit: ResponseLimit) -> None:
        self._rows = rows
        self._response_limit = response_limit

    def __getitem__(self, name: str) -> Sequence[AnyRow]:
        if name != _DESTINATIONS:
            raise KeyError(name)
        self._response_limit.add(len(self._rows))
        return self._rows

    def __contains__(self, name: object) -> bool:
        return name == _DESTINATIONS

    def __iter__(self) -> Iterator[str]:
        return iter((_DESTINATIONS,))

    def __len__(self) -> int:
        return 1


async def read_post(info: Info, post_id: PostId) -> Post | None:
    """Read a post, with its destinations in one statement if no other field could batch their load."""
    context, statement = info.context, info.selection.derive(_select_post_with_destinations)
    if statement is not None:
        rows = await _try_prefetch(context.reader.rows(statement, post_id=post_id))
        if rows:
            post_row = rows[0].related_classes[POST_RELATION](rows[0])
            prefetched = PrefetchedRelations(rows, context.response_limit)
            return Post.from_row(post_row, context.clock(), prefetched)
    return await load_post(context, post_id)


def _select_post_with_destinations(selection: Selection) -> Statement | None:
    relation = selection.projection.relations.get(_DESTINATIONS)
    if relation is None or not selection.is_only_root_field:
        return None
    return destinations.select_with_post(relation, selection.projection)


async def read_posts(
    info: Info,
    criteria: PostCriteria,
    order_field: PostOrderField,
    direction: Direction,
    page_request: PageRequest,
) -> tuple[Page, list[Post]]:
    """Read a page of posts, with their destinations if the document selects them."""
    context, projection = info.context, info.selection.projection
    page = await posts.posts_page(
        context.reader, criteria, order_field, direction, page_request, projection
    )
    return page, await posts_from_rows(context, page.rows, projection)


async def posts_from_rows(
    context: Context, rows: Sequence[Record], projection: Projection
) -> list[Post]:
    """Return the posts of rows, with their destinations if the projection includes them."""
    now, relation = context.clock(), projection.relations.get(_DESTINATIONS)
    rows_by_post = None
    if relation is not None and rows:
        rows_by_post = await _try_prefetch(
            destinations.destinations_for_posts(context.reader, rows, relation)
        )
    if rows_by_post is None:
        return [Post.from_row(row, now) for row in rows]
    return [
        Post.from_row(row, now, PrefetchedRelations(destination_rows, context.response_limit))
        for row, destination_rows in zip(rows, rows_by_post, strict=True)
    ]


async def read_destinations(
    info: Info,
    criteria: DestinationCriteria,
    order_field: DestinationOrderField,
    direction: Direction,
    page_request: PageRequest,
    now: datetime,
) -> Page:
    """Read a page of destinations, with their accounts if the document selects them."""
    read = partial(
        destinations.destinations_page,
        info.context.reader,
        criteria,
        order_field,
        direction,
        page_request,
        now,
    )
    page = await _try_prefetch(read(info.selection.projection))
    return await read() if page is None else page


async def read_totals(info: Info, count: Callable[[Reader, int | None], Awaitable[int]]) -> Totals:
    """Count a list, up to a limit or without one, as the fields that are selected need it."""

    async def count_for(limit: int | None, *names: str) -> CountResult:
        if not any(info.selection.includes(name, info.variable_values) for name in names):
            return None
        try:
            return await count(info.context.reader, limit)
        except Exception as error:  # noqa: BLE001 - the field raises it, so that only the field fails
            return error

    exact = await count_for(None, "totalCount")
    if isinstance(exact, int):
        return Totals(exact=exact, capped=min(exact, MAX_CAPPED_TOTAL))
    capped = await count_for(MAX_CAPPED_TOTAL, "totalCountCapped", "totalCountIsCapped")
    return Totals(exact=exact, capped=capped)


async def _try_prefetch(read: Awaitable[T]) -> T | None:
    """Await a read of relations; return None if it fails, so that each one is read, and fails, alone.

    Raises ServiceUnavailable: if the database does not respond, another read would only take longer.
    """
    try:
        return await read
    except (RequestError, ServiceUnavailable):
        raise
    except Exception:
        logger.warning("prefetch failed", exc_info=True)
        return None
