"""Change feed of a workspace as pages; `subscription` streams the same changes live."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import strawberry
from strawberry import field

from app.db.repositories.events import read_events
from app.domain import events
from app.domain.events import EventFilter, EventKind, FeedPosition
from app.domain.ids import PostId
from app.domain.signing import CursorCodec, KeysetPosition
from app.graphql.schema.connections import parse_page_arguments
from app.graphql.schema.context import Context, Info
from app.graphql.schema.scalars import Json
from app.graphql.schema.types import (
    Account,
    Destination,
    Post,
    load_account,
    load_destination,
    load_post,
)

FEED_LIST_NAME = "changes"
"""List name in the cursors of the feed, the same for pages and subscriptions."""


@strawberry.type(
    name="Change",
    description="Change of a post, a destination or an account. All readers see changes in the same order,"
    " the order of their commits.",
)
class FeedChange:
    event: strawberry.Private[events.StoredEvent]
    cursor_codec: strawberry.Private[CursorCodec]

    @strawberry.field(description="Position of the change in the feed, to pass as `after`.")
    def cursor(self) -> str:
        return encode_position(self.cursor_codec, self.event.position)

    @strawberry.field(description="Type of the change.")
    def type(self) -> EventKind:
        return self.event.kind

    @strawberry.field(description="UTC time of the change.")
    def happened_at(self) -> datetime:
        return self.event.happened_at

    @strawberry.field(description="Cause: a mutation, a command, or a task of the server.")
    def operation(self) -> str:
        return self.event.operation

    @strawberry.field(description="UUID of the API key; null for the operator and the server.")
    def actor_key_id(self) -> UUID | None:
        return self.event.actor

    @strawberry.field(description="UUID of the post; null for a change of an account.")
    def post_id(self) -> UUID | None:
        return self.event.post_id

    @strawberry.field(description="UUID of the destination; null if the change has none.")
    def destination_id(self) -> UUID | None:
        return self.event.destination_id

    @strawberry.field(
        description="Number of the changed account, or of the destination's account; null for a change of"
        " the post itself."
    )
    def account_id(self) -> int | None:
        return self.event.account_id

    @strawberry.field(description="New values of the changed fields, by their REST API names.")
    def values(self) -> Json:
        return Json(self.event.public_values)

    @strawberry.field(description="Current state of the post, if any; null if deleted.")
    async def post(self, info: Info) -> Post | None:
        return await load_post(info.context, self.event.post_id)

    @strawberry.field(description="Current state of the destination, if any; null if removed.")
    async def destination(self, info: Info) -> Destination | None:
        return await load_destination(info.context, self.event.destination_id)

    @strawberry.field(description="Current state of the account; null for a change of a post.")
    async def account(self, info: Info) -> Account | None:
        return await load_account(info.context, self.event.account_id)


@strawberry.type(name="ChangePage", description="Page of changes, oldest first.")
class FeedPage:
    nodes: list[FeedChange] = field(
        description="Changes that match the arguments. A request scans only a part of a long feed, so a page"
        " can be empty although more follow: continue with `endCursor` while `hasNextPage` is true."
    )
    has_next_page: bool = field(description="True if more may follow; false at the feed's end.")
    end_cursor: str = field(
        description="Cursor after the last scanned change; pass it as `after` to continue. It also skips"
        " changes that do not match, so store it even if the page is empty."
    )
    latest_cursor: str = field(
        description="Cursor after the latest change. To keep a view up to date: read this cursor, then the"
        " data, then follow the changes after the cursor."
    )


async def read_change_page(
    context: Context,
    after: str | None,
    first: int | None,
    types: Collection[EventKind] | None,
    post_id: UUID | None,
) -> FeedPage:
    """Read one page; raises ResyncRequired if the cursor is older than the retained changes."""
    codec = context.cursor_codec(FEED_LIST_NAME)
    request = parse_page_arguments(codec, first=first, after=after, last=None, before=None)
    position = None if request.after is None else _to_feed_position(request.after)
    event_filter = build_event_filter(types, post_id)
    page = await read_events(context.reader, position, event_filter, limit=request.size)
    context.entry_limit.add(len(page.events))
    return FeedPage(
        nodes=[FeedChange(event=event, cursor_codec=codec) for event in page.events],
        has_next_page=page.has_more,
        end_cursor=encode_position(codec, page.next_position),
        latest_cursor=encode_position(codec, page.latest_position),
    )


def build_event_filter(types: Collection[EventKind] | None, post_id: UUID | None) -> EventFilter:
    return EventFilter(kinds=types, post_id=None if post_id is None else PostId(post_id))


def encode_position(cursor_codec: CursorCodec, position: FeedPosition) -> str:
    return cursor_codec.encode(KeysetPosition(position.happened_at, str(position.seq)))


def decode_position(cursor_codec: CursorCodec, cursor: str) -> FeedPosition:
    """Decode `after`; raises BadCursor if the cursor does not belong to the workspace's feed."""
    return _to_feed_position(cursor_codec.decode(cursor, "after"))


def _to_feed_position(position: KeysetPosition) -> FeedPosition:
    return FeedPosition(int(position.key), position.value)
