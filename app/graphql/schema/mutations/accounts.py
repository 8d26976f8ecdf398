"""Mutations of accounts: connect, set credentials, update, disconnect, reconnect, and retry after that."""

from datetime import datetime, timedelta
from uuid import UUID

import strawberry
from strawberry import UNSET, field

from app.db.repositories.content_errors import count_content_errors_on_account
from app.domain.account_commands import AccountUpdate, NewAccount
from app.domain.accounts import AccountPublisher, LostAccessPolicy
from app.domain.credentials import NewCredentials
from app.domain.errors import InvalidInput
from app.domain.ids import AccountId, validate_account_id
from app.graphql.schema.accounts import Account, load_account
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import (
    IDEMPOTENCY_KEY_DESCRIPTION,
    MutationInput,
    optional,
    passed_fields,
    require_not_null,
    to_record,
)
from app.graphql.schema.permissions import (
    HasScopeForCredentials,
    credentials_mutation,
    write_mutation,
)
from app.services import accounts
from app.services.bulk_actions import MAX_BULK_CHANGES
from app.services.mastodon_authorization import AUTHORIZATION_LIFETIME
from app.services.post_contents import MAX_CHECKED_POSTS_OF_ACCOUNT, check_posts_of_account


@strawberry.input(description="Input of `connectAccount`.")
class ConnectAccountInput:
    platform: str = field(
        description="Platform, such as `instagram`: lower-case letters, digits, `_` and `-`."
    )
    account_name: str | None = optional(
        "Name of the account in this workspace; without one, `Account.accountName` is another label."
    )
    display_name: str | None = optional("Name that the platform displays.")
    platform_user_id: str | None = optional(
        "Id of the account on the platform. An existing account with this id is connected again."
        " Without an id, each request creates an account."
    )
    platform_username: str | None = optional("User name on the platform.")
    avatar_url: str | None = optional("HTTP or HTTPS URL of the profile picture.")
    token_expires_at: datetime | None = optional("UTC time of expiry; null if never or unknown.")
    publisher: AccountPublisher | None = optional(
        "What publishes the posts of the account. Null for that of the existing account, or for EXTERNAL;"
        " for SANDBOX on the platform `sandbox`."
    )
    on_lost_access: LostAccessPolicy | None = optional(
        "What happens to queued posts when the platform rejects the access. Null for that of the existing"
        " account, or for FAIL."
    )
    credentials: NewCredentials | None = optional(
        "Credentials with which a worker of this server publishes on the account, for keys with the scope"
        " CREDENTIALS. Null leaves those of an existing account unchanged."
    )
    verify: bool = field(
        default=False,
        description="True to ask the platform which account the credentials belong to, before anything is"
        " stored. The account gets the id of that account, and the names that it lacks. Needs `credentials`,"
        " and a `publisher` of this server.",
    )
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY_DESCRIPTION)


