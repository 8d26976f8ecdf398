"""Pauses of accounts: when they begin and end, and what waits for their end."""

from collections import Counter
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import select

from app.db.core.database import Database
from app.db.models import AccountPause
from app.db.repositories.overdue import read_backlog
from app.domain.account_commands import AccountUpdate
from app.domain.account_pauses import RemainingCalls
from app.domain.accounts import AccountPublisher
from app.domain.credentials import parse_credentials
from app.domain.destinations import OVERDUE_AFTER, Backlog
from app.domain.ids import AccountId
from app.services.account_pauses import prune_pauses
from app.services.accounts import set_account_credentials, update_account
from app.services.credentials import prepare_credentials
from tests.clients import Tenant
from tests.credential_rows import CIPHER, VALUES
from tests.factories import (
    NOW,
    add_account,
    add_post,
    add_workspace,
    being_verified,
    claimed,
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
    write_context,
)

SANDBOX = AccountPublisher.SANDBOX
SECOND = timedelta(seconds=1)
USED_UP = RemainingCalls(0, MINUTE)


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
    end = NOW + MINUTE

    claimed_accounts = []
    for time in (NOW, end - SECOND / 1000, end):
        before = (await destination_states(database, workspace, *posts))[::2]
        claims = await claim(database, of=SANDBOX, now=time)
        claimed_accounts.append(Counter(each.account.id for each in claims))
        if time < end:
            assert (await destination_states(database, workspace, *posts))[::2] == before

    assert claimed_accounts[0] == {other: len(due)}
    assert account not in claimed_accounts[1]
    assert claimed_accounts[2][account] == len(due) + 1  # of which one lease has expired


async def test_pause_applies_to_no_publisher_of_the_api(acme: Tenant) -> None:
    account = await add_due(acme.database, acme.workspace)
    await account_pauses(acme.database).pause_if_used_up(acme.workspace, account, USED_UP)

    assert [each.account.id for each in await claim(acme.database)] == [account]


async def test_paused_account_is_overdue_five_minutes_after_its_pause(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace, platform="sandbox")
    await add_post(acme.database, acme.workspace, {account: queued(NOW - 60 * MINUTE)})
    await account_pauses(acme.database).pause_if_used_up(acme.workspace, account, USED_UP)
    last = NOW + MINUTE + OVERDUE_AFTER
    reader = acme.database.all_workspaces

    counts = [await read_backlog(reader, time) for time in (last - SECOND / 1000, last)]

    since = NOW - 60 * MINUTE
    assert counts == [Backlog(1, 0, None), Backlog(1, 1, since)]


async def test_ended_pauses_are_pruned_without_a_write_if_there_are_none(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    accounts: list[AccountId] = [await add_account(database, workspace) for _ in range(2)]
    for account, seconds in zip(accounts, (60, 90), strict=True):
        remaining = RemainingCalls(0, seconds * SECOND)
        await account_pauses(database).pause_if_used_up(workspace, account, remaining)

    with record_statements(database) as statements:
        await prune_pauses(database, NOW + OVERDUE_AFTER + 59 * SECOND)
    assert len(statements) == 1
    assert len(await pause_ends(database)) == 2

    await prune_pauses(database, NOW + OVERDUE_AFTER + MINUTE)
    assert await pause_ends(database) == [NOW + 90 * SECOND]
