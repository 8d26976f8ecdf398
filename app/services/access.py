"""Posts that are due on accounts that cannot post: they fail, with what to do. The server's own work."""

from datetime import datetime

from app.db.access import accounts_without_access, due_posts
from app.db.engine import Database
from app.domain.access import fail_without_access
from app.domain.errors import ServiceUnavailable
from app.domain.ids import AccountId, WorkspaceId
from app.services.accounts import locked_account
from app.services.writing import Errand, Writing, write

POSTS_OF_A_TRANSACTION = 200
TRANSACTIONS_OF_A_CALL = 20
"""After so many the next call goes on, for a server that stops waits for the one that runs."""


async def fail_what_lacks_access(database: Database, now: datetime) -> None:
    """Fail what is due on accounts that cannot post, over all workspaces; one read if there is nothing.

    Processes may do it at once: what to fail is decided again when nobody else can change it. What cannot
    be failed now costs no other account, and is raised as ServiceUnavailable after them.
    """
    transactions = 0
    while transactions < TRANSACTIONS_OF_A_CALL:
        async with database.read_all_workspaces() as connection:
            accounts = await accounts_without_access(
                connection, now, limit=TRANSACTIONS_OF_A_CALL - transactions
            )
        if not accounts:
            return
        unavailable = None
        for workspace_id, account_id in accounts:
            try:
                await _fail_some(database, workspace_id, account_id, now)
            except ServiceUnavailable as error:  # somebody holds its posts for too long
                unavailable = error
        if unavailable:
            raise unavailable
        transactions += len(accounts)


async def _fail_some(
    database: Database, workspace_id: WorkspaceId, account_id: AccountId, now: datetime
) -> None:
    errand = Errand(workspace_id=workspace_id, actor=None, operation="failWithoutAccess", now=now)

    async def work(writing: Writing) -> None:
        ids = await due_posts(writing.reader, account_id, now, limit=POSTS_OF_A_TRANSACTION)
        await writing.lock_posts(ids)
        account = await locked_account(writing, account_id)
        posts = await writing.posts(ids)
        await writing.save_posts(
            [fail_without_access(each, account, errand.now) for each in posts.values()]
        )

    await write(database, errand, work)
