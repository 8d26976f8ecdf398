"""Settles and prunes what time alone decides: expired leases, due posts that nothing can publish, old rows.

Every server and worker process runs both tasks that settle, so that nothing is stuck while one of them runs.
They may run at the same time, because each transaction decides again under its locks. A post that stays
locked delays no other one: its ServiceUnavailable is raised after the others are settled.
"""

from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile
from typing import Protocol

import structlog

from app.db.core.database import AllWorkspacesReader, Database, Reader
from app.db.core.statements import AnyRow
from app.db.repositories.accounts import (
    accounts_with_ended_waits,
    blocked_accounts_with_due,
    due_post_ids,
    posts_with_ended_waits,
)
from app.db.repositories.checkpoints import delete_old_checkpoints, has_old_checkpoints
from app.db.repositories.claims import expired_leases
from app.db.repositories.events import delete_events, oldest_events
from app.db.repositories.idempotency_keys import delete_expired_idempotency_keys, find_expiry_cutoff
from app.db.repositories.outages import (
    accounts_waiting_for_servers,
    outages_by_account_id,
    posts_waiting_for_server,
)
from app.db.repositories.webhook_deliveries import delete_deliveries, old_deliveries
from app.db.repositories.webhooks import deleted_webhooks_without_deliveries, remove_webhooks
from app.db.repositories.workspaces import list_workspaces
from app.domain.account_commands import fail_after_outage, fail_due_on_blocked_account
from app.domain.errors import ServiceUnavailable
from app.domain.ids import AccountId, PostId, WorkspaceId
from app.domain.operations import FAIL_WITHOUT_ACCESS, FAIL_WITHOUT_SERVER, LOSE_LEASE
from app.domain.reports import expire_lease
from app.domain.retry_policy import RetryPolicies
from app.domain.times import Clock
from app.services.accounts import get_account_for_update
from app.services.periodic import run_periodically
from app.services.reports import load_locked_destination, save_transition
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

EXPIRATION_INTERVAL = timedelta(seconds=1)
"""Interval at which each process settles expired leases, and due posts on blocked accounts."""
WAIT_EXPIRATION_INTERVAL = timedelta(minutes=1)
"""Shortest interval at which each process fails what has waited too long: it reads all that waits."""
MAX_LEASES_PER_RUN = 200
"""Keeps a run short, because a stopping server waits for it; the next run continues."""
MAX_POSTS_PER_TRANSACTION = 200
MAX_TRANSACTIONS_PER_RUN = 20
"""Keeps a run short, because a stopping server waits for it; the next run continues."""
_PRUNE_BATCH_SIZE = 1000
"""Small enough that a batch does not delay other writers for long."""
_CHECKPOINT_RETENTION = timedelta(days=7)
"""Time after which no platform continues what a checkpoint describes."""
_PUBLISHED_CHECKPOINT_RETENTION = timedelta(days=1)
"""Time after a publication in which a late report may plan a check for duplicates, which needs it."""

logger = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def run_expirations(
    database: Database, clock: Clock, policies: RetryPolicies, *, interval: timedelta
) -> AsyncIterator[None]:
    """Settle expired leases and fail due posts on blocked accounts, both at every interval.

    Also fails what has waited too long for a reconnection or for a server, at most every
    WAIT_EXPIRATION_INTERVAL.
    """
    async with (
        run_periodically(
            "settle_expired_leases",
            lambda: settle_expired_leases(database, clock()),
            interval=interval,
        ),
        run_periodically(
            "fail_due_on_blocked_accounts",
            lambda: fail_due_on_blocked_accounts(database, clock()),
            interval=interval,
        ),
        run_periodically(
            "fail_ended_waits",
            lambda: fail_ended_waits(database, clock()),
            interval=max(interval, WAIT_EXPIRATION_INTERVAL),
        ),
        run_periodically(
            "fail_after_outages",
            lambda: fail_after_outages(database, clock(), policies),
            interval=max(interval, WAIT_EXPIRATION_INTERVAL),
        ),
    ):
        yield


