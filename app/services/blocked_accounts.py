"""Posts that are due on accounts that cannot post: they fail, with what to do. The server's own work."""

from datetime import datetime

from app.db.core.database import Database
from app.db.repositories.blocked_accounts import blocked_accounts_with_due, due_post_ids
from app.domain.blocked_accounts import fail_due_on_blocked_account
from app.domain.errors import ServiceUnavailable
from app.domain.ids import AccountId, WorkspaceId
from app.services.accounts import get_account_for_update
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

MAX_POSTS_PER_TRANSACTION = 200
MAX_TRANSACTIONS_PER_RUN = 20
"""After so many the next call goes on, for a server that stops waits for the one that runs."""


async def fail_due_on_blocked_accounts(database: Database, now: datetime) -> None:
    """Fail what is due on accounts that cannot post, over all workspaces; one read if there is nothing.

    Processes may do it at once: what to fail is decided again when nobody else can change it. What cannot
    be failed now costs no other account, and is raised as ServiceUnavailable after them.
    """
    transactions = 0
    while transactions < MAX_TRANSACTIONS_PER_RUN:
        async with database.unscoped_connection() as connection:
            accounts = await blocked_accounts_with_due(
                connection, now, limit=MAX_TRANSACTIONS_PER_RUN - transactions
            )
        if not accounts:
            return
        unavailable = None
        for workspace_id, account_id in accounts:
            try:
                await _fail_batch(database, workspace_id, account_id, now)
            except ServiceUnavailable as error:  # somebody holds its posts for too long
                unavailable = error
        if unavailable:
            raise unavailable
        transactions += len(accounts)


async def _fail_batch(
    database: Database, workspace_id: WorkspaceId, account_id: AccountId, now: datetime
) -> None:
    errand = WriteContext(
        workspace_id=workspace_id, actor=None, operation="failWithoutAccess", now=now
    )

    async def work(uow: UnitOfWork) -> None:
        ids = await due_post_ids(uow.reader, account_id, now, limit=MAX_POSTS_PER_TRANSACTION)
        await uow.lock_posts(ids)
        account = await get_account_for_update(uow, account_id)
        posts = await uow.load_posts(ids)
        await uow.save_posts(
            [fail_due_on_blocked_account(each, account, errand.now) for each in posts.values()]
        )

    await run_in_transaction(database, errand, work)
