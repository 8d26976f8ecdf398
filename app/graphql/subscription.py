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

from app.db import destinations
from app.db.destinations import destination_matching
from app.db.posts import post_exists
from app.db.queries import AnyRow
from app.domain import events
from app.domain.api_keys import Scope
from app.domain.errors import NotFound
from app.domain.events import ChangeFilter, EventKind
from app.domain.ids import PostId
from app.graphql.changes import (
    FEED,
    Change,
    decode_position,
    destination_of,
    post_of,
    wanted_changes,
)
from app.graphql.context import Context, Info
from app.graphql.inputs import DestinationFilter
from app.graphql.permissions import requires
from app.graphql.query import OfPost, Types
from app.graphql.types import Destination, Post

Show: TypeAlias = Callable[[Change, Context], Awaitable[object | None]]
"""What is answered to a change; None where it is not to be told after all."""

Resume = Annotated[
    str | None,
    argument(
        description="Go on behind this cursor, that of the last change that was seen; without it, from now"
        " on. Where changes since then are not kept any more, it is RESYNC_REQUIRED."
    ),
]

_OF_DESTINATIONS = frozenset(each for each in EventKind if each.startswith("destination."))


@dataclass(frozen=True, slots=True)
class Told:
    """A change that a stream is told of."""

    change: events.Change
    show: Show

    async def shown(self, context: Context) -> object | None:
        """What a stream answers to it, as of now; None where it is not to be told after all."""
        return await self.show(Change(told=self.change, cursors=context.cursors(FEED)), context)


@strawberry.type(description="A change of a post or of one of its destinations.")
class PostChange:
    change: Change = strawberry.field(description="What happened.")

    @strawberry.field(description="Its place in the feed; pass it as `after` to go on behind it.")
    def cursor(self) -> str:
        return self.change.place()

    @strawberry.field(description="The post as it is now; null where it was deleted.")
    async def post(self, info: Info) -> Post | None:
        return await post_of(self.change.told, info)


@strawberry.type(description="A change of a destination.")
class DestinationChange:
    change: Change = strawberry.field(description="What happened.")
    row: strawberry.Private[AnyRow | None]
    """The destination, where it was looked at."""

    @strawberry.field(description="Its place in the feed; pass it as `after` to go on behind it.")
    def cursor(self) -> str:
        return self.change.place()

    @strawberry.field(
        description="The destination as it is now; null where it was taken off its post, or the post was"
        " deleted."
    )
    async def destination(self, info: Info) -> Destination | None:
        if self.row is None:
            return await destination_of(self.change.told, info)
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
        self, info: Info, after: Resume = None, types: Types = None, post_id: OfPost = None
    ) -> AsyncGenerator[Told, None]:
        async def show(change: Change, _context: Context) -> Change:
            return change

        return await _follow(info.context, after, wanted_changes(types, post_id), show)

    @strawberry.subscription(
        description="Whatever happens to a post and its destinations.",
        extensions=requires(Scope.READ),
        graphql_type=PostChange,
    )
    async def post_changed(
        self,
        info: Info,
        post_id: Annotated[UUID, argument(description="The post's UUID.")],
        after: Resume = None,
    ) -> AsyncGenerator[Told, None]:
        if not await post_exists(info.context.read(), PostId(post_id)):
            raise NotFound(
                "The post was not found: this workspace has none with that id.", argument="postId"
            )

        async def show(change: Change, _context: Context) -> PostChange:
            return PostChange(change=change)

        return await _follow(info.context, after, wanted_changes(None, post_id), show)

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
        after: Resume = None,
    ) -> AsyncGenerator[Told, None]:
        wanted = None if filter is None else filter.to_query()

        async def show(change: Change, context: Context) -> DestinationChange | None:
            key = change.told.destination_id
            if wanted is None or key is None:
                return DestinationChange(change=change, row=None)
            still_open = _besides(change.told, wanted)
            if still_open is None:
                return None
            row = await destination_matching(context.read(), key, still_open, context.clock())
            return None if row is None else DestinationChange(change=change, row=row)

        return await _follow(info.context, after, ChangeFilter(kinds=_OF_DESTINATIONS), show)


def _besides(
    change: events.Change, wanted: destinations.DestinationFilter
) -> destinations.DestinationFilter | None:
    """What is still to be looked at, besides what the change says itself; None if that is not wanted."""
    for name in ("status", "outcome", "error_category", "error_code"):
        values = getattr(wanted, name)
        if values is not None and name in change.changes:
            if change.changes[name] not in [str(each) for each in values]:
                return None
            wanted = replace(wanted, **{name: None})
    return wanted


async def _follow(
    context: Context, after: str | None, wanted: ChangeFilter, show: Show
) -> AsyncGenerator[Told, None]:
    """The stream, once it is known that it can start there."""
    feeds, workspace_id = context.shared.feeds, context.viewer.workspace_id
    position = None if after is None else decode_position(context.cursors(FEED), after)
    start = await feeds.start(workspace_id, position)

    async def told() -> AsyncGenerator[Told, None]:
        async with feeds.following(workspace_id, start) as following:
            while True:
                for change in await following.changes(wanted):
                    yield Told(change, show)

    return told()
