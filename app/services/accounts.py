"""Account use cases: connect, set credentials, change, disconnect, reconnect, retry failed authentication."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from uuid import UUID

from app.db.core.database import Database, Reader
from app.db.repositories.account_pauses import delete_pause
from app.db.repositories.accounts import (
    count_held_posts,
    count_posts_failed_with_auth,
    count_queued_destinations,
    count_undecided_destinations,
    find_account_by_platform_user,
    held_posts,
    load_accounts,
    lock_platform_account,
    posts_failed_with_auth,
)
from app.db.repositories.circuit_breakers import delete_account_breaker
from app.db.repositories.content_errors import clear_content_errors
from app.db.repositories.credentials import delete_credentials
from app.db.repositories.media_checks import clear_media_warnings_on_account
from app.db.repositories.workspaces import allocate_account_id
from app.domain import account_commands
from app.domain.account_commands import AccountUpdate, NewAccount
from app.domain.accounts import Account, default_publisher, stored_user_ids
from app.domain.errors import Conflict, not_found_error
from app.domain.idempotency import IdempotencyKey
from app.domain.ids import AccountId, PostId, WorkspaceId
from app.platforms.protocol import AccountIdentity
from app.services.bulk_actions import MAX_BULK_CHANGES
from app.services.credentials import (
    CredentialsToSet,
    CredentialVerifier,
    require_same_user,
    store_credentials,
)
from app.services.idempotency import StoredOutcome, is_repetition, run_idempotently
from app.services.unit_of_work import UnitOfWork, WriteContext


@dataclass(frozen=True, slots=True)
class RetriedPosts:
    """Posts whose destination on the account is queued again."""

    ids: tuple[PostId, ...]
    has_more: bool
    """True if another call would find more posts."""


@dataclass(frozen=True, slots=True)
class AuthRetryDryRun:
    posts: RetriedPosts
    """Posts that the next call would retry."""
    matching_count: int
    """Number of all posts that this and further calls would retry."""


async def is_repeated_connect_request(
    database: Database,
    write_context: WriteContext,
    new_account: NewAccount,
    idempotency_key: IdempotencyKey | None,
    *,
    credentials: CredentialsToSet,
) -> bool:
    """Return whether `connect_account` only repeats a request, so that nothing has to be verified."""
    account_commands.check_new_account(new_account)
    request = _connection_request(new_account, credentials)
    return await is_repetition(database, write_context, idempotency_key, request)


async def is_repeated_set_request(
    database: Database,
    write_context: WriteContext,
    account_id: AccountId,
    credentials: CredentialsToSet,
    *,
    idempotency_key: IdempotencyKey | None,
) -> bool:
    """Return whether `set_account_credentials` only repeats a request, like `is_repeated_connect_request`."""
    request = _credentials_request(account_id, credentials)
    return await is_repetition(database, write_context, idempotency_key, request)


async def verify_new_account(
    verifier: CredentialVerifier,
    workspace_id: WorkspaceId,
    new_account: NewAccount,
    credentials: CredentialsToSet,
) -> CredentialsToSet:
    """Return the credentials of an account to connect, with the account that the platform names for them.

    Raises InvalidInput if they are refused, and ServiceUnavailable if the platform cannot be asked.
    """
    account_commands.check_new_account(new_account)
    publisher = new_account.publisher or default_publisher(new_account.platform)
    return await verifier.verify(workspace_id, publisher, credentials)


async def verify_for_account(
    verifier: CredentialVerifier,
    database: Database,
    workspace_id: WorkspaceId,
    account_id: AccountId,
    credentials: CredentialsToSet,
) -> CredentialsToSet:
    """Return new credentials of an account, like `verify_new_account`; raises NotFound without it."""
    account = (await load_accounts(database.reader(workspace_id), [account_id])).get(account_id)
    if account is None:
        raise not_found_error("account", "number")
    return await verifier.verify(workspace_id, account.publisher, credentials)


async def connect_account(
    database: Database,
    write_context: WriteContext,
    new_account: NewAccount,
    idempotency_key: IdempotencyKey | None,
    *,
    credentials: CredentialsToSet | None,
) -> AccountId:
    """Connect a new account, or reconnect the one with the same platform user id.

    Without credentials, those of an existing account stay. Verified ones give the account the names that
    are missing. Raises Conflict if the workspace has no account number left, and InvalidInput if verified
    credentials belong to another account.
    """
    account_commands.check_new_account(new_account)
    request = _connection_request(new_account, credentials)
    identity = None if credentials is None else credentials.identity
    new_account = _with_verified_id(new_account, identity)
    now = write_context.now

    async def work(uow: UnitOfWork) -> StoredOutcome:
        existing = await _find_existing_account(uow, new_account)
        if existing is None:
            account_id = await allocate_account_id(uow.session)
            if account_id is None:
                raise Conflict("This workspace has no number left for another account.")
            account = account_commands.connect(new_account, account_id, now)
        else:
            account = account_commands.connect_existing(existing, new_account, now)
        account = account_commands.update_account(account, _missing_names(account, identity), now)
        await _save_account(uow, existing, account)
        if credentials is not None:
            await store_credentials(uow, account, credentials)
        return {"id": account.id}

    outcome = await run_idempotently(database, write_context, idempotency_key, request, work)
    return AccountId(outcome["id"])


async def set_account_credentials(
    database: Database,
    write_context: WriteContext,
    account_id: AccountId,
    credentials: CredentialsToSet,
    *,
    idempotency_key: IdempotencyKey | None,
) -> None:
    """Replace the credentials of an account, which connects it again, without an expiry.

    Verified ones give the account the names that are missing. Raises InvalidInput if they belong to another
    account.
    """

    async def work(uow: UnitOfWork) -> StoredOutcome:
        account = await get_account_for_update(uow, account_id)
        connected = account_commands.reconnect(account, None, write_context.now)
        missing = _missing_names(account, credentials.identity)
        await uow.save_accounts(
            [account_commands.update_account(connected, missing, write_context.now)]
        )
        await store_credentials(uow, account, credentials)
        return {}

    request = _credentials_request(account_id, credentials)
    await run_idempotently(database, write_context, idempotency_key, request, work)


async def update_account(
    database: Database,
    write_context: WriteContext,
    account_id: AccountId,
    update: AccountUpdate,
    *,
    idempotency_key: IdempotencyKey | None,
) -> None:
    await _update_account(
        database,
        write_context,
        account_id,
        lambda account: account_commands.update_account(account, update, write_context.now),
        {"update": update},
        idempotency_key,
    )


async def disconnect_account(
    database: Database,
    write_context: WriteContext,
    account_id: AccountId,
    *,
    idempotency_key: IdempotencyKey | None,
) -> int:
    """Disconnect an account, delete its credentials, and return the number of its queued posts.

    Those posts fail when they are due, unless the account is connected again.
    """

    async def work(uow: UnitOfWork) -> StoredOutcome:
        account = await get_account_for_update(uow, account_id)
        await uow.save_accounts([account_commands.disconnect(account, write_context.now)])
        await delete_credentials(uow.session, account_id)
        return {"waiting_posts": await count_queued_destinations(uow.reader, account_id)}

    request = {"account": account_id}
    outcome = await run_idempotently(database, write_context, idempotency_key, request, work)
    return int(outcome["waiting_posts"])


async def mark_reconnected(
    database: Database,
    write_context: WriteContext,
    account_id: AccountId,
    token_expires_at: datetime | None,
    *,
    idempotency_key: IdempotencyKey | None,
) -> None:
    await _update_account(
        database,
        write_context,
        account_id,
        lambda account: account_commands.reconnect(account, token_expires_at, write_context.now),
        {"token_expires_at": token_expires_at},
        idempotency_key,
    )


async def retry_auth_failures(
    database: Database,
    write_context: WriteContext,
    account_id: AccountId,
    *,
    failed_after: datetime | None,
    idempotency_key: IdempotencyKey | None,
) -> RetriedPosts:
    """Queue up to MAX_BULK_CHANGES posts again that failed as AUTH on the account, or are held on it.

    `failed_after` leaves out what failed before, and what is held and was due before. Raises
    AccountNeedsReconnection, and retries nothing, while the account cannot post.
    """

    async def work(uow: UnitOfWork) -> StoredOutcome:
        accounts = await load_accounts(uow.reader, [account_id])
        held_until = accounts[account_id].held_until if account_id in accounts else None
        candidates = await _find_posts_to_retry(
            uow.reader, account_id, held_until, failed_after, limit=MAX_BULK_CHANGES + 1
        )
        ids = candidates[:MAX_BULK_CHANGES]
        posts = await uow.load_posts_for_update(ids)
        account = await get_account_for_update(uow, account_id)
        account_commands.require_access(account, write_context.now)
        retried = [
            account_commands.retry_auth_failures(posts[post_id], account, write_context.now)
            for post_id in ids
        ]
        changed = [post for post in retried if post != posts[post.id]]
        await uow.save_posts(changed)
        return {
            "posts": [str(post.id) for post in changed],
            "has_more": len(candidates) > MAX_BULK_CHANGES,
        }

    request = {"account": account_id, "failed_after": failed_after}
    outcome = await run_idempotently(database, write_context, idempotency_key, request, work)
    return RetriedPosts(
        tuple(PostId(UUID(post_id)) for post_id in outcome["posts"]), has_more=outcome["has_more"]
    )


async def dry_run_auth_retry(
    database: Database,
    write_context: WriteContext,
    account_id: AccountId,
    *,
    failed_after: datetime | None,
) -> AuthRetryDryRun:
    """Return what `retry_auth_failures` would retry if the account can post; writes nothing."""
    reader = database.reader(write_context.workspace_id)
    account = (await load_accounts(reader, [account_id])).get(account_id)
    if account is None:
        raise not_found_error("account", "number")
    held_until = account.reconnection.held_until_if_reconnected(write_context.now)
    ids = await _find_posts_to_retry(
        reader, account_id, held_until, failed_after, limit=MAX_BULK_CHANGES
    )
    count = await count_posts_failed_with_auth(reader, account_id, failed_after=failed_after)
    if held_until is not None:
        count += await count_held_posts(
            reader, account_id, held_until=held_until, claimable_after=failed_after
        )
    return AuthRetryDryRun(RetriedPosts(tuple(ids), has_more=count > len(ids)), count)


async def _find_posts_to_retry(
    reader: Reader,
    account_id: AccountId,
    held_until: datetime | None,
    failed_after: datetime | None,
    *,
    limit: int,
) -> list[PostId]:
    """Return posts that failed as AUTH on the account, then those that are held on it."""
    failed = await posts_failed_with_auth(
        reader, account_id, failed_after=failed_after, limit=limit
    )
    if held_until is None or len(failed) == limit:
        return failed
    return failed + await held_posts(
        reader,
        account_id,
        held_until=held_until,
        claimable_after=failed_after,
        limit=limit - len(failed),
    )


async def get_account_for_update(uow: UnitOfWork, account_id: AccountId) -> Account:
    """Lock and load an account; raises NotFound if the workspace has none with this id."""
    await uow.lock_accounts([account_id])
    account = (await uow.load_accounts([account_id])).get(account_id)
    if account is None:
        raise not_found_error("account", "number")
    return account


def _connection_request(
    new_account: NewAccount, credentials: CredentialsToSet | None
) -> Mapping[str, object]:
    """Return what identifies a repetition of `connect_account`."""
    request = asdict(new_account)
    for name in ("publisher", "on_lost_access"):
        if request[name] is None:  # a server without this member computes the same fingerprint
            del request[name]
    if credentials is not None:
        request["credentials"] = credentials.fingerprint
    return request


def _credentials_request(
    account_id: AccountId, credentials: CredentialsToSet
) -> Mapping[str, object]:
    """Return what identifies a repetition of `set_account_credentials`."""
    return {"account": account_id, "credentials": credentials.fingerprint}


def _with_verified_id(new_account: NewAccount, identity: AccountIdentity | None) -> NewAccount:
    """Give the account the platform's id; raises InvalidInput for credentials of another account."""
    if identity is None or identity.platform_user_id is None:
        return new_account
    require_same_user(new_account.platform, new_account.platform_user_id, identity.platform_user_id)
    return replace(new_account, platform_user_id=identity.platform_user_id)


