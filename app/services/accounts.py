"""Accounts: connected, changed, disconnected, and their posts brought back. Rules are elsewhere."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from app.db.core.database import Database
from app.db.repositories.accounts import find_account_by_platform_user, lock_platform_account
from app.db.repositories.blocked_accounts import count_queued_posts, posts_failed_with_auth
from app.db.repositories.workspaces import allocate_account_id
from app.domain import account_commands
from app.domain.account_commands import AccountChanges, NewConnection
from app.domain.accounts import Account
from app.domain.blocked_accounts import require_access, retry_after_reconnect
from app.domain.errors import Conflict, NotFound
from app.domain.idempotency import IdempotencyKey
from app.domain.ids import AccountId, PostId
from app.domain.manual_retries import MAX_RETRIES
from app.services.idempotency import StoredOutcome, run_idempotently
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction


@dataclass(frozen=True, slots=True)
class RetriedPosts:
    """Of which the destination on the account is queued again."""

    ids: tuple[PostId, ...]
    has_more: bool
    """Whether another call would find more."""


async def connect_account(
    database: Database,
    write_context: WriteContext,
    connection: NewConnection,
    idempotency_key: IdempotencyKey | None,
) -> AccountId:
    """A new account, or the one that is known as the same one of the platform, connected again.

    Conflict where the workspace has no number left for it.
    """
    account_commands.check_connection(connection)

    async def work(uow: UnitOfWork) -> StoredOutcome:
        async def connect() -> StoredOutcome:
            known = await _find_existing_account(uow, connection)
            if known is None:
                account_id = await _allocate_account_id(uow)
                account = account_commands.connect(connection, account_id, write_context.now)
            else:
                account = account_commands.connect_existing(known, connection, write_context.now)
            await uow.save_accounts([account])
            return {"id": account.id}

        return await run_idempotently(uow, idempotency_key, asdict(connection), connect)

    outcome = await run_in_transaction(database, write_context, work)
    return AccountId(outcome["id"])


async def change_account(
    database: Database, write_context: WriteContext, account_id: AccountId, changes: AccountChanges
) -> None:
    await _apply_account_change(
        database,
        write_context,
        account_id,
        lambda account: account_commands.change_account(account, changes, write_context.now),
    )


async def disconnect_account(
    database: Database, write_context: WriteContext, account_id: AccountId
) -> int:
    """How many posts wait for the account; they fail when they are due, unless it is connected again."""

    async def work(uow: UnitOfWork) -> int:
        account = await get_account_for_update(uow, account_id)
        await uow.save_accounts([account_commands.disconnect(account, write_context.now)])
        return await count_queued_posts(uow.reader, account_id)

    return await run_in_transaction(database, write_context, work)


async def mark_reconnected(
    database: Database,
    write_context: WriteContext,
    account_id: AccountId,
    token_expires_at: datetime | None,
) -> None:
    await _apply_account_change(
        database,
        write_context,
        account_id,
        lambda account: account_commands.reconnected(account, token_expires_at, write_context.now),
    )


async def retry_auth_failures(
    database: Database,
    write_context: WriteContext,
    account_id: AccountId,
    *,
    failed_after: datetime | None,
    idempotency_key: IdempotencyKey | None,
) -> RetriedPosts:
    """Queue again what failed as AUTH on the account, up to MAX_RETRIES posts.

    AccountNeedsReconnection, and nothing is retried, while the account cannot post.
    """

    async def work(uow: UnitOfWork) -> StoredOutcome:
        async def retry() -> StoredOutcome:
            found = await posts_failed_with_auth(
                uow.reader, account_id, failed_after=failed_after, limit=MAX_RETRIES + 1
            )
            ids = found[:MAX_RETRIES]
            await uow.lock_posts(ids)
            account = await get_account_for_update(uow, account_id)
            require_access(account, write_context.now)
            posts = await uow.load_posts(ids)
            retried = [
                retry_after_reconnect(posts[each], account, write_context.now) for each in ids
            ]
            changed = [each for each in retried if each != posts[each.id]]
            await uow.save_posts(changed)
            return {
                "posts": [str(each.id) for each in changed],
                "has_more": len(found) > MAX_RETRIES,
            }

        request = {"account": account_id, "failed_after": failed_after}
        return await run_idempotently(uow, idempotency_key, request, retry)

    outcome = await run_in_transaction(database, write_context, work)
    return RetriedPosts(
        tuple(PostId(UUID(each)) for each in outcome["posts"]), has_more=outcome["has_more"]
    )


async def get_account_for_update(uow: UnitOfWork, account_id: AccountId) -> Account:
    """The account, which nobody else changes until the end; NotFound where there is none."""
    await uow.lock_accounts([account_id])
    account = (await uow.load_accounts([account_id])).get(account_id)
    if account is None:
        raise NotFound("The account was not found: this workspace has none with that number.")
    return account


async def _apply_account_change(
    database: Database,
    write_context: WriteContext,
    account_id: AccountId,
    change: Callable[[Account], Account],
) -> None:
    async def work(uow: UnitOfWork) -> None:
        await uow.save_accounts([change(await get_account_for_update(uow, account_id))])

    await run_in_transaction(database, write_context, work)


async def _find_existing_account(uow: UnitOfWork, connection: NewConnection) -> Account | None:
    """The account that is this one of the platform, which nobody else connects until the end."""
    if connection.platform_user_id is None:
        return None
    same = (connection.platform, connection.platform_user_id)
    await lock_platform_account(uow.session, uow.errand.workspace_id, *same)
    account_id = await find_account_by_platform_user(uow.reader, *same)
    return None if account_id is None else await get_account_for_update(uow, account_id)


async def _allocate_account_id(uow: UnitOfWork) -> AccountId:
    account_id = await allocate_account_id(uow.session, uow.errand.workspace_id)
    if account_id is None:
        raise Conflict("This workspace has no number left for another account.")
    return account_id
