"""The root Query type and its resolvers."""

from asyncio import gather
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry
from strawberry import argument

from app.db.core.paging import Direction
from app.db.repositories import accounts, destinations, posts
from app.db.repositories.account_filters import AccountCriteria, account_filter_values
from app.db.repositories.calendar import CalendarCriteria
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.failure_groups import FailureGroupOrderField
from app.domain.api_keys import Scope
from app.domain.destinations import ErrorCategory
from app.domain.errors import InvalidInput
from app.domain.events import EventKind
from app.domain.ids import (
    DeliveryId,
    DestinationId,
    NodeKey,
    NodeKind,
    PostId,
    WebhookId,
    decode_node_id,
    validate_account_id,
)
from app.domain.outcome_statistics import OutcomeGrouping
from app.domain.time_buckets import MAX_BUCKETS, MAX_HOURS_OF_WEEK_PERIOD, BucketSize
from app.domain.times import Period
from app.graphql.schema import connections
from app.graphql.schema.accounts import Account, AccountConnection, load_account
from app.graphql.schema.analytics import AnalyticsSummary, build_summary
from app.graphql.schema.board_counts import BoardCounts
from app.graphql.schema.calendar import (
    DEFAULT_POSTS_IN_BUCKET,
    MAX_POSTS_IN_BUCKET,
    Calendar,
    CalendarFilterInput,
    build_calendar,
)
from app.graphql.schema.changes import FeedPage, build_event_filter, read_change_page
from app.graphql.schema.connections import (
    After,
    Before,
    CursorPage,
    First,
    Last,
    PageSize,
    parse_page_arguments,
)
from app.graphql.schema.context import Context, Info
from app.graphql.schema.destinations import Destination, DestinationConnection, load_destination
from app.graphql.schema.enums import CalendarInterval, CatalogPart
from app.graphql.schema.error_catalog import (
    ErrorCatalogEntry,
    RetrySchedulePreview,
    catalog_entries,
    preview_retries,
)
from app.graphql.schema.failure_groups import (
    FailureGroupConnection,
    load_failure_group,
    read_failure_groups,
)
from app.graphql.schema.inputs import (
    AccountFilterInput,
    AccountOrder,
    DestinationFilterInput,
    DestinationOrder,
    PeriodEnd,
    PeriodStart,
    PostFilterInput,
    PostOrder,
)
from app.graphql.schema.mutations.posts import PostInput
from app.graphql.schema.node import Node
from app.graphql.schema.outcome_stats import (
    MAX_GROUPINGS,
    OutcomeStats,
    OutcomeStatsFilterInput,
    build_outcome_stats,
)
from app.graphql.schema.permissions import HasScope, NotMirrorWorkspace, requires
from app.graphql.schema.platforms import Platform, platforms_with_limits
from app.graphql.schema.post_checks import PostCheckDetails, to_post_check
from app.graphql.schema.posts import Post, PostConnection, load_post
from app.graphql.schema.prefetch import read_destinations, read_post, read_posts, read_totals
from app.graphql.schema.server_outages import ServerOutageDetails, to_server_outage
from app.graphql.schema.viewer import ViewerDetails, build_viewer
from app.graphql.schema.webhooks import (
    DeliveryFilter,
    Webhook,
    WebhookDeliveryConnection,
    load_delivery,
    load_webhook,
    read_deliveries,
    read_webhooks,
)
from app.services.board_counts import BoardNumbers
from app.services.post_checks import PostCheck, check_post

AccountFilter = Annotated[AccountFilterInput | None, argument(description="Filter for accounts.")]
ChangeTypes = Annotated[
    list[EventKind] | None, argument(description="Return changes of these types; default all.")
]
Timezone = Annotated[
    str, argument(description="IANA time zone of the buckets, such as `Europe/Berlin`.")
]
ChangedPostId = Annotated[
    UUID | None, argument(description="Return changes of this post and its destinations.")
]
ChangedDestinationId = Annotated[
    UUID | None,
    argument(
        description="Return changes of this destination. Pass `postId` too: without it, a page of the query"
        " searches only a part of the feed."
    ),
]
ExcludedOperations = Annotated[
    list[str] | None,
    argument(description="Leave out changes by these operations, such as `claimDestinations`."),
]
ChangedByKey = Annotated[
    UUID | None, argument(description="Return changes by clients with this API key.")
]
ChangedByPerson = Annotated[
    str | None,
    argument(description="Return changes by this person, with exactly this name in `actor`."),
]
ChangeDirection = Annotated[
    Direction, argument(description="ASC: oldest change first. DESC: newest change first.")
]


