"""Plans of bulk actions: the filter, time and number of changes that a dry run fixed."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import msgspec

from app.domain.errors import Conflict, InvalidInput
from app.domain.ids import WorkspaceId
from app.domain.signing import KeysetPosition, Signer

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PLAN_LIFETIME = timedelta(minutes=15)
"""Time from a dry run during which its plan can be used."""

_PLAN_VERSION = 1


CriteriaT = TypeVar("CriteriaT", bound="DataclassInstance")


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkPlan(Generic[CriteriaT]):
    """Filter of a dry run, the number of changes that are left, and the position to continue from."""

    criteria: CriteriaT
    """Filter that excludes objects which were changed after the dry run."""
    created_at: datetime
    """Time of the dry run."""
    remaining_count: int
    """Number of objects that the next calls may change at most."""
    after: KeysetPosition | None = None

    def require_valid(self, now: datetime) -> None:
        """Raise Conflict if the plan has expired."""
        if now >= self.created_at + PLAN_LIFETIME:
            raise Conflict(
                "The plan has expired: repeat the dry run and pass its plan.", argument="plan"
            )

    def require_unchanged(self, eligible_count: int) -> None:
        """Raise Conflict if more objects are eligible than the plan has left.

        The count may end at one more than that.
        """
        if eligible_count > self.remaining_count:
            raise Conflict(
                f"The plan has {self.remaining_count:,} left, but more can be changed now. Nothing was"
                " changed: repeat the dry run and pass its plan.",
                argument="plan",
            )

    def continued(self, changed_count: int, end: KeysetPosition | None) -> Self | None:
        """Return the plan after a call that changed some objects; None if no change is left.

        It continues after `end`, or after the same position as before if the page was empty.
        """
        remaining_count = self.remaining_count - changed_count
        if remaining_count == 0:
            return None
        return replace(self, remaining_count=remaining_count, after=end or self.after)


class PlanCodec(Generic[CriteriaT]):
    """Codec for the plans of one operation in one workspace, as signed tokens."""

    def __init__(
        self,
        secret: bytes,
        workspace_id: WorkspaceId,
        operation: str,
        criteria_type: type[CriteriaT],
    ) -> None:
        self._signer = Signer(secret, f"plan:{_PLAN_VERSION}:{workspace_id}:{operation}:")
        self._decoder = msgspec.json.Decoder(BulkPlan[criteria_type])  # type: ignore[valid-type]

    def encode(self, plan: BulkPlan[CriteriaT]) -> str:
        return self._signer.sign(msgspec.json.encode(plan))

    def decode(self, token: str) -> BulkPlan[CriteriaT]:
        """Return the plan of a token; raises InvalidInput if this codec did not encode it."""
        payload = self._signer.unsign(token)
        if payload is None:
            raise InvalidInput(
                "plan is not valid for this operation in this workspace. Pass the plan of a dry run or of"
                " the call before, unchanged.",
                argument="plan",
            )
        plan: BulkPlan[CriteriaT] = self._decoder.decode(payload)
        return plan
