"""The changes of a workspace, as pages of its feed show them. Following them live is in subscription."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import strawberry
from strawberry import field

from app.db.events import read_changes
from app.domain import events
from app.domain.cursors import CursorCodec, Position
from app.domain.events import ChangeFilter, EventKind, FeedPosition
from app.domain.ids import PostId
from app.graphql.connections import page_request
from app.graphql.context import Context, Info
from app.graphql.scalars import Json
from app.graphql.types import Account, Destination, Post

FEED = "changes"
"""The list whose cursors these are, wherever they stand."""


@strawberry.type(
    description="Something that happened in the workspace: to a post, to one of its destinations, or to an"
    " account. Changes come in the order in which they became visible to everybody."
)
class Change:
    told: strawberry.Private[events.Change]
    cursors: strawberry.Private[CursorCodec]

    def place(self) -> str:
        return encode_position(self.cursors, self.told.position)

    @strawberry.field(description="Its place in the feed; pass it as `after` to go on behind it.")
    def cursor(self) -> str:
        return self.place()

    @strawberry.field(description="What happened to which kind of thing.")
    def type(self) -> EventKind:
        return self.told.kind

    @strawberry.field(description="When it did.")
    def happened_at(self) -> datetime:
        return self.told.happened_at

    @strawberry.field(
        description="What was done: the mutation or command, or what the server did by itself."
    )
    def operation(self) -> str:
        return self.told.operation

    @strawberry.field(
        description="The API key that did it; null for the operator and the server itself."
    )
    def actor_key_id(self) -> UUID | None:
        return self.told.actor

    @strawberry.field(description="The post; null for a change of an account.")
    def post_id(self) -> UUID | None:
        return self.told.post_id

    @strawberry.field(
        description="The destination; null for a change of the post itself, or of an account."
    )
    def destination_id(self) -> UUID | None:
        return self.told.destination_id

    @strawberry.field(
        description="The account, or that of the destination; null for a change of the post itself."
    )
    def account_id(self) -> int | None:
        return self.told.account_id

    @strawberry.field(
        description="The new values of what changed, by the names that the REST API has for them."
    )
    def values(self) -> Json:
        return Json(self.told.values)

    @strawberry.field(
        description="The post as it is now; null where there is none, or it was deleted."
    )
    async def post(self, info: Info) -> Post | None:
        return await post_of(self.told, info)

    @strawberry.field(
        description="The destination as it is now; null where there is none any more."
    )
    async def destination(self, info: Info) -> Destination | None:
        return await destination_of(self.told, info)

    @strawberry.field(description="The account as it is now; null for a change of the post itself.")
    async def account(self, info: Info) -> Account | None:
        if self.told.account_id is None:
            return None
        row = await info.context.loaders.accounts_by_id.load(self.told.account_id)
        return None if row is None else Account.from_row(row, info.context.clock())


@strawberry.type(description="Some changes, the oldest first, and where to go on.")
class ChangePage:
    nodes: list[Change] = field(
        description="The changes that are wanted. There may be none although there is a next page, since only"
        " a part of a long feed is looked at: go on with `endCursor` while `hasNextPage` is true."
    )
    has_next_page: bool = field(description="Whether to go on now; if not, all there is was read.")
    end: strawberry.Private[FeedPosition]
    newest: strawberry.Private[FeedPosition]
    cursors: strawberry.Private[CursorCodec]

    @strawberry.field(
        description="Pass it as `after` to go on. It also passes over what was not wanted, so keep it even"
        " where the page is empty."
    )
    def end_cursor(self) -> str:
        return encode_position(self.cursors, self.end)

    @strawberry.field(
        description="Behind the last change there is. To show something and keep it up to date: take this,"
        " then read what you show, then follow the changes after it."
    )
    def latest_cursor(self) -> str:
        return encode_position(self.cursors, self.newest)


async def post_of(change: events.Change, info: Info) -> Post | None:
    """As it is now."""
    if change.post_id is None:
        return None
    row = await info.context.loaders.posts_by_id.load(change.post_id)
    return None if row is None else Post.from_row(row, info.context.clock())


async def destination_of(change: events.Change, info: Info) -> Destination | None:
    """As it is now."""
    if change.destination_id is None:
        return None
    row = await info.context.loaders.destinations_by_id.load(change.destination_id)
    return None if row is None else Destination.from_row(row, info.context.clock())


async def changes_page(
    context: Context,
    after: str | None,
    first: int | None,
    types: Collection[EventKind] | None,
    post_id: UUID | None,
) -> ChangePage:
    """ResyncRequired for a cursor that is older than what is kept."""
    cursors = context.cursors(FEED)
    page = page_request(cursors, first=first, after=after, last=None, before=None)
    position = None if page.after is None else _feed_position(page.after)
    wanted = wanted_changes(types, post_id)
    read = await read_changes(context.read(), position, wanted, limit=page.size)
    context.list_entries.add(len(read.found))
    return ChangePage(
        nodes=[Change(told=each, cursors=cursors) for each in read.found],
        has_next_page=read.has_more,
        end=read.until,
        newest=read.newest,
        cursors=cursors,
    )


def wanted_changes(types: Collection[EventKind] | None, post_id: UUID | None) -> ChangeFilter:
    return ChangeFilter(kinds=types, post_id=None if post_id is None else PostId(post_id))


def encode_position(cursors: CursorCodec, position: FeedPosition) -> str:
    return cursors.encode(Position(position.happened_at, str(position.seq)))


def decode_position(cursors: CursorCodec, cursor: str) -> FeedPosition:
    """BadCursor for whatever is no cursor of this workspace's feed."""
    return _feed_position(cursors.decode(cursor, "after"))


def _feed_position(found: Position) -> FeedPosition:
    return FeedPosition(int(found.key), found.value)
