"""Leases, the tokens that publishers receive for them, and the limits of a claim."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from app.domain.accounts import check_platform
from app.domain.errors import InvalidInput
from app.domain.ids import DestinationId, PostId, WorkspaceId
from app.domain.signing import Signer
from app.domain.validation.numbers import validate_seconds

DEFAULT_LEASE = timedelta(minutes=1)
MIN_LEASE = timedelta(seconds=1)
MAX_LEASE = timedelta(hours=1)

MAX_CLAIMS = 100
"""Destinations of one claim."""

MAX_CLAIM_WAIT = timedelta(seconds=20)
"""Longest time that a claim may wait for a due destination."""

MAX_CLAIM_PLATFORMS = 20

_VERSION = 2
_FENCE_BYTES = 4


class LeaseKind(StrEnum):
    """Purpose of a lease: publish a post, or verify whether it is published."""

    PUBLISHING = "publishing"
    VERIFICATION = "verification"


@dataclass(frozen=True, slots=True)
class Lease:
    """Exclusive right to one destination, until it expires and another client may claim the destination."""

    workspace_id: WorkspaceId
    post_id: PostId
    destination_id: DestinationId
    fence: int
    """Fence of the claim; for a verification, of the last claim."""
    token: UUID
    """Stored in the destination's row while the lease is held."""


class LeaseCodec:
    """Codec for leases of one kind as signed tokens, so that even a late one can be trusted."""

    def __init__(self, secret: bytes, kind: LeaseKind) -> None:
        self._signer = Signer(secret, f"lease:{_VERSION}:{kind}:")

    def encode(self, lease: Lease) -> str:
        return self._signer.sign(
            lease.workspace_id.bytes
            + lease.post_id.bytes
            + lease.destination_id.bytes
            + lease.token.bytes
            + lease.fence.to_bytes(_FENCE_BYTES)
        )

    def decode(self, text: str, argument: str) -> Lease:
        """Return the lease of a token; raises InvalidInput if this service did not issue it."""
        payload = self._signer.unsign(text)
        if payload is None:
            raise InvalidInput(
                f"{argument} is not a token of this service. Pass the one of the claim, unchanged.",
                argument=argument,
            )
        workspace, post, destination, token = (
            UUID(bytes=payload[offset : offset + 16]) for offset in (0, 16, 32, 48)
        )
        fence = int.from_bytes(payload[64:])
        return Lease(WorkspaceId(workspace), PostId(post), DestinationId(destination), fence, token)


def validate_lease_duration(seconds: int, argument: str) -> timedelta:
    """Return the duration; raises InvalidInput outside MIN_LEASE to MAX_LEASE."""
    return validate_seconds(seconds, argument, MIN_LEASE, MAX_LEASE)


def validate_platforms(platforms: Sequence[str] | None, argument: str) -> Sequence[str] | None:
    """Return the distinct platform names of a claim, None for all; raises InvalidInput if one is invalid."""
    if platforms is None:
        return None
    if not 1 <= len(platforms) <= MAX_CLAIM_PLATFORMS:
        raise InvalidInput(
            f"{argument} must have from 1 to {MAX_CLAIM_PLATFORMS} platforms; it has"
            f" {len(platforms)}. Leave it out for all.",
            argument=argument,
        )
    for index, platform in enumerate(platforms):
        check_platform(platform, f"{argument}[{index}]")
    if len(set(platforms)) < len(platforms):
        raise InvalidInput(f"{argument} names a platform twice.", argument=argument)
    return platforms
