"""The protocol of platform adapters, with their requests and errors."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from app.domain.accounts import Account
from app.domain.attempts import Publication
from app.domain.destinations import Destination, ErrorCategory
from app.domain.ids import DestinationId, PostId, WorkspaceId
from app.domain.posts import Post


@dataclass(eq=False)
class NotPublished(Exception):
    """Failure that certainly left no post on the platform, with its reason."""

    category: ErrorCategory
    code: str
    message: str
    _: KW_ONLY
    http_status: int | None = None
    retry_after: timedelta | None = None
    """Shortest wait before the next call, as the platform asked."""
    raw: str | None = None
    """The platform's response, unchanged."""

    def __str__(self) -> str:
        return self.message


def not_called_error() -> NotPublished:
    """Return the error of a started attempt whose lease ended before the platform was called."""
    return NotPublished(
        ErrorCategory.TRANSIENT,
        "NOT_CALLED",
        "The worker was delayed for too long; it did not call the platform.",
    )


class LeaseDeadline(Protocol):
    """Deadline of platform calls; it moves on while the worker renews its lease."""

    def seconds_left(self) -> float:
        """Return the remaining seconds; at 0 or less send nothing: another worker may hold the post."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """A post for one account, in the form for its platform."""

    workspace_id: WorkspaceId
    post_id: PostId
    destination_id: DestinationId
    account: Account
    attempt: int
    """Attempt number, counted from 1; for a lookup, that of the last attempt."""
    content: str
    settings: Mapping[str, object]
    """The post's fields for this platform, except its text."""
    media_ids: Sequence[str]
    media: Sequence[object]
    reference: str | None
    deadline: LeaseDeadline

    def check_deadline(self) -> None:
        """Raise NotPublished after the deadline. Call this right before publishing."""
        if self.deadline.seconds_left() <= 0:
            raise not_called_error()


class LookupFailure(StrEnum):
    """Result of a lookup that does not find the post: it is absent, or the lookup is inconclusive."""

    NOT_FOUND = "not_found"
    """The post is not on the platform, and will not appear later."""
    INCONCLUSIVE = "inconclusive"


class PlatformAdapter(Protocol):
    """A platform adapter. Several tasks call it concurrently; it must not block."""

    async def publish(self, request: PublishRequest) -> Publication:
        """Publish the post once, and return its id and URL.

        Raise NotPublished only if that is certain. Any other exception, including a timeout, makes the
        outcome unknown: `look_up` is then called before any retry.
        """
        ...

    async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
        """Check whether the post is published; an exception means that this is inconclusive."""
        ...


def make_publish_request(
    workspace_id: WorkspaceId,
    post: Post,
    destination: Destination,
    account: Account,
    deadline: LeaseDeadline,
) -> PublishRequest:
    """Return the request for a destination, with the platform's own text if the post has one."""
    content = post.platform_content.get(destination.platform)
    fields = content if isinstance(content, Mapping) else {}
    return PublishRequest(
        workspace_id=workspace_id,
        post_id=post.id,
        destination_id=destination.id,
        account=account,
        attempt=destination.state.attempts,
        content=post.content_for_platform(destination.platform),
        settings={str(name): value for name, value in fields.items() if name != "content"},
        media_ids=post.media_ids,
        media=post.media,
        reference=post.reference,
        deadline=deadline,
    )
