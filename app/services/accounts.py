"""Accounts: connected, changed, disconnected, and their posts brought back. Rules are elsewhere."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from app.db.access import count_waiting, posts_that_lacked_access
from app.db.account_writes import find_connected, lock_connection
from app.db.engine import Database
from app.db.workspaces import take_account_id
from app.domain import connecting
from app.domain.access import require_access, retry_after_reconnect
from app.domain.accounts import Account
from app.domain.connecting import AccountChanges, NewConnection
from app.domain.errors import Conflict, NotFound
from app.domain.idempotency import RepetitionKey
from app.domain.ids import AccountId, PostId
from app.domain.retrying import MAX_RETRIES
from app.services.repetition import Outcome, once
from app.services.writing import Errand, Writing, write


@dataclass(frozen=True, slots=True)
class RetriedPosts:
    """Of which the destination on the account is queued again."""

    ids: tuple[PostId, ...]
    has_more: bool
    """Whether another call would find more."""


async def connect_account(
    database: Database, errand: Errand, wanted: NewConnection, key: RepetitionKey | None
) -> AccountId:
    """A new account, or the one that is known as the same one of the platform, connected again.

    Conflict where the workspace has no number left for it.
    """
    connecting.check_connection(wanted)

    async def work(writing: Writing) -> Outcome:
        async def connect() -> Outcome:
            known = await _known(writing, wanted)
            if known is None:
                account_id = await _next_account_id(writing)
                account = connecting.connect(wanted, account_id, errand.now)
            else:
                account = connecting.connect_again(known, wanted, errand.now)
            await writing.save_accounts([account])
            return {"id": account.id}

        return await once(writing, key, asdict(wanted), connect)

    outcome = await write(database, errand, work)
    return AccountId(outcome["id"])


async def change_account(
    database: Database, errand: Errand, account_id: AccountId, changes: AccountChanges
) -> None:
    await _change(
        database,
        errand,
        account_id,
        lambda account: connecting.change_account(account, changes, errand.now),
    )


async def disconnect_account(database: Database, errand: Errand, account_id: AccountId) -> int:
    """How many posts wait for the account; they fail when they are due, unless it is connected again."""

    async def work(writing: Writing) -> int:
        account = await locked_account(writing, account_id)
        await writing.save_accounts([connecting.disconnect(account, errand.now)])
        return await count_waiting(writing.reader, account_id)

    return await write(database, errand, work)


async def mark_reconnected(
    database: Database, errand: Errand, account_id: AccountId, token_expires_at: datetime | None
) -> None:
    await _change(
        database,
        errand,
        account_id,
        lambda account: connecting.reconnected(account, token_expires_at, errand.now),
    )


async def retry_what_lacked_access(
    database: Database,
    errand: Errand,
    account_id: AccountId,
    *,
    failed_after: datetime | None,
    key: RepetitionKey | None,
) -> RetriedPosts:
    """Queue again what failed as AUTH on the account, up to MAX_RETRIES posts.

    AccountNeedsReconnection, and nothing is retried, while the account cannot post.
    """

    async def work(writing: Writing) -> Outcome:
        async def retry() -> Outcome:
            found = await posts_that_lacked_access(
                writing.reader, account_id, failed_after=failed_after, limit=MAX_RETRIES + 1
            )
            ids = found[:MAX_RETRIES]
            await writing.lock_posts(ids)
            account = await locked_account(writing, account_id)
            require_access(account, errand.now)
            posts = await writing.posts(ids)
            retried = [retry_after_reconnect(posts[each], account, errand.now) for each in ids]
            changed = [each for each in retried if each != posts[each.id]]
            await writing.save_posts(changed)
            return {
                "posts": [str(each.id) for each in changed],
                "has_more": len(found) > MAX_RETRIES,
            }

        request = {"account": account_id, "failed_after": failed_after}
        return await once(writing, key, request, retry)

    outcome = await write(database, errand, work)
    return RetriedPosts(
        tuple(PostId(UUID(each)) for each in outcome["posts"]), has_more=outcome["has_more"]
    )


async def locked_account(writing: Writing, account_id: AccountId) -> Account:
    """The account, which nobody else changes until the end; NotFound where there is none."""
    await writing.lock_accounts([account_id])
    account = (await writing.accounts([account_id])).get(account_id)
    if account is None:
        raise NotFound("The account was not found: this workspace has none with that number.")
    return account


async def _change(
    database: Database,
    errand: Errand,
    account_id: AccountId,
    change: Callable[[Account], Account],
) -> None:
    async def work(writing: Writing) -> None:
        await writing.save_accounts([change(await locked_account(writing, account_id))])

    await write(database, errand, work)


async def _known(writing: Writing, wanted: NewConnection) -> Account | None:
    """The account that is this one of the platform, which nobody else connects until the end."""
    if wanted.platform_user_id is None:
        return None
    same = (wanted.platform, wanted.platform_user_id)
    await lock_connection(writing.session, writing.errand.workspace_id, *same)
    account_id = await find_connected(writing.reader, *same)
    return None if account_id is None else await locked_account(writing, account_id)


async def _next_account_id(writing: Writing) -> AccountId:
    account_id = await take_account_id(writing.session, writing.errand.workspace_id)
    if account_id is None:
        raise Conflict("This workspace has no number left for another account.")
    return account_id
