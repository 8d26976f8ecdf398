"""Mutations that report the outcome of a claim, of a platform check, or of an external attempt."""

from datetime import datetime
from typing import Self
from uuid import UUID

import strawberry
from strawberry import field

from app.domain.api_keys import Scope
from app.domain.attempts import (
    MAX_ATTEMPT_KEY_LENGTH,
    MAX_RETRY_AFTER,
    Failure,
    FailureDetails,
    Publication,
    check_attempt_key,
    validate_failure,
    validate_publication,
    validate_started_at,
    validate_worker,
)
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.errors import InvalidInput
from app.domain.ids import DestinationId, PostId, validate_account_id
from app.domain.leases import LeaseKind
from app.domain.settlement import Receipt
from app.domain.times import truncate_to_ms
from app.domain.verification import ExternalAttempt, VerificationFinding
from app.graphql.schema.context import Context, Info
from app.graphql.schema.enums import Reconciliation, ResultOutcome
from app.graphql.schema.inputs import MutationInput, optional, passed_fields
from app.graphql.schema.mutations.claims import (
    LEASE_TOKEN_DESCRIPTION,
    WORKER_DESCRIPTION,
    LeaseTokenInput,
)
from app.graphql.schema.permissions import publisher_field, workspace_publisher_field, write_field
from app.graphql.schema.types import Destination, load_destination
from app.services import reports
from app.services.reports import ReportResult


@strawberry.input
class PublicationInput:
    """Location of a published post; part of every input that can report a publication."""

    platform_post_url: str | None = optional(
        "URL of the post on the platform. A publication needs this or `platformPostId`."
    )
    platform_post_id: str | None = optional("Id of the post on the platform.")
    published_at: datetime | None = optional("UTC time of the publication; default now.")

    def to_publication(self, now: datetime) -> Publication:
        """Validate the values; raises InvalidInput if one is invalid or URL and id are both missing."""
        return validate_publication(
            self.platform_post_id, self.platform_post_url, self.published_at, now
        )

    def to_publication_if_published(self, finding: str, now: datetime) -> Publication | None:
        """Return the publication of the finding PUBLISHED; raises InvalidInput if another has values."""
        if finding == VerificationFinding.PUBLISHED:
            return self.to_publication(now)
        self.reject_publication(finding)
        return None

    def reject_publication(self, finding: str) -> None:
        _reject_arguments(
            f"is only allowed with PUBLISHED, not with {finding.upper()}.",
            platformPostUrl=self.platform_post_url,
            platformPostId=self.platform_post_id,
            publishedAt=self.published_at,
        )


@strawberry.input(
    description="Input of `reportPublished`. Needs `platformPostUrl` or `platformPostId`."
)
class ReportPublishedInput(LeaseTokenInput, PublicationInput):
    pass


@strawberry.input(description="Input of `reportFailed`.")
class ReportFailedInput(LeaseTokenInput):
    category: ErrorCategory = field(
        description="Category of the error; decides whether and when the destination is retried."
    )
    message: str = field(description="Human-readable error message; redacted and truncated.")
    code: str | None = optional("Error code of the publisher; default the code of the category.")
    http_status: int | None = optional("HTTP status of the platform's response, 100 to 599.")
    retry_after_seconds: int | None = optional(
        f"Seconds that the platform asked to wait, 0 to {int(MAX_RETRY_AFTER.total_seconds()):,}."
    )
    raw: str | None = optional(
        "Response of the platform, for the operator. It is redacted and truncated like `message`,"
        " stored in the database, and never returned by this API."
    )
    outcome_unknown: bool = field(
        default=False,
        description="True if the platform gave no answer and the post may be on the platform. It is not"
        " retried until someone has checked the platform.",
    )

    def to_failure(self) -> Failure:
        """Validate the values; raises InvalidInput, naming the field, for an invalid one."""
        return validate_failure(self.category, self.message, passed_fields(self, FailureDetails))


@strawberry.input(description="Input of `reportVerified`.")
class ReportVerifiedInput(PublicationInput):
    verification_token: str = field(description=LEASE_TOKEN_DESCRIPTION)
    finding: VerificationFinding = field(
        description="Result of the check; NOT_PUBLISHED queues a retry."
    )


