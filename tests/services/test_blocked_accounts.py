"""Posts that are due without access: which fail, once, whoever else is at work, and what that costs."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import product
from uuid import uuid4

from sqlalchemy import event, select

from app.db.core.database import Database
from app.db.models import Destination, Event
from app.db.tools.integrity import find_problems
from app.domain.account_commands import reconnected
from app.domain.accounts import Connection, blocking_reason
from app.domain.ids import AccountId, WorkspaceId
from app.domain.post_commands import NewPost
from app.services.accounts import get_account_for_update
from app.services.expirations import (
    MAX_POSTS_PER_TRANSACTION,
    MAX_TRANSACTIONS_PER_RUN,
    fail_due_on_blocked_accounts,
)
from app.services.posts import create_posts
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.factories import (
    NOW,
    add_account,
    add_post,
    add_workspace,
    claimed,
    draft,
    failed,
    no_quota,
    queued,
    started,
    waiting_for_retry,
)
from tests.recording_driver import record_statements

SECOND = timedelta(seconds=1)
DISABLED_MESSAGE = "The account is switched off or disconnected. Connect it again to post."


async def auth_failures(database: Database) -> list[tuple[WorkspaceId, int, str | None]]:
    """Workspace, account and error of what failed as AUTH, in their order."""
    async with database.unscoped_connection() as connection:
        rows = await connection.execute(
            select(Destination.workspace_id, Destination.account_id, Destination.error)
            .where(Destination.error_code == "AUTH")
            .order_by(Destination.workspace_id, Destination.account_id)
        )
        return [(row.workspace_id, row.account_id, row.error) for row in rows]


async def stored_events(database: Database) -> list[str]:
    async with database.unscoped_connection() as connection:
        rows = await connection.execute(
            select(Event.kind, Event.actor_key_id, Event.payload).order_by(
                Event.workspace_id, Event.seq
            )
        )
        return [
            row.kind
            for row in rows
            if row.actor_key_id is None and row.payload["operation"] == "failWithoutAccess"
        ]


async def add_due_posts(tenant: Tenant, account: AccountId, count: int) -> None:
    errand = WriteContext(
        workspace_id=tenant.workspace, actor=None, operation="createPosts", now=NOW
    )
    wanted = NewPost(
        content="Sale",
        account_ids=[account],
        scheduled_for=None,
        is_draft=False,
        timezone=None,
        media_ids=[],
        media=[],
        platform_content={},
        reference=None,
    )
    for start in range(0, count, 50):
        posts: Sequence[NewPost] = [wanted] * min(50, count - start)
        await create_posts(tenant.database, errand, posts, None, check_quota=no_quota, new_id=uuid4)


async def test_exactly_the_accounts_that_cannot_post_fail_what_is_due(database: Database) -> None:
    workspaces = [await add_workspace(database) for _ in range(2)]
    lost = []
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
        if blocking_reason(Connection(is_active, since, expires_at), NOW):
            lost.append((workspace, account))

    assert len(lost) == 20
    await fail_due_on_blocked_accounts(database, NOW)

    assert [(workspace, account) for workspace, account, _ in await auth_failures(database)] == sorted(
        lost
    )
    assert await stored_events(database) == ["post.changed", "destination.changed"] * 20
    assert await find_problems(database) == []


async def test_what_is_not_due_or_not_ours_to_publish_is_left_alone(database: Database) -> None:
    local = await add_workspace(database)
    mirror = await add_workspace(database, mirror_of="https://example.com")
    unclaimable = replace(queued(NOW), claimable_at=None)
    for workspace, states in (
        (
            local,
            [queued(NOW + SECOND), waiting_for_retry(NOW + SECOND), claimed(), started(), failed()],
        ),
        (mirror, [unclaimable]),
    ):
        account = await add_account(database, workspace, is_active=False)
        for state in states:
            await add_post(database, workspace, {account: state})
        await add_post(database, workspace, {account: draft()}, is_draft=True)
        await add_post(database, workspace, {account: unclaimable}, deleted_at=NOW)
        await add_post(database, workspace, {account: unclaimable}, imported_at=NOW)
    before = await all_rows(database)

    with record_statements(database) as statements:
        await fail_due_on_blocked_accounts(database, NOW)

    assert len(statements) == 1
    assert await all_rows(database) == before


async def test_many_fail_in_one_call_the_longest_due_first(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace, is_active=False)
    await add_due_posts(acme, account, MAX_POSTS_PER_TRANSACTION + 1)

    await fail_due_on_blocked_accounts(acme.database, NOW)

    found = await auth_failures(acme.database)
    assert found == [(acme.workspace, account, DISABLED_MESSAGE)] * (MAX_POSTS_PER_TRANSACTION + 1)
    assert await find_problems(acme.database) == []


async def test_a_call_ends_after_so_many_transactions_and_the_next_one_goes_on(
    acme: Tenant,
) -> None:
    for _ in range(MAX_TRANSACTIONS_PER_RUN + 1):
        account = await add_account(acme.database, acme.workspace, is_active=False)
        await add_post(acme.database, acme.workspace, {account: queued()})

    counts = []
    for _ in range(2):
        await fail_due_on_blocked_accounts(acme.database, NOW)
        counts.append(len(await auth_failures(acme.database)))

    assert counts == [MAX_TRANSACTIONS_PER_RUN, MAX_TRANSACTIONS_PER_RUN + 1]


async def test_processes_at_once_fail_each_row_once(acme: Tenant, database_url: str) -> None:
    accounts = [await add_account(acme.database, acme.workspace, is_active=False) for _ in range(3)]
    for account in accounts:
        await add_due_posts(acme, account, 50)
    both = {account: queued() for account in accounts}
    for _ in range(10):
        await add_post(acme.database, acme.workspace, both)

    async def process() -> None:
        async with Database(database_url, timeout=timedelta(minutes=1)) as database:
            await fail_due_on_blocked_accounts(database, NOW)

    await asyncio.gather(*(process() for _ in range(4)))

    assert len(await auth_failures(acme.database)) == 180
    assert (await stored_events(acme.database)).count("destination.changed") == 180
    assert await find_problems(acme.database) == []


async def test_what_was_reconnected_in_between_does_not_fail(
    acme: Tenant, database_url: str
) -> None:
    account = await add_account(acme.database, acme.workspace, needs_reconnection_since=NOW)
    await add_due_posts(acme, account, 3)
    errand = WriteContext(workspace_id=acme.workspace, actor=None, operation="test", now=NOW)

    async with Database(database_url) as other:
        found = asyncio.Event()
        event.listen(other.read_engine.sync_engine, "after_cursor_execute", lambda *_: found.set())

        async def reconnect(writing: UnitOfWork) -> asyncio.Task[None]:
            known = await get_account_for_update(writing, account)
            await writing.save_accounts([reconnected(known, None, NOW)])
            failing = asyncio.create_task(fail_due_on_blocked_accounts(other, NOW))
            await found.wait()
            return failing

        async with asyncio.timeout(10):
            await (await run_in_transaction(acme.database, errand, reconnect))

    assert await auth_failures(acme.database) == []
    assert await stored_events(acme.database) == []
