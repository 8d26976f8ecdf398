"""What a publisher does with a claim before there is an outcome: startAttempt, extendLease, releaseClaim."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry
from strawberry import argument, field

from app.domain.attempts import validate_worker
from app.domain.destinations import DestinationStatus
from app.domain.leases import MAX_LEASE, Lease, LeaseKind, parse_lease_duration
from app.domain.settlement import Receipt
from app.graphql.schema.context import Context, Info
from app.graphql.schema.mutations.extensions import publisher_field
from app.services import reports

LEASE_TOKEN_DESCRIPTION = "The one of the claim."
"""The description of `leaseToken`, in every input that has it."""


@strawberry.input(description="The attempt that is about to be made.")
class StartAttemptInput:
    lease_token: str = field(description=LEASE_TOKEN_DESCRIPTION)
    worker: str | None = field(
        default=None, description="Who makes it, in the publisher's own words, for the log."
    )


@strawberry.input(description="The lease that is to end later, or sooner.")
class ExtendLeaseInput:
    lease_token: str = field(description=LEASE_TOKEN_DESCRIPTION)
    lease_seconds: int = field(
        description=f"How long it lasts from now on, 1 to {int(MAX_LEASE.total_seconds()):,}."
    )


@strawberry.input(description="The claim that is given back.")
class ReleaseClaimInput:
    lease_token: str = field(description=LEASE_TOKEN_DESCRIPTION)


@strawberry.type(description="The attempt: the platform may be called now.")
class StartAttemptPayload:
    receipt: Receipt = field(
        description="REPEATED where it was started before: whoever has been away since does not know"
        " whether the platform was called then, and must not call it again."
    )
    attempt: int = field(description="Its number among those of the destination, from 1.")
    started_at: datetime = field(description="When it was started.")
    lease_expires_at: datetime | None = field(
        description="When its outcome is unknown unless it was reported."
    )


@strawberry.type(description="The lease as it is now.")
class ExtendLeasePayload:
    lease_expires_at: datetime = field(description="When it ends.")


@strawberry.type(description="The destination that is anybody's again.")
class ReleaseClaimPayload:
    destination_id: UUID = field(description="Its UUID.")
    status: DestinationStatus = field(description="Where it stands.")


@strawberry.type
class LeaseMutations:
    @strawberry.mutation(
        description="Say that the platform is about to be called; do not call it unless this succeeds."
        " From here on the outcome has to be reported: once the lease ends without, it is unknown, and"
        " nobody tries again before somebody has looked.",
        extensions=publisher_field(),
    )
    async def start_attempt(
        self,
        info: Info,
        input: Annotated[StartAttemptInput, argument(description="The attempt.")],  # noqa: A002
    ) -> StartAttemptPayload | None:
        context = info.context
        lease = decode_publishing_lease(context, input.lease_token)
        worker = validate_worker(input.worker)
        told, attempt = await reports.start_attempt(
            context.database,
            context.publisher,
            lease,
            worker=worker,
            new_id=context.new_id,
            now=context.clock(),
        )
        assert attempt.number is not None  # noqa: S101 - only a late report has none
        return StartAttemptPayload(
            receipt=told.receipt,
            attempt=attempt.number,
            started_at=attempt.started_at,
            lease_expires_at=told.destination.state.lease_expires_at,
        )

    @strawberry.mutation(
        description="Keep a claim for longer, or for less long, counted from now.",
        extensions=publisher_field(),
    )
    async def extend_lease(
        self,
        info: Info,
        input: Annotated[ExtendLeaseInput, argument(description="How long.")],  # noqa: A002
    ) -> ExtendLeasePayload | None:
        context = info.context
        lease = decode_publishing_lease(context, input.lease_token)
        length = parse_lease_duration(input.lease_seconds, "leaseSeconds")
        expires_at = await reports.extend_lease(
            context.database, context.publisher, lease, length, now=context.clock()
        )
        return ExtendLeasePayload(lease_expires_at=expires_at)

    @strawberry.mutation(
        description="Give a claim back that was not started: anybody may claim it at once. CONFLICT once it"
        " was started. Sent again it is LEASE_LOST: then it was heard, or the lease has ended.",
        extensions=publisher_field(),
    )
    async def release_claim(
        self,
        info: Info,
        input: Annotated[ReleaseClaimInput, argument(description="The claim.")],  # noqa: A002
    ) -> ReleaseClaimPayload | None:
        context = info.context
        lease = decode_publishing_lease(context, input.lease_token)
        told = await reports.release_claim(
            context.database, context.publisher, lease, now=context.clock()
        )
        return ReleaseClaimPayload(
            destination_id=told.destination.id, status=told.destination.state.status
        )


def decode_publishing_lease(context: Context, token: str) -> Lease:
    """InvalidInput for a token that was not given out with a claim."""
    return context.lease_codec(LeaseKind.PUBLISHING).decode(token, "leaseToken")
