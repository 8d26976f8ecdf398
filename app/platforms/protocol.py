"""The protocol of platform adapters, with their requests and errors."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeAlias, runtime_checkable

from app.domain.account_pauses import RemainingCalls
from app.domain.accounts import Account
from app.domain.attempts import Publication
from app.domain.destinations import Destination, ErrorCategory
from app.domain.diagnosis import INVALID_SETTING
from app.domain.errors import InvalidInput
from app.domain.ids import DestinationId, PostId, WorkspaceId
from app.domain.posts import Post
from app.domain.validation.object_reader import ObjectReader
from app.platforms.content_schemas import ContentSchema

CLOCK_TOLERANCE = timedelta(minutes=10)
"""Longest time by which the clock of a platform may be behind."""


class PlatformCallError(Exception):
    """Failure of a call to a platform: either `NotPublished` or `OutcomeUnknown`."""

    message: str
    http_status: int | None
    raw: str | None
    """The platform's response, unchanged."""

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class NotPublished(PlatformCallError):
    """Failure that certainly left no post on the platform, with its reason.

    Calls that publish nothing, such as lookups and verifications, also raise it.
    """

    category: ErrorCategory
    code: str
    message: str
    _: KW_ONLY
    http_status: int | None = None
    retry_after: timedelta | None = None
    """Shortest wait before the next call, as the platform asked."""
    raw: str | None = None
    not_sent: bool = False
    """True if the post was certainly not sent, not even to be refused; only for a failure that is retried."""


@dataclass(eq=False)
class OutcomeUnknown(PlatformCallError):
    """Failure after which the post may be on the platform; a lookup finds out.

    A call that publishes nothing raises it for a missing or unusable response; `convert_unknown_outcome`
    turns it into NotPublished.
    """

    message: str
    _: KW_ONLY
    http_status: int | None = None
    raw: str | None = None


def not_called_error() -> NotPublished:
    """Return the error of a started attempt whose lease ended before the platform was called."""
    return NotPublished(
        ErrorCategory.TRANSIENT,
        "NOT_CALLED",
        "The worker was delayed for too long; it did not send the post.",
        not_sent=True,
    )


def content_error(code: str, message: str) -> NotPublished:
    """Return the error of a post whose content the worker or its platform does not accept."""
    return NotPublished(ErrorCategory.CONTENT_REJECTED, code, message)


def credentials_error(message: str) -> NotPublished:
    """Return the error of credentials that an adapter cannot use."""
    return NotPublished(ErrorCategory.AUTH, "INVALID_CREDENTIALS", message)


class LeaseDeadline(Protocol):
    """Deadline of platform calls; it moves on while the worker renews its lease."""

    def seconds_left(self) -> float:
        """Return the remaining seconds; at 0 or less send nothing: another worker may hold the post."""
        ...


FindReported: TypeAlias = Callable[[], Awaitable[Set[str]]]
"""Function that returns the ids and URLs of reported publications, from a day before the attempt on.

Includes other accounts of the workspace with the same platform user.
"""

CredentialValues: TypeAlias = Mapping[str, object]
"""Credentials of an account as a JSON object; each adapter documents its own keys."""

TOKEN_PATTERN = r"^[!-~]+\Z"
"""Pattern of a token in credentials: visible ASCII characters, which a header may contain (RFC 9110, 5.5).

A line break that was copied with a token, for example, would make the header invalid.
"""

_ORIGIN = re.compile(r"https?://[^\s/?#@\\]+", re.IGNORECASE)


def parse_origin(url: str) -> str | None:
    """Return the URL of a server without blanks and its final slash; None if it has more than an origin.

    A path would let an account decide how a server that it shares with others answers.
    """
    origin = url.strip().removesuffix("/")
    return origin if _ORIGIN.fullmatch(origin) else None


