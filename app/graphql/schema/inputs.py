"""The input types, and their translation into filters after every value was checked. No SQL."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import strawberry

from app.db.core.paging import Direction
from app.db.repositories import destinations, posts
from app.db.repositories.destinations import DestinationSort
from app.db.repositories.posts import PostSort
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.errors import InvalidInput
from app.domain.ids import AccountId, PostId, check_account_id
from app.domain.posts import PostStatus
from app.domain.validation.text import MAX_SEARCH_LENGTH, check_text


@strawberry.input(
    description="Which posts to list. What is left out filters nothing; values in a list are"
    " alternatives. After is inclusive, before is exclusive."
)
class PostFilter:
    status: list[PostStatus] | None = strawberry.field(
        default=None, description="The post's status."
    )
    platform: list[str] | None = strawberry.field(
        default=None, description="Posts with a destination on one of these platforms."
    )
    account_id: list[int] | None = strawberry.field(
        default=None, description="Posts with a destination on one of these accounts."
    )
    created_after: datetime | None = strawberry.field(
        default=None, description="Created then or later."
    )
    created_before: datetime | None = strawberry.field(default=None, description="Created earlier.")
    scheduled_after: datetime | None = strawberry.field(
        default=None, description="Scheduled then or later."
    )
    scheduled_before: datetime | None = strawberry.field(
        default=None, description="Scheduled earlier."
    )
    published_after: datetime | None = strawberry.field(
        default=None, description="Published then or later."
    )
    published_before: datetime | None = strawberry.field(
        default=None, description="Published earlier."
    )
    updated_after: datetime | None = strawberry.field(
        default=None, description="Changed then or later."
    )
    updated_before: datetime | None = strawberry.field(default=None, description="Changed earlier.")
    search: str | None = strawberry.field(
        default=None, description="A part of the text, in any case; wildcards mean themselves."
    )
    reference: str | None = strawberry.field(
        default=None, description="The client's own name, exactly."
    )

    def to_db_filter(self) -> posts.PostCriteria:
        """The same filter for the database; a bad value is a VALIDATION_ERROR that names it."""
        return posts.PostCriteria(
            status=self.status,
            platform=_check_search_texts("filter.platform", self.platform),
            account_id=_check_account_ids("filter.accountId", self.account_id),
            created_after=self.created_after,
            created_before=self.created_before,
            scheduled_after=self.scheduled_after,
            scheduled_before=self.scheduled_before,
            published_after=self.published_after,
            published_before=self.published_before,
            updated_after=self.updated_after,
            updated_before=self.updated_before,
            search=_check_search_text("filter.search", self.search),
            reference=_check_search_text("filter.reference", self.reference),
        )


@strawberry.input(
    description="Which destinations to list. What is left out filters nothing; values in a list"
    " are alternatives. After is inclusive, before is exclusive."
)
class DestinationFilter:
    status: list[DestinationStatus] | None = strawberry.field(
        default=None, description="Where it stands."
    )
    platform: list[str] | None = strawberry.field(
        default=None, description="The account's platform."
    )
    account_id: list[int] | None = strawberry.field(default=None, description="The account.")
    post_id: list[UUID] | None = strawberry.field(default=None, description="The post.")
    error_category: list[ErrorCategory] | None = strawberry.field(
        default=None, description="The kind of its error."
    )
    error_code: list[str] | None = strawberry.field(
        default=None, description="The code of its error."
    )
    outcome: list[Outcome] | None = strawberry.field(
        default=None, description="What is known of the platform."
    )
    failed_after: datetime | None = strawberry.field(
        default=None, description="Failed, or lost without a known outcome, then or later."
    )
    failed_before: datetime | None = strawberry.field(
        default=None, description="Failed, or lost without a known outcome, earlier."
    )
    max_attempts: int | None = strawberry.field(
        default=None, description="With so many `attempts` or fewer."
    )
    published_after: datetime | None = strawberry.field(
        default=None, description="Published then or later."
    )
    published_before: datetime | None = strawberry.field(
        default=None, description="Published earlier."
    )
    next_retry_after: datetime | None = strawberry.field(
        default=None, description="With an automatic retry due then or later."
    )
    next_retry_before: datetime | None = strawberry.field(
        default=None, description="With an automatic retry due earlier."
    )
    overdue: bool | None = strawberry.field(default=None, description="By `isOverdue`.")

    def to_db_filter(self) -> destinations.DestinationCriteria:
        """The same filter for the database; a bad value is a VALIDATION_ERROR that names it."""
        return destinations.DestinationCriteria(
            status=self.status,
            platform=_check_search_texts("filter.platform", self.platform),
            account_id=_check_account_ids("filter.accountId", self.account_id),
            post_id=None if self.post_id is None else [PostId(key) for key in self.post_id],
            error_category=self.error_category,
            error_code=_check_search_texts("filter.errorCode", self.error_code),
            outcome=self.outcome,
            failed_after=self.failed_after,
            failed_before=self.failed_before,
            max_attempts=_check_not_negative("filter.maxAttempts", self.max_attempts),
            published_after=self.published_after,
            published_before=self.published_before,
            next_retry_after=self.next_retry_after,
            next_retry_before=self.next_retry_before,
            overdue=self.overdue,
        )


@strawberry.input(description="The order of a list of posts.")
class PostOrder:
    field: PostSort = strawberry.field(default=PostSort.CREATED_AT, description="What to order by.")
    direction: Direction = strawberry.field(default=Direction.DESC, description="Which way round.")


@strawberry.input(description="The order of a list of destinations.")
class DestinationOrder:
    field: DestinationSort = strawberry.field(
        default=DestinationSort.CREATED_AT, description="What to order by."
    )
    direction: Direction = strawberry.field(default=Direction.DESC, description="Which way round.")


def _check_search_text(name: str, value: str | None) -> str | None:
    return None if value is None else check_text(value, name, max_length=MAX_SEARCH_LENGTH)


def _check_search_texts(name: str, values: Sequence[str] | None) -> Sequence[str] | None:
    if values is None:
        return None
    return [check_text(value, name, max_length=MAX_SEARCH_LENGTH) for value in values]


def _check_not_negative(name: str, value: int | None) -> int | None:
    if value is not None and value < 0:
        raise InvalidInput(f"{name} must not be negative; it is {value}.", argument=name)
    return value


def _check_account_ids(name: str, values: Sequence[int] | None) -> Sequence[AccountId] | None:
    return None if values is None else [check_account_id(value, name) for value in values]
