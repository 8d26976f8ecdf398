"""Query field `checkPost`: what `createPost` would refuse, and its warnings, for each account."""

from collections.abc import Sequence

import strawberry
from strawberry import field

from app.domain.errors import InvalidInput
from app.graphql.schema.mutations.posts import PostRefusal
from app.graphql.schema.post_warnings import BlockedAccountWarning, RejectedContentWarning
from app.services import post_checks


@strawberry.type(name="AccountCheck", description="What `checkPost` found for one account.")
class AccountCheckDetails:
    account_id: int = field(description="Number of the account.")
    platform: str = field(description="Platform of the account.")
    errors: list[PostRefusal] = field(
        description="Reasons for which the post would be refused because of this account."
    )
    warnings: list[BlockedAccountWarning] = field(
        description="Why the post would fail on the account with AUTH if it were due now."
    )
    content_warnings: list[RejectedContentWarning] = field(
        description="Text and media with which the post would fail on the account."
    )


@strawberry.type(name="PostCheck", description="Result of `checkPost`.")
class PostCheckDetails:
    accepted: bool = field(description="True if `createPost` would accept the post.")
    errors: list[PostRefusal] = field(
        description="All reasons for which the post would be refused; `createPost` returns the first."
    )
    accounts: list[AccountCheckDetails] = field(
        description="Accounts in the order of the input; empty if something else than content is refused."
    )


def to_post_check(check: post_checks.PostCheck) -> PostCheckDetails:
    return PostCheckDetails(
        accepted=not check.errors,
        errors=_to_refusals(check.errors),
        accounts=[
            AccountCheckDetails(
                account_id=each.account_id,
                platform=each.platform,
                errors=_to_refusals(each.errors),
                warnings=BlockedAccountWarning.from_warnings(each.warnings.accounts),
                content_warnings=RejectedContentWarning.from_warnings(each.warnings.contents),
            )
            for each in check.accounts
        ],
    )


def _to_refusals(errors: Sequence[InvalidInput]) -> list[PostRefusal]:
    return [
        PostRefusal(code=error.code, message=error.message, field=error.argument)
        for error in errors
    ]
