"""Filter and order inputs of lists, their validation, and the copying of records into others."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Any, TypeVar, cast
from uuid import UUID

import strawberry
from strawberry import UNSET, argument, field

from app.db.core.paging import Direction
from app.db.repositories.account_filters import AccountCriteria
from app.db.repositories.accounts import AccountOrderField
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destinations import DestinationOrderField
from app.db.repositories.post_search import SHORT_SEARCH_POSTS
from app.db.repositories.posts import PostCriteria, PostOrderField
from app.domain.attempts import publication_url
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.diagnosis import ErrorSource, NextAction
from app.domain.errors import InvalidInput
from app.domain.ids import AccountId, parse_failure_group_key, validate_account_id
from app.domain.posts import PostStatus
from app.domain.validation.text import MAX_SEARCH_LENGTH, validate_text

T = TypeVar("T")
RecordT = TypeVar("RecordT")

MutationInput = Annotated[T, argument(description="Input of the mutation.")]
"""Type of the one argument of each mutation, `input`."""

PeriodStart = Annotated[
    datetime, argument(name="from", description="UTC start of the period, inclusive.")
]
PeriodEnd = Annotated[
    datetime, argument(name="to", description="UTC end of the period, exclusive.")
]

IDEMPOTENCY_KEY_DESCRIPTION = (
    "Idempotency key of the request: a repeated request with the same key within 24 hours has no second"
    " effect."
)


def optional(description: str, *, default: Any = None) -> Any:
    """Declare an input field that the client may omit."""
    return field(default=default, description=description)


@strawberry.input(
    name="PostFilter",
    description="Filter for posts. An omitted field matches everything, a list matches any of its values,"
    " and an empty list matches nothing. Lower time bounds are inclusive, upper ones exclusive.",
)
class PostFilterInput:
    post_id: list[UUID] | None = optional("UUID of the post.")
    status: list[PostStatus] | None = optional("Status of the post.")
    platform: list[str] | None = optional("Platform of at least one destination.")
    account_id: list[int] | None = optional("Account number of at least one destination.")
    created_after: datetime | None = optional("Created at this time or later.")
    created_before: datetime | None = optional("Created before this time.")
    scheduled_after: datetime | None = optional("Due at this time or later.")
    scheduled_before: datetime | None = optional("Due before this time.")
    published_after: datetime | None = optional("Last published at this time or later.")
    published_before: datetime | None = optional("Last published before this time.")
    updated_after: datetime | None = optional("Last changed at this time or later.")
    updated_before: datetime | None = optional("Last changed before this time.")
    search: str | None = optional(
        "Substring of the text, case-insensitive; `%` and `_` are not wildcards. A text of one or two"
        f" characters is searched in the newest {SHORT_SEARCH_POSTS:,} posts only."
    )
    reference: str | None = optional("Reference of the post, an exact match.")

    def to_criteria(self) -> PostCriteria:
        """Validate the values for the database; raises InvalidInput, naming the field, for an invalid one."""
        return to_record(
            self,
            PostCriteria,
            platform=validate_filter_texts("filter.platform", self.platform),
            account_id=validate_account_ids("filter.accountId", self.account_id),
            search=validate_filter_text("filter.search", self.search),
            reference=validate_filter_text("filter.reference", self.reference),
        )


@strawberry.input(
    name="DestinationFilter",
    description="Filter for destinations. An omitted field matches everything, a list matches any of its"
    " values, and an empty list matches nothing. Lower time bounds are inclusive, upper ones exclusive.",
)
class DestinationFilterInput:
    destination_id: list[UUID] | None = optional("UUID of the destination.")
    status: list[DestinationStatus] | None = optional("Status of the destination.")
    platform: list[str] | None = optional("Platform of the account.")
    account_id: list[int] | None = optional("Number of the account.")
    post_id: list[UUID] | None = optional("UUID of the post.")
    platform_post_url: list[str] | None = optional(
        "URL of the publication, an exact match, in the form in which it was reported. URLs of more than 500"
        " characters are not found."
    )
    error_category: list[ErrorCategory] | None = optional("Category of the error.")
    error_code: list[str] | None = optional("Code of the error.")
    outcome: list[Outcome] | None = optional("Outcome of the destination.")
    failure_group: list[str] | None = optional("Key of the failure group.")
    source: list[ErrorSource] | None = optional("Party that can fix the error, as in `diagnosis`.")
    next_action: list[NextAction] | None = optional(
        "Next step for a user after the error, as in `diagnosis`."
    )
    failed_after: datetime | None = optional(
        "Failed, or became an unknown outcome, at this time or later."
    )
    failed_before: datetime | None = optional(
        "Failed, or became an unknown outcome, before this time."
    )
    max_attempts: int | None = optional("Highest number of started attempts, `attempts`.")
    scheduled_after: datetime | None = optional("Due at this time or later.")
    scheduled_before: datetime | None = optional("Due before this time.")
    published_after: datetime | None = optional("Published at this time or later.")
    published_before: datetime | None = optional("Published before this time.")
    next_retry_after: datetime | None = optional("Next automatic retry at this time or later.")
    next_retry_before: datetime | None = optional("Next automatic retry before this time.")
    settled_after: datetime | None = optional(
        "Outcome PUBLISHED, FAILED or UNKNOWN recorded at this time or later."
    )
    settled_before: datetime | None = optional("Such an outcome recorded before this time.")
    updated_after: datetime | None = optional("Last changed at this time or later.")
    updated_before: datetime | None = optional("Last changed before this time.")
    overdue: bool | None = optional("Value of `Destination.isOverdue`.")
    late_by_seconds: int | None = optional(
        "Published at least this number of seconds after the due time, or due at least that long ago and"
        " with `awaitsOutcome`."
    )
    retrying: bool | None = optional(
        "True for destinations that wait for an automatic retry: those whose `diagnosis` has `willRetry`."
    )
    duplicated: bool | None = optional("Value of `Destination.isDuplicated`.")
    invalid_content: bool | None = optional(
        "True for destinations with `contentError`, which will fail when they are due."
    )
    media_warning: bool | None = optional("True for destinations with `mediaWarning`.")
    cancelled: bool | None = optional(
        "True for destinations that were cancelled: their `errorCode` is CANCELLED."
    )
    draft: bool | None = optional("True for destinations of drafts, which have no due time.")
    imported: bool | None = optional(
        "True for destinations of imported posts, which this server does not publish."
    )
    awaits_outcome: bool | None = optional("Value of `Destination.awaitsOutcome`.")
    search: str | None = optional(
        f"Substring of the post's text, like `PostFilter.search`. A text of one or two characters is"
        f" searched in the newest {SHORT_SEARCH_POSTS:,} posts only."
    )
    reference: str | None = optional("Reference of the post, an exact match.")

    def to_criteria(self) -> DestinationCriteria:
        """Validate the values for the database; raises InvalidInput, naming the field, for an invalid one."""
        return to_record(
            self,
            DestinationCriteria,
            platform=validate_filter_texts("filter.platform", self.platform),
            account_id=validate_account_ids("filter.accountId", self.account_id),
            platform_post_url=_publication_urls("filter.platformPostUrl", self.platform_post_url),
            error_code=validate_filter_texts("filter.errorCode", self.error_code),
            failure_group=_validate_failure_groups("filter.failureGroup", self.failure_group),
            max_attempts=validate_not_negative("filter.maxAttempts", self.max_attempts),
            late_by_seconds=validate_not_negative("filter.lateBySeconds", self.late_by_seconds),
            search=validate_filter_text("filter.search", self.search),
            reference=validate_filter_text("filter.reference", self.reference),
        )


@strawberry.input(
    name="AccountFilter",
    description="Filter for accounts. An omitted field matches everything, a list matches any of its values,"
    " and an empty list matches nothing.",
)
class AccountFilterInput:
    account_id: list[int] | None = optional("Number of the account.")
    platform: list[str] | None = optional("Platform of the account.")
    is_active: bool | None = optional("Value of `Account.isActive`.")
    can_post: bool | None = optional(
        "Value of `Account.readiness.canPost`. With `isActive: true`, false matches the accounts that must be"
        " reconnected."
    )
    search: str | None = optional(
        "Substring of the account name, display name or user name, case-insensitive; `%` and `_` are not"
        " wildcards. A leading `@` is ignored for the user name."
    )

    def to_criteria(self) -> AccountCriteria:
        """Validate the values for the database; raises InvalidInput, naming the field, for an invalid one."""
        return to_record(
            self,
            AccountCriteria,
            platform=validate_filter_texts("filter.platform", self.platform),
            account_id=validate_account_ids("filter.accountId", self.account_id),
            search=validate_filter_text("filter.search", self.search),
        )


@strawberry.input(description="Order of a list of posts.")
class PostOrder:
    field: PostOrderField = strawberry.field(
        default=PostOrderField.CREATED_AT, description="Field to order by."
    )
    direction: Direction = strawberry.field(default=Direction.DESC, description="Sort direction.")


@strawberry.input(description="Order of a list of destinations.")
class DestinationOrder:
    field: DestinationOrderField = strawberry.field(
        default=DestinationOrderField.CREATED_AT, description="Field to order by."
    )
    direction: Direction = strawberry.field(default=Direction.DESC, description="Sort direction.")


@strawberry.input(description="Order of a list of accounts.")
class AccountOrder:
    field: AccountOrderField = strawberry.field(
        default=AccountOrderField.ACCOUNT_ID, description="Field to order by."
    )
    direction: Direction = strawberry.field(default=Direction.ASC, description="Sort direction.")


def to_record(source: object, record_type: Callable[..., RecordT], **replaced: object) -> RecordT:
    """Create a record from the source's attributes of the same names; `replaced` sets other values."""
    copied = {
        name: getattr(source, name) for name in _init_fields(record_type) if name not in replaced
    }
    return record_type(**copied, **replaced)


