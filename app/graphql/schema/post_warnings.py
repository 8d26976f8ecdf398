"""GraphQL types of the warnings of posts."""

from collections.abc import Sequence
from typing import Self

import strawberry
from strawberry import field

from app.domain.accounts import HealthReason, blocking_message
from app.graphql.schema.inputs import to_record
from app.services.post_warnings import AccountWarning, ContentWarning


@strawberry.type(
    name="AccountWarning",
    description="Account of a post on which the post would fail if it were due now.",
)
class BlockedAccountWarning:
    account_id: int = field(description="Number of the account.")
    reason: HealthReason = field(description="Reason why the account cannot post.")
    message: str = field(description="Instruction for the user, as a sentence.")

    @classmethod
    def from_warnings(cls, warnings: Sequence[AccountWarning]) -> list[Self]:
        return [
            to_record(warning, cls, message=blocking_message(warning.reason))
            for warning in warnings
        ]


@strawberry.type(
    name="ContentWarning",
    description="Text or media of a post that the platform of one of its accounts would not accept.",
)
class RejectedContentWarning:
    account_id: int = field(description="Number of the account.")
    platform: str = field(description="Platform of the account, whose limits are in `platforms`.")
    code: str = field(
        description="Code of the error to expect, such as `TEXT_TOO_LONG`, as in `Destination.errorCode`."
    )
    message: str = field(description="Excess over the limit and how to fix it, as sentences.")

    @classmethod
    def from_warnings(cls, warnings: Sequence[ContentWarning]) -> list[Self]:
        return [to_record(warning, cls) for warning in warnings]