@strawberry.input(description="Input of `reconcileDestination`.")
class ReconcileDestinationInput(PublicationInput):
    destination_id: UUID = field(description="UUID of the destination.")
    finding: Reconciliation = field(
        description="Result of the check on the platform. NOT_PUBLISHED sets the status FAILED, which can be"
        " retried manually."
    )


@strawberry.input(description="Input of `recordResult`.")
class RecordResultInput(PublicationInput):
    post_id: UUID = field(description="UUID of the post.")
    account_id: int = field(description="Number of an account of the post.")
    attempt_key: str = field(
        description="Unique name that the publisher gives the attempt, to record it only once; 1 to"
        f" {MAX_ATTEMPT_KEY_LENGTH} printable characters."
    )
    outcome: ResultOutcome = field(description="Outcome of the attempt.")
    category: ErrorCategory | None = optional("Category of the error. Required for FAILED.")
    message: str | None = optional(
        "Human-readable error message, redacted and truncated as in `reportFailed`. Required"
        " unless PUBLISHED."
    )
    code: str | None = optional("Error code of the publisher. Not for PUBLISHED.")
    http_status: int | None = optional("HTTP status of the platform's response. Not for PUBLISHED.")
    retry_after_seconds: int | None = optional(
        "Seconds that the platform asked to wait. Not for PUBLISHED."
    )
    raw: str | None = optional("Response of the platform, for the operator. Not for PUBLISHED.")
    started_at: datetime | None = optional("UTC time of the platform call; default now.")
    worker: str | None = optional(WORKER_DESCRIPTION)

    def to_outcome(self, now: datetime) -> Publication | Failure:
        """Validate the values; raises InvalidInput if one is missing or belongs to another outcome."""
        if self.outcome is ResultOutcome.PUBLISHED:
            _reject_arguments(
                "is not allowed with PUBLISHED.",
                category=self.category,
                message=self.message,
                code=self.code,
                httpStatus=self.http_status,
                retryAfterSeconds=self.retry_after_seconds,
                raw=self.raw,
            )
            return self.to_publication(now)
        self.reject_publication(self.outcome)
        if self.category is None and self.outcome is ResultOutcome.FAILED:
            raise InvalidInput("category is required with FAILED.", argument="category")
        category = self.category or ErrorCategory.UNCLASSIFIED
        return validate_failure(category, self.message or "", passed_fields(self, FailureDetails))


@strawberry.type
class ReportPayload:
    """State of the reported destination, which may belong to a workspace that the viewer cannot read."""

    receipt: Receipt = field(description="Effect of the report.")
    status: DestinationStatus = field(description="Current status of the destination.")
    outcome: Outcome = field(description="Known result of the destination on the platform.")
    attempts: int = field(description="Number of attempts started so far.")
    will_retry: bool = field(description="True if an automatic retry is planned, at `nextRetryAt`.")
    next_retry_at: datetime | None = field(
        description="UTC time of the next automatic retry; null if none is planned."
    )

    @classmethod
    def from_result(cls, result: ReportResult) -> Self:
        state = result.destination.state
        return cls(
            receipt=result.receipt,
            status=state.status,
            outcome=state.outcome,
            attempts=state.attempts,
            will_retry=state.next_retry_at is not None,
            next_retry_at=state.next_retry_at,
        )


@strawberry.type(description="Result of `reportPublished`.")
class ReportPublishedPayload(ReportPayload):
    pass


@strawberry.type(description="Result of `reportFailed`.")
class ReportFailedPayload(ReportPayload):
    pass


@strawberry.type(description="Result of `reportVerified`.")
class ReportVerifiedPayload(ReportPayload):
    pass


@strawberry.type(description="Result of `recordResult`.")
class RecordResultPayload(ReportPayload):
    pass


@strawberry.type(description="Result of `reconcileDestination`.")
class ReconcileDestinationPayload:
    destination: Destination | None = field(description="Current state of the destination.")


