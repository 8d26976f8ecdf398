"""What the adapter of a platform is asked and answers. Claims, leases and reports are the worker's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from app.domain.accounts import Account
from app.domain.attempts import Publication
from app.domain.destinations import Destination, ErrorCategory
from app.domain.ids import DestinationId, PostId, WorkspaceId
from app.domain.posts import Post


class NotPublished(Exception):
    """It is certain that the post is not on the platform, and this is why."""

    def __init__(
        self,
        category: ErrorCategory,
        code: str,
        message: str,
        *,
        http_status: int | None = None,
        retry_after: timedelta | None = None,
        raw: str | None = None,
    ) -> None:
        super().__init__(message)
        self.category = category
        self.code = code
        self.message = message
        self.http_status = http_status
        self.retry_after = retry_after
        """How long the platform wants to be left alone."""
        self.raw = raw
        """The platform's own answer."""


def not_called_error() -> NotPublished:
    """Of an attempt that was started when it was too late to call the platform."""
    return NotPublished(
        ErrorCategory.TRANSIENT,
        "NOT_CALLED",
        "The worker was held up for too long; it did not call the platform.",
    )


class LeaseDeadline(Protocol):
    """Until when a platform may be called; it moves on for as long as the worker keeps its lease."""

    def seconds_left(self) -> float:
        """0 or less: nothing may be sent any more, for somebody else may have the post by now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """One post for one account, as its platform is to have it."""

    workspace_id: WorkspaceId
    post_id: PostId
    destination_id: DestinationId
    account: Account
    attempt: int
    """Counted from 1; of a verification, the last one."""
    content: str
    settings: Mapping[str, object]
    """What the post says for this platform alone, besides its text."""
    media_ids: Sequence[str]
    media: Sequence[object]
    reference: str | None
    deadline: LeaseDeadline

    def check_deadline(self) -> None:
        """NotPublished once the deadline has passed; to be asked right before anything is published."""
        if self.deadline.seconds_left() <= 0:
            raise not_called_error()


class LookupMiss(StrEnum):
    """What a platform says that does not show the post."""

    NOT_FOUND = "not_there"
    """It is not there, and will not appear by itself."""
    INCONCLUSIVE = "cannot_say"


class Platform(Protocol):
    """An adapter. It is called from several tasks at once, and must not block."""

    async def publish(self, request: PublishRequest) -> Publication:
        """Publish it, once, and say where it is.

        Raise NotPublished only where that is certain. Any other exception, a timeout included, leaves open
        whether it is published: then `find` is asked before anybody tries again.
        """
        ...

    async def look_up(self, request: PublishRequest) -> Publication | LookupMiss:
        """Look whether it is published; an exception means that it cannot be said."""
        ...


def make_publish_request(
    workspace_id: WorkspaceId,
    post: Post,
    destination: Destination,
    account: Account,
    deadline: LeaseDeadline,
) -> PublishRequest:
    """The post as the destination's platform is to have it: with its own text, where there is one."""
    own = post.platform_content.get(destination.platform)
    said = own if isinstance(own, Mapping) else {}
    return PublishRequest(
        workspace_id=workspace_id,
        post_id=post.id,
        destination_id=destination.id,
        account=account,
        attempt=destination.state.attempts,
        content=post.content_for_platform(destination.platform),
        settings={str(name): value for name, value in said.items() if name != "content"},
        media_ids=post.media_ids,
        media=post.media,
        reference=post.reference,
        deadline=deadline,
    )
