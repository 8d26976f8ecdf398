"""Pauses of accounts: when they begin, and what they postpone in the database, once and at what cost."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest
import structlog
from sqlalchemy import select

from app.db.core.database import Database
from app.db.models import AccountPause, Destination, Event
from app.domain.account_commands import AccountUpdate
from app.domain.account_pauses import RemainingCalls
from app.domain.accounts import AccountPublisher
from app.domain.credentials import parse_credentials
from app.domain.ids import AccountId
from app.domain.transitions import postponed
from app.services.account_pauses import prune_pauses
from app.services.accounts import set_account_credentials, update_account
from app.services.credentials import prepare_credentials
from app.services.posts import create_posts
from tests.clients import Tenant
from tests.credential_rows import CIPHER, VALUES
from tests.db.all_tables import all_rows
from tests.factories import (
    NOW,
    add_account,
    add_post,
    add_workspace,
    being_verified,
    claimed,
    no_quota,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)
from tests.recording_driver import record_statements
from tests.services.publishing_calls import (
    MINUTE,
    account_pauses,
    add_due,
    claim,
    destination_states,
    new_post,
    write_context,
)
from tests.services.test_expirations import changed_destinations, run_in_four_processes

SANDBOX = AccountPublisher.SANDBOX
SECOND = timedelta(seconds=1)
USED_UP = RemainingCalls(0, MINUTE)
RESUMED_AT = NOW + MINUTE + 3 * SECOND
"""End of a pause of a minute, with half of its spread."""


async def pause_ends(database: Database) -> list[datetime]:
    async with database.read_connection() as connection:
        return [*await connection.scalars(select(AccountPause.paused_until))]


async def test_pause_is_extended_and_never_shortened(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    ends = []
    for seconds in (60, 30, 90):
        remaining = RemainingCalls(0, seconds * SECOND)
        until = await account_pauses(acme.database).pause_if_used_up(
            acme.workspace, account, remaining
        )
        assert until == NOW + seconds * SECOND
        ends += await pause_ends(acme.database)

    assert ends == [NOW + 60 * SECOND, NOW + 60 * SECOND, NOW + 90 * SECOND]


async def test_pause_ends_with_another_publisher_and_with_new_credentials(acme: Tenant) -> None:
    database, workspace = acme.database, acme.workspace
    account, other = [await add_account(database, workspace, platform="x") for _ in range(2)]
    credentials = prepare_credentials(parse_credentials(VALUES), CIPHER, b"")
    other_end = NOW + 2 * MINUTE

    async def update(changes: AccountUpdate) -> None:
        await update_account(
            database, write_context(workspace), account, changes, idempotency_key=None
        )

    async def set_credentials() -> None:
        await set_account_credentials(
            database, write_context(workspace), account, credentials, idempotency_key=None
        )

    for change, ends in (
        (partial(update, {"display_name": "Acme"}), [NOW + MINUTE, other_end]),
        (partial(update, {"publisher": AccountPublisher.WEBHOOK}), [other_end]),
        (set_credentials, [other_end]),
    ):
        pauses = account_pauses(database)
        await pauses.pause_if_used_up(workspace, account, USED_UP)
        await pauses.pause_if_used_up(workspace, other, RemainingCalls(0, 2 * MINUTE))
        await change()
        assert sorted(await pause_ends(database)) == ends


async def test_account_is_paused_if_its_calls_in_flight_use_up_the_remaining_ones(
    acme: Tenant,
) -> None:
    account, other = [await add_account(acme.database, acme.workspace) for _ in range(2)]
    for state in (claimed(), started(), started(), queued(), published(), unknown()):
        await add_post(acme.database, acme.workspace, {account: state, other: started()})

    for calls, until in ((300, None), (3, None), (2, NOW + MINUTE)):
        assert await pause_ends(acme.database) == []
        remaining = RemainingCalls(calls, MINUTE)
        pauses = account_pauses(acme.database)
        assert await pauses.pause_if_used_up(acme.workspace, account, remaining) == until
    assert await pause_ends(acme.database) == [NOW + MINUTE]


async def test_due_posts_of_a_paused_account_wait_for_the_end_of_the_pause(acme: Tenant) -> None:
    database, workspace = acme.database, acme.workspace
    account, other = [await add_account(database, workspace, platform="sandbox") for _ in range(2)]
    due = [queued(), waiting_for_retry(NOW - SECOND, due_at=NOW - MINUTE)]
    states = [
        *due,
        queued(NOW + SECOND),
        claimed(),
        started(),
        published(),
        unknown(due_at=NOW - MINUTE, settled_at=NOW),
        being_verified(expires_at=NOW),
    ]
    posts = [
        (await add_post(database, workspace, {account: state, other: state})).id for state in states
    ]
    await account_pauses(database).pause_if_used_up(workspace, account, USED_UP)

    await account_pauses(database).postpone_due()

    expected = [postponed(state, RESUMED_AT) for state in due] + states[len(due) :]
    after = await destination_states(database, workspace, *posts)
    assert after[::2] == expected
    assert after[1::2] == states
    assert len(await changed_destinations(database, "waitForRateLimit")) == len(due)

    resumed = [await claim(database, of=SANDBOX, now=time) for time in (NOW, RESUMED_AT)]
    assert [Counter(c.account.id for c in claims)[account] for claims in resumed] == [0, 3]


async def test_posts_of_external_accounts_are_never_postponed(acme: Tenant) -> None:
    account = await add_due(acme.database, acme.workspace)
    pauses = account_pauses(acme.database)
    await pauses.pause_if_used_up(acme.workspace, account, USED_UP)

    with record_statements(acme.database) as statements:
        await pauses.postpone_due()

    assert len(statements) == 1
    assert [c.account.id for c in await claim(acme.database)] == [account]


async def test_without_anything_to_postpone_only_one_statement_runs(database: Database) -> None:
    workspace = await add_workspace(database)
    paused, ended = [await add_due(database, workspace, platform="sandbox") for _ in range(2)]
    pauses = account_pauses(database)
    await pauses.pause_if_used_up(workspace, paused, USED_UP)
    await account_pauses(database, NOW - MINUTE).pause_if_used_up(workspace, ended, USED_UP)
    await pauses.postpone_due()
    before = await all_rows(database)

    with record_statements(database) as statements:
        await pauses.postpone_due()

    assert len(statements) == 1
    assert await all_rows(database) == before
    assert [c.account.id for c in await claim(database, of=SANDBOX)] == [ended]


async def add_many_due(tenant: Tenant, count: int) -> AccountId:
    account = await add_account(tenant.database, tenant.workspace, platform="sandbox")
    for first in range(0, count, 50):
        await create_posts(
            tenant.database,
            write_context(tenant.workspace),
            [new_post([account])] * min(count - first, 50),
            None,
            charge_quota=no_quota,
            new_id=uuid4,
        )
    return account


async def claimable_times(database: Database) -> Counter[datetime]:
    async with database.read_connection() as connection:
        return Counter(await connection.scalars(select(Destination.claimable_at)))


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_many_due_posts_are_postponed_by_several_calls(acme: Tenant) -> None:
    account = await add_many_due(acme, 450)
    pauses = account_pauses(acme.database)
    await pauses.pause_if_used_up(acme.workspace, account, USED_UP)

    for count in (200, 200, 50):
        with structlog.testing.capture_logs() as logs:
            await pauses.postpone_due()
        assert logs == [
            {
                "event": "destinations postponed",
                "log_level": "info",
                "workspace_id": str(acme.workspace),
                "account_id": account,
                "count": count,
                "paused_until": "2026-04-15T15:01:00.000Z",
            }
        ]
    assert await claimable_times(acme.database) == {RESUMED_AT: 450}


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_short_pause_postpones_only_what_one_transaction_postpones(acme: Tenant) -> None:
    account = await add_many_due(acme, 201)
    pauses = account_pauses(acme.database)
    await pauses.pause_if_used_up(acme.workspace, account, RemainingCalls(0, SECOND))
    await pauses.postpone_due()
    assert await claimable_times(acme.database) == {NOW: 201}

    await claim(acme.database, 1, of=SANDBOX)
    await pauses.postpone_due()
    resumed_at = NOW + 1050 * SECOND / 1000
    assert await claimable_times(acme.database) == {resumed_at: 200, NOW + MINUTE: 1}


async def test_pause_that_is_over_before_its_transaction_begins_postpones_nothing(
    acme: Tenant,
) -> None:
    account = await add_due(acme.database, acme.workspace, platform="sandbox")
    pauses = account_pauses(acme.database)
    await pauses.pause_if_used_up(acme.workspace, account, USED_UP)

    times = iter([NOW, NOW + MINUTE])
    await replace(pauses, clock=lambda: next(times)).postpone_due()

    assert await claimable_times(acme.database) == {NOW: 1}


async def test_concurrent_processes_postpone_each_destination_once(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    account = await add_due(database, workspace, 20, platform="sandbox")
    await account_pauses(database).pause_if_used_up(workspace, account, USED_UP)

    async def postpone(process: Database, now: datetime) -> None:
        await account_pauses(process, now).postpone_due()

    await run_in_four_processes(database_url, postpone, NOW)

    changed = await changed_destinations(database, "waitForRateLimit")
    assert len(changed) == len(set(changed)) == 20
    async with database.read_connection() as connection:
        kinds = Counter(await connection.scalars(select(Event.kind)))
    assert kinds["destination.changed"] == 20


async def test_ended_pauses_are_pruned_without_a_write_if_there_are_none(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    accounts: list[AccountId] = [await add_account(database, workspace) for _ in range(2)]
    for account, seconds in zip(accounts, (60, 90), strict=True):
        remaining = RemainingCalls(0, seconds * SECOND)
        await account_pauses(database).pause_if_used_up(workspace, account, remaining)

    with record_statements(database) as statements:
        await prune_pauses(database, NOW + 59 * SECOND)
    assert len(statements) == 1
    assert len(await pause_ends(database)) == 2

    await prune_pauses(database, NOW + MINUTE)
    assert await pause_ends(database) == [NOW + 90 * SECOND]


async def test_locked_post_delays_no_other_account(database: Database, database_url: str) -> None:
    """On SQLite a lock covers the whole database."""
    if database.is_sqlite:
        return
    workspace = await add_workspace(database)
    accounts = [await add_due(database, workspace, platform="sandbox") for _ in range(2)]
    for account in accounts:
        await account_pauses(database).pause_if_used_up(workspace, account, USED_UP)
    async with database.write_engine.begin() as connection:
        locked = await connection.scalar(
            select(Destination.post_id).where(Destination.account_id == accounts[0])
        )
        await connection.exec_driver_sql(f"SELECT 1 FROM post WHERE id = '{locked}' FOR UPDATE")
        async with Database(database_url, timeout=SECOND) as impatient:
            await account_pauses(impatient).postpone_due()

    async with database.read_connection() as connection:
        rows = await connection.execute(select(Destination.account_id, Destination.claimable_at))
        times = {row.account_id: row.claimable_at for row in rows}
    assert times == {accounts[0]: NOW, accounts[1]: RESUMED_AT}
