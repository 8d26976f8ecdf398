"""Reports: what came of a claim, of a look, or of an attempt elsewhere. What that means is decided below."""

from datetime import datetime
from typing import Annotated, Any

import strawberry
from strawberry import argument, field

from app.domain.api_keys import Scope
from app.domain.attempts import check_attempt_key, validate_started_at, validate_worker
from app.domain.destinations import DestinationStatus, Outcome
from app.domain.ids import DestinationId, PostId, check_account_id
from app.domain.leases import LeaseKind
from app.domain.settlement import Receipt
from app.domain.times import truncate_to_ms
from app.domain.verification import ExternalAttempt
from app.graphql.schema.context import Context, Info
from app.graphql.schema.mutations.extensions import (
    publisher_field,
    workspace_publisher_field,
    write_field,
)
from app.graphql.schema.mutations.leases import decode_publishing_lease
from app.graphql.schema.mutations.report_inputs import (
    ReconcileDestinationInput,
    RecordResultInput,
    ReportFailedInput,
    ReportPublishedInput,
    ReportVerifiedInput,
)
from app.graphql.schema.types import Destination
from app.services import reports
from app.services.reports import ReportResult


@strawberry.type
class ReportPayload:
    """What every report answers. The destination may be of a workspace that the viewer may not read."""

    receipt: Receipt = field(description="What became of the report.")
    status: DestinationStatus = field(description="Where the destination stands now.")
    outcome: Outcome = field(description="What is known about the platform now.")
    attempts: int = field(description="How often the platform was called so far.")
    will_retry: bool = field(description="Whether it is tried again by itself, at nextRetryAt.")
    next_retry_at: datetime | None = field(description="When it may be claimed again.")


@strawberry.type(description="What became of a report.")
class ReportPublishedPayload(ReportPayload):
    pass


@strawberry.type(description="What became of a report.")
class ReportFailedPayload(ReportPayload):
    pass


@strawberry.type(description="What became of a report.")
class ReportVerifiedPayload(ReportPayload):
    pass


@strawberry.type(description="What became of a report.")
class RecordResultPayload(ReportPayload):
    pass


@strawberry.type(description="The destination that was settled.")
class ReconcileDestinationPayload:
    destination: Destination | None = field(description="The destination as it stands now.")


@strawberry.type
class ReportMutations:
    @strawberry.mutation(
        description="Say that the platform has the post. It is kept however late it comes, and settles the"
        " destination, whoever holds it; if another report has done so before, it is a DUPLICATE.",
        extensions=publisher_field(),
    )
    async def report_published(
        self,
        info: Info,
        input: Annotated[ReportPublishedInput, argument(description="Where it is.")],  # noqa: A002
    ) -> ReportPublishedPayload | None:
        context, now = info.context, _now_in_milliseconds(info.context)
        told = await reports.report_published(
            context.database,
            context.publisher,
            decode_publishing_lease(context, input.lease_token),
            input.to_publication(now),
            new_id=context.new_id,
            now=now,
        )
        return ReportPublishedPayload(**_report_fields(told))

    @strawberry.mutation(
        description="Say that an attempt failed; when it is tried again is decided here. Once the lease is"
        " lost it is only logged.",
        extensions=publisher_field(),
    )
    async def report_failed(
        self,
        info: Info,
        input: Annotated[ReportFailedInput, argument(description="What went wrong.")],  # noqa: A002
    ) -> ReportFailedPayload | None:
        context, now = info.context, _now_in_milliseconds(info.context)
        lease, failure = decode_publishing_lease(context, input.lease_token), input.to_failure()
        if input.outcome_unknown:
            told = await reports.report_unknown(
                context.database,
                context.publisher,
                lease,
                failure,
                new_id=context.new_id,
                now=now,
            )
        else:
            told = await reports.report_failed(
                context.database,
                context.publisher,
                lease,
                failure,
                context.retry_decider,
                new_id=context.new_id,
                now=now,
            )
        return ReportFailedPayload(**_report_fields(told))

    @strawberry.mutation(
        description="Say what was found on the platform of an outcome that nobody knew. Sent again,"
        " PUBLISHED is REPEATED; another finding is LEASE_LOST: then it was heard, or the lease has ended.",
        extensions=publisher_field(),
    )
    async def report_verified(
        self,
        info: Info,
        input: Annotated[ReportVerifiedInput, argument(description="The finding.")],  # noqa: A002
    ) -> ReportVerifiedPayload | None:
        context, now = info.context, _now_in_milliseconds(info.context)
        seal = context.lease_codec(LeaseKind.VERIFICATION)
        told = await reports.report_verified(
            context.database,
            context.publisher,
            seal.decode(input.verification_token, "verificationToken"),
            input.finding,
            input.to_publication_if_published(input.finding, now),
            context.retry_decider,
            new_id=context.new_id,
            now=now,
        )
        return ReportVerifiedPayload(**_report_fields(told))

    @strawberry.mutation(
        description="Record an attempt of a publisher with a queue of its own, in the key's own workspace:"
        " once for each attemptKey. LEASED while another publisher holds the destination.",
        extensions=workspace_publisher_field(),
    )
    async def record_result(
        self,
        info: Info,
        input: Annotated[RecordResultInput, argument(description="The attempt.")],  # noqa: A002
    ) -> RecordResultPayload | None:
        context, now = info.context, _now_in_milliseconds(info.context)
        account_id = check_account_id(input.account_id, "accountId")
        check_attempt_key(input.attempt_key)
        worker = validate_worker(input.worker)
        result = ExternalAttempt(
            attempt_key=input.attempt_key,
            worker=worker,
            started_at=validate_started_at(input.started_at, now),
            outcome=Outcome(input.outcome.value),
            details=input.to_outcome(now),
        )
        told = await reports.record_result(
            context.database,
            context.write_context("recordResult"),
            PostId(input.post_id),
            account_id,
            result,
            context.retry_decider,
            new_id=context.new_id,
        )
        return RecordResultPayload(**_report_fields(told))


@strawberry.type
class ReconciliationMutations:
    @strawberry.mutation(
        description="Settle a destination of which nobody knows whether it was published, after somebody"
        " has looked on the platform. CONFLICT where the outcome is known, as it is when"
        " this is sent again.",
        extensions=write_field(Scope.WRITE),
    )
    async def reconcile_destination(
        self,
        info: Info,
        input: Annotated[ReconcileDestinationInput, argument(description="The finding.")],  # noqa: A002
    ) -> ReconcileDestinationPayload | None:
        context, now = info.context, _now_in_milliseconds(info.context)
        key = DestinationId(input.destination_id)
        where = input.to_publication_if_published(input.finding, now)
        await reports.reconcile_destination(
            context.database, context.write_context("reconcileDestination"), key, where
        )
        row = await context.loaders.destinations_by_id.load(key)
        return ReconcileDestinationPayload(
            destination=None if row is None else Destination.from_row(row, context.clock())
        )


def _now_in_milliseconds(context: Context) -> datetime:
    """As it is stored, for a time that a report does not tell."""
    return truncate_to_ms(context.clock())


def _report_fields(result: ReportResult) -> dict[str, Any]:
    state = result.destination.state
    return {
        "receipt": result.receipt,
        "status": state.status,
        "outcome": state.outcome,
        "attempts": state.attempts,
        "will_retry": state.next_retry_at is not None,
        "next_retry_at": state.next_retry_at,
    }
