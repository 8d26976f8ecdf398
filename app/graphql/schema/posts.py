"""GraphQL type Post, and pages of posts."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import strawberry
from strawberry import field

from app.db.core.statements import AnyRow
from app.domain.ids import NodeKind, PostId
from app.domain.media import describe_media
from app.domain.posts import PostStatus
from app.graphql.loading.field_sources import (
    Computed,
    FromPrefetched,
    ToMany,
    column,
    sourced_field,
)
from app.graphql.schema.connections import KeysetConnection
from app.graphql.schema.context import Context, Info
from app.graphql.schema.destinations import Destination
from app.graphql.schema.node import Node
from app.graphql.schema.post_warnings import RejectedContentWarning
from app.graphql.schema.scalars import Json


def _account_ids(rows: Sequence[AnyRow]) -> list[int]:
    return [row.account_id for row in rows]


def _media_warnings(rows: Sequence[AnyRow]) -> list[RejectedContentWarning]:
    return [
        RejectedContentWarning(
            account_id=row.account_id,
            platform=row.platform,
            code=row.media_warning_code,
            message=row.media_warning,
        )
        for row in rows
        if row.media_warning is not None and row.settled_at is None
    ]


@strawberry.type(description="Social media post; its `destinations` hold the result per account.")
class Post(Node):
    kind = NodeKind.POST

    post_id: UUID = column("UUID of the post.", name="id")
    status: PostStatus = column("Status of the post, derived from its destinations.")
    content: str = column("Text of the post; empty if each platform has its own text.")
    scheduled_for: datetime | None = column(
        "UTC time when the post is due; null for an immediate post or a draft without a time."
    )
    timezone: str | None = column("IANA time zone for display; does not affect any time.")
    media_ids: list[str] = column("Media ids, unchanged from the input.")
    platform_content: Json = column("Content that differs by platform, unchanged from the input.")
    reference: str | None = column("Name that the client chose for the post.")
    published_at: datetime | None = column("UTC time of the last publication, if any.")
    version: int = column("Version, increased by each edit, cancellation or manual retry.")
    imported_at: datetime | None = column(
        "UTC time when an import last changed the post; null if it was created here. This server never"
        " publishes imported posts."
    )
    created_at: datetime = column("UTC time when the post was created.")
    updated_at: datetime = column(
        "UTC time of the last change of the post or a destination; for an imported post, the time that"
        " its source gives."
    )

    @sourced_field(
        "Media objects, unchanged from the input, except that `data` with `contentType`, `size` in bytes and"
        " `sha256` replaces a `url` that is a `data:` URL. Claims have this URL. `updatePost` accepts"
        " `data`, and keeps the image.",
        Computed(("media",), describe_media),
    )
    def media(self) -> Json:
        return Json(describe_media(self.row.media))

    @sourced_field(
        "Destinations of the post, one per account, in the order of `accountIds`.",
        ToMany("destinations", key=("id",)),
    )
    async def destinations(self, info: Info) -> list[Destination] | None:
        return [
            Destination.from_row(row, self.now) for row in await self._load_destination_rows(info)
        ]

    @sourced_field(
        "Numbers of the accounts that the post is published on, in the order of the request.",
        FromPrefetched("destinations", ("id",), ("account_id",), _account_ids),
    )
    async def account_ids(self, info: Info) -> list[int] | None:
        return _account_ids(await self._load_destination_rows(info))

    @sourced_field(
        "Media that could not be loaded or would not be accepted, by the last background check; none before"
        " the first check, and for destinations with an outcome.",
        FromPrefetched(
            "destinations",
            ("id",),
            ("account_id", "platform", "media_warning", "media_warning_code", "settled_at"),
            _media_warnings,
        ),
    )
    async def media_warnings(self, info: Info) -> list[RejectedContentWarning] | None:
        return _media_warnings(await self._load_destination_rows(info))

    async def _load_destination_rows(self, info: Info) -> Sequence[AnyRow]:
        if "destinations" in self.prefetched:
            return self.prefetched["destinations"]
        return await info.context.loaders.destinations_by_post_id.load(PostId(self.row.id))


@strawberry.type(description="Post in a list.")
class PostEdge:
    cursor: str = field(description="Cursor of the post; pass it as `after` or `before`.")
    node: Post = field(description="The post.")


@strawberry.type(description="Page of posts.")
class PostConnection(KeysetConnection):
    nodes: list[Post] = field(description="Posts of the page.")

    @strawberry.field(description="Posts of the page with their cursors.")
    def edges(self) -> list[PostEdge]:
        return self.page.edges(PostEdge, self.nodes)


async def load_post(context: Context, post_id: PostId | None) -> Post | None:
    """Load the current state of a post; return None if it does not exist or the id is None."""
    row = None if post_id is None else await context.loaders.posts_by_id.load(post_id)
    return None if row is None else Post.from_row(row, context.clock())
