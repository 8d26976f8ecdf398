"""The Subscription type: what can be followed live. How the answers reach a client is in app.graphql.streams.

What is answered to a change is the same for all who ask the same, and is made once for them: so a stream is
told of a change, and only then it is read what is shown of it.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated, TypeAlias
from uuid import UUID

import strawberry
from strawberry import argument

from app.db.core.statements import AnyRow
from app.db.repositories import destinations
from app.db.repositories.destinations import find_matching_destination
from app.db.repositories.posts import post_exists
from app.domain import events
from app.domain.api_keys import Scope
from app.domain.errors import NotFound
from app.domain.events import ChangeFilter, EventKind
from app.domain.ids import PostId
from app.graphql.schema.changes import (
    CURSOR_SCOPE,
    Change,
    build_change_filter,
    decode_position,
    load_changed_destination,
    load_changed_post,
)
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import DestinationFilter
from app.graphql.schema.permissions import requires
from app.graphql.schema.query import ChangedPostId, ChangeTypes
from app.graphql.schema.types import Destination, Post

EventResolver: TypeAlias = Callable[[Change, Context], Awaitable[object | None]]
"""What is answered to a change; None where it is not to be told after all."""

ResumeAfter = Annotated[
    str | None,
    argument(
        description="Go on behind this cursor, that of the last change that was seen; without it, from now"
        " on. Where changes since then are not kept any more, it is RESYNC_REQUIRED."
    ),
]

_DESTINATION_EVENT_KINDS = frozenset(each for each in EventKind if each.startswith("destination."))


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """A change that a stream is told of."""

    event: events.Change
    resolver: EventResolver

    async def resolve(self, context: Context) -> object | None:
        """What a stream answers to it, as of now; None where it is not to be told after all."""
        return await self.resolver(
            Change(event=self.event, cursor_codec=context.cursor_codec(CURSOR_SCOPE)), context
        )


@strawberry.type(description="A change of a post or of one of its destinations.")
class PostChange:
    change: Change = strawberry.field(description="What happened.")

    @strawberry.field(description="Its place in the feed; pass it as `after` to go on behind it.")
    def cursor(self) -> str:
        return self.change.encoded_cursor()

    @strawberry.field(description="The post as it is now; null where it was deleted.")
    async def post(self, info: Info) -> Post | None:
        return await load_changed_post(self.change.event, info)


@strawberry.type(description="A change of a destination.")
class DestinationChange:
    change: Change = strawberry.field(description="What happened.")
    row: strawberry.Private[AnyRow | None]
    """The destination, where it was looked at."""

    @strawberry.field(description="Its place in the feed; pass it as `after` to go on behind it.")
    def cursor(self) -> str:
        return self.change.encoded_cursor()

    @strawberry.field(
        description="The destination as it is now; null where it was taken off its post, or the post was"
        " deleted."
    )
    async def destination(self, info: Info) -> Destination | None:
        if self.row is None:
            return await load_changed_destination(self.change.event, info)
        return Destination.from_row(self.row, info.context.clock())


@strawberry.type(
    description="What can be followed live. Whoever was away goes on with the last cursor that they saw, and"
    " misses nothing and sees nothing twice. Each field sees one workspace only."
)
class Subscription:
    @strawberry.subscription(
        description="Whatever happens in the workspace.",
        extensions=requires(Scope.READ),
        graphql_type=Change,
    )
    async def changes(
        self,
        info: Info,
        after: ResumeAfter = None,
        types: ChangeTypes = None,
        post_id: ChangedPostId = None,
    ) -> AsyncGenerator[PendingEvent, None]:
        async def resolve(change: Change, _context: Context) -> Change:
            return change

        return await _subscribe(info.context, after, build_change_filter(types, post_id), resolve)

    @strawberry.subscription(
        description="Whatever happens to a post and its destinations.",
        extensions=requires(Scope.READ),
        graphql_type=PostChange,
    )
    async def post_changed(
        self,
        info: Info,
        post_id: Annotated[UUID, argument(description="The post's UUID.")],
        after: ResumeAfter = None,
    ) -> AsyncGenerator[PendingEvent, None]:
        if not await post_exists(info.context.read(), PostId(post_id)):
            raise NotFound(
                "The post was not found: this workspace has none with that id.", argument="postId"
            )

        async def resolve(change: Change, _context: Context) -> PostChange:
            return PostChange(change=change)

        return await _subscribe(info.context, after, build_change_filter(None, post_id), resolve)

    @strawberry.subscription(
        description="Changes of destinations as the filter says; without a filter, all. Of status, outcome,"
        " errorCategory and errorCode, what a change says itself decides, however it went on; all else is as"
        " it is when the change is told.",
        extensions=requires(Scope.READ),
        graphql_type=DestinationChange,
    )
    async def destination_changed(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002
            DestinationFilter | None, argument(description="What a destination has to be.")
        ] = None,
        after: ResumeAfter = None,
    ) -> AsyncGenerator[PendingEvent, None]:
        wanted = None if filter is None else filter.to_db_filter()

        async def resolve(change: Change, context: Context) -> DestinationChange | None:
            key = change.event.destination_id
            if wanted is None or key is None:
                return DestinationChange(change=change, row=None)
            still_open = _remaining_filter(change.event, wanted)
            if still_open is None:
                return None
            row = await find_matching_destination(context.read(), key, still_open, context.clock())
            return None if row is None else DestinationChange(change=change, row=row)

        return await _subscribe(
            info.context, after, ChangeFilter(kinds=_DESTINATION_EVENT_KINDS), resolve
        )


def _remaining_filter(
    event: events.Change, destination_filter: destinations.DestinationCriteria
) -> destinations.DestinationCriteria | None:
    """What is still to be looked at, besides what the change says itself; None if that is not wanted."""
    for name in ("status", "outcome", "error_category", "error_code"):
        values = getattr(destination_filter, name)
        if values is not None and name in event.changes:
            if event.changes[name] not in [str(each) for each in values]:
                return None
            destination_filter = replace(destination_filter, **{name: None})
    return destination_filter


async def _subscribe(
    context: Context, after: str | None, change_filter: ChangeFilter, resolver: EventResolver
) -> AsyncGenerator[PendingEvent, None]:
    """The stream, once it is known that it can start there."""
    feeds, workspace_id = context.app_state.change_feed, context.viewer.workspace_id
    position = None if after is None else decode_position(context.cursor_codec(CURSOR_SCOPE), after)
    start = await feeds.resolve_start_position(workspace_id, position)

    async def pending_events() -> AsyncGenerator[PendingEvent, None]:
        async with feeds.subscribe(workspace_id, start) as following:
            while True:
                for change in await following.next_changes(change_filter):
                    yield PendingEvent(change, resolver)

    return pending_events()