@strawberry.type(
    description="Read operations. Each field returns data of the API key's workspace only."
)
class Query:
    @strawberry.field(
        description="Object with this id; null if it does not exist. A webhook and a delivery need the scope"
        " ADMIN.",
        extensions=requires(Scope.READ),
    )
    async def node(
        self,
        info: Info,
        id: Annotated[strawberry.ID, argument(description="Value of a field `id`.")],
    ) -> Node | None:
        kind, key = decode_node_id(id, "id")
        return await _load_node(info.context, kind, key)

    @strawberry.field(
        description="Objects with these ids, in their order; null for an object that does not exist.",
        extensions=requires(Scope.READ),
    )
    async def nodes(
        self,
        info: Info,
        ids: Annotated[list[strawberry.ID], argument(description="Values of fields `id`.")],
    ) -> list[Node | None] | None:
        decoded = [decode_node_id(text, "ids") for text in ids]
        return list(await gather(*(_load_node(info.context, kind, key) for kind, key in decoded)))

    @strawberry.field(
        description="Post with this UUID; null if it does not exist.",
        extensions=requires(Scope.READ),
    )
    async def post(
        self, info: Info, post_id: Annotated[UUID, argument(description="UUID of the post.")]
    ) -> Post | None:
        return await read_post(info, PostId(post_id))

    @strawberry.field(
        description="Posts of the workspace; newest first by default.",
        extensions=requires(Scope.READ),
    )
    async def posts(
        self,
        info: Info,
        filter: Annotated[PostFilterInput | None, argument(description="Filter for posts.")] = None,
        order_by: Annotated[PostOrder | None, argument(description="Order of the posts.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        offset: Annotated[
            int | None,
            argument(
                description=f"Number of posts to skip, up to {connections.MAX_OFFSET:,}. Not together with"
                " cursors or `last`."
            ),
        ] = None,
    ) -> PostConnection | None:
        order = order_by or PostOrder()
        criteria = posts.PostCriteria() if filter is None else filter.to_criteria()
        codec = info.context.cursor_codec(f"posts:{order.field}:{order.direction}")
        request = parse_page_arguments(
            codec, first=first, after=after, last=last, before=before, offset=offset
        )

        page, nodes = await read_posts(info, criteria, order.field, order.direction, request)
        totals = await read_totals(
            info, lambda reader, limit: posts.count_posts(reader, criteria, limit)
        )
        return PostConnection(nodes=nodes, page=CursorPage(page, codec, order.field), totals=totals)

    @strawberry.field(
        description="Destinations of all posts of the workspace; newest first by default.",
        extensions=requires(Scope.READ),
    )
    async def destinations(
        self,
        info: Info,
        filter: Annotated[
            DestinationFilterInput | None, argument(description="Filter for destinations.")
        ] = None,
        order_by: Annotated[
            DestinationOrder | None, argument(description="Order of the destinations.")
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> DestinationConnection | None:
        now = info.context.clock()
        order = order_by or DestinationOrder()
        criteria = DestinationCriteria() if filter is None else filter.to_criteria()
        codec = info.context.cursor_codec(f"destinations:{order.field}:{order.direction}")
        request = parse_page_arguments(codec, first=first, after=after, last=last, before=before)

        page = await read_destinations(info, criteria, order.field, order.direction, request, now)
        totals = await read_totals(
            info,
            lambda reader, limit: destinations.count_destinations(reader, criteria, now, limit),
        )
        nodes = [Destination.from_row(row, now) for row in page.rows]
        return DestinationConnection(
            nodes=nodes, page=CursorPage(page, codec, order.field), totals=totals
        )

    @strawberry.field(
        description="Failed destinations and unknown outcomes, grouped by their error: one group for each"
        " platform, category, code and message. Messages that differ only in numbers, ids, URLs or quoted"
        " texts are equal.",
        extensions=requires(Scope.READ),
    )
    async def failure_groups(
        self,
        info: Info,
        filter: Annotated[
            DestinationFilterInput | None,
            argument(description="Filter for the destinations that count."),
        ] = None,
        order_by: Annotated[
            FailureGroupOrderField, argument(description="Order of the groups.")
        ] = FailureGroupOrderField.COUNT,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> FailureGroupConnection | None:
        return await read_failure_groups(
            info, filter, order_by, first=first, after=after, last=last, before=before
        )

    @strawberry.field(
        description="Account with this number; null if it does not exist.",
        extensions=requires(Scope.READ),
    )
    async def account(
        self,
        info: Info,
        account_id: Annotated[int, argument(description="Number of the account.")],
    ) -> Account | None:
        return await load_account(info.context, validate_account_id(account_id, "accountId"))

    @strawberry.field(
        description="All accounts by number, including inactive ones. Use `accountConnection` for pages.",
        extensions=requires(Scope.READ),
    )
    async def accounts(self, info: Info, filter: AccountFilter = None) -> list[Account] | None:
        reader, now = info.context.reader, info.context.clock()
        filters = await account_filter_values(reader, _account_criteria(filter), now)
        rows = await accounts.all_accounts(reader, filters=filters)
        info.context.response_limit.add(len(rows))
        return [Account.from_row(row, now) for row in rows]

    @strawberry.field(
        description="Accounts in pages, including inactive ones; by number by default.",
        extensions=requires(Scope.READ),
    )
    async def account_connection(
        self,
        info: Info,
        filter: AccountFilter = None,
        order_by: Annotated[
            AccountOrder | None, argument(description="Order of the accounts.")
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> AccountConnection | None:
        reader, now = info.context.reader, info.context.clock()
        order = order_by or AccountOrder()
        criteria = _account_criteria(filter)
        codec = info.context.cursor_codec(f"accounts:{order.field}:{order.direction}")
        request = parse_page_arguments(codec, first=first, after=after, last=last, before=before)

        filters = await account_filter_values(reader, criteria, now)
        page = await accounts.accounts_page(
            reader, filters, order.field, order.direction, request, info.selection.projection
        )
        totals = await read_totals(
            info, lambda reader, limit: accounts.count_accounts(reader, filters, limit)
        )
        return AccountConnection(
            nodes=[Account.from_row(row, now) for row in page.rows],
            page=CursorPage(page, codec, order.field),
            totals=totals,
        )

    @strawberry.field(
        description="Change feed of the workspace. In the order ASC, oldest first, it starts at the oldest"
        " retained change unless `after` is given, and an older cursor fails with RESYNC_REQUIRED. In the"
        " order DESC, newest first, `after` leads to older changes, and the feed ends with the oldest"
        " retained one.",
        extensions=requires(Scope.READ),
    )
    async def changes(
        self,
        info: Info,
        after: After = None,
        first: PageSize = None,
        types: ChangeTypes = None,
        post_id: ChangedPostId = None,
        destination_id: ChangedDestinationId = None,
        exclude_operations: ExcludedOperations = None,
        key_id: ChangedByKey = None,
        person: ChangedByPerson = None,
        direction: ChangeDirection = Direction.ASC,
    ) -> FeedPage | None:
        event_filter = build_event_filter(
            types=types,
            post_id=post_id,
            destination_id=destination_id,
            exclude_operations=exclude_operations,
            key_id=key_id,
            person=person,
        )
        return await read_change_page(info, after, first, event_filter, direction)

    @strawberry.field(description="API key of the request and its workspace.")
    def viewer(self, info: Info) -> ViewerDetails:
        return build_viewer(info)

    @strawberry.field(description="All error codes of requests and publishing, with fixes.")
    def error_catalog(
        self,
        part: Annotated[
            CatalogPart | None,
            argument(description="Part of the catalog; default all."),
        ] = None,
    ) -> list[ErrorCatalogEntry]:
        return catalog_entries(part)

    @strawberry.field(
        description="Platforms that the worker of this server publishes on, with their limits, by name. The"
        " platform `sandbox` has no limits and is not listed.",
        extensions=requires(Scope.READ),
    )
    def platforms(self) -> list[Platform] | None:
        return platforms_with_limits()

    @strawberry.field(
        description="Numbers of destinations and accounts that need attention. They include every committed"
        " change; those that depend on the time can be two seconds old.",
        extensions=requires(Scope.READ),
        graphql_type=BoardCounts | None,
    )
    async def board_counts(
        self,
        info: Info,
        since: Annotated[
            datetime, argument(description="UTC time from which failures and duplicates count.")
        ],
    ) -> BoardNumbers:
        context = info.context
        return await context.app_state.board_counter.count(context.viewer.workspace_id, since)

    @strawberry.field(
        description="What `createPost` would refuse, and its warnings, for each account. Nothing is stored."
        " Fails with READ_ONLY_MIRROR in a mirror.",
        extensions=requires(Scope.READ, NotMirrorWorkspace()),
    )
    async def check_post(
        self,
        info: Info,
        input: Annotated[PostInput, argument(description="Post to check.")],
    ) -> PostCheckDetails | None:
        context = info.context
        try:
            new_post = input.to_new_post()
        except InvalidInput as error:
            return to_post_check(PostCheck([error], []))
        return to_post_check(
            await check_post(
                context.database,
                context.viewer.workspace_id,
                new_post,
                context.unknown_members.get(0),
                new_id=context.new_id,
                clock=context.clock,
            )
        )

    @strawberry.field(
        description="Servers that do not answer now, the longest outage first.",
        extensions=requires(Scope.READ),
    )
    async def server_outages(self, info: Info) -> list[ServerOutageDetails] | None:
        context = info.context
        outages = await context.app_state.outage_reader.outages(context.viewer.workspace_id)
        return [to_server_outage(each) for each in outages]

    @strawberry.field(
        description="Counts of the posts created in a period, and of their destinations.",
        extensions=requires(Scope.READ),
    )
    async def analytics_summary(
        self,
        info: Info,
        period: Annotated[Period, argument(description="Reporting period.")] = Period.MONTH,
        start: Annotated[
            datetime | None, argument(name="from", description="UTC start of a CUSTOM period.")
        ] = None,
        end: Annotated[
            datetime | None,
            argument(name="to", description="UTC end of a CUSTOM period; default now."),
        ] = None,
    ) -> AnalyticsSummary | None:
        return await build_summary(info, period, start, end)

    @strawberry.field(
        description="Outcomes of the destinations that were settled in a period, and of the attempts that"
        " started in it, by time and group. Deleted posts do not count, imported ones do.",
        extensions=requires(Scope.READ),
    )
    async def outcome_stats(
        self,
        info: Info,
        start: PeriodStart,
        end: PeriodEnd,
        interval: Annotated[
            BucketSize | None,
            argument(
                description=f"Length of a bucket, up to {MAX_BUCKETS:,} of them; default one bucket."
            ),
        ] = None,
        timezone: Timezone = "UTC",
        group_by: Annotated[
            list[OutcomeGrouping] | None,
            argument(
                description=f"Up to {MAX_GROUPINGS} properties to group by. HOUR_OF_WEEK allows a period of"
                f" up to {MAX_HOURS_OF_WEEK_PERIOD.days} days."
            ),
        ] = None,
        filter: Annotated[
            OutcomeStatsFilterInput | None, argument(description="Filter for the statistics.")
        ] = None,
    ) -> OutcomeStats | None:
        filters = filter or OutcomeStatsFilterInput()
        return await build_outcome_stats(
            info, start, end, interval, timezone, group_by or (), filters
        )

    @strawberry.field(
        description="Number of posts by status, and the first posts, of each hour or day of a period. The"
        " time of a post is its scheduled time, or else the time of its creation.",
        extensions=requires(Scope.READ),
    )
    async def calendar(
        self,
        info: Info,
        start: PeriodStart,
        end: PeriodEnd,
        timezone: Timezone = "UTC",
        bucket: Annotated[
            CalendarInterval,
            argument(description=f"Length of a bucket, up to {MAX_BUCKETS:,} of them."),
        ] = CalendarInterval.DAY,
        first: Annotated[
            int,
            argument(
                description=f"Number of posts to return of each bucket, 0 to {MAX_POSTS_IN_BUCKET}."
            ),
        ] = DEFAULT_POSTS_IN_BUCKET,
        filter: Annotated[
            CalendarFilterInput | None, argument(description="Filter for the posts.")
        ] = None,
    ) -> Calendar | None:
        criteria = CalendarCriteria() if filter is None else filter.to_criteria()
        return await build_calendar(info, start, end, timezone, bucket, first, criteria)

    @strawberry.field(
        description="Webhooks of the workspace, oldest first. Needs the scope ADMIN, because URLs may contain"
        " secrets.",
        extensions=requires(Scope.ADMIN),
    )
    async def webhooks(self, info: Info) -> list[Webhook] | None:
        return await read_webhooks(info.context)

    @strawberry.field(
        description="Webhook with this UUID; null if it does not exist. Needs the scope ADMIN.",
        extensions=requires(Scope.ADMIN),
    )
    async def webhook(
        self,
        info: Info,
        webhook_id: Annotated[UUID, argument(description="UUID of the webhook.")],
    ) -> Webhook | None:
        return await load_webhook(info.context, WebhookId(webhook_id))

    @strawberry.field(
        description="Deliveries of events to all webhooks of the workspace, those of the newest event first."
        " Needs the scope ADMIN.",
        extensions=requires(Scope.ADMIN),
    )
    async def webhook_deliveries(
        self,
        info: Info,
        filter: DeliveryFilter = None,
        first: PageSize = None,
        after: After = None,
    ) -> WebhookDeliveryConnection | None:
        return await read_deliveries(info, None, filter, first, after)

    @strawberry.field(
        description="Schedule of automatic retries for a category of errors on a platform.",
        extensions=requires(Scope.READ),
    )
    def preview_retry_schedule(
        self,
        info: Info,
        platform: Annotated[str, argument(description="Platform, such as `instagram`.")],
        category: Annotated[
            ErrorCategory, argument(description="Category of the error, as in `errorCategory`.")
        ],
        retry_after_seconds: Annotated[
            int | None,
            argument(description="Seconds that the platform asks to wait after each failure."),
        ] = None,
        not_sent: Annotated[
            bool,
            argument(description="True for failures after which the post was certainly not sent."),
        ] = False,
    ) -> RetrySchedulePreview | None:
        return preview_retries(info, platform, category, retry_after_seconds, not_sent=not_sent)


def _account_criteria(filters: AccountFilterInput | None) -> AccountCriteria:
    return AccountCriteria() if filters is None else filters.to_criteria()


async def _load_node(context: Context, kind: NodeKind, key: NodeKey) -> Node | None:
    if (permission := _NODE_PERMISSIONS.get(kind)) is not None:
        permission.check(context.viewer)
    if isinstance(key, int):
        return await load_account(context, key)
    if isinstance(key, str):
        return await load_failure_group(context, key)
    match kind:
        case NodeKind.POST:
            return await load_post(context, PostId(key))
        case NodeKind.WEBHOOK:
            return await load_webhook(context, WebhookId(key))
        case NodeKind.WEBHOOK_DELIVERY:
            return await load_delivery(context, DeliveryId(key))
    return await load_destination(context, DestinationId(key))


_NODE_PERMISSIONS: Mapping[NodeKind, HasScope] = dict.fromkeys(
    (NodeKind.WEBHOOK, NodeKind.WEBHOOK_DELIVERY), HasScope(Scope.ADMIN)
)
"""Permissions for the objects of `node` that not every reader may see."""
