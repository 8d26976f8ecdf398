"""What a publisher is given with a destination, and the one text in which it gives it back. No rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from app.domain.account_commands import check_platform
from app.domain.errors import InvalidInput
from app.domain.ids import DestinationId, WorkspaceId
from app.domain.signing import Signer

DEFAULT_LEASE = timedelta(minutes=1)
MIN_LEASE = timedelta(seconds=1)
MAX_LEASE = timedelta(hours=1)

MAX_CLAIMS = 100
"""Destinations of one call."""

MAX_WAIT = timedelta(seconds=20)
"""How long a call may wait for something to become due."""

MAX_CLAIM_PLATFORMS = 20

_VERSION = 1
_FENCE_BYTES = 4


class LeaseKind(StrEnum):
    """For what it was given: to publish a post, or to look whether it is published."""

    PUBLISHING = "publishing"
    VERIFICATION = "verification"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to one destination, until it ends or somebody else has it."""

    workspace_id: WorkspaceId
    destination_id: DestinationId
    fence: int
    """Of the claim; for a verification, of the last claim."""
    token: UUID
    """In the destination's row as long as the lease is held."""


class LeaseCodec:
    """Spells leases of one kind for publishers. Nobody else can make one, so a late one is believed."""

    def __init__(self, secret: bytes, kind: LeaseKind) -> None:
        self._signer = Signer(secret, f"lease:{_VERSION}:{kind}:")

    def encode(self, lease: Lease) -> str:
        ids = (lease.workspace_id, lease.destination_id, lease.token)
        return self._signer.sign(
            b"".join(each.bytes for each in ids) + lease.fence.to_bytes(_FENCE_BYTES)
        )

    def decode(self, text: str, argument: str) -> Lease:
        """InvalidInput for whatever was not given out."""
        payload = self._signer.unsign(text)
        if payload is None:
            raise InvalidInput(
                f"{argument} is none that was given out. Pass the one of the claim, unchanged.",
                argument=argument,
            )
        workspace, destination, token = (UUID(bytes=payload[at : at + 16]) for at in (0, 16, 32))
        return Lease(
            WorkspaceId(workspace),
            DestinationId(destination),
            int.from_bytes(payload[48:]),
            token,
        )


def parse_lease_duration(seconds: int, argument: str) -> timedelta:
    """InvalidInput for a lease that is too short to be kept or too long to wait for."""
    shortest, longest = (int(each.total_seconds()) for each in (MIN_LEASE, MAX_LEASE))
    return timedelta(seconds=_check_range(shortest, longest, seconds, argument))


def parse_wait_duration(seconds: int, argument: str) -> timedelta:
    """InvalidInput for a wait that is longer than any call may take."""
    return timedelta(seconds=_check_range(0, int(MAX_WAIT.total_seconds()), seconds, argument))


def parse_claim_limit(count: int, argument: str) -> int:
    """InvalidInput for none, and for more than one call gives out."""
    return _check_range(1, MAX_CLAIMS, count, argument)


def parse_platforms(platforms: Sequence[str] | None, argument: str) -> Sequence[str] | None:
    """InvalidInput for none, too many, one twice, and one that no account can be on; None for all."""
    if platforms is None:
        return None
    if not 1 <= len(platforms) <= MAX_CLAIM_PLATFORMS:
        raise InvalidInput(
            f"{argument} must have from 1 to {MAX_CLAIM_PLATFORMS} platforms; it has"
            f" {len(platforms)}. Leave it out for all.",
            argument=argument,
        )
    for index, each in enumerate(platforms):
        check_platform(each, f"{argument}[{index}]")
    if len(set(platforms)) < len(platforms):
        raise InvalidInput(f"{argument} names a platform twice.", argument=argument)
    return platforms


def _check_range(lowest: int, highest: int, number: int, argument: str) -> int:
    if not lowest <= number <= highest:
        raise InvalidInput(
            f"{argument} must be from {lowest} to {highest:,}; it is {number:,}.",
            argument=argument,
        )
    return number
