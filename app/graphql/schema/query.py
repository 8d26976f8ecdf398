"""The Query type: the ways in. What is found is described in types, how lists page in connections."""

from asyncio import gather
from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry
from strawberry import argument

from app.db.repositories import accounts, destinations, posts
from app.domain.api_keys import Scope
from app.domain.destinations import ErrorCategory
from app.domain.events import EventKind
from app.domain.ids import (
    AccountId,
    DestinationId,
    NodeKind,
    PostId,
    check_account_id,
    decode_node_id,
)
from app.domain.times import Period
from app.graphql.schema import connections
from app.graphql.schema.analytics import AnalyticsSummary, build_summary
from app.graphql.schema.changes import ChangePage, read_change_page
from app.graphql.schema.connections import (
    CursorPage,
    DestinationConnection,
    PostConnection,
    parse_page_arguments,
)
from app.graphql.schema.context import Context, Info
from app.graphql.schema.enums import CatalogPart
from app.graphql.schema.error_catalog import ErrorCatalogEntry, catalog_entries
from app.graphql.schema.inputs import DestinationFilter, DestinationOrder, PostFilter, PostOrder
from app.graphql.schema.permissions import requires
from app.graphql.schema.prefetch import read_count, read_destinations, read_post, read_posts
from app.graphql.schema.retry_schedules import RetrySchedule, build_retry_schedule
from app.graphql.schema.types import Account, Destination, Node, Post
from app.graphql.schema.viewer import Viewer, build_viewer

First = Annotated[
    int | None,
    argument(
        description=f"The first so many, 1 to {connections.MAX_PAGE_SIZE}; without first and"
        f" last it is {connections.DEFAULT_PAGE_SIZE}."
    ),
]
After = Annotated[str | None, argument(description="Only what comes after this cursor.")]
Last = Annotated[
    int | None, argument(description=f"The last so many, 1 to {connections.MAX_PAGE_SIZE}.")
]
Before = Annotated[str | None, argument(description="Only what comes before this cursor.")]

ChangeTypes = Annotated[
    list[EventKind] | None, argument(description="Only changes of these types; without it, all.")
]
ChangedPostId = Annotated[
    UUID | None, argument(description="Only changes of this post and its destinations.")
]


