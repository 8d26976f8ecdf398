"""Mutations of a lease holder: start an attempt, report its outcome, extend or release the lease."""

from datetime import datetime
from typing import Self
from uuid import UUID

import strawberry
from strawberry import field

from app.domain.attempts import (
    MAX_RETRY_AFTER,
    Failure,
    FailureDetails,
    Publication,
    validate_failure,
    validate_publication,
    validate_worker,
)
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.errors import InvalidInput
from app.domain.leases import MAX_LEASE, Lease, LeaseKind, validate_lease_duration
from app.domain.settlement import Receipt
from app.domain.verification import VerificationFinding
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import MutationInput, optional, passed_fields, to_record
from app.graphql.schema.permissions import publisher_mutation
from app.services.reports import ReportResult

LEASE_TOKEN_DESCRIPTION = "Lease token of the claim."
WORKER_DESCRIPTION = "Name that the publisher gives its worker, for the attempt log."


@strawberry.input
class LeaseTokenInput:
    lease_token: str = field(description=LEASE_TOKEN_DESCRIPTION)

    def decode_lease(self, context: Context) -> Lease:
        """Decode the token; raises InvalidInput if it was not issued for a claim."""
        return context.lease_codec(LeaseKind.PUBLISHING).decode(self.lease_token, "leaseToken")


@strawberry.input(description="Input of `startAttempt`.")
class StartAttemptInput(LeaseTokenInput):
    worker: str | None = optional(WORKER_DESCRIPTION)


@strawberry.input(description="Input of `extendLease`.")
class ExtendLeaseInput(LeaseTokenInput):
    lease_seconds: int = field(
        description="New duration of the lease in seconds from now, 1 to"
        f" {int(MAX_LEASE.total_seconds()):,}."
    )


@strawberry.input(description="Input of `releaseClaim`.")
class ReleaseClaimInput(LeaseTokenInput):
    pass


@strawberry.input
class PublicationInput:
    """Location of a published post; part of every input that can report a publication."""

    platform_post_url: str | None = optional(
        "URL of the post on the platform. A publication needs this or `platformPostId`."
    )
    platform_post_id: str | None = optional("Id of the post on the platform.")
    published_at: datetime | None = optional(
        "UTC time of the publication; default now. A time up to 15 minutes in the future counts as now."
    )

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
        reject_arguments(
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
        "Response of the platform, redacted and truncated. Reading it from the attempt needs the scope RAW."
    )
    not_sent: bool = field(
        default=False,
        description="True if the post was certainly not sent to the platform, for example because a login got"
        " no answer. The age of the destination limits its retries, not their number. Only with TRANSIENT,"
        " RATE_LIMITED and UNCLASSIFIED, and not with `outcomeUnknown`.",
    )
    outcome_unknown: bool = field(
        default=False,
        description="True if the platform gave no answer and the post may be on the platform. It is not"
        " retried until someone has checked the platform.",
    )

    def to_failure(self) -> Failure:
        """Validate the values; raises InvalidInput, naming the field, for an invalid one."""
        if self.not_sent and self.outcome_unknown:
            raise InvalidInput(
                "notSent and outcomeUnknown contradict each other. Set at most one of them.",
                argument="notSent",
            )
        return validate_failure(self.category, self.message, passed_fields(self, FailureDetails))


@strawberry.type(description="Result of `startAttempt`: the publisher may call the platform now.")
class StartAttemptPayload:
    receipt: Receipt = field(
        description="RECORDED if this request started the attempt. REPEATED if it was started before: a"
        " publisher that has restarted since must not call the platform again."
    )
    attempt: int = field(description="Number of the attempt in its destination, from 1.")
    started_at: datetime = field(description="UTC time when the attempt started.")
    lease_expires_at: datetime | None = field(
        description="UTC time when an unreported outcome becomes unknown."
    )


@strawberry.type(description="Result of `extendLease`.")
class ExtendLeasePayload:
    lease_expires_at: datetime = field(description="UTC time when the lease expires.")


@strawberry.type(
    description="Result of `releaseClaim`: other publishers may claim the destination."
)
class ReleaseClaimPayload:
    destination_id: UUID = field(description="UUID of the destination.")
    status: DestinationStatus = field(description="Current status of the destination.")


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
        return to_record(
            state, cls, receipt=result.receipt, will_retry=state.next_retry_at is not None
        )


@strawberry.type(description="Result of `reportPublished`.")
class ReportPublishedPayload(ReportPayload):
    pass


@strawberry.type(description="Result of `reportFailed`.")
class ReportFailedPayload(ReportPayload):
    pass


@strawberry.type
class ReportMutations:
    @publisher_mutation(
        "Start an attempt, right before the platform call; do not call the platform unless this"
        " succeeds. Report the outcome before the lease expires. Otherwise the outcome is unknown and is"
        " not retried until someone has checked the platform."
    )
    async def start_attempt(
        self, info: Info, input: MutationInput[StartAttemptInput]
    ) -> StartAttemptPayload | None:
        lease = input.decode_lease(info.context)
        result, attempt = await info.context.reports.start_attempt(
            lease, validate_worker(input.worker)
        )
        assert attempt.number is not None  # noqa: S101 - only a late report has no number
        return StartAttemptPayload(
            receipt=result.receipt,
            attempt=attempt.number,
            started_at=attempt.started_at,
            lease_expires_at=result.destination.state.lease_expires_at,
        )

    @publisher_mutation("Extend or shorten a lease, counted from now.")
    async def extend_lease(
        self, info: Info, input: MutationInput[ExtendLeaseInput]
    ) -> ExtendLeasePayload | None:
        lease = input.decode_lease(info.context)
        duration = validate_lease_duration(input.lease_seconds, "leaseSeconds")
        expires_at = await info.context.reports.extend_lease(lease, duration)
        return ExtendLeasePayload(lease_expires_at=expires_at)

    @publisher_mutation(
        "Release a claim that was not started, so that others can claim it immediately. Fails"
        " with CONFLICT after `startAttempt`. A repeated request fails with LEASE_LOST: the claim was already"
        " released or its lease has expired."
    )
    async def release_claim(
        self, info: Info, input: MutationInput[ReleaseClaimInput]
    ) -> ReleaseClaimPayload | None:
        result = await info.context.reports.release_claim(input.decode_lease(info.context))
        return ReleaseClaimPayload(
            destination_id=result.destination.id, status=result.destination.state.status
        )

    @publisher_mutation(
        "Report that the post is on the platform. A late report is stored too, and settles the"
        " destination even if another publisher holds it. If another claim has published it, or this claim"
        " as another post, the receipt is DUPLICATE."
    )
    async def report_published(
        self, info: Info, input: MutationInput[ReportPublishedInput]
    ) -> ReportPublishedPayload | None:
        context, now = info.context, info.context.clock()
        result = await context.reports_at(now).report_published(
            input.decode_lease(context), input.to_publication(now)
        )
        return ReportPublishedPayload.from_result(result)

    @publisher_mutation(
        "Report a failed attempt; the server decides about the retry. After the lease is lost,"
        " the report is only logged."
    )
    async def report_failed(
        self, info: Info, input: MutationInput[ReportFailedInput]
    ) -> ReportFailedPayload | None:
        lease, failure = input.decode_lease(info.context), input.to_failure()
        if input.outcome_unknown:
            result = await info.context.reports.report_unknown(lease, failure)
        else:
            result = await info.context.reports.report_failed(lease, failure)
        return ReportFailedPayload.from_result(result)


def reject_arguments(problem: str, **arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise InvalidInput(f"{name} {problem}", argument=name)
