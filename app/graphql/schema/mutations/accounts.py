"""Accounts: from connectAccount to retryAfterReconnect. Inputs are checked by the domain."""

from datetime import datetime
from typing import Annotated, cast
from uuid import UUID

import strawberry
from strawberry import UNSET, argument, field

from app.domain.account_commands import AccountChanges, NewConnection
from app.domain.api_keys import Scope
from app.domain.ids import AccountId, check_account_id
from app.domain.manual_retries import MAX_RETRIES
from app.graphql.schema.context import Context, Info
from app.graphql.schema.mutations.extensions import IDEMPOTENCY_KEY_DESCRIPTION, write_field
from app.graphql.schema.types import Account
from app.services import accounts

_ACCOUNT_ID_DESCRIPTION = "The account's number."


@strawberry.input(
    description="An account of a platform to which publishers have been given access."
)
class ConnectAccountInput:
    platform: str = field(
        description="Such as `instagram`: a word of lower-case letters, digits, _ and -."
    )
    account_name: str | None = field(default=None, description="What people here call it.")
    display_name: str | None = field(default=None, description="The name the platform shows.")
    platform_user_id: str | None = field(
        default=None,
        description="The platform's own id of the account. The account that has it already is connected"
        " again, instead of a second one; without it, every request makes one.",
    )
    platform_username: str | None = field(
        default=None, description="The user name on the platform."
    )
    avatar_url: str | None = field(default=None, description="Its picture, by http or https.")
    token_expires_at: datetime | None = field(
        default=None, description="When its access ends; null if never or unknown."
    )
    idempotency_key: str | None = field(default=None, description=IDEMPOTENCY_KEY_DESCRIPTION)

    def to_domain(self) -> NewConnection:
        return NewConnection(
            platform=self.platform,
            account_name=self.account_name,
            display_name=self.display_name,
            platform_user_id=self.platform_user_id,
            platform_username=self.platform_username,
            avatar_url=self.avatar_url,
            token_expires_at=self.token_expires_at,
        )


@strawberry.input(description="What is to be changed; what is left out stays, and null empties it.")
class UpdateAccountInput:
    account_id: int = field(description=_ACCOUNT_ID_DESCRIPTION)
    account_name: str | None = field(default=UNSET, description="What people here call it.")
    display_name: str | None = field(default=UNSET, description="The name the platform shows.")
    platform_username: str | None = field(
        default=UNSET, description="The user name on the platform."
    )
    avatar_url: str | None = field(default=UNSET, description="Its picture, by http or https.")
    token_expires_at: datetime | None = field(
        default=UNSET,
        description="When its access ends; a later end than before means that it was renewed.",
    )

    def to_domain(self) -> AccountChanges:
        """What was passed."""
        passed = {
            "account_name": self.account_name,
            "display_name": self.display_name,
            "platform_username": self.platform_username,
            "avatar_url": self.avatar_url,
            "token_expires_at": self.token_expires_at,
        }
        kept = {name: value for name, value in passed.items() if value is not UNSET}
        return cast("AccountChanges", kept)


@strawberry.input(description="The account that nothing is to go out on any more.")
class DisconnectAccountInput:
    account_id: int = field(description=_ACCOUNT_ID_DESCRIPTION)


@strawberry.input(description="The account that has access to its platform again.")
class MarkReconnectedInput:
    account_id: int = field(description=_ACCOUNT_ID_DESCRIPTION)
    token_expires_at: datetime | None = field(
        default=None, description="When the new access ends; null if never or unknown."
    )


@strawberry.input(description="The account whose posts are to be brought back.")
class RetryAfterReconnectInput:
    account_id: int = field(description=_ACCOUNT_ID_DESCRIPTION)
    failed_after: datetime | None = field(
        default=None,
        description="Leave alone what failed before that; without it, everything comes back.",
    )
    idempotency_key: str | None = field(default=None, description=IDEMPOTENCY_KEY_DESCRIPTION)


@strawberry.type(description="The account that was connected.")
class ConnectAccountPayload:
    account: Account | None = field(description="The account as it stands now.")


@strawberry.type(description="The account that was changed.")
class UpdateAccountPayload:
    account: Account | None = field(description="The account as it stands now.")


@strawberry.type(description="The account that was disconnected.")
class DisconnectAccountPayload:
    account: Account | None = field(description="The account as it stands now.")
    waiting_posts: int = field(
        description="How many posts wait for it: each fails there with AUTH when it is due, unless the"
        " account is connected again."
    )