class Credentials(Protocol):
    """Credentials of one account."""

    @property
    def platform_user_id(self) -> str | None:
        """Id of the account on its platform; None if it is not known yet."""
        ...

    async def get(self) -> CredentialValues:
        """Return the current values; raises NotPublished without any that this worker can decrypt."""
        ...

    async def refresh(
        self,
        rejected: CredentialValues,
        request_new: Callable[[CredentialValues], Awaitable[CredentialValues]],
    ) -> CredentialValues:
        """Return values newer than the rejected ones; of all workers, only one calls `request_new`.

        `request_new` takes the current values. What it returns is stored before it is returned.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountIdentity:
    """The account that credentials belong to, as its platform describes it; None for what is not stated."""

    platform_user_id: str | None = None
    """Id that no other account of the platform has, on none of its servers."""
    username: str | None = None
    display_name: str | None = None
    avatar_url: str | None = None
    profile_url: str | None = None


class Checkpoint(Protocol):
    """Data that an attempt stores between its calls, such as the id of a container to publish.

    The next attempt of the destination and its lookups load it.
    """

    async def load(self) -> Mapping[str, object] | None:
        """Return what was saved last for the destination; None if nothing was."""
        ...

    async def save(self, value: Mapping[str, object]) -> None:
        """Save a JSON object of up to 4 KiB, encrypted; raises NotPublished once the lease is lost."""
        ...


@dataclass(eq=False, slots=True)
class ObservedRateLimit:
    """What the platform states about its rate limit while a request is processed; `send` writes it."""

    remaining: RemainingCalls | None = None
    """None if the platform states nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """A post for one account, in the form for its platform."""

    workspace_id: WorkspaceId
    post_id: PostId
    destination_id: DestinationId
    destination_created_at: datetime
    """The same in every attempt, like the id."""
    forced_retries: int
    """Number of times that a person forced a retry of an unknown outcome, and so another publication."""
    account: Account
    attempt: int
    """Attempt number, counted from 1; for a lookup and `find_unreported`, that of the last attempt."""
    attempt_started_at: datetime
    """Time before the platform was called.

    For a lookup, the start of the last attempt; for `find_unreported`, that of the first.
    """
    content: str
    content_type: str | None
    """Kind of post on this platform, as the client named it."""
    settings: Mapping[str, object]
    """Settings of the post for this platform."""
    media_ids: Sequence[str]
    media: Sequence[object]
    reference: str | None
    credentials: Credentials
    checkpoint: Checkpoint
    deadline: LeaseDeadline
    find_reported: FindReported
    """Call this after the platform has listed its posts; those that are reported are not of this attempt."""
    rate_limit: ObservedRateLimit = field(default_factory=ObservedRateLimit)
    """Pass this to `send` with the call that publishes, if it has a rate limit of its own or the only one.

    What is left of another limit, such as that of uploads, does not say whether further posts are accepted.
    """

    @property
    def publication_key(self) -> str:
        """Idempotency key, the same in all attempts and lookups until a forced retry publishes once more."""
        suffix = f"-{self.forced_retries}" if self.forced_retries else ""
        return f"{self.destination_id}{suffix}"

    def check_deadline(self) -> None:
        """Raise NotPublished after the deadline. Call this right before publishing."""
        if self.deadline.seconds_left() <= 0:
            raise not_called_error()


def read_settings(request: PublishRequest, schema: ContentSchema) -> Mapping[str, object]:
    """Return the settings of a post that have a value; raises NotPublished for an unknown or invalid one."""
    path = f"platformContent.{request.account.platform}.settings."
    try:
        return schema.read_settings(ObjectReader(request.settings, path))
    except InvalidInput as error:
        raise content_error(INVALID_SETTING, error.message) from None


class LookupFailure(StrEnum):
    """Result that a lookup returns, not raises, if it does not find the post."""

    NOT_FOUND = "not_found"
    """The post is not on the platform, and will not appear later."""
    INCONCLUSIVE = "inconclusive"


class PlatformAdapter(Protocol):
    """A platform adapter. Several tasks call it concurrently; it must not block."""

    async def publish(self, request: PublishRequest) -> Publication:
        """Publish the post once, and return its id and URL.

        Raise NotPublished only if that is certain, and OutcomeUnknown if the post may be published. Any other
        exception, including a timeout, also makes the outcome unknown: `look_up` is called before any retry.
        """
        ...

    async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
        """Check whether the post is published; an exception means that this is inconclusive."""
        ...

    async def verify_credentials(self, credentials: Credentials) -> AccountIdentity:
        """Ask the platform which account the credentials belong to; publishes nothing.

        Raise NotPublished with the category AUTH if the platform refuses them. After any other exception,
        they are verified again later.
        """
        ...


@runtime_checkable
class DuplicateFinder(Protocol):
    """Adapter of a platform on which a request that is delivered again, or late, can publish once more.

    `AccountPublisher.can_publish_twice` must be true for it: searches are planned only then.
    """

    async def can_repeat(self, request: PublishRequest) -> bool:
        """Return whether the platform publishes a post once more if the network repeats its request.

        Then each publication is searched for a second one, not only those after an unknown outcome. An
        exception means the same.
        """
        ...

    async def find_unreported(
        self, requests: Sequence[PublishRequest]
    ) -> Sequence[Sequence[Publication]]:
        """Return for each of some posts of one account all publications that are not reported.

        Called for published posts, once no request of their attempts can be delivered any more. Each request
        has the start of the first attempt, and a checkpoint that can only be loaded. `find_reported` of the
        request with the earliest start returns what is reported for all of them. An exception means that
        this is inconclusive.
        """
        ...


def make_publish_request(
    workspace_id: WorkspaceId,
    post: Post,
    destination: Destination,
    account: Account,
    *,
    attempt_started_at: datetime,
    credentials: Credentials,
    checkpoint: Checkpoint,
    deadline: LeaseDeadline,
    find_reported: FindReported,
) -> PublishRequest:
    """Return the request for a destination, with the platform's own text if the post has one."""
    content = post.platform_content.get(destination.platform)
    fields = content if isinstance(content, Mapping) else {}
    content_type = fields.get("contentType")
    return PublishRequest(
        workspace_id=workspace_id,
        post_id=post.id,
        destination_id=destination.id,
        destination_created_at=destination.created_at,
        forced_retries=destination.state.forced_rounds,
        account=account,
        attempt=destination.state.attempts,
        attempt_started_at=attempt_started_at,
        content=post.content_for_platform(destination.platform),
        content_type=content_type if isinstance(content_type, str) else None,
        settings=post.settings_for_platform(destination.platform),
        media_ids=post.media_ids,
        media=post.media,
        reference=post.reference,
        credentials=credentials,
        checkpoint=checkpoint,
        deadline=deadline,
        find_reported=find_reported,
    )
