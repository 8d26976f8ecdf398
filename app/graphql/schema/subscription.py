"""The root Subscription type, which streams the changes of a workspace.

Identical subscriptions share one response per event. A subscription field therefore yields pending events,
and `app.graphql.subscription_stream` resolves each event later.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated, TypeAlias
from uuid import UUID

import strawberry
from strawberry import argument

from app.db.core.statements import AnyRow
from app.db.repositories.destinations import DestinationCriteria, find_matching_destination
from app.db.repositories.posts import post_exists
from app.domain import events
from app.domain.api_keys import Scope
from app.domain.errors import not_found_error
from app.domain.events import EventFilter, EventKind
from app.domain.ids import PostId
from app.graphql.schema.changes import (
    FEED_LIST_NAME,
    FeedChange,
    build_event_filter,
    decode_position,
    encode_position,
)
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import DestinationFilterInput
from app.graphql.schema.permissions import requires
from app.graphql.schema.query import ChangedPostId, ChangeTypes
from app.graphql.schema.types import Destination, Post, load_destination, load_post

EventResolver: TypeAlias = Callable[[FeedChange, Context], Awaitable[object | None]]
"""Function that builds the result for a change; returns None if the subscription skips the change."""

ResumeAfter = Annotated[
    str | None,
    argument(
        description="Cursor of the last received change; the stream continues after it. Without a"
        " cursor, the stream starts now. Fails with RESYNC_REQUIRED if later changes are no longer"
        " retained."
    ),
]

_DESTINATION_EVENT_KINDS = frozenset(kind for kind in EventKind if kind.startswith("destination."))


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """Change that a subscription has yet to resolve."""

    event: events.StoredEvent
    resolver: EventResolver

    async def resolve(self, context: Context) -> object | None:
        """Build the result from the current data; return None if the subscription skips the change."""
        return await self.resolver(
            FeedChange(event=self.event, cursor_codec=context.cursor_codec(FEED_LIST_NAME)), context
        )


@strawberry.type
class ChangeNotification:
    change: FeedChange = strawberry.field(description="Entry of the change feed.")

    @strawberry.field(description="Position of the change in the feed, to pass as `after`.")
    def cursor(self) -> str:
        return encode_position(self.change.cursor_codec, self.change.event.position)


@strawberry.type(description="Change of a post or of one of its destinations.")
class PostChange(ChangeNotification):
    @strawberry.field(description="Current state of the post; null if it was deleted.")
    async def post(self, info: Info) -> Post | None:
        return await load_post(info.context, self.change.event.post_id)


@strawberry.type(description="Change of a destination.")
class DestinationChange(ChangeNotification):
    row: strawberry.Private[AnyRow | None]
    """Row of the destination, if the filter needed it."""

    @strawberry.field(description="Current state of the destination; null if removed or deleted.")
    async def destination(self, info: Info) -> Destination | None:
        if self.row is None:
            return await load_destination(info.context, self.change.event.destination_id)
        return Destination.from_row(self.row, info.context.clock())


@strawberry.type(
    description="Live changes of the workspace. After a disconnect, pass the last received cursor as `after`:"
    " no change is lost or repeated."
)
class Subscription:
    @strawberry.subscription(
        description="All changes of the workspace.",
        extensions=requires(Scope.READ),
        graphql_type=FeedChange,
    )
    async def changes(
        self,
        info: Info,
        after: ResumeAfter = None,
        types: ChangeTypes = None,
        post_id: ChangedPostId = None,
    ) -> AsyncGenerator[PendingEvent, None]:
        async def resolve(change: FeedChange, _context: Context) -> FeedChange:
            return change

        return await _subscribe(info.context, after, build_event_filter(types, post_id), resolve)

    @strawberry.subscription(
        description="Changes of one post and its destinations.",
        extensions=requires(Scope.READ),
        graphql_type=PostChange,
    )
    async def post_changed(
        self,
        info: Info,
        post_id: Annotated[UUID, argument(description="UUID of the post.")],
        after: ResumeAfter = None,
    ) -> AsyncGenerator[PendingEvent, None]:
        if not await post_exists(info.context.reader, PostId(post_id)):
            raise not_found_error("post", argument="postId")

        async def resolve(change: FeedChange, _context: Context) -> PostChange:
            return PostChange(change=change)

        return await _subscribe(info.context, after, build_event_filter(None, post_id), resolve)

    @strawberry.subscription(
        description="Changes of destinations that match the filter. `status`, `outcome`, `errorCategory` and"
        " `errorCode` are compared with the change if it sets them. Everything else is compared with the"
        " current state.",
        extensions=requires(Scope.READ),
        graphql_type=DestinationChange,
    )
    async def destination_changed(
        self,
        info: Info,
        filter: Annotated[
            DestinationFilterInput | None,
            argument(description="Filter for destinations; without it, all match."),
        ] = None,
        after: ResumeAfter = None,
    ) -> AsyncGenerator[PendingEvent, None]:
        criteria = None if filter is None else filter.to_criteria()

        async def resolve(change: FeedChange, context: Context) -> DestinationChange | None:
            key = change.event.destination_id
            if criteria is None or key is None:
                return DestinationChange(change=change, row=None)
            unchecked = _remaining_filter(change.event, criteria)
            if unchecked is None:
                return None
            row = await find_matching_destination(context.reader, key, unchecked, context.clock())
            return None if row is None else DestinationChange(change=change, row=row)

        return await _subscribe(
            info.context, after, EventFilter(kinds=_DESTINATION_EVENT_KINDS), resolve
        )


def _remaining_filter(
    event: events.StoredEvent, criteria: DestinationCriteria
) -> DestinationCriteria | None:
    """Return the conditions to check against the database; None if the change itself does not match."""
    for name in ("status", "outcome", "error_category", "error_code"):
        allowed = getattr(criteria, name)
        if allowed is not None and name in event.values:
            if event.values[name] not in [str(value) for value in allowed]:
                return None
            criteria = replace(criteria, **{name: None})
    return criteria


async def _subscribe(
    context: Context, after: str | None, event_filter: EventFilter, resolver: EventResolver
) -> AsyncGenerator[PendingEvent, None]:
    """Check that the stream can start after the cursor, then return the stream."""
    feed, workspace_id = context.app_state.change_feed, context.viewer.workspace_id
    position = (
        None if after is None else decode_position(context.cursor_codec(FEED_LIST_NAME), after)
    )
    start = await feed.resolve_start_position(workspace_id, position)

    async def pending_events() -> AsyncGenerator[PendingEvent, None]:
        async with feed.subscribe(workspace_id, start) as subscription:
            while True:
                for change in await subscription.next_events(event_filter):
                    yield PendingEvent(change, resolver)

    return pending_events()