@strawberry.type(description="The account that was reconnected.")
class MarkReconnectedPayload:
    account: Account | None = field(description="The account as it stands now.")


@strawberry.type(description="What was brought back.")
class RetryAfterReconnectPayload:
    account: Account | None = field(description="The account as it stands now.")
    post_ids: list[UUID] = field(
        description="The posts that are queued again on the account, the longest failed first; at most"
        f" {MAX_RETRIES}."
    )
    retried_count: int = field(description="How many they are.")
    has_more: bool = field(description="Whether to send another request for the rest.")


@strawberry.type
class AccountMutations:
    @strawberry.mutation(
        description="Connect an account, or connect it again. Credentials are not kept here.",
        extensions=write_field(Scope.WRITE),
    )
    async def connect_account(
        self,
        info: Info,
        input: Annotated[ConnectAccountInput, argument(description="The account.")],  # noqa: A002
    ) -> ConnectAccountPayload | None:
        context = info.context
        account_id = await accounts.connect_account(
            context.database,
            context.write_context("connectAccount"),
            input.to_domain(),
            context.idempotency_key(input.idempotency_key),
        )
        return ConnectAccountPayload(account=await _load_account(context, account_id))

    @strawberry.mutation(
        description="Change what an account is called, or when its access ends.",
        extensions=write_field(Scope.WRITE),
    )
    async def update_account(
        self,
        info: Info,
        input: Annotated[UpdateAccountInput, argument(description="The changes.")],  # noqa: A002
    ) -> UpdateAccountPayload | None:
        context = info.context
        account_id = _check_account_id(input.account_id)
        await accounts.change_account(
            context.database, context.write_context("updateAccount"), account_id, input.to_domain()
        )
        return UpdateAccountPayload(account=await _load_account(context, account_id))

    @strawberry.mutation(
        description="Disconnect an account: nothing goes out on it until it is connected again.",
        extensions=write_field(Scope.WRITE),
    )
    async def disconnect_account(
        self,
        info: Info,
        input: Annotated[DisconnectAccountInput, argument(description="The account.")],  # noqa: A002
    ) -> DisconnectAccountPayload | None:
        context = info.context
        account_id = _check_account_id(input.account_id)
        waiting = await accounts.disconnect_account(
            context.database, context.write_context("disconnectAccount"), account_id
        )
        return DisconnectAccountPayload(
            account=await _load_account(context, account_id), waiting_posts=waiting
        )

    @strawberry.mutation(
        description="Say that an account has access again; what failed meanwhile comes back by"
        " retryAfterReconnect.",
        extensions=write_field(Scope.WRITE),
    )
    async def mark_reconnected(
        self,
        info: Info,
        input: Annotated[MarkReconnectedInput, argument(description="The account.")],  # noqa: A002
    ) -> MarkReconnectedPayload | None:
        context = info.context
        account_id = _check_account_id(input.account_id)
        await accounts.mark_reconnected(
            context.database,
            context.write_context("markReconnected"),
            account_id,
            input.token_expires_at,
        )
        return MarkReconnectedPayload(account=await _load_account(context, account_id))

    @strawberry.mutation(
        description="Queue again whatever failed on an account with AUTH, but for what was imported."
        " ACCOUNT_NEEDS_RECONNECTION, and nothing is retried, while it cannot post.",
        extensions=write_field(Scope.WRITE),
    )
    async def retry_after_reconnect(
        self,
        info: Info,
        input: Annotated[RetryAfterReconnectInput, argument(description="The account.")],  # noqa: A002
    ) -> RetryAfterReconnectPayload | None:
        context = info.context
        account_id = _check_account_id(input.account_id)
        retried = await accounts.retry_auth_failures(
            context.database,
            context.write_context("retryAfterReconnect"),
            account_id,
            failed_after=input.failed_after,
            idempotency_key=context.idempotency_key(input.idempotency_key),
        )
        return RetryAfterReconnectPayload(
            account=await _load_account(context, account_id),
            post_ids=list(retried.ids),
            retried_count=len(retried.ids),
            has_more=retried.has_more,
        )


async def _load_account(context: Context, account_id: AccountId) -> Account | None:
    row = await context.loaders.accounts_by_id.load(account_id)
    return None if row is None else Account.from_row(row, context.clock())


def _check_account_id(number: int) -> AccountId:
    return check_account_id(number, "accountId")
