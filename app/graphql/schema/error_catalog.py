"""Query fields `errorCatalog` and `previewRetrySchedule`: what errors mean and when they are retried."""

from collections.abc import Iterator
from datetime import timedelta

import strawberry
from strawberry import field

from app.domain.attempts import check_not_sent
from app.domain.destinations import ErrorCategory
from app.domain.diagnosis import ADVICE, ErrorSource, NextAction
from app.domain.errors import ErrorCode, concrete_errors
from app.domain.retry_policy import preview_schedule
from app.domain.validation.text import MAX_SEARCH_LENGTH, validate_text
from app.graphql.schema.context import Info
from app.graphql.schema.enums import CatalogPart
from app.graphql.schema.inputs import to_record, validate_not_negative


@strawberry.type(description="Error code of this API or of publishing, and how to fix the error.")
class ErrorCatalogEntry:
    code: str = field(description="Error code, as it appears in responses.")
    source: ErrorSource = field(description="Party that can fix the error.")
    retryable: bool = field(description="True if a retry of the unchanged request can succeed.")
    fix: str = field(description="Instruction for the user, as a sentence.")
    error_code: ErrorCode | None = field(
        description="`errors[].extensions.code`; null for a publishing error."
    )
    http_status: int | None = field(description="HTTP status; null for a publishing error.")
    category: ErrorCategory | None = field(
        description="Category of a publishing error, whose code is in `Destination.errorCode`; null for an"
        " error of a request."
    )
    next_action: NextAction | None = field(
        description="Next step after a publishing error; else null."
    )


@strawberry.type(description="Waiting time between a failed attempt and its retry.")
class RetryWait:
    after_attempt: int = field(description="Number of the failed attempt, from 1.")
    earliest_seconds: float = field(
        description="Shortest wait in seconds. The server draws each wait at random, so that retries do not"
        " come all together."
    )
    latest_seconds: float = field(description="Longest wait in seconds.")


@strawberry.type(
    name="RetrySchedule",
    description="Automatic retries of a destination whose attempts all fail in the same way. A manual retry"
    " restarts the schedule.",
)
class RetrySchedulePreview:
    retries: bool = field(description="True if retried; false if the first failure is final.")
    max_attempts: int | None = field(
        description="Number of attempts, including the first, after which the failure is final; null if"
        " their number is not limited."
    )
    gives_up_after_seconds: int | None = field(
        description="Seconds after the due time, or the last manual retry, when automatic retries end; null"
        " without retries."
    )
    waits: list[RetryWait] = field(
        description="Waits after the first failed attempt, the second, and so on; empty without retries."
    )
    continues: bool = field(description="True if equal or longer waits follow these `waits`.")


def catalog_entries(part: CatalogPart | None) -> list[ErrorCatalogEntry]:
    """Return the entries of one part of the catalog; of all parts if it is None."""
    entries: list[ErrorCatalogEntry] = []
    if part is not CatalogPart.PUBLISHING:
        entries.extend(_request_errors())
    if part is not CatalogPart.REQUEST:
        entries.extend(_publishing_errors())
    return entries


def preview_retries(
    info: Info,
    platform: str,
    category: ErrorCategory,
    retry_after_seconds: int | None,
    *,
    not_sent: bool,
) -> RetrySchedulePreview:
    """Preview automatic retries; raises InvalidInput for an invalid argument."""
    validate_text(platform, "platform", max_length=MAX_SEARCH_LENGTH)
    validate_not_negative("retryAfterSeconds", retry_after_seconds)
    check_not_sent(category, not_sent=not_sent)
    policies = info.context.app_state.retry_policies
    policy = policies.policy_for(platform, category, not_sent=not_sent)
    schedule = preview_schedule(policy, timedelta(seconds=retry_after_seconds or 0))
    retries = bool(schedule.waits)
    return RetrySchedulePreview(
        retries=retries,
        max_attempts=policy.max_attempts if policy.counts_attempts else None,
        gives_up_after_seconds=int(policy.max_age.total_seconds()) if retries else None,
        waits=[
            RetryWait(
                after_attempt=number,
                earliest_seconds=wait.earliest.total_seconds(),
                latest_seconds=wait.latest.total_seconds(),
            )
            for number, wait in enumerate(schedule.waits, start=1)
        ],
        continues=schedule.continues,
    )


def _request_errors() -> Iterator[ErrorCatalogEntry]:
    for error in concrete_errors():
        yield ErrorCatalogEntry(
            code=error.code.name,
            source=ErrorSource.SYSTEM if error.http_status >= 500 else ErrorSource.USER,
            retryable=error.retryable(),
            fix=error.fix,
            error_code=error.code,
            http_status=error.http_status,
            category=None,
            next_action=None,
        )


def _publishing_errors() -> Iterator[ErrorCatalogEntry]:
    for advice in ADVICE:
        yield to_record(advice, ErrorCatalogEntry, error_code=None, http_status=None)
