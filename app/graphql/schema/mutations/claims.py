"""Claims of publishers: claimDestinations and claimVerifications. What becomes of a claim is elsewhere."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry import argument, field

from app.domain.leases import (
    DEFAULT_LEASE,
    MAX_CLAIM_PLATFORMS,
    MAX_CLAIMS,
    MAX_LEASE,
    MAX_WAIT,
    LeaseKind,
    parse_claim_limit,
    parse_lease_duration,
    parse_platforms,
    parse_wait_duration,
)
from app.graphql.schema.context import Context, Info
from app.graphql.schema.mutations.extensions import publisher_field
from app.graphql.schema.scalars import Json
from app.services import claims
from app.services.claims import Claim as ServiceClaim
from app.services.claims import ClaimRequest, poll_for_claims


@strawberry.input(description="How much to take, of what, and for how long.")
class ClaimInput:
    limit: int = field(
        default=10, description=f"At most so many, 1 to {MAX_CLAIMS}; workspaces get equal shares."
    )
    lease_seconds: int = field(
        default=int(DEFAULT_LEASE.total_seconds()),
        description=f"How long they are the publisher's own, 1 to {int(MAX_LEASE.total_seconds()):,}.",
    )
    wait_seconds: int = field(
        default=0,
        description=f"How long to wait for the first one, 0 to {int(MAX_WAIT.total_seconds())}; less"
        " where this server gives requests less time.",
    )
    platforms: list[str] | None = field(
        default=None,
        description=f"Only of these platforms, 1 to {MAX_CLAIM_PLATFORMS}; each gets an equal share.",
    )

    def to_request(self) -> ClaimRequest:
        """InvalidInput for a number out of its range."""
        return ClaimRequest(
            limit=parse_claim_limit(self.limit, "limit"),
            lease_duration=parse_lease_duration(self.lease_seconds, "leaseSeconds"),
            platforms=parse_platforms(self.platforms, "platforms"),
        )


@strawberry.input(description="Which posts to publish now.")
class ClaimDestinationsInput(ClaimInput):
    pass


@strawberry.input(description="Which unknown outcomes to look into.")
class ClaimVerificationsInput(ClaimInput):
    pass


@strawberry.type
class ClaimedDestination:
    """What every claim says of its destination: all that its publisher needs, for it may read nothing."""

    lease_expires_at: datetime = field(description="When the lease ends.")
    workspace_id: UUID = field(description="The UUID of the workspace that it belongs to.")
    destination_id: UUID = field(description="The destination's UUID.")
    post_id: UUID = field(description="The post's UUID.")
    account_id: int = field(description="The account's number in its workspace.")
    platform: str = field(description="The account's platform.")
    account_name: str = field(description="What people call the account.")
    platform_user_id: str | None = field(description="The platform's own id of the account.")
    platform_username: str | None = field(description="The user name on the platform.")
    content: str = field(
        description="The text that goes out: the platform's own, or else the post's."
    )
    post_content: str = field(description="The text for all platforms.")
    platform_content: Json = field(
        description="By platform: {content, contentType, settings}, as it was given."
    )
    media_ids: list[str] = field(description="As they were given.")
    media: list[Json] = field(description="As it was given.")
    reference: str | None = field(description="The client's own name for the post.")
    scheduled_for: datetime = field(description="When it was to go out.")
    timezone: str | None = field(description="An IANA name, for display.")
    attempts: int = field(description="How often the platform was called so far.")


@strawberry.type(description="A destination that is the publisher's own until its lease ends.")
class Claim(ClaimedDestination):
    lease_token: str = field(
        description="Proves the lease: for startAttempt and whatever follows it."
    )


@strawberry.type(
    description="A destination of unknown outcome, for the publisher to look whether it is there."
)
class Verification(ClaimedDestination):
    verification_token: str = field(description="Proves the lease, for reportVerified.")
    error: str | None = field(description="Why nobody knows, for a person.")
    last_started_at: datetime | None = field(
        description="When the platform was about to be called; null if that is not known."
    )
    last_worker: str | None = field(description="By which publisher, in its own words.")


@strawberry.type(description="What the publisher may publish now.")
class ClaimDestinationsPayload:
    claims: list[Claim] = field(description="The longest due first in each workspace.")


@strawberry.type(description="What the publisher may look into.")
class ClaimVerificationsPayload:
    claims: list[Verification] = field(description="The longest unknown first in each workspace.")


@strawberry.type
class ClaimMutations:
    @strawberry.mutation(
        description="Take what is due: nobody else gets it until the lease ends. Before the platform is"
        " called, startAttempt has to succeed; what is not started in time is given out again.",
        extensions=publisher_field(),
    )
    async def claim_destinations(
        self,
        info: Info,
        input: Annotated[ClaimDestinationsInput, argument(description="What to take.")],  # noqa: A002
    ) -> ClaimDestinationsPayload | None:
        context, wish = info.context, input.to_request()
        seal = context.lease_codec(LeaseKind.PUBLISHING)

        async def claim() -> list[ServiceClaim]:
            return await claims.claim_destinations(
                context.database,
                context.publisher,
                wish,
                new_id=context.new_id,
                now=context.clock(),
            )

        given = await _long_poll(context, input, wish, claim)
        return ClaimDestinationsPayload(
            claims=[
                Claim(lease_token=seal.encode(each.lease), **_claim_fields(each)) for each in given
            ]
        )

    @strawberry.mutation(
        description="Take destinations of which nobody knows whether they were published, to look on the"
        " platform and tell by reportVerified. Nobody else gets them until the lease ends.",
        extensions=publisher_field(),
    )
    async def claim_verifications(
        self,
        info: Info,
        input: Annotated[ClaimVerificationsInput, argument(description="What to take.")],  # noqa: A002
    ) -> ClaimVerificationsPayload | None:
        context, wish = info.context, input.to_request()

        async def claim() -> list[ServiceClaim]:
            return await claims.claim_verifications(
                context.database,
                context.publisher,
                wish,
                new_id=context.new_id,
                now=context.clock(),
            )

        given = await _long_poll(context, input, wish, claim)
        return ClaimVerificationsPayload(claims=_to_verifications(context, given))


async def _long_poll(
    context: Context,
    claim_input: ClaimInput,
    request: ClaimRequest,
    claim: Callable[[], Awaitable[list[ServiceClaim]]],
) -> list[ServiceClaim]:
    wait = parse_wait_duration(claim_input.wait_seconds, "waitSeconds")
    # Refused now and not when the answer is made: by then it would be taken.
    context.list_limit.add(request.limit)
    patience = context.wait_budget

    async def pause(seconds: float) -> None:
        context.state["exclude_from_latency"] = True
        await asyncio.sleep(seconds)

    return await poll_for_claims(claim, patience.consume(wait), pause, patience.is_stopping)


def _to_verifications(context: Context, claims: Sequence[ServiceClaim]) -> list[Verification]:
    seal = context.lease_codec(LeaseKind.VERIFICATION)
    found = []
    for each in claims:
        start = each.last_attempt_start
        found.append(
            Verification(
                verification_token=seal.encode(each.lease),
                error=each.destination.state.error,
                last_started_at=None if start is None else start.started_at,
                last_worker=None if start is None else start.worker,
                **_claim_fields(each),
            )
        )
    return found


def _claim_fields(claim: ServiceClaim) -> dict[str, Any]:
    post, account = claim.post, claim.account
    return {
        "lease_expires_at": claim.expires_at,
        "workspace_id": claim.lease.workspace_id,
        "destination_id": claim.destination.id,
        "post_id": post.id,
        "account_id": account.id,
        "platform": claim.destination.platform,
        "account_name": account.name,
        "platform_user_id": account.platform_user_id,
        "platform_username": account.platform_username,
        "content": post.content_for_platform(claim.destination.platform),
        "post_content": post.content,
        "platform_content": post.platform_content,
        "media_ids": list(post.media_ids),
        "media": list(post.media),
        "reference": post.reference,
        "scheduled_for": claim.destination.state.due_at,
        "timezone": post.timezone,
        "attempts": claim.destination.state.attempts,
    }
