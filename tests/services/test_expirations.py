"""Tests of expired leases and of posts due on blocked accounts: settled once, and at what cost."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.core.write_session import Transaction
from app.db.models import Attempt, Destination, Event
from app.db.tools.integrity import find_problems
from app.domain.account_commands import reconnect
from app.domain.accounts import AccountAccess, blocking_reason
from app.domain.errors import ServiceUnavailable
from app.domain.ids import AccountId, WorkspaceId
from app.domain.settlement import Receipt
from app.services.accounts import get_account_for_update
from app.services.expirations import (
    MAX_LEASES_PER_RUN,
    MAX_POSTS_PER_TRANSACTION,
    MAX_TRANSACTIONS_PER_RUN,
    fail_due_on_blocked_accounts,
    settle_expired_leases,
)
from app.services.posts import create_posts
from app.services.unit_of_work import UnitOfWork, run_in_transaction
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.domain.errors import INACTIVE
from tests.factories import (
    NOW,
    add_account,
    add_post,
    add_workspace,
    claimed,
    failed,
    no_quota,
    queued,
    started,
    waiting_for_retry,
)
from tests.recording_driver import record_statements
from tests.services.publishing_calls import (
    MINUTE,
    add_due,
    add_unclaimable,
    claim,
    new_post,
    report_published,
    start_attempt,
    write_context,
)

SECOND = timedelta(seconds=1)

RELEASED_OUTCOME = ("queued", "none", None)
UNKNOWN_OUTCOME = ("failed", "unknown", "OUTCOME_UNKNOWN")


async def run_in_four_processes(
    url: str, task: Callable[[Database, datetime], Awaitable[None]], now: datetime
) -> None:
    async def process() -> None:
        async with Database(url, timeout=MINUTE) as database:
            await task(database, now)

    await asyncio.gather(*(process() for _ in range(4)))


async def changed_destinations(database: Database, operation: str) -> list[object]:
    """Destinations of the events that the server has written for this operation."""
    async with database.read_connection() as connection:
        rows = await connection.execute(
            select(Event.destination_id, Event.payload).where(
                Event.kind == "destination.changed", Event.actor_key_id.is_(None)
            )
        )
        return [row.destination_id for row in rows if row.payload["operation"] == operation]


# Expired leases.


async def add_leases(database: Database, posts: int) -> None:
    """In a new workspace, claim posts on two accounts, and start those on the second."""
    workspace = await add_workspace(database)
    accounts = [await add_account(database, workspace) for _ in range(2)]
    for _ in range(posts):
        await add_post(database, workspace, dict.fromkeys(accounts, queued()))
    for c in await claim(database):
        if c.account.id == accounts[1]:
            await start_attempt(database, c.lease)


async def destination_outcomes(database: Database) -> Counter[tuple[object, ...]]:
    async with database.read_connection() as connection:
        rows = await connection.execute(
            select(Destination.status, Destination.outcome, Destination.error_code)
        )
        return Counter(tuple(row) for row in rows)


async def test_unexpired_leases_are_left_alone_at_the_cost_of_one_statement(
    database: Database,
) -> None:
    await add_leases(database, 3)
    before = await all_rows(database)

    with record_statements(database) as statements:
        await settle_expired_leases(database, NOW + MINUTE - SECOND)

    assert len(statements) == 1
    assert await all_rows(database) == before


async def test_unexpired_lease_of_the_same_post_is_held(acme: Tenant) -> None:
    accounts = [await add_account(acme.database, acme.workspace) for _ in range(2)]
    leases = [claimed(lease_expires_at=expiry) for expiry in (NOW, NOW + SECOND)]
    await add_post(acme.database, acme.workspace, dict(zip(accounts, leases, strict=True)))

    await settle_expired_leases(acme.database, NOW)

    held = ("publishing", "none", None)
    assert await destination_outcomes(acme.database) == {RELEASED_OUTCOME: 1, held: 1}


async def test_concurrent_processes_settle_each_lease_once(
    database: Database, database_url: str
) -> None:
    await add_leases(database, 10)

    await run_in_four_processes(database_url, settle_expired_leases, NOW + MINUTE)

    assert await destination_outcomes(database) == {RELEASED_OUTCOME: 10, UNKNOWN_OUTCOME: 10}
    settled = await changed_destinations(database, "loseLease")
    assert len(settled) == len(set(settled)) == 20
    async with database.read_connection() as connection:
        attempt_outcomes = Counter(await connection.scalars(select(Attempt.outcome)))
    assert attempt_outcomes == {"unknown": 10}
    assert len(await claim(database, now=NOW + MINUTE)) == 10
    assert await find_problems(database) == []


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_next_run_settles_the_leases_beyond_the_limit(acme: Tenant) -> None:
    await add_due(acme.database, acme.workspace, MAX_LEASES_PER_RUN + 1)
    for _ in range(3):
        await claim(acme.database)

    counts = []
    for _ in range(2):
        await settle_expired_leases(acme.database, NOW + MINUTE)
        counts.append((await destination_outcomes(acme.database))[RELEASED_OUTCOME])

    assert counts == [MAX_LEASES_PER_RUN, MAX_LEASES_PER_RUN + 1]


async def test_reports_concurrent_with_settling_are_recorded(
    acme: Tenant, database_url: str
) -> None:
    await add_due(acme.database, acme.workspace, 10)
    leases = [c.lease for c in await claim(acme.database)]
    for lease in leases:
        await start_attempt(acme.database, lease)
    late = NOW + MINUTE

    async with Database(database_url, timeout=MINUTE, pool_size=12) as busy:
        results = await asyncio.gather(
            *(report_published(busy, lease, late) for lease in leases),
            settle_expired_leases(busy, late),
            settle_expired_leases(busy, late),
        )

    assert [result.receipt for result in results if result] == [Receipt.RECORDED] * 10
    assert await destination_outcomes(acme.database) == {("published", "published", None): 10}
    assert await find_problems(acme.database) == []


async def test_locked_post_delays_no_other_post(database: Database, database_url: str) -> None:
    """On SQLite a lock covers the whole database."""
    if database.is_sqlite:
        return
    await add_leases(database, 3)
    async with database.write_engine.begin() as connection:
        locked = await connection.scalar(
            select(Destination.post_id).limit(1).order_by(Destination.id)
        )
        await connection.exec_driver_sql(f"SELECT 1 FROM post WHERE id = '{locked}' FOR UPDATE")
        async with Database(database_url, timeout=timedelta(seconds=1)) as impatient:
            with pytest.raises(ServiceUnavailable):
                await settle_expired_leases(impatient, NOW + MINUTE)

    assert await destination_outcomes(database) == {
        RELEASED_OUTCOME: 2,
        UNKNOWN_OUTCOME: 2,
        ("publishing", "none", None): 2,
    }
    await settle_expired_leases(database, NOW + MINUTE)
    assert await destination_outcomes(database) == {RELEASED_OUTCOME: 3, UNKNOWN_OUTCOME: 3}


# Blocked accounts.


async def auth_failures(database: Database) -> list[tuple[WorkspaceId, int, str | None]]:
    """Workspace, account and error of the destinations that failed as AUTH, in order."""
    async with database.read_connection() as connection:
        rows = await connection.execute(
            select(Destination.workspace_id, Destination.account_id, Destination.error)
            .where(Destination.error_code == "AUTH")
            .order_by(Destination.workspace_id, Destination.account_id)
        )
        return [(row.workspace_id, row.account_id, row.error) for row in rows]


async def add_due_posts(tenant: Tenant, account: AccountId, count: int) -> None:
    for start in range(0, count, 50):
        posts = [new_post([account])] * min(50, count - start)
        await create_posts(
            tenant.database,
            write_context(tenant.workspace),
            posts,
            None,
            charge_quota=no_quota,
            new_id=uuid4,
        )


async def test_due_posts_fail_on_exactly_the_blocked_accounts(database: Database) -> None:
    workspaces = [await add_workspace(database) for _ in range(2)]
    blocked = []
    for workspace, is_active, since, expires_at in product(
        workspaces, (True, False), (None, NOW), (None, NOW, NOW + SECOND)
    ):
        account = await add_account(
            database,
            workspace,
            is_active=is_active,
            needs_reconnection_since=since,
            token_expires_at=expires_at,
        )
        await add_post(database, workspace, {account: queued(NOW)})
        if blocking_reason(AccountAccess(is_active, since, expires_at), NOW):
            blocked.append((workspace, account))

    assert len(blocked) == 20
    await fail_due_on_blocked_accounts(database, NOW)

    failures = await auth_failures(database)
    assert [(workspace, account) for workspace, account, _ in failures] == sorted(blocked)
    assert len(await changed_destinations(database, "failWithoutAccess")) == 20
    assert await find_problems(database) == []


async def test_posts_that_are_not_due_or_not_claimable_are_left_alone(database: Database) -> None:
    not_due = [queued(NOW + SECOND), waiting_for_retry(NOW + SECOND)]
    await add_unclaimable(database, [*not_due, claimed(), started(), failed()], is_active=False)
    before = await all_rows(database)

    with record_statements(database) as statements:
        await fail_due_on_blocked_accounts(database, NOW)

    assert len(statements) == 1
    assert await all_rows(database) == before


async def test_one_run_fails_several_batches_of_an_account(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace, is_active=False)
    count = MAX_POSTS_PER_TRANSACTION + 1
    await add_due_posts(acme, account, count)

    await fail_due_on_blocked_accounts(acme.database, NOW)

    failures = await auth_failures(acme.database)
    assert failures == [(acme.workspace, account, INACTIVE)] * count
    assert await find_problems(acme.database) == []


async def test_next_run_fails_the_posts_beyond_the_limit(acme: Tenant) -> None:
    for _ in range(MAX_TRANSACTIONS_PER_RUN + 1):
        account = await add_account(acme.database, acme.workspace, is_active=False)
        await add_post(acme.database, acme.workspace, {account: queued()})

    counts = []
    for _ in range(2):
        await fail_due_on_blocked_accounts(acme.database, NOW)
        counts.append(len(await auth_failures(acme.database)))

    assert counts == [MAX_TRANSACTIONS_PER_RUN, MAX_TRANSACTIONS_PER_RUN + 1]


async def test_concurrent_processes_fail_each_destination_once(
    acme: Tenant, database_url: str
) -> None:
    accounts = [await add_account(acme.database, acme.workspace, is_active=False) for _ in range(3)]
    for account in accounts:
        await add_due_posts(acme, account, 50)
    for _ in range(10):
        await add_post(acme.database, acme.workspace, dict.fromkeys(accounts, queued()))

    await run_in_four_processes(database_url, fail_due_on_blocked_accounts, NOW)

    assert len(await auth_failures(acme.database)) == 180
    assert len(await changed_destinations(acme.database, "failWithoutAccess")) == 180
    assert await find_problems(acme.database) == []


async def test_account_reconnected_meanwhile_fails_nothing(acme: Tenant, database_url: str) -> None:
    account_id = await add_account(acme.database, acme.workspace, needs_reconnection_since=NOW)
    await add_due_posts(acme, account_id, 3)

    async def reconnect_account(uow: UnitOfWork) -> None:
        account = await get_account_for_update(uow, account_id)
        await uow.save_accounts([reconnect(account, None, NOW)])

    class ReconnectingDatabase(Database):
        """A database in which the account is reconnected after the reads, before each write."""

        async def _write(self, run: Callable[[Transaction], Awaitable[Any]]) -> Any:
            await run_in_transaction(
                acme.database, write_context(acme.workspace), reconnect_account
            )
            return await super()._write(run)

    async with ReconnectingDatabase(database_url) as other:
        await fail_due_on_blocked_accounts(other, NOW)

    assert await auth_failures(acme.database) == []
    assert await changed_destinations(acme.database, "failWithoutAccess") == []
