"""What mutations of posts are given. What a value says is the domain's to judge; retries are elsewhere."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

import strawberry
from strawberry import UNSET, field

from app.domain.errors import InvalidInput
from app.domain.ids import AccountId, check_account_id
from app.domain.post_commands import NewPost, PostChanges, Schedule
from app.domain.posts import MAX_BULK_POSTS
from app.graphql.schema.mutations.extensions import IDEMPOTENCY_KEY_DESCRIPTION
from app.graphql.schema.scalars import Json

_EXPECTED_VERSION_DESCRIPTION = (
    "The version that the change is meant for; STALE_VERSION if somebody was faster."
)


@strawberry.input(description="What is to be posted.")
class PostInput:
    content: str = field(
        default="", description="The text; may be left out where media or platforms carry it."
    )
    account_ids: list[int] = field(
        default_factory=list,
        description="The accounts that it goes to, in order; only a draft may have none.",
    )
    scheduled_for: datetime | None = field(
        default=None, description="When it goes out; without it, at once."
    )
    draft: bool = field(default=False, description="Whether it waits until it is scheduled.")
    timezone: str | None = field(
        default=None, description="An IANA name, for display; it never moves the time."
    )
    media_ids: list[str] = field(default_factory=list, description="Kept as given.")
    media: list[Json] = field(default_factory=list, description="Kept as given.")
    platform_content: Json | None = field(
        default=None,
        description="By platform: {content, contentType, settings}, kept as given.",
    )
    reference: str | None = field(
        default=None, description="The client's own name for it, to find it by."
    )

    def to_domain(self) -> NewPost:
        """InvalidInput for a value whose kind GraphQL cannot check."""
        return NewPost(
            content=self.content,
            account_ids=check_account_ids(self.account_ids) or [],
            scheduled_for=self.scheduled_for,
            is_draft=self.draft,
            timezone=self.timezone,
            media_ids=self.media_ids,
            media=self.media,
            platform_content=_require_object(self.platform_content),
            reference=self.reference,
        )


@strawberry.input(description="What is to be posted, once.")
class CreatePostInput(PostInput):
    idempotency_key: str | None = field(
        default=None,
        description=IDEMPOTENCY_KEY_DESCRIPTION,
    )


@strawberry.input(description="Several posts, each with its own result.")
class CreatePostsInput:
    posts: list[PostInput] = field(description=f"1 to {MAX_BULK_POSTS}.")
    idempotency_key: str | None = field(
        default=None,
        description=IDEMPOTENCY_KEY_DESCRIPTION,
    )


@strawberry.input(
    description="What is to be changed; what is left out stays as it is. Null empties what is stored as it"
    " is given; it leaves accountIds and scheduledFor alone, which decide what goes out."
)
class UpdatePostInput:
    post_id: UUID = field(description="The post's UUID.")
    expected_version: int | None = field(default=None, description=_EXPECTED_VERSION_DESCRIPTION)
    content: str | None = field(default=UNSET, description="The text.")
    account_ids: list[int] | None = field(
        default=None, description="The accounts that it goes to, in order."
    )
    scheduled_for: datetime | None = field(default=None, description="When it goes out.")
    publish_now: bool = field(
        default=False,
        description="Whether it goes out at once; not with scheduledFor. A draft only loses its time: it"
        " goes out by schedulePost.",
    )
    timezone: str | None = field(default=UNSET, description="An IANA name, for display.")
    media_ids: list[str] | None = field(default=UNSET, description="Kept as given.")
    media: list[Json] | None = field(default=UNSET, description="Kept as given.")
    platform_content: Json | None = field(default=UNSET, description="By platform, kept as given.")
    reference: str | None = field(default=UNSET, description="The client's own name for it.")

    def to_domain(self) -> PostChanges:
        """What was passed; InvalidInput for two times."""
        if self.publish_now and self.scheduled_for is not None:
            raise InvalidInput(
                "Pass either scheduledFor or publishNow, not both.", argument="scheduledFor"
            )
        has_time = self.publish_now or self.scheduled_for is not None
        passed: dict[str, object] = {
            "content": self.content or "" if self.content is not UNSET else UNSET,
            "scheduled_for": self.scheduled_for if has_time else UNSET,
            "timezone": self.timezone,
            "media_ids": self.media_ids or [] if self.media_ids is not UNSET else UNSET,
            "media": self.media or [] if self.media is not UNSET else UNSET,
            "platform_content": (
                UNSET if self.platform_content is UNSET else _require_object(self.platform_content)
            ),
            "reference": self.reference,
        }
        kept = {name: value for name, value in passed.items() if value is not UNSET}
        return cast("PostChanges", kept)


@strawberry.input(description="When a draft goes out.")
class SchedulePostInput:
    post_id: UUID = field(description="The post's UUID.")
    expected_version: int | None = field(default=None, description=_EXPECTED_VERSION_DESCRIPTION)
    scheduled_for: datetime | None = field(
        default=None, description="The time; without it, the one that the draft has."
    )
    publish_now: bool = field(default=False, description="At once; not with scheduledFor.")
    account_ids: list[int] | None = field(
        default=None, description="The accounts that it goes to; without it, those of the draft."
    )

    def to_domain(self) -> Schedule:
        return Schedule(scheduled_for=self.scheduled_for, publish_now=self.publish_now)


@strawberry.input(description="The post that is not to go out.")
class CancelPostInput:
    post_id: UUID = field(description="The post's UUID.")
    expected_version: int | None = field(default=None, description=_EXPECTED_VERSION_DESCRIPTION)


@strawberry.input(description="The post that is to be deleted.")
class DeletePostInput:
    post_id: UUID = field(description="The post's UUID.")
    expected_version: int | None = field(default=None, description=_EXPECTED_VERSION_DESCRIPTION)


def check_account_ids(numbers: Sequence[int] | None) -> list[AccountId] | None:
    """InvalidInput for a number that no account can have; None where none are chosen."""
    if numbers is None:
        return None
    return [
        check_account_id(number, f"accountIds[{index}]") for index, number in enumerate(numbers)
    ]


def _require_object(value: Json | None) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput("platformContent must be an object.", argument="platformContent")
    return value