@strawberry.input
class AccountIdInput:
    account_id: int = field(description="Number of the account.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY_DESCRIPTION)

    def checked_account_id(self) -> AccountId:
        return validate_account_id(self.account_id, "accountId")


@strawberry.input(description="Input of `setAccountCredentials`.")
class SetAccountCredentialsInput(AccountIdInput):
    credentials: NewCredentials = field(
        description="Credentials with which a worker of this server publishes on the account."
    )
    verify: bool = field(
        default=False,
        description="True to ask the platform which account the credentials belong to, before anything is"
        " stored. Credentials of another account are refused.",
    )


@strawberry.input(description="Input of `startMastodonAuthorization`.")
class StartMastodonAuthorizationInput:
    instance: str = field(
        description="URL of the account's server, such as `https://mastodon.social`."
    )


@strawberry.input(
    description="Input of `updateAccount`. An omitted field stays unchanged; null clears a field."
)
class UpdateAccountInput(AccountIdInput):
    account_name: str | None = optional(
        "Name of the account in this workspace; without one, `Account.accountName` is another label.",
        default=UNSET,
    )
    display_name: str | None = optional("Name that the platform displays.", default=UNSET)
    platform_username: str | None = optional("User name on the platform.", default=UNSET)
    avatar_url: str | None = optional("HTTP or HTTPS URL of the profile picture.", default=UNSET)
    token_expires_at: datetime | None = optional(
        "UTC time when the access expires. A later time than before counts as a renewal.",
        default=UNSET,
    )
    publisher: AccountPublisher | None = optional(
        "What publishes the posts of the account; not null. It cannot be changed while a post is being"
        " published or has an unknown outcome.",
        default=UNSET,
    )
    on_lost_access: LostAccessPolicy | None = optional(
        "What happens to queued posts when the platform rejects the access; not null. If posts wait for a"
        " reconnection, FAIL fails those that are due.",
        default=UNSET,
    )

    def update(self) -> AccountUpdate:
        """Return the requested changes; raises InvalidInput for a null that clears nothing."""
        update = passed_fields(self, AccountUpdate)
        require_not_null(update, {"publisher": "publisher", "on_lost_access": "onLostAccess"})
        return update


@strawberry.input(description="Input of `disconnectAccount`.")
class DisconnectAccountInput(AccountIdInput):
    pass


@strawberry.input(description="Input of `markReconnected`.")
class MarkReconnectedInput(AccountIdInput):
    token_expires_at: datetime | None = optional(
        "UTC time when the new access expires; null if never or unknown."
    )


@strawberry.input(description="Input of `retryAfterReconnect`.")
class RetryAfterReconnectInput(AccountIdInput):
    failed_after: datetime | None = optional(
        "Retry only destinations that failed at this time or later, or waited and became due at this time or"
        " later; null for all."
    )
    dry_run: bool = field(
        default=False,
        description="True to return what would be retried once the account can post, without changing"
        " anything.",
    )


@strawberry.type
class AccountPayload:
    account: Account | None = field(description="Current state of the account.")


@strawberry.type
class AccountWithPublisherPayload(AccountPayload):
    content_error_count: int = field(
        description="Number of waiting destinations on the account with `contentError`, which will fail;"
        f" after a change of the publisher, of the {MAX_CHECKED_POSTS_OF_ACCOUNT:,} that are due next."
    )


@strawberry.type(description="Result of `connectAccount`.")
class ConnectAccountPayload(AccountWithPublisherPayload):
    pass


@strawberry.type(description="Result of `setAccountCredentials`.")
class SetAccountCredentialsPayload(AccountPayload):
    pass


@strawberry.type(description="Result of `startMastodonAuthorization`.")
class StartMastodonAuthorizationPayload:
    authorization_url: str = field(
        description="Page of the server on which the owner of the account signs in, and gets a code."
    )
    authorization: str = field(
        description="Encrypted state of the authorization, valid in this workspace only. Pass it with the"
        ' code, as the credentials `{"authorization": "…", "code": "…"}`, to `connectAccount` or'
        " `setAccountCredentials` with `verify: true`."
    )
    expires_at: datetime = field(
        description="UTC time from which the authorization is not accepted:"
        f" {AUTHORIZATION_LIFETIME // timedelta(minutes=1)} minutes after its start."
    )


@strawberry.type(description="Result of `updateAccount`.")
class UpdateAccountPayload(AccountWithPublisherPayload):
    pass


@strawberry.type(description="Result of `disconnectAccount`.")
class DisconnectAccountPayload(AccountPayload):
    waiting_posts: int = field(
        description="Number of queued posts on the account. Each fails on it with AUTH when it is"
        " due, unless the account is connected again."
    )


@strawberry.type(description="Result of `markReconnected`.")
class MarkReconnectedPayload(AccountPayload):
    pass


@strawberry.type(description="Result of `retryAfterReconnect`.")
class RetryAfterReconnectPayload(AccountPayload):
    post_ids: list[UUID] = field(
        description="UUIDs of the posts that were, or would be, queued again, the earliest failure first,"
        f" then those that waited, the earliest due first; at most {MAX_BULK_CHANGES}."
    )
    retried_count: int = field(description="Number of posts that were, or would be, queued again.")
    has_more: bool = field(description="True if another request is needed for the remaining posts.")
    matching_count: int | None = field(
        description="Number of all posts that a dry run found, also beyond the first"
        f" {MAX_BULK_CHANGES}; null without a dry run."
    )


@strawberry.type
class AccountMutations:
    @write_mutation(
        "Connect an account, or connect it again. Credentials are only needed if a worker of this server"
        " publishes on it.",
        HasScopeForCredentials(),
    )
    async def connect_account(
        self, info: Info, input: MutationInput[ConnectAccountInput]
    ) -> ConnectAccountPayload | None:
        context = info.context
        new_account = to_record(input, NewAccount)
        idempotency_key = context.idempotency_key(input.idempotency_key)
        credentials = None
        if input.credentials is not None:
            credentials = context.credentials_to_set(input.credentials)
        if input.verify:
            if credentials is None:
                raise InvalidInput("verify needs credentials.", argument="verify")
            is_repeated = await accounts.is_repeated_connect_request(
                context.database,
                context.write_context("connectAccount"),
                new_account,
                idempotency_key,
                credentials=credentials,
            )
            if not is_repeated:
                credentials = await accounts.verify_new_account(
                    context.use_credential_verifier(),
                    context.viewer.workspace_id,
                    new_account,
                    credentials,
                )
        account_id = await accounts.connect_account(
            context.database,
            context.write_context("connectAccount"),
            new_account,
            idempotency_key,
            credentials=credentials,
        )
        return ConnectAccountPayload(
            account=await load_account(context, account_id),
            content_error_count=await _count_content_errors(
                context, "connectAccount", account_id, input.publisher
            ),
        )

    @credentials_mutation(
        "Replace the credentials with which a worker of this server publishes on an account, and connect it"
        " again. Retry its failed posts with `retryAfterReconnect`."
    )
    async def set_account_credentials(
        self, info: Info, input: MutationInput[SetAccountCredentialsInput]
    ) -> SetAccountCredentialsPayload | None:
        context = info.context
        account_id = input.checked_account_id()
        idempotency_key = context.idempotency_key(input.idempotency_key)
        credentials = context.credentials_to_set(input.credentials)
        is_repeated = input.verify and await accounts.is_repeated_set_request(
            context.database,
            context.write_context("setAccountCredentials"),
            account_id,
            credentials,
            idempotency_key=idempotency_key,
        )
        if input.verify and not is_repeated:
            credentials = await accounts.verify_for_account(
                context.use_credential_verifier(),
                context.database,
                context.viewer.workspace_id,
                account_id,
                credentials,
            )
        await accounts.set_account_credentials(
            context.database,
            context.write_context("setAccountCredentials"),
            account_id,
            credentials,
            idempotency_key=idempotency_key,
        )
        return SetAccountCredentialsPayload(account=await load_account(context, account_id))

    @credentials_mutation(
        "Register an application at a server with the API of Mastodon, so that the owner of an account can"
        " authorize it, and get a code."
    )
    async def start_mastodon_authorization(
        self, info: Info, input: MutationInput[StartMastodonAuthorizationInput]
    ) -> StartMastodonAuthorizationPayload | None:
        context = info.context
        authorizer = context.use_mastodon_authorizer()
        authorization = await authorizer.start(context.viewer.workspace_id, input.instance)
        return StartMastodonAuthorizationPayload(
            authorization_url=authorization.page_url,
            authorization=authorization.token,
            expires_at=authorization.expires_at,
        )

    @write_mutation(
        "Change the names of an account, the expiry of its access, or what happens when the access is lost."
    )
    async def update_account(
        self, info: Info, input: MutationInput[UpdateAccountInput]
    ) -> UpdateAccountPayload | None:
        context = info.context
        account_id = input.checked_account_id()
        await accounts.update_account(
            context.database,
            context.write_context("updateAccount"),
            account_id,
            input.update(),
            idempotency_key=context.idempotency_key(input.idempotency_key),
        )
        return UpdateAccountPayload(
            account=await load_account(context, account_id),
            content_error_count=await _count_content_errors(
                context, "updateAccount", account_id, input.publisher or None
            ),
        )

    @write_mutation(
        "Disconnect an account, and delete its credentials. Nothing is published on it until it is connected"
        " again."
    )
    async def disconnect_account(
        self, info: Info, input: MutationInput[DisconnectAccountInput]
    ) -> DisconnectAccountPayload | None:
        context = info.context
        account_id = input.checked_account_id()
        waiting_posts = await accounts.disconnect_account(
            context.database,
            context.write_context("disconnectAccount"),
            account_id,
            idempotency_key=context.idempotency_key(input.idempotency_key),
        )
        return DisconnectAccountPayload(
            account=await load_account(context, account_id), waiting_posts=waiting_posts
        )

    @write_mutation(
        "Record that an account has access again. Its waiting posts that are less than one hour late are"
        " published; publish the others, and retry its failed posts, with `retryAfterReconnect`."
    )
    async def mark_reconnected(
        self, info: Info, input: MutationInput[MarkReconnectedInput]
    ) -> MarkReconnectedPayload | None:
        context = info.context
        account_id = input.checked_account_id()
        await accounts.mark_reconnected(
            context.database,
            context.write_context("markReconnected"),
            account_id,
            input.token_expires_at,
            idempotency_key=context.idempotency_key(input.idempotency_key),
        )
        return MarkReconnectedPayload(account=await load_account(context, account_id))

    @write_mutation(
        "Retry the destinations of an account that failed with the error category AUTH, except those of"
        " imported posts, and publish those that waited for its reconnection, but were at least one hour late"
        f" then; at most {MAX_BULK_CHANGES} per call. Fails with ACCOUNT_NEEDS_RECONNECTION,"
        " without any retry, while the account cannot post."
    )
    async def retry_after_reconnect(
        self, info: Info, input: MutationInput[RetryAfterReconnectInput]
    ) -> RetryAfterReconnectPayload | None:
        context = info.context
        account_id = input.checked_account_id()
        call = (context.database, context.write_context("retryAfterReconnect"), account_id)
        matching_count = None
        if input.dry_run:
            dry_run = await accounts.dry_run_auth_retry(*call, failed_after=input.failed_after)
            retried, matching_count = dry_run.posts, dry_run.matching_count
        else:
            key = context.idempotency_key(input.idempotency_key)
            retried = await accounts.retry_auth_failures(
                *call, failed_after=input.failed_after, idempotency_key=key
            )
        return RetryAfterReconnectPayload(
            account=await load_account(context, account_id),
            post_ids=list(retried.ids),
            retried_count=len(retried.ids),
            has_more=retried.has_more,
            matching_count=matching_count,
        )


async def _count_content_errors(
    context: Context,
    operation: str,
    account_id: AccountId,
    requested_publisher: AccountPublisher | None,
) -> int:
    """Count the content errors of an account; if a publisher was requested, after a check of its posts."""
    if requested_publisher is None:
        reader = context.database.reader(context.viewer.workspace_id)
        return await count_content_errors_on_account(reader, account_id)
    return await check_posts_of_account(
        context.database, context.write_context(operation), account_id
    )