def _missing_names(account: Account, identity: AccountIdentity | None) -> AccountUpdate:
    """Return what the account lacks; raises InvalidInput for credentials of another account."""
    if identity is None:
        return {}
    require_same_user(account.platform, account.platform_user_id, identity.platform_user_id)
    return {
        "platform_username": account.platform_username or identity.username,
        "display_name": account.display_name or identity.display_name,
        "avatar_url": account.avatar_url or identity.avatar_url,
    }


async def _update_account(
    database: Database,
    write_context: WriteContext,
    account_id: AccountId,
    change: Callable[[Account], Account],
    arguments: Mapping[str, object],
    idempotency_key: IdempotencyKey | None,
) -> None:
    """Save the account that `change` returns; `arguments` are its arguments, which identify a repetition."""

    async def work(uow: UnitOfWork) -> StoredOutcome:
        account = await get_account_for_update(uow, account_id)
        await _save_account(uow, account, change(account))
        return {}

    request = {"account": account_id, **arguments}
    await run_idempotently(database, write_context, idempotency_key, request, work)


async def _save_account(uow: UnitOfWork, before: Account | None, after: Account) -> None:
    """Save an account; raises Conflict if its publisher changes while a post is undecided.

    A pause ends with the change, because the rate limit is that of the publisher before. So do the circuit
    breaker of the account, warnings of media, and content errors, because the schema is that of the
    publisher; `check_posts_of_account` finds the new ones.
    """
    await uow.save_accounts([after])
    if before is not None and after.publisher is not before.publisher:
        await delete_pause(uow.session, after.id)
        await delete_account_breaker(uow.session, after.id)
        await clear_content_errors(uow.session, after.id)
        await clear_media_warnings_on_account(uow.session, after.id)
        # Counted after all destinations were changed, because only now no other transaction can claim one.
        undecided = await count_undecided_destinations(uow.reader, after.id)
        account_commands.require_no_undecided_posts(undecided)


async def _find_existing_account(uow: UnitOfWork, new_account: NewAccount) -> Account | None:
    """Lock and return the account of the same platform user, or None.

    The platform user stays locked too, even without an account, so that no other transaction connects it.
    """
    if new_account.platform_user_id is None:
        return None
    platform = new_account.platform
    user_ids = stored_user_ids(platform, new_account.platform_user_id)
    for user_id in user_ids:
        await lock_platform_account(uow.session, platform, user_id)
    for user_id in user_ids:
        account_id = await find_account_by_platform_user(uow.reader, platform, user_id)
        if account_id is not None:
            return await get_account_for_update(uow, account_id)
    return None