async def settle_expired_leases(database: Database, now: datetime) -> None:
    """Settle expired leases of all workspaces; one read if there are none.

    A started attempt becomes an unknown outcome; anything else can be claimed again.
    """
    expired = await expired_leases(database.all_workspaces, now, limit=MAX_LEASES_PER_RUN)
    keys = sorted({(row.workspace_id, row.post_id) for row in expired})
    await _run_each(_settle_post(database, *key, now) for key in keys)


async def _settle_post(
    database: Database, workspace_id: WorkspaceId, post_id: PostId, now: datetime
) -> None:
    write_context = WriteContext.without_actor(workspace_id, LOSE_LEASE, now)

    async def work(uow: UnitOfWork) -> None:
        post = (await uow.load_posts_for_update([post_id]))[post_id]
        for destination in post.destinations:
            if destination.state.lease_token is not None:
                locked = await load_locked_destination(uow, post, destination.id)
                transition = expire_lease(locked.state, locked.history, write_context.now)
                if transition is not None:
                    post = (await save_transition(uow, locked, transition)).post

    await run_in_transaction(database, write_context, work)


async def fail_due_on_blocked_accounts(database: Database, now: datetime) -> None:
    """Fail due posts of all workspaces whose account cannot publish; one read if there are none."""
    await _fail_batches(database, now, blocked_accounts_with_due, due_post_ids)


async def fail_ended_waits(database: Database, now: datetime) -> None:
    """Fail posts of all workspaces that waited too long for a reconnection, or for a retry after it."""
    await _fail_batches(database, now, accounts_with_ended_waits, posts_with_ended_waits)


class _FindAccounts(Protocol):
    async def __call__(
        self, reader: AllWorkspacesReader, now: datetime, *, limit: int
    ) -> Sequence[AnyRow]: ...


class _FindPosts(Protocol):
    async def __call__(
        self, reader: Reader, account_id: AccountId, now: datetime, *, limit: int
    ) -> list[PostId]: ...


async def _fail_batches(
    database: Database, now: datetime, find_accounts: _FindAccounts, find_posts: _FindPosts
) -> None:
    transactions = 0
    while transactions < MAX_TRANSACTIONS_PER_RUN:
        accounts = await find_accounts(
            database.all_workspaces, now, limit=MAX_TRANSACTIONS_PER_RUN - transactions
        )
        if not accounts:
            return
        await _run_each(
            _fail_batch(database, workspace_id, account_id, now, find_posts)
            for workspace_id, account_id in accounts
        )
        transactions += len(accounts)


async def _fail_batch(
    database: Database,
    workspace_id: WorkspaceId,
    account_id: AccountId,
    now: datetime,
    find_posts: _FindPosts,
) -> None:
    write_context = WriteContext.without_actor(workspace_id, FAIL_WITHOUT_ACCESS, now)

    async def work(uow: UnitOfWork) -> None:
        ids = await find_posts(uow.reader, account_id, now, limit=MAX_POSTS_PER_TRANSACTION)
        posts = await uow.load_posts_for_update(ids)
        account = await get_account_for_update(uow, account_id)
        await uow.save_posts(
            [
                fail_due_on_blocked_account(post, account, write_context.now)
                for post in posts.values()
            ]
        )

    await run_in_transaction(database, write_context, work)


async def fail_after_outages(database: Database, now: datetime, policies: RetryPolicies) -> None:
    """Fail posts of all workspaces that have waited too long for a server that does not answer.

    Platforms with a wait of their own are read separately, so that none of the accounts that are read waits
    in vain while others have to fail.
    """
    for platform in (None, *policies.by_platform):
        max_wait = policies.max_wait_for_server(platform)
        accounts = await accounts_waiting_for_servers(
            database.all_workspaces,
            now,
            platform=platform,
            other_platforms=policies.by_platform,
            started_until=now - max_wait,
            limit=MAX_TRANSACTIONS_PER_RUN,
        )
        await _run_each(
            _fail_after_outage(
                database,
                WriteContext.without_actor(row.workspace_id, FAIL_WITHOUT_SERVER, now),
                row.id,
                max_wait,
            )
            for row in accounts
        )


