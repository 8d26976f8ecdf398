"""Mutations of claims and their leases, up to the start of the attempt; `reports` has the outcomes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import strawberry
from strawberry import field

from app.domain.attempts import validate_worker
from app.domain.destinations import DestinationStatus
from app.domain.leases import (
    DEFAULT_LEASE,
    MAX_CLAIM_PLATFORMS,
    MAX_CLAIMS,
    MAX_LEASE,
    MAX_WAIT,
    Lease,
    LeaseKind,
    parse_wait_duration,
    validate_claim_limit,
    validate_lease_duration,
    validate_platforms,
)
from app.domain.settlement import Receipt
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import MutationInput, optional
from app.graphql.schema.permissions import publisher_field
from app.graphql.schema.scalars import Json
from app.services import claims, reports
from app.services.claims import Claim, ClaimRequest, poll_for_claims

LEASE_TOKEN_DESCRIPTION = "Lease token of the claim."
WORKER_DESCRIPTION = "Name that the publisher gives its worker, for the attempt log."


@strawberry.input
class ClaimInput:
    limit: int = field(
        default=10,
        description=f"Maximum number of claims, 1 to {MAX_CLAIMS}; workspaces get equal shares.",
    )
    lease_seconds: int = field(
        default=int(DEFAULT_LEASE.total_seconds()),
        description=f"Duration of the leases in seconds, 1 to {int(MAX_LEASE.total_seconds()):,}.",
    )
    wait_seconds: int = field(
        default=0,
        description="Longest time in seconds to wait for the first claim, 0 to"
        f" {int(MAX_WAIT.total_seconds())}; shorter if the server's request timeout is shorter.",
    )
    platforms: list[str] | None = optional(
        f"Platforms to claim from, 1 to {MAX_CLAIM_PLATFORMS}; each gets an equal share. Null"
        " for all."
    )

    def to_request(self) -> ClaimRequest:
        """Validate the values; raises InvalidInput, naming the field, for one out of its range."""
        return ClaimRequest(
            limit=validate_claim_limit(self.limit, "limit"),
            lease_duration=validate_lease_duration(self.lease_seconds, "leaseSeconds"),
            platforms=validate_platforms(self.platforms, "platforms"),
        )


@strawberry.input(description="Input of `claimDestinations`.")
class ClaimDestinationsInput(ClaimInput):
    pass


@strawberry.input(description="Input of `claimVerifications`.")
class ClaimVerificationsInput(ClaimInput):
    pass


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


@strawberry.type
class ClaimedDestination:
    """Data that a publisher needs to publish a destination, because its key may lack the scope READ."""

    lease_expires_at: datetime = field(description="UTC time when the lease expires.")
    workspace_id: UUID = field(description="UUID of the workspace that the destination belongs to.")
    destination_id: UUID = field(description="UUID of the destination.")
    post_id: UUID = field(description="UUID of the post.")
    account_id: int = field(description="Number of the account in its workspace.")
    platform: str = field(description="Platform of the account.")
    account_name: str = field(description="Display name of the account.")
    platform_user_id: str | None = field(description="Id of the account on the platform.")
    platform_username: str | None = field(description="User name on the platform.")
    content: str = field(description="Text for this platform, or else the text of the post.")
    post_content: str = field(description="Text of the post for all platforms.")
    platform_content: Json = field(
        description="Content by platform, `{content, contentType, settings}`, unchanged from the input."
    )
    media_ids: list[str] = field(description="Media ids, unchanged from the input.")
    media: list[Json] = field(description="Media objects, unchanged from the input.")
    reference: str | None = field(description="Name that the client chose for the post.")
    scheduled_for: datetime = field(description="UTC time when the destination became due.")
    timezone: str | None = field(description="IANA time zone for display.")
    attempts: int = field(description="Number of attempts started so far.")

    @classmethod
    def from_claim(cls, claim: Claim, **own_fields: Any) -> Self:
        post, account, destination = claim.post, claim.account, claim.destination
        assert destination.state.due_at is not None  # noqa: S101 - only a draft has none
        return cls(
            lease_expires_at=claim.expires_at,
            workspace_id=claim.lease.workspace_id,
            destination_id=destination.id,
            post_id=post.id,
            account_id=account.id,
            platform=destination.platform,
            account_name=account.name,
            platform_user_id=account.platform_user_id,
            platform_username=account.platform_username,
            content=post.content_for_platform(destination.platform),
            post_content=post.content,
            platform_content=Json(post.platform_content),
            media_ids=list(post.media_ids),
            media=[Json(item) for item in post.media],
            reference=post.reference,
            scheduled_for=destination.state.due_at,
            timezone=post.timezone,
            attempts=destination.state.attempts,
            **own_fields,
        )


@strawberry.type(
    name="Claim",
    description="Destination that is leased to the publisher until the lease expires.",
)
class PublishingClaim(ClaimedDestination):
    lease_token: str = field(description="Lease token for the mutations of this claim.")


@strawberry.type(
    name="Verification",
    description="Destination with an unknown outcome, leased to the publisher to check the platform.",
)
class VerificationClaim(ClaimedDestination):
    verification_token: str = field(description="Lease token, for `reportVerified`.")
    error: str | None = field(description="Human-readable reason why the outcome is unknown.")
    last_started_at: datetime | None = field(
        description="UTC start of the last attempt, if logged."
    )
    last_worker: str | None = field(description="Name of the worker of the last attempt.")


@strawberry.type(description="Result of `claimDestinations`.")
class ClaimDestinationsPayload:
    claims: list[PublishingClaim] = field(
        description="Claimed destinations, in each workspace the longest due first."
    )


@strawberry.type(description="Result of `claimVerifications`.")
class ClaimVerificationsPayload:
    claims: list[VerificationClaim] = field(
        description="Claimed destinations, in each workspace the longest unknown first."
    )


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
class ClaimMutations:
    @strawberry.mutation(
        description="Claim due destinations: no other publisher gets them until the lease expires. Call"
        " `startAttempt` before the platform. A destination that is not started before its lease expires"
        " can be claimed again.",
        extensions=publisher_field(),
    )
    async def claim_destinations(
        self, info: Info, input: MutationInput[ClaimDestinationsInput]
    ) -> ClaimDestinationsPayload | None:
        context, request = info.context, input.to_request()
        codec = context.lease_codec(LeaseKind.PUBLISHING)

        async def claim() -> list[Claim]:
            return await claims.claim_destinations(
                context.database,
                context.publisher,
                request,
                new_id=context.new_id,
                now=context.clock(),
            )

        return ClaimDestinationsPayload(
            claims=[
                PublishingClaim.from_claim(claimed, lease_token=codec.encode(claimed.lease))
                for claimed in await _long_poll(context, input, request, claim)
            ]
        )

    @strawberry.mutation(
        description="Claim destinations with an unknown outcome. Check the platform and report the result"
        " with `reportVerified`. No other publisher gets them until the lease expires.",
        extensions=publisher_field(),
    )
    async def claim_verifications(
        self, info: Info, input: MutationInput[ClaimVerificationsInput]
    ) -> ClaimVerificationsPayload | None:
        context, request = info.context, input.to_request()
        codec = context.lease_codec(LeaseKind.VERIFICATION)

        async def claim() -> list[Claim]:
            return await claims.claim_verifications(
                context.database,
                context.publisher,
                request,
                new_id=context.new_id,
                now=context.clock(),
            )

        return ClaimVerificationsPayload(
            claims=[
                VerificationClaim.from_claim(
                    claimed,
                    verification_token=codec.encode(claimed.lease),
                    error=claimed.destination.state.error,
                    last_started_at=start and start.started_at,
                    last_worker=start and start.worker,
                )
                for claimed in await _long_poll(context, input, request, claim)
                for start in (claimed.last_attempt_start,)
            ]
        )

    @strawberry.mutation(
        description="Start an attempt, right before the platform call; do not call the platform unless this"
        " succeeds. Report the outcome before the lease expires. Otherwise the outcome is unknown and is"
        " not retried until someone has checked the platform.",
        extensions=publisher_field(),
    )
    async def start_attempt(
        self, info: Info, input: MutationInput[StartAttemptInput]
    ) -> StartAttemptPayload | None:
        context = info.context
        lease = input.decode_lease(context)
        result, attempt = await reports.start_attempt(
            context.database,
            context.publisher,
            lease,
            worker=validate_worker(input.worker),
            new_id=context.new_id,
            now=context.clock(),
        )
        assert attempt.number is not None  # noqa: S101 - only a late report has no number
        return StartAttemptPayload(
            receipt=result.receipt,
            attempt=attempt.number,
            started_at=attempt.started_at,
            lease_expires_at=result.destination.state.lease_expires_at,
        )

    @strawberry.mutation(
        description="Extend or shorten a lease, counted from now.",
        extensions=publisher_field(),
    )
    async def extend_lease(
        self, info: Info, input: MutationInput[ExtendLeaseInput]
    ) -> ExtendLeasePayload | None:
        context = info.context
        lease = input.decode_lease(context)
        duration = validate_lease_duration(input.lease_seconds, "leaseSeconds")
        expires_at = await reports.extend_lease(
            context.database, context.publisher, lease, duration, now=context.clock()
        )
        return ExtendLeasePayload(lease_expires_at=expires_at)

    @strawberry.mutation(
        description="Release a claim that was not started, so that others can claim it immediately. Fails"
        " with CONFLICT after `startAttempt`. A repeated request fails with LEASE_LOST: the claim was already"
        " released or its lease has expired.",
        extensions=publisher_field(),
    )
    async def release_claim(
        self, info: Info, input: MutationInput[ReleaseClaimInput]
    ) -> ReleaseClaimPayload | None:
        context = info.context
        lease = input.decode_lease(context)
        result = await reports.release_claim(
            context.database, context.publisher, lease, now=context.clock()
        )
        return ReleaseClaimPayload(
            destination_id=result.destination.id, status=result.destination.state.status
        )


async def _long_poll(
    context: Context,
    claim_input: ClaimInput,
    request: ClaimRequest,
    claim: Callable[[], Awaitable[list[Claim]]],
) -> list[Claim]:
    wait = parse_wait_duration(claim_input.wait_seconds, "waitSeconds")
    # Checked before the claim: an error while the response is built could not undo the claim.
    context.entry_limit.add(request.limit)
    budget = context.wait_budget

    async def pause(seconds: float) -> None:
        context.request_state["is_latency_measured"] = False
        await asyncio.sleep(seconds)

    return await poll_for_claims(claim, budget.consume(wait), pause, budget.is_stopping)
