"""The changes of a workspace, as pages of its feed show them. Following them live is in subscription."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import strawberry
from strawberry import field

from app.db.repositories.events import read_changes
from app.domain import events
from app.domain.cursors import CursorCodec, KeysetPosition
from app.domain.events import ChangeFilter, EventKind, FeedPosition
from app.domain.ids import PostId
from app.graphql.schema.connections import parse_page_arguments
from app.graphql.schema.context import Context, Info
from app.graphql.schema.scalars import Json
from app.graphql.schema.types import Account, Destination, Post

CURSOR_SCOPE = "changes"
"""The list whose cursors these are, wherever they stand."""


@strawberry.type(
    description="Something that happened in the workspace: to a post, to one of its destinations, or to an"
    " account. Changes come in the order in which they became visible to everybody."
)
class Change:
    event: strawberry.Private[events.Change]
    cursor_codec: strawberry.Private[CursorCodec]

    def encoded_cursor(self) -> str:
        return encode_position(self.cursor_codec, self.event.position)

    @strawberry.field(description="Its place in the feed; pass it as `after` to go on behind it.")
    def cursor(self) -> str:
        return self.encoded_cursor()

    @strawberry.field(description="What happened to which kind of thing.")
    def type(self) -> EventKind:
        return self.event.kind

    @strawberry.field(description="When it did.")
    def happened_at(self) -> datetime:
        return self.event.happened_at

    @strawberry.field(
        description="What was done: the mutation or command, or what the server did by itself."
    )
    def operation(self) -> str:
        return self.event.operation

    @strawberry.field(
        description="The API key that did it; null for the operator and the server itself."
    )
    def actor_key_id(self) -> UUID | None:
        return self.event.actor

    @strawberry.field(description="The post; null for a change of an account.")
    def post_id(self) -> UUID | None:
        return self.event.post_id

    @strawberry.field(
        description="The destination; null for a change of the post itself, or of an account."
    )
    def destination_id(self) -> UUID | None:
        return self.event.destination_id

    @strawberry.field(
        description="The account, or that of the destination; null for a change of the post itself."
    )
    def account_id(self) -> int | None:
        return self.event.account_id

    @strawberry.field(
        description="The new values of what changed, by the names that the REST API has for them."
    )
    def values(self) -> Json:
        return Json(self.event.public_values)

    @strawberry.field(
        description="The post as it is now; null where there is none, or it was deleted."
    )
    async def post(self, info: Info) -> Post | None:
        return await load_changed_post(self.event, info)

    @strawberry.field(
        description="The destination as it is now; null where there is none any more."
    )
    async def destination(self, info: Info) -> Destination | None:
        return await load_changed_destination(self.event, info)

    @strawberry.field(description="The account as it is now; null for a change of the post itself.")
    async def account(self, info: Info) -> Account | None:
        if self.event.account_id is None:
            return None
        row = await info.context.loaders.accounts_by_id.load(self.event.account_id)
        return None if row is None else Account.from_row(row, info.context.clock())


@strawberry.type(description="Some changes, the oldest first, and where to go on.")
class ChangePage:
    nodes: list[Change] = field(
        description="The changes that are wanted. There may be none although there is a next page, since only"
        " a part of a long feed is looked at: go on with `endCursor` while `hasNextPage` is true."
    )
    has_next_page: bool = field(description="Whether to go on now; if not, all there is was read.")
    end_position: strawberry.Private[FeedPosition]
    latest_position: strawberry.Private[FeedPosition]
    cursor_codec: strawberry.Private[CursorCodec]

    @strawberry.field(
        description="Pass it as `after` to go on. It also passes over what was not wanted, so keep it even"
        " where the page is empty."
    )
    def end_cursor(self) -> str:
        return encode_position(self.cursor_codec, self.end_position)

    @strawberry.field(
        description="Behind the last change there is. To show something and keep it up to date: take this,"
        " then read what you show, then follow the changes after it."
    )
    def latest_cursor(self) -> str:
        return encode_position(self.cursor_codec, self.latest_position)


async def load_changed_post(event: events.Change, info: Info) -> Post | None:
    """As it is now."""
    if event.post_id is None:
        return None
    row = await info.context.loaders.posts_by_id.load(event.post_id)
    return None if row is None else Post.from_row(row, info.context.clock())


async def load_changed_destination(event: events.Change, info: Info) -> Destination | None:
    """As it is now."""
    if event.destination_id is None:
        return None
    row = await info.context.loaders.destinations_by_id.load(event.destination_id)
    return None if row is None else Destination.from_row(row, info.context.clock())


async def read_change_page(
    context: Context,
    after: str | None,
    first: int | None,
    types: Collection[EventKind] | None,
    post_id: UUID | None,
) -> ChangePage:
    """ResyncRequired for a cursor that is older than what is kept."""
    cursors = context.cursor_codec(CURSOR_SCOPE)
    page = parse_page_arguments(cursors, first=first, after=after, last=None, before=None)
    position = None if page.after is None else _to_feed_position(page.after)
    wanted = build_change_filter(types, post_id)
    read = await read_changes(context.read(), position, wanted, limit=page.size)
    context.list_limit.add(len(read.changes))
    return ChangePage(
        nodes=[Change(event=each, cursor_codec=cursors) for each in read.changes],
        has_next_page=read.has_more,
        end_position=read.next_position,
        latest_position=read.latest_position,
        cursor_codec=cursors,
    )


def build_change_filter(types: Collection[EventKind] | None, post_id: UUID | None) -> ChangeFilter:
    return ChangeFilter(kinds=types, post_id=None if post_id is None else PostId(post_id))


def encode_position(cursor_codec: CursorCodec, position: FeedPosition) -> str:
    return cursor_codec.encode(KeysetPosition(position.happened_at, str(position.seq)))


def decode_position(cursor_codec: CursorCodec, cursor: str) -> FeedPosition:
    """BadCursor for whatever is no cursor of this workspace's feed."""
    return _to_feed_position(cursor_codec.decode(cursor, "after"))


def _to_feed_position(position: KeysetPosition) -> FeedPosition:
    return FeedPosition(int(position.key), position.value)
