"""The root Subscription type, which streams the changes of a workspace.

Identical subscriptions share one response per event. A subscription field therefore yields pending events,
and `app.graphql.subscription_stream` builds each payload later.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, TypeAlias
from uuid import UUID

import strawberry
from strawberry import argument

from app.db.core.projections import Projection
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destinations import find_matching_destination
from app.db.repositories.posts import post_exists
from app.domain.api_keys import Scope
from app.domain.errors import not_found_error
from app.domain.events import (
    FEED_LIST_NAME,
    EventFilter,
    EventKind,
    StoredEvent,
    decode_position,
    encode_position,
)
from app.domain.ids import PostId
from app.graphql.loading.field_sources import ToOne, sourced_field
from app.graphql.schema.changes import (
    FeedChange,
    FeedChangeReader,
    RelatedObject,
    build_event_filter,
    related_field,
)
from app.graphql.schema.context import Context, Info
from app.graphql.schema.destinations import Destination
from app.graphql.schema.inputs import DestinationFilterInput
from app.graphql.schema.permissions import requires
from app.graphql.schema.posts import Post
from app.graphql.schema.query import (
    ChangedByKey,
    ChangedByPerson,
    ChangedDestinationId,
    ChangedPostId,
    ChangeTypes,
    ExcludedOperations,
)

PayloadBuilder: TypeAlias = Callable[[StoredEvent, Context], Awaitable[object | None]]
"""Function that builds the payload of an event from the current data; returns None to skip the event."""

ResumeAfter = Annotated[
    str | None,
    argument(
        description="Cursor of the last received change; the stream continues after it. Without a"
        " cursor, the stream starts now. Fails with RESYNC_REQUIRED if later changes are no longer"
        " retained."
    ),
]

_NO_COLUMNS = Projection(frozenset())

_FILTERS_OF_CHANGES = ("status", "outcome", "error_category", "error_code", "platform_post_url")
"""List filters that are compared with the change, which has a value of the same name."""

_DESTINATION_EVENT_KINDS = frozenset(kind for kind in EventKind if kind.startswith("destination."))


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """Event whose payload a subscription has yet to build."""

    event: StoredEvent
    build_payload: PayloadBuilder


@strawberry.type
class ChangeNotification:
    change: FeedChange = sourced_field("Entry of the change feed.", ToOne("change"))
    related: strawberry.Private[Mapping[str, RelatedObject]]

    @strawberry.field(description="Position of the change in the feed, to pass as `after`.")
    def cursor(self) -> str:
        return encode_position(self.change.cursor_codec, self.change.event)


@strawberry.type(description="Change of a post or of one of its destinations.")
class PostChange(ChangeNotification):
    post = related_field("post", Post, "Current state of the post; null if it was deleted.")


@strawberry.type(description="Change of a destination.")
class DestinationChange(ChangeNotification):
    destination = related_field(
        "destination",
        Destination,
        "Current state of the destination; null if removed or deleted.",
    )


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
        destination_id: ChangedDestinationId = None,
        exclude_operations: ExcludedOperations = None,
        key_id: ChangedByKey = None,
        person: ChangedByPerson = None,
    ) -> AsyncGenerator[PendingEvent, None]:
        reader = _change_reader(info, _selected_relations(info))

        async def build_payload(event: StoredEvent, context: Context) -> FeedChange:
            (change,) = await reader.read([event], context)
            return change

        event_filter = build_event_filter(
            types=types,
            post_id=post_id,
            destination_id=destination_id,
            exclude_operations=exclude_operations,
            key_id=key_id,
            person=person,
        )
        return await _subscribe(info, after, event_filter, build_payload)

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
        reader = _change_reader(info, _selected_relations(info))

        async def build_payload(event: StoredEvent, context: Context) -> PostChange:
            (change,) = await reader.read([event], context)
            return PostChange(change=change, related=change.related)

        return await _subscribe(info, after, build_event_filter(post_id=post_id), build_payload)

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
        relations = _selected_relations(info)
        projection = relations.get("destination", _NO_COLUMNS)
        if criteria is not None:  # the statement that compares the filter reads the destination too
            relations.pop("destination", None)
        reader = _change_reader(info, relations)

        async def build_payload(event: StoredEvent, context: Context) -> DestinationChange | None:
            destination = None
            if criteria is not None:
                destination = await _find_matching(event, context, criteria, projection)
                if destination is None:
                    return None
            (change,) = await reader.read([event], context)
            if destination is not None:
                change.related["destination"] = destination
            return DestinationChange(change=change, related=change.related)

        return await _subscribe(
            info, after, EventFilter(kinds=_DESTINATION_EVENT_KINDS), build_payload
        )


def _selected_relations(info: Info) -> dict[str, Projection]:
    """Return what the payload selects of each object of the change, itself or below `change`."""
    relations = {
        name: projection
        for name, projection in info.selection.projection.relations.items()
        if info.selection.includes(name, info.variable_values)
    }
    change = relations.pop("change", Projection())
    return {**Projection(relations=relations).union(change).relations}


def _change_reader(info: Info, relations: Mapping[str, Projection]) -> FeedChangeReader:
    return FeedChangeReader(info.context.cursor_codec(FEED_LIST_NAME), relations)


async def _find_matching(
    event: StoredEvent, context: Context, criteria: DestinationCriteria, projection: Projection
) -> Destination | None:
    """Return the destination of the event if the event and the current state match the filter."""
    key, remaining = event.destination_id, _remaining_filter(event, criteria)
    if key is None or remaining is None:
        return None
    now = context.clock()
    row = await find_matching_destination(context.reader, key, remaining, now, projection)
    return None if row is None else Destination.from_row(row, now)


def _remaining_filter(
    event: StoredEvent, criteria: DestinationCriteria
) -> DestinationCriteria | None:
    """Return the conditions to check against the database; None if the change itself does not match."""
    for name in _FILTERS_OF_CHANGES:
        allowed = getattr(criteria, name)
        if allowed is not None and name in event.values:
            if event.values[name] not in [str(value) for value in allowed]:
                return None
            criteria = replace(criteria, **{name: None})
    return criteria


async def _subscribe(
    info: Info, after: str | None, event_filter: EventFilter, build_payload: PayloadBuilder
) -> AsyncGenerator[PendingEvent, None]:
    """Check that the stream can start after the cursor, then return the stream."""
    context = info.context
    feed, workspace_id = context.app_state.change_feed, context.viewer.workspace_id
    position = (
        None if after is None else decode_position(context.cursor_codec(FEED_LIST_NAME), after)
    )
    start = await feed.resolve_start_position(workspace_id, position)

    async def pending_events() -> AsyncGenerator[PendingEvent, None]:
        async with feed.subscribe(workspace_id, start) as subscription:
            while True:
                for event in await subscription.next_events(event_filter):
                    yield PendingEvent(event, build_payload)

    return pending_events()
