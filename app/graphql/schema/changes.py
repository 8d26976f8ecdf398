"""Change feed of a workspace as pages; `subscription` streams the same changes live."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import strawberry
from strawberry import field

from app.db.core.paging import Direction
from app.db.core.projections import ALL_COLUMNS, Projection
from app.db.repositories.accounts import accounts_by_id
from app.db.repositories.destinations import destinations_by_id
from app.db.repositories.events import read_earlier_events, read_events
from app.db.repositories.posts import posts_by_id
from app.domain.change_sentences import change_sentence
from app.domain.events import (
    FEED_LIST_NAME,
    EventFilter,
    EventKind,
    StoredEvent,
    encode_position,
    to_feed_position,
)
from app.domain.ids import ApiKeyId, DestinationId, PostId
from app.domain.signing import CursorCodec
from app.graphql.loading.field_sources import RowBacked, ToMany, ToOne, sourced_field
from app.graphql.schema.accounts import Account
from app.graphql.schema.connections import parse_page_arguments
from app.graphql.schema.context import Context, Info
from app.graphql.schema.destinations import Destination
from app.graphql.schema.inputs import validate_filter_text, validate_filter_texts
from app.graphql.schema.posts import Post
from app.graphql.schema.prefetch import posts_from_rows
from app.graphql.schema.scalars import Json

RelatedObject: TypeAlias = RowBacked | Exception | None
"""Current state of an object that changed, None if it does not exist, or the error of reading it."""


def related_field(name: str, object_type: type[RowBacked], description: str) -> Any:
    """Declare a field with an object of the change, which was read into `related` of its parent.

    Its source makes the object a relation of the projection that `schema.lookahead` derives.
    """

    def resolve(self: Any) -> RelatedObject:
        related: Mapping[str, RelatedObject] = self.related
        return related[name]

    return sourced_field(description, ToOne(name), graphql_type=object_type | None)(resolve)


@strawberry.type(description="Client that caused a change.")
class ChangeActor:
    key_id: UUID | None = field(description="UUID of the API key; null without a key.")
    person: str | None = field(
        description="Name of the person who used the client, if the client states it."
    )

    @strawberry.field(
        description="Name of the API key; null for a key of another workspace, and without a key."
    )
    async def key_name(self, info: Info) -> str | None:
        if self.key_id is None:
            return None
        row = await info.context.loaders.key_names_by_id.load(ApiKeyId(self.key_id))
        return None if row is None else str(row.name)


@strawberry.type(
    name="Change",
    description="Change of a post, a destination or an account, or a webhook that was disabled. All readers"
    " see changes in the same order, the order of their commits.",
)
class FeedChange:
    event: strawberry.Private[StoredEvent]
    cursor_codec: strawberry.Private[CursorCodec]
    related: strawberry.Private[dict[str, RelatedObject]]
    """Post, destination and account of the change, each if the document selects it."""

    @strawberry.field(description="Position of the change in the feed, to pass as `after`.")
    def cursor(self) -> str:
        return encode_position(self.cursor_codec, self.event)

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

    @strawberry.field(
        description="Client that caused the change; null for the operator and the server."
    )
    def actor(self) -> ChangeActor | None:
        if self.event.actor is None and self.event.person is None:
            return None
        return ChangeActor(key_id=self.event.actor, person=self.event.person)

    @strawberry.field(description="UUID of the post; null for a change of an account or a webhook.")
    def post_id(self) -> UUID | None:
        return self.event.post_id

    @strawberry.field(description="UUID of the destination; null if the change has none.")
    def destination_id(self) -> UUID | None:
        return self.event.destination_id

    @strawberry.field(
        description="Number of the changed account, or of the destination's account; null for a change of"
        " the post itself or of a webhook."
    )
    def account_id(self) -> int | None:
        return self.event.account_id

    @strawberry.field(
        description="New values of the changed fields, by their REST API names. Those of"
        " DESTINATION_DUPLICATED and PUBLISHER_MISUSED describe a reported publication, those of"
        " WEBHOOK_DISABLED a webhook; they change no post."
    )
    def values(self) -> Json:
        return Json(self.event.public_values)

    @strawberry.field(
        description="Old values of the same fields as `values`; texts are cut after 1,000 characters. Null"
        " for a type that changes nothing, and for a change that was stored before old values were recorded."
    )
    def previous(self) -> Json | None:
        previous = self.event.public_previous
        return None if previous is None else Json(previous)

    @strawberry.field(
        description="Description of the change for people, in English. Values that did not change, such as"
        " the platform, are left out. The wording may change between versions: do not parse it."
    )
    def sentence(self) -> str:
        return change_sentence(self.event)

    post = related_field("post", Post, "Current state of the post, if any; null if deleted.")
    destination = related_field(
        "destination", Destination, "Current state of the destination, if any; null if removed."
    )
    account = related_field(
        "account",
        Account,
        "Current state of the changed account, or of the destination's account; null for a change of the"
        " post itself.",
    )


@strawberry.type(name="ChangePage", description="Page of changes, in the order of the request.")
class FeedPage:
    nodes: list[FeedChange] = sourced_field(
        "Changes that match the arguments. A request scans only a part of a long feed, so a page can be"
        " empty although more follow: continue with `endCursor` while `hasNextPage` is true.",
        ToMany("nodes", key=()),
    )
    has_next_page: bool = field(
        description="True if more may follow; false at the end of the feed, with DESC at its beginning."
    )
    end_cursor: str = field(
        description="Cursor of the last scanned change; pass it as `after` to continue. It also skips"
        " changes that do not match, so store it even if the page is empty. In the order DESC it leads to"
        " older changes only; follow new ones from `latestCursor`."
    )
    latest_cursor: str = field(
        description="Cursor after the latest change. To keep a view up to date: read this cursor, then the"
        " data, then follow the changes after the cursor."
    )


async def read_change_page(
    info: Info,
    after: str | None,
    first: int | None,
    event_filter: EventFilter,
    direction: Direction,
) -> FeedPage:
    """Read one page.

    Raises ResyncRequired if the cursor is not that of a retained change; in descending order, older cursors
    lead to an empty page instead.
    """
    context = info.context
    codec = context.cursor_codec(FEED_LIST_NAME)
    request = parse_page_arguments(codec, first=first, after=after, last=None, before=None)
    position = None if request.after is None else to_feed_position(request.after)
    read = read_events if direction is Direction.ASC else read_earlier_events
    page = await read(context.reader, position, event_filter, limit=request.size)
    context.response_limit.add(len(page.events))
    nodes = info.selection.projection.relations.get("nodes", ALL_COLUMNS)
    return FeedPage(
        nodes=await FeedChangeReader(codec, nodes.relations).read(page.events, context),
        has_next_page=page.has_more,
        end_cursor=encode_position(codec, page.next_position),
        latest_cursor=encode_position(codec, page.latest_position),
    )


@dataclass(frozen=True, slots=True)
class FeedChangeReader:
    """Reader of changes with the current state of the objects that a document selects."""

    cursor_codec: CursorCodec
    relations: Mapping[str, Projection]
    """Selected fields of FeedChange with an object, and what is selected of the object."""

    async def read(self, events: Sequence[StoredEvent], context: Context) -> list[FeedChange]:
        """Read the objects of all events, by one statement for each relation."""
        reads = [
            _read_related(context, events, name, projection)
            for name, projection in self.relations.items()
        ]
        related = [await reads[0]] if len(reads) == 1 else await asyncio.gather(*reads)
        return [
            FeedChange(
                event=event,
                cursor_codec=self.cursor_codec,
                related=dict(zip(self.relations, objects, strict=True)),
            )
            for event, *objects in zip(events, *related, strict=True)
        ]


async def _read_related(
    context: Context, events: Sequence[StoredEvent], name: str, projection: Projection
) -> list[RelatedObject]:
    """Return the object of each event; an error stands for all of them, so that only the field fails."""
    keys = [getattr(event, f"{name}_id") for event in events]
    ids = [key for key in dict.fromkeys(keys) if key is not None]
    try:
        objects = await _read_by_id(context, name, ids, projection) if ids else ()
        objects_by_id = {found.row.id: found for found in objects}
    except Exception as error:  # noqa: BLE001 - the field raises it
        return [None if key is None else error for key in keys]
    return [objects_by_id.get(key) for key in keys]


async def _read_by_id(
    context: Context, name: str, ids: Sequence[Any], projection: Projection
) -> Sequence[RowBacked]:
    reader, now = context.reader, context.clock()
    match name:
        case "post":
            posts = await posts_by_id(reader, ids, projection)
            return await posts_from_rows(context, posts, projection)
        case "destination":
            destinations = await destinations_by_id(reader, ids, projection)
            return [Destination.from_row(row, now) for row in destinations]
        case _:
            accounts = await accounts_by_id(reader, ids, projection)
            return [Account.from_row(row, now) for row in accounts]


def build_event_filter(
    *,
    types: Collection[EventKind] | None = None,
    post_id: UUID | None = None,
    destination_id: UUID | None = None,
    exclude_operations: Sequence[str] | None = None,
    key_id: UUID | None = None,
    person: str | None = None,
) -> EventFilter:
    """Validate the arguments; raises InvalidInput for a text that is not valid."""
    return EventFilter(
        kinds=types,
        post_id=None if post_id is None else PostId(post_id),
        destination_id=None if destination_id is None else DestinationId(destination_id),
        excluded_operations=validate_filter_texts("excludeOperations", exclude_operations or None),
        actor=None if key_id is None else ApiKeyId(key_id),
        person=validate_filter_text("person", person),
    )
