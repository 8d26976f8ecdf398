"""Mutations that settle outcomes: of verifications, of external attempts, and by hand."""

from datetime import datetime
from uuid import UUID

import strawberry
from strawberry import field

from app.domain.attempts import (
    MAX_ATTEMPT_KEY_LENGTH,
    Failure,
    FailureDetails,
    Publication,
    check_attempt_key,
    validate_failure,
    validate_started_at,
    validate_worker,
)
from app.domain.destinations import ErrorCategory, Outcome
from app.domain.errors import InvalidInput
from app.domain.external_attempts import ExternalAttempt
from app.domain.idempotency import canonicalize
from app.domain.ids import DestinationId, PostId, validate_account_id
from app.domain.leases import LeaseKind
from app.domain.verification import VerificationFinding
from app.graphql.schema.context import Info
from app.graphql.schema.destinations import Destination, load_destination
from app.graphql.schema.enums import Reconciliation, ResultOutcome
from app.graphql.schema.inputs import (
    IDEMPOTENCY_KEY_DESCRIPTION,
    DestinationFilterInput,
    MutationInput,
    optional,
    passed_fields,
    to_record,
)
from app.graphql.schema.mutations.bulk_actions import (
    BulkActionInput,
    BulkActionPayload,
    perform_bulk_action,
)
from app.graphql.schema.mutations.reports import (
    LEASE_TOKEN_DESCRIPTION,
    WORKER_DESCRIPTION,
    PublicationInput,
    ReportPayload,
    reject_arguments,
)
from app.graphql.schema.permissions import (
    publisher_mutation,
    workspace_publisher_mutation,
    write_mutation,
)
from app.services import reports
from app.services.bulk_actions import MAX_BULK_CHANGES
from app.services.reconciliations import ReconcileAction


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
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY_DESCRIPTION)


@strawberry.input(description="Input of `reconcileDestinations`.")
class ReconcileDestinationsInput(BulkActionInput):
    filter: DestinationFilterInput | None = optional(
        "Destinations to settle; only unknown outcomes match. A field other than `status` and `outcome` is"
        " required. An empty list matches nothing. Not with `plan`, which has its own filter."
    )
    finding: Reconciliation = field(
        description="Result of the check on the platform, for all of them. Only NOT_PUBLISHED, which sets the"
        " status FAILED; PUBLISHED needs the URL or id of each post: use `reconcileDestination`."
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
    raw: str | None = optional(
        "Response of the platform, redacted and truncated. Reading it from the attempt needs the scope RAW."
        " Not for PUBLISHED."
    )
    not_sent: bool = field(
        default=False,
        description="True if the post was certainly not sent to the platform, as in `reportFailed`. Only with"
        " FAILED.",
    )
    started_at: datetime | None = optional("UTC time of the platform call; default now.")
    worker: str | None = optional(WORKER_DESCRIPTION)

    def to_outcome(self, now: datetime) -> Publication | Failure:
        """Validate the values; raises InvalidInput if one is missing or belongs to another outcome."""
        if self.not_sent and self.outcome is not ResultOutcome.FAILED:
            raise InvalidInput(
                f"notSent is only allowed with FAILED, not with {self.outcome.name}.",
                argument="notSent",
            )
        if self.outcome is ResultOutcome.PUBLISHED:
            reject_arguments(
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


@strawberry.type(description="Result of `reportVerified`.")
class ReportVerifiedPayload(ReportPayload):
    pass


@strawberry.type(description="Result of `recordResult`.")
class RecordResultPayload(ReportPayload):
    pass


@strawberry.type(description="Result of `reconcileDestination`.")
class ReconcileDestinationPayload:
    destination: Destination | None = field(description="Current state of the destination.")


@strawberry.type(description="Destination that `reconcileDestinations` settles.")
class DestinationReconciliation:
    destination_id: UUID = field(description="UUID of the destination.")
    post_id: UUID = field(description="UUID of the post.")
    account_id: int = field(description="Number of the account in this workspace.")
    platform: str = field(description="Platform of the account.")

    @strawberry.field(description="Current state of the destination; null if it does not exist.")
    async def destination(self, info: Info) -> Destination | None:
        return await load_destination(info.context, DestinationId(self.destination_id))


@strawberry.type(description="Result of `reconcileDestinations`.")
class ReconcileDestinationsPayload(BulkActionPayload):
    reconciliations: list[DestinationReconciliation] = field(
        description="Destinations of this call that were, or would be, settled, newest destination first."
    )
    reconciled_count: int = field(
        description="Number of destinations of this call that were, or would be, settled."
    )


@strawberry.type
class VerificationMutations:
    @publisher_mutation(
        "Report what a check on the platform found about an unknown outcome. A repeated PUBLISHED"
        " has the receipt REPEATED. Another repeated finding fails with LEASE_LOST: it was already"
        " recorded or the lease has expired."
    )
    async def report_verified(
        self, info: Info, input: MutationInput[ReportVerifiedInput]
    ) -> ReportVerifiedPayload | None:
        context, now = info.context, info.context.clock()
        codec = context.lease_codec(LeaseKind.VERIFICATION)
        result = await context.reports_at(now).report_verified(
            codec.decode(input.verification_token, "verificationToken"),
            input.finding,
            input.to_publication_if_published(input.finding, now),
        )
        return ReportVerifiedPayload.from_result(result)

    @workspace_publisher_mutation(
        "Record an attempt of a publisher with its own queue, once per `attemptKey`, in the API"
        " key's workspace. Fails with LEASED while another publisher holds the destination."
    )
    async def record_result(
        self, info: Info, input: MutationInput[RecordResultInput]
    ) -> RecordResultPayload | None:
        context, now = info.context, info.context.clock()
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
    @write_mutation(
        "Settle an unknown outcome after a person has checked the platform. Fails with CONFLICT"
        " if the outcome is known, as in a request repeated without an idempotency key."
    )
    async def reconcile_destination(
        self, info: Info, input: MutationInput[ReconcileDestinationInput]
    ) -> ReconcileDestinationPayload | None:
        context, now = info.context, info.context.clock()
        key = DestinationId(input.destination_id)
        publication = input.to_publication_if_published(input.finding, now)
        await reports.reconcile_destination(
            context.database,
            context.write_context("reconcileDestination"),
            key,
            publication,
            request=canonicalize(input),
            idempotency_key=context.idempotency_key(input.idempotency_key),
        )
        return ReconcileDestinationPayload(destination=await load_destination(context, key))

    @write_mutation(
        f"Settle the unknown outcomes that match a filter as not published, at most {MAX_BULK_CHANGES:,} per"
        " call, in one transaction, after a person has checked the platform. They can then be retried."
    )
    async def reconcile_destinations(
        self, info: Info, input: MutationInput[ReconcileDestinationsInput]
    ) -> ReconcileDestinationsPayload | None:
        if input.finding is not Reconciliation.NOT_PUBLISHED:
            raise InvalidInput(
                "finding must be NOT_PUBLISHED: a publication needs its own URL or id, which"
                " reconcileDestination records.",
                argument="finding",
            )
        criteria = None if input.filter is None else input.filter.to_criteria()
        result = await perform_bulk_action(
            info.context, "reconcileDestinations", ReconcileAction(), input, criteria
        )
        return to_record(
            result,
            ReconcileDestinationsPayload,
            reconciliations=[
                to_record(each, DestinationReconciliation) for each in result.decisions
            ],
            reconciled_count=result.changed_count,
        )