async def _fail_after_outage(
    database: Database, write_context: WriteContext, account_id: AccountId, max_wait: timedelta
) -> None:
    async def work(uow: UnitOfWork) -> None:
        now = uow.write_context.now
        ids = await posts_waiting_for_server(
            uow.reader,
            account_id,
            now,
            started_until=now - max_wait,
            limit=MAX_POSTS_PER_TRANSACTION,
        )
        posts = await uow.load_posts_for_update(ids)
        outages = await outages_by_account_id(uow.reader, [account_id])
        if account_id in outages:
            outage = outages[account_id]
            await uow.save_posts(
                [
                    fail_after_outage(post, account_id, outage, max_wait, now)
                    for post in posts.values()
                ]
            )

    await run_in_transaction(database, write_context, work)


async def _run_each(transactions: Iterable[Awaitable[None]]) -> None:
    """Run transactions one after the other, and raise the last ServiceUnavailable when all have run."""
    unavailable = None
    for transaction in transactions:
        try:
            await transaction
        except ServiceUnavailable as error:  # another transaction holds a post for too long
            unavailable = error
    if unavailable:
        raise unavailable


async def prune_events(database: Database, now: datetime, *, retention: timedelta) -> None:
    """Delete events older than `retention` in all workspaces, oldest first, leaving no gaps.

    Retains the newest of the old events, because a client that has seen no newer one resumes after it.
    Also retains an old event behind a newer one, as after a clock was set back, to leave no gap.
    """
    workspaces = [row.id for row in await list_workspaces(database.all_workspaces)]
    for workspace_id in workspaces:
        while await _prune_batch(database, workspace_id, now - retention):
            pass


async def _prune_batch(database: Database, workspace_id: WorkspaceId, before: datetime) -> bool:
    """Prune one batch; return True if there may be more."""
    oldest = await oldest_events(database.reader(workspace_id), limit=_PRUNE_BATCH_SIZE + 1)
    old = [seq for seq, _ in takewhile(lambda event: event[1] < before, oldest)]
    if len(old) > 1:
        await database.write(workspace_id, partial(delete_events, last_seq=old[-2]))
    return len(old) > _PRUNE_BATCH_SIZE


async def prune_deliveries(database: Database, now: datetime, *, retention: timedelta) -> None:
    """Delete deliveries of webhooks older than `retention`, then deleted webhooks without deliveries.

    Takes no lock if there are none. Logs how many deliveries an endpoint never received.
    """
    before, lost = now - retention, 0
    while deliveries := await old_deliveries(
        database.all_workspaces, before, limit=_PRUNE_BATCH_SIZE
    ):
        lost += await database.write_all_workspaces(
            partial(delete_deliveries, deliveries=deliveries, before=before)
        )
    if lost:  # of endpoints that have been disabled for long
        logger.warning("webhook deliveries pruned before delivery", count=lost)
    while webhooks := await deleted_webhooks_without_deliveries(
        database.all_workspaces, limit=_PRUNE_BATCH_SIZE
    ):
        await database.write_all_workspaces(partial(remove_webhooks, webhooks=webhooks))


async def prune_checkpoints(database: Database, now: datetime) -> None:
    """Delete checkpoints that no attempt or lookup needs; takes no lock if there are none."""
    before, published_before = now - _CHECKPOINT_RETENTION, now - _PUBLISHED_CHECKPOINT_RETENTION
    if await has_old_checkpoints(
        database.all_workspaces, before, published_before=published_before
    ):
        await database.write_all_workspaces(
            partial(delete_old_checkpoints, before=before, published_before=published_before)
        )


async def prune_idempotency_keys(database: Database, now: datetime) -> None:
    """Delete expired idempotency keys, batch by batch; takes no lock if there are none."""
    while True:
        cutoff = await find_expiry_cutoff(database.all_workspaces, now, limit=_PRUNE_BATCH_SIZE)
        if cutoff is None:
            return
        await database.write_all_workspaces(partial(delete_expired_idempotency_keys, until=cutoff))