@strawberry.type(description="Everything that can be read. Each field sees one workspace only.")
class Query:
    @strawberry.field(
        description="The object with this id; null where there is none.",
        extensions=requires(Scope.READ),
    )
    async def node(
        self,
        info: Info,
        id: Annotated[strawberry.ID, argument(description="From a field `id`.")],  # noqa: A002
    ) -> Node | None:
        return await _load_node_by_id(info.context, id, "id")

    @strawberry.field(
        description="The objects with these ids, in their order; null where there is none.",
        extensions=requires(Scope.READ),
    )
    async def nodes(
        self,
        info: Info,
        ids: Annotated[list[strawberry.ID], argument(description="From fields `id`.")],
    ) -> list[Node | None] | None:
        decoded = [decode_node_id(text, "ids") for text in ids]
        return list(await gather(*(_load_node(info.context, kind, key) for kind, key in decoded)))

    @strawberry.field(
        description="The post with this UUID; null where there is none.",
        extensions=requires(Scope.READ),
    )
    async def post(
        self, info: Info, post_id: Annotated[UUID, argument(description="The post's UUID.")]
    ) -> Post | None:
        return await read_post(info, PostId(post_id))

    @strawberry.field(
        description="Posts, newest first unless ordered otherwise.", extensions=requires(Scope.READ)
    )
    async def posts(
        self,
        info: Info,
        filter: Annotated[PostFilter | None, argument(description="Which ones.")] = None,  # noqa: A002
        order_by: Annotated[PostOrder | None, argument(description="In which order.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        offset: Annotated[
            int | None,
            argument(
                description=f"Skip so many, up to {connections.MAX_OFFSET:,}; not with cursors."
            ),
        ] = None,
    ) -> PostConnection | None:
        order = order_by or PostOrder()
        wanted = (filter or PostFilter()).to_db_filter()
        cursors = info.context.cursor_codec(f"posts:{order.field}:{order.direction}")
        page = parse_page_arguments(
            cursors, first=first, after=after, last=last, before=before, offset=offset
        )

        found, nodes = await read_posts(info, wanted, order.field, order.direction, page)
        total = await read_count(info, lambda reader: posts.count_posts(reader, wanted))
        page_shown = CursorPage(found, cursors, order.field)
        return PostConnection(nodes=nodes, page=page_shown, total=total)

    @strawberry.field(
        description="Destinations across posts, newest first unless ordered otherwise.",
        extensions=requires(Scope.READ),
    )
    async def destinations(
        self,
        info: Info,
        filter: Annotated[DestinationFilter | None, argument(description="Which ones.")] = None,  # noqa: A002
        order_by: Annotated[
            DestinationOrder | None, argument(description="In which order.")
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> DestinationConnection | None:
        now = info.context.clock()
        order = order_by or DestinationOrder()
        wanted = (filter or DestinationFilter()).to_db_filter()
        cursors = info.context.cursor_codec(f"destinations:{order.field}:{order.direction}")
        page = parse_page_arguments(cursors, first=first, after=after, last=last, before=before)

        found = await read_destinations(info, wanted, order.field, order.direction, page, now)
        total = await read_count(
            info, lambda reader: destinations.count_destinations(reader, wanted, now)
        )
        nodes = [Destination.from_row(row, now) for row in found.rows]
        page_shown = CursorPage(found, cursors, order.field)
        return DestinationConnection(nodes=nodes, page=page_shown, total=total)

    @strawberry.field(
        description="The account with this number; null where there is none.",
        extensions=requires(Scope.READ),
    )
    async def account(
        self,
        info: Info,
        account_id: Annotated[int, argument(description="The account's number.")],
    ) -> Account | None:
        key = check_account_id(account_id, "accountId")
        row = await info.context.loaders.accounts_by_id.load(key)
        return None if row is None else Account.from_row(row, info.context.clock())

    @strawberry.field(
        description="All accounts, by number; also inactive ones.", extensions=requires(Scope.READ)
    )
    async def accounts(self, info: Info) -> list[Account] | None:
        reader = info.context.read()
        rows = await accounts.all_accounts(reader)
        info.context.list_limit.add(len(rows))
        now = info.context.clock()
        return [Account.from_row(row, now) for row in rows]

    @strawberry.field(
        description="What happened in the workspace, the oldest first; without `after`, from the first"
        " change that is kept. A cursor that is older than that is RESYNC_REQUIRED.",
        extensions=requires(Scope.READ),
    )
    async def changes(
        self,
        info: Info,
        after: After = None,
        first: First = None,
        types: ChangeTypes = None,
        post_id: ChangedPostId = None,
    ) -> ChangePage | None:
        return await read_change_page(info.context, after, first, types, post_id)

    @strawberry.field(description="Who asks: the key of this request and its workspace.")
    def viewer(self, info: Info) -> Viewer:
        return build_viewer(info)

    @strawberry.field(description="Every error code a client can meet, and what to do about it.")
    def error_catalog(
        self,
        part: Annotated[
            CatalogPart | None,
            argument(description="Only errors of requests, or only those of publishing."),
        ] = None,
    ) -> list[ErrorCatalogEntry]:
        return catalog_entries(part)

    @strawberry.field(
        description="Counts over a period, by when posts were created.",
        extensions=requires(Scope.READ),
    )
    async def analytics_summary(
        self,
        info: Info,
        period: Annotated[Period, argument(description="The period.")] = Period.MONTH,
        start: Annotated[
            datetime | None, argument(name="from", description="The start of a CUSTOM period.")
        ] = None,
        end: Annotated[
            datetime | None,
            argument(name="to", description="The end of a CUSTOM period; without it, now."),
        ] = None,
    ) -> AnalyticsSummary | None:
        return await build_summary(info, period, start, end)

    @strawberry.field(
        description="Whether and when a kind of failure on a platform is retried by itself.",
        extensions=requires(Scope.READ),
    )
    def preview_retry_schedule(
        self,
        info: Info,
        platform: Annotated[str, argument(description="The platform, such as `instagram`.")],
        category: Annotated[
            ErrorCategory, argument(description="The kind of error, as `errorCategory` has it.")
        ],
        retry_after_seconds: Annotated[
            int | None,
            argument(description="How long the platform asks to wait each time, where it does."),
        ] = None,
    ) -> RetrySchedule | None:
        return build_retry_schedule(info, platform, category, retry_after_seconds)


async def _load_node_by_id(context: Context, node_id: str, argument_name: str) -> Node | None:
    kind, key = decode_node_id(node_id, argument_name)
    return await _load_node(context, kind, key)


async def _load_node(context: Context, kind: NodeKind, key: UUID | AccountId) -> Node | None:
    if isinstance(key, int):
        row = await context.loaders.accounts_by_id.load(key)
        return None if row is None else Account.from_row(row, context.clock())
    if kind is NodeKind.POST:
        row = await context.loaders.posts_by_id.load(PostId(key))
        return None if row is None else Post.from_row(row, context.clock())
    row = await context.loaders.destinations_by_id.load(DestinationId(key))
    return None if row is None else Destination.from_row(row, context.clock())
