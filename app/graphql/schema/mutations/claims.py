"""Mutations that claim destinations, to publish them or to verify unknown outcomes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self
from uuid import UUID

import strawberry
from strawberry import field

from app.domain.accounts import AccountPublisher
from app.domain.leases import (
    DEFAULT_LEASE,
    MAX_CLAIM_PLATFORMS,
    MAX_CLAIM_WAIT,
    MAX_CLAIMS,
    MAX_LEASE,
    LeaseKind,
    validate_lease_duration,
    validate_platforms,
)
from app.domain.validation.numbers import validate_number, validate_seconds
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import MutationInput, optional
from app.graphql.schema.permissions import publisher_mutation
from app.graphql.schema.scalars import Json
from app.services.claims import Claim, ClaimRequest, poll_for_claims


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
        f" {int(MAX_CLAIM_WAIT.total_seconds())}; shorter if the server's request timeout is shorter.",
    )
    platforms: list[str] | None = optional(
        f"Platforms to claim from, 1 to {MAX_CLAIM_PLATFORMS}; each gets an equal share. Null"
        " for all."
    )
    publisher: AccountPublisher = field(
        default=AccountPublisher.EXTERNAL,
        description="Publisher of the accounts to claim from. Accounts of other publishers are left to the"
        " worker of this server.",
    )

    def to_request(self) -> ClaimRequest:
        """Validate the values; raises InvalidInput, naming the field, for one out of its range."""
        return ClaimRequest(
            limit=validate_number(self.limit, "limit", 1, MAX_CLAIMS),
            lease_duration=validate_lease_duration(self.lease_seconds, "leaseSeconds"),
            publishers=[self.publisher],
            platforms=validate_platforms(self.platforms, "platforms"),
        )


@strawberry.input(description="Input of `claimDestinations`.")
class ClaimDestinationsInput(ClaimInput):
    pass


@strawberry.input(description="Input of `claimVerifications`.")
class ClaimVerificationsInput(ClaimInput):
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
    account_name: str = field(description="Label of the account, same as `Account.accountName`.")
    platform_user_id: str | None = field(description="Id of the account on the platform.")
    platform_username: str | None = field(description="User name on the platform.")
    content: str = field(description="Text for this platform, or else the text of the post.")
    post_content: str = field(description="Text of the post for all platforms.")
    platform_content: Json = field(
        description="Content by platform, `{content, contentType, settings}`, unchanged from the input."
    )
    media_ids: list[str] = field(description="Media ids, unchanged from the input.")
    media: list[Json] = field(
        description="Media objects, unchanged from the input. Only claims have the images in `data:` URLs;"
        " `Post.media` describes them."
    )
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


@strawberry.type
class ClaimMutations:
    @publisher_mutation(
        "Claim due destinations: no other publisher gets them until the lease expires. Call"
        " `startAttempt` before the platform. A destination that is not started before its lease expires"
        " can be claimed again."
    )
    async def claim_destinations(
        self, info: Info, input: MutationInput[ClaimDestinationsInput]
    ) -> ClaimDestinationsPayload | None:
        context = info.context
        codec = context.lease_codec(LeaseKind.PUBLISHING)

        return ClaimDestinationsPayload(
            claims=[
                PublishingClaim.from_claim(claimed, lease_token=codec.encode(claimed.lease))
                for claimed in await _long_poll(context, input, context.claims.claim_destinations)
            ]
        )

    @publisher_mutation(
        "Claim destinations with an unknown outcome. Check the platform and report the result"
        " with `reportVerified`. No other publisher gets them until the lease expires."
    )
    async def claim_verifications(
        self, info: Info, input: MutationInput[ClaimVerificationsInput]
    ) -> ClaimVerificationsPayload | None:
        context = info.context
        codec = context.lease_codec(LeaseKind.VERIFICATION)

        return ClaimVerificationsPayload(
            claims=[
                VerificationClaim.from_claim(
                    claimed,
                    verification_token=codec.encode(claimed.lease),
                    error=claimed.destination.state.error,
                    last_started_at=start and start.started_at,
                    last_worker=start and start.worker,
                )
                for claimed in await _long_poll(context, input, context.claims.claim_verifications)
                for start in (claimed.last_attempt_start,)
            ]
        )


async def _long_poll(
    context: Context,
    claim_input: ClaimInput,
    claim: Callable[[ClaimRequest], Awaitable[list[Claim]]],
) -> list[Claim]:
    request = claim_input.to_request()
    wait = validate_seconds(claim_input.wait_seconds, "waitSeconds", timedelta(), MAX_CLAIM_WAIT)
    # Checked before the claim: an error while the response is built could not undo the claim.
    context.response_limit.add(request.limit)
    budget = context.wait_budget

    async def pause(seconds: float) -> None:
        context.request.is_latency_measured = False
        await asyncio.sleep(seconds)

    return await poll_for_claims(
        partial(claim, request), budget.consume(wait), pause, budget.is_stopping
    )