@strawberry.type
class ReportMutations:
    @strawberry.mutation(
        description="Report that the post is on the platform. A late report is stored too, and settles the"
        " destination even if another publisher holds it. If another report has settled it, the receipt"
        " is DUPLICATE.",
        extensions=publisher_field(),
    )
    async def report_published(
        self, info: Info, input: MutationInput[ReportPublishedInput]
    ) -> ReportPublishedPayload | None:
        context, now = info.context, _now_in_milliseconds(info.context)
        result = await reports.report_published(
            context.database,
            context.publisher,
            input.decode_lease(context),
            input.to_publication(now),
            new_id=context.new_id,
            now=now,
        )
        return ReportPublishedPayload.from_result(result)

    @strawberry.mutation(
        description="Report a failed attempt; the server decides about the retry. After the lease is lost,"
        " the report is only logged.",
        extensions=publisher_field(),
    )
    async def report_failed(
        self, info: Info, input: MutationInput[ReportFailedInput]
    ) -> ReportFailedPayload | None:
        context, now = info.context, _now_in_milliseconds(info.context)
        lease, failure = input.decode_lease(context), input.to_failure()
        if input.outcome_unknown:
            result = await reports.report_unknown(
                context.database,
                context.publisher,
                lease,
                failure,
                new_id=context.new_id,
                now=now,
            )
        else:
            result = await reports.report_failed(
                context.database,
                context.publisher,
                lease,
                failure,
                context.retry_decider,
                new_id=context.new_id,
                now=now,
            )
        return ReportFailedPayload.from_result(result)

    @strawberry.mutation(
        description="Report what a check on the platform found about an unknown outcome. A repeated PUBLISHED"
        " has the receipt REPEATED. Another repeated finding fails with LEASE_LOST: it was already"
        " recorded or the lease has expired.",
        extensions=publisher_field(),
    )
    async def report_verified(
        self, info: Info, input: MutationInput[ReportVerifiedInput]
    ) -> ReportVerifiedPayload | None:
        context, now = info.context, _now_in_milliseconds(info.context)
        codec = context.lease_codec(LeaseKind.VERIFICATION)
        result = await reports.report_verified(
            context.database,
            context.publisher,
            codec.decode(input.verification_token, "verificationToken"),
            input.finding,
            input.to_publication_if_published(input.finding, now),
            context.retry_decider,
            new_id=context.new_id,
            now=now,
        )
        return ReportVerifiedPayload.from_result(result)

    @strawberry.mutation(
        description="Record an attempt of a publisher with its own queue, once per `attemptKey`, in the API"
        " key's workspace. Fails with LEASED while another publisher holds the destination.",
        extensions=workspace_publisher_field(),
    )
    async def record_result(
        self, info: Info, input: MutationInput[RecordResultInput]
    ) -> RecordResultPayload | None:
        context, now = info.context, _now_in_milliseconds(info.context)
        account_id = validate_account_id(input.account_id, "accountId")
        check_attempt_key(input.attempt_key)
        worker = validate_worker(input.worker)
        attempt = ExternalAttempt(
            attempt_key=input.attempt_key,
            worker=worker,
            started_at=validate_started_at(input.started_at, now),
            outcome=Outcome(input.outcome.value),
            details=input.to_outcome(now),
        )
        result = await reports.record_external_attempt(
            context.database,
            context.write_context("recordResult"),
            PostId(input.post_id),
            account_id,
            attempt,
            context.retry_decider,
            new_id=context.new_id,
        )
        return RecordResultPayload.from_result(result)


@strawberry.type
class ReconciliationMutations:
    @strawberry.mutation(
        description="Settle an unknown outcome after a person has checked the platform. Fails with CONFLICT"
        " if the outcome is known, as in a repeated request.",
        extensions=write_field(Scope.WRITE),
    )
    async def reconcile_destination(
        self, info: Info, input: MutationInput[ReconcileDestinationInput]
    ) -> ReconcileDestinationPayload | None:
        context, now = info.context, _now_in_milliseconds(info.context)
        key = DestinationId(input.destination_id)
        publication = input.to_publication_if_published(input.finding, now)
        await reports.reconcile_destination(
            context.database, context.write_context("reconcileDestination"), key, publication
        )
        return ReconcileDestinationPayload(destination=await load_destination(context, key))


def _now_in_milliseconds(context: Context) -> datetime:
    """Return the current time in milliseconds, as times are stored; the default of reported times."""
    return truncate_to_ms(context.clock())


def _reject_arguments(problem: str, **arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise InvalidInput(f"{name} {problem}", argument=name)