def passed_fields(source: object, fields_type: type[RecordT]) -> RecordT:
    """Create a TypedDict from those of its fields that the client passed in an input."""
    values = {name: getattr(source, name) for name in fields_type.__annotations__}
    return cast("RecordT", {name: value for name, value in values.items() if value is not UNSET})


def require_not_null(update: Mapping[str, object], arguments: Mapping[str, str]) -> None:
    """Raise InvalidInput if a field is null that has no empty value; `arguments` are its names in GraphQL."""
    for field_name, argument_name in arguments.items():
        if update.get(field_name, UNSET) is None:
            raise InvalidInput(
                f"{argument_name} must not be null. Omit it to leave it unchanged.",
                argument=argument_name,
            )


@cache
def _init_fields(record_type: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(record_type) if field.init)


def validate_account_ids(name: str, values: Sequence[int] | None) -> Sequence[AccountId] | None:
    """Return the account numbers; raises InvalidId, naming the list, for one that is out of range."""
    return None if values is None else [validate_account_id(value, name) for value in values]


def validate_not_negative(name: str, value: int | None) -> int | None:
    if value is not None and value < 0:
        raise InvalidInput(f"{name} must not be negative; it is {value}.", argument=name)
    return value


def _validate_failure_groups(name: str, values: Sequence[str] | None) -> Sequence[str] | None:
    return None if values is None else [parse_failure_group_key(value, name) for value in values]


def _publication_urls(name: str, values: Sequence[str] | None) -> Sequence[str] | None:
    return None if values is None else [publication_url(value, name) for value in values]


def validate_filter_text(name: str, value: str | None) -> str | None:
    return None if value is None else validate_text(value, name, max_length=MAX_SEARCH_LENGTH)


def validate_filter_texts(name: str, values: Sequence[str] | None) -> Sequence[str] | None:
    if values is None:
        return None
    return [validate_text(value, name, max_length=MAX_SEARCH_LENGTH) for value in values]
