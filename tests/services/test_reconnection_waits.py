"""Posts that wait for the reconnection of their account: maintenance, claims, retries and cancellation."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.db.core.database import Database
from app.db.repositories.overdue import read_backlog
from app.db.repositories.posts import load_posts
from app.domain.account_commands import AccountUpdate
from app.domain.accounts import LostAccessPolicy
from app.domain.destinations import (
    OVERDUE_AFTER,
    Backlog,
    DestinationState,
    DestinationStatus,
    ErrorCategory,
)
from app.domain.errors import AccountNeedsReconnection
from app.domain.ids import AccountId, PostId
from app.domain.post_commands import cancel_post
from app.services.accounts import (
    RetriedPosts,
    disconnect_account,
    dry_run_auth_retry,
    mark_reconnected,
    retry_auth_failures,
    update_account,
)
from app.services.expirations import fail_due_on_blocked_accounts, fail_ended_waits
from app.services.unit_of_work import UnitOfWork, run_in_transaction
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.domain.errors import INACTIVE, REJECTED
from tests.factories import NOW, add_account, add_post, failed, queued, waiting_for_retry
from tests.services.publishing_calls import claim, write_context

MS = timedelta(milliseconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WAIT, FAIL = LostAccessPolicy.WAIT, LostAccessPolicy.FAIL
HELD_TOO_LONG = (
    "The post was more than an hour late when its account was reconnected, and no one retried it within 24"
    " hours."
)


async def add_waiting_account(tenant: Tenant, policy: LostAccessPolicy = WAIT) -> AccountId:
    return await add_account(
        tenant.database,
        tenant.workspace,
        needs_reconnection_since=NOW - 2 * DAY,
        on_lost_access=policy,
        created_at=NOW - 9 * DAY,
    )


async def add_posts(
    tenant: Tenant, account: AccountId, states: Sequence[DestinationState]
) -> list[PostId]:
    added = [await add_post(tenant.database, tenant.workspace, {account: each}) for each in states]
    return [post.id for post in added]


async def states_of(tenant: Tenant, posts: Sequence[PostId]) -> list[DestinationState]:
    loaded = await load_posts(tenant.database.reader(tenant.workspace), posts)
    return [loaded[post].destinations[0].state for post in posts]


async def failures_of(tenant: Tenant, posts: Sequence[PostId]) -> list[str | None]:
    """Return the error of each post that failed as AUTH, and None for each that is queued."""
    failures: list[str | None] = []
    for state in await states_of(tenant, posts):
        if state.status is DestinationStatus.QUEUED:
            failures.append(None)
        else:
            assert (state.error_category, state.error_code) == (ErrorCategory.AUTH, "AUTH")
            failures.append(state.error)
    return failures


async def reconnect(tenant: Tenant, account: AccountId, now: datetime = NOW) -> None:
    context = write_context(tenant.workspace, now)
    await mark_reconnected(tenant.database, context, account, None, idempotency_key=None)


async def run_maintenance(database: Database, now: datetime) -> None:
    await fail_due_on_blocked_accounts(database, now)
    await fail_ended_waits(database, now)


async def claimed_posts(tenant: Tenant, now: datetime = NOW) -> list[PostId]:
    return [each.post.id for each in await claim(tenant.database, now=now)]


async def retry(
    tenant: Tenant, account: AccountId, failed_after: datetime | None = None, now: datetime = NOW
) -> RetriedPosts:
    context = write_context(tenant.workspace, now)
    return await retry_auth_failures(
        tenant.database, context, account, failed_after=failed_after, idempotency_key=None
    )


async def test_due_posts_stay_queued_until_24_hours_after_they_were_due(acme: Tenant) -> None:
    account = await add_waiting_account(acme)
    retried_at = NOW - DAY + MS
    retried = replace(queued(NOW - 3 * DAY), round_started_at=retried_at, claimable_at=retried_at)
    states = [
        queued(NOW - DAY),
        queued(NOW - DAY + MS),
        waiting_for_retry(NOW - HOUR, due_at=NOW - DAY),
        waiting_for_retry(NOW + HOUR, due_at=NOW - 2 * DAY),
        retried,
        queued(NOW + HOUR),
    ]
    posts = await add_posts(acme, account, states)

    assert await claimed_posts(acme) == []
    await fail_due_on_blocked_accounts(acme.database, NOW)
    assert await states_of(acme, posts) == states
    await fail_ended_waits(acme.database, NOW)

    assert await failures_of(acme, posts) == [REJECTED, None, REJECTED, None, None, None]
    await fail_ended_waits(acme.database, NOW + MS)
    assert await failures_of(acme, posts) == [REJECTED, REJECTED, REJECTED, None, REJECTED, None]


async def test_without_the_policy_due_posts_fail(acme: Tenant) -> None:
    account = await add_waiting_account(acme, FAIL)
    posts = await add_posts(acme, account, [queued(NOW), queued(NOW + MS)])
    await run_maintenance(acme.database, NOW)
    assert await failures_of(acme, posts) == [REJECTED, None]


async def test_posts_wait_only_for_a_reconnection(acme: Tenant) -> None:
    """They fail on an inactive account, and on one whose access has expired."""
    inactive = await add_waiting_account(acme)
    expired = await add_account(
        acme.database, acme.workspace, token_expires_at=NOW, on_lost_access=WAIT
    )
    (on_inactive,) = await add_posts(acme, inactive, [queued(NOW - HOUR)])
    (on_expired,) = await add_posts(acme, expired, [queued(NOW - HOUR)])
    await disconnect_account(
        acme.database, write_context(acme.workspace), inactive, idempotency_key=None
    )

    await run_maintenance(acme.database, NOW)

    failures = await failures_of(acme, [on_inactive, on_expired])
    assert failures[0] == INACTIVE
    assert failures[1] is not None


async def test_change_to_fail_fails_what_waits(acme: Tenant) -> None:
    account = await add_waiting_account(acme)
    posts = await add_posts(acme, account, [queued(NOW - 2 * HOUR), queued(NOW + HOUR)])
    update: AccountUpdate = {"on_lost_access": FAIL}
    context = write_context(acme.workspace)
    await update_account(acme.database, context, account, update, idempotency_key=None)

    await reconnect(acme, account)
    assert await claimed_posts(acme) == []

    await run_maintenance(acme.database, NOW - 2 * HOUR + DAY)
    assert await failures_of(acme, posts) == [HELD_TOO_LONG, None]


async def test_only_posts_less_than_an_hour_late_are_published_after_the_reconnection(
    acme: Tenant,
) -> None:
    account = await add_waiting_account(acme)
    other = await add_account(acme.database, acme.workspace)
    states = [
        queued(NOW - HOUR),
        queued(NOW - HOUR + MS),
        waiting_for_retry(NOW - HOUR, due_at=NOW - 2 * HOUR),
        waiting_for_retry(NOW - MS, due_at=NOW - 2 * HOUR),
        queued(NOW + MS),
    ]
    posts = await add_posts(acme, account, states)
    (elsewhere,) = await add_posts(acme, other, [queued(NOW - 9 * HOUR)])

    await reconnect(acme, account)
    await run_maintenance(acme.database, NOW)
    assert set(await claimed_posts(acme)) == {posts[1], posts[3], elsewhere}
    assert set(await claimed_posts(acme, NOW + MS)) == {posts[4]}
    assert await claimed_posts(acme, NOW + MS) == []
    await run_maintenance(acme.database, NOW + HOUR)
    states_now = await states_of(acme, posts)
    assert [states_now[0], states_now[2]] == [states[0], states[2]]


async def test_held_posts_stay_held_at_a_later_reconnection(acme: Tenant) -> None:
    account = await add_waiting_account(acme)
    posts = await add_posts(acme, account, [queued(NOW - HOUR)])
    await reconnect(acme, account)
    await reconnect(acme, account, NOW + MS)
    assert await claimed_posts(acme, NOW + MS) == []

    await run_maintenance(acme.database, NOW - HOUR + DAY - MS)
    assert await failures_of(acme, posts) == [None]
    await run_maintenance(acme.database, NOW - HOUR + DAY)
    assert await failures_of(acme, posts) == [HELD_TOO_LONG]


async def test_retry_publishes_what_failed_and_what_is_held(acme: Tenant) -> None:
    account = await add_waiting_account(acme)
    lost = replace(
        failed(due_at=NOW - 2 * HOUR, category=ErrorCategory.AUTH, code="AUTH"),
        settled_at=NOW - 2 * HOUR,
    )
    states = [
        queued(NOW - 3 * HOUR),
        lost,
        waiting_for_retry(NOW - HOUR, due_at=NOW - 2 * HOUR),
        queued(NOW - HOUR + MS),
        queued(NOW + HOUR),
    ]
    posts = await add_posts(acme, account, states)
    expected = (posts[1], posts[0], posts[2])
    before = await all_rows(acme.database)

    with pytest.raises(AccountNeedsReconnection):
        await retry(acme, account)
    for after, found in ((None, expected), (NOW - 2 * HOUR, (posts[1], posts[2]))):
        context = write_context(acme.workspace)
        dry_run = await dry_run_auth_retry(acme.database, context, account, failed_after=after)
        assert dry_run.posts == RetriedPosts(found, has_more=False)
        assert dry_run.matching_count == len(found)
    assert await all_rows(acme.database) == before

    await reconnect(acme, account)
    assert await retry(acme, account, NOW - 2 * HOUR) == RetriedPosts(
        (posts[1], posts[2]), has_more=False
    )
    assert await retry(acme, account) == RetriedPosts((posts[0],), has_more=False)
    assert await retry(acme, account) == RetriedPosts((), has_more=False)
    for state in await states_of(acme, expected):
        assert (state.status, state.claimable_at) == (DestinationStatus.QUEUED, NOW)
        assert (state.round_started_at, state.next_retry_at, state.error) == (NOW, None, None)
    await run_maintenance(acme.database, NOW)
    assert set(await claimed_posts(acme)) == {*expected, posts[3]}


async def test_retried_post_waits_again_for_24_hours(acme: Tenant) -> None:
    account = await add_waiting_account(acme)
    posts = await add_posts(acme, account, [queued(NOW - 3 * HOUR)])
    await reconnect(acme, account)
    await retry(acme, account)
    await set_rejected(acme, account)

    await run_maintenance(acme.database, NOW + DAY - MS)
    assert await failures_of(acme, posts) == [None]
    await run_maintenance(acme.database, NOW + DAY)
    assert await failures_of(acme, posts) == [REJECTED]


async def set_rejected(tenant: Tenant, account: AccountId) -> None:
    async def work(uow: UnitOfWork) -> None:
        await uow.lock_accounts([account])
        stored = (await uow.load_accounts([account]))[account]
        await uow.save_accounts([replace(stored, needs_reconnection_since=NOW)])

    await run_in_transaction(tenant.database, write_context(tenant.workspace), work)


@pytest.mark.parametrize("reconnected", [False, True])
async def test_cancellation_ends_the_wait(acme: Tenant, *, reconnected: bool) -> None:
    account = await add_waiting_account(acme)
    (post,) = await add_posts(acme, account, [queued(NOW - 2 * HOUR)])
    if reconnected:
        await reconnect(acme, account)

    async def work(uow: UnitOfWork) -> None:
        stored = (await uow.load_posts_for_update([post]))[post]
        await uow.save_posts([cancel_post(stored, expected_version=None, now=NOW)])

    await run_in_transaction(acme.database, write_context(acme.workspace), work)
    await run_maintenance(acme.database, NOW + DAY)
    (state,) = await states_of(acme, [post])
    assert (state.due_at, state.claimable_at, state.error) == (None, None, None)
    await reconnect(acme, account)
    assert await retry(acme, account) == RetriedPosts((), has_more=False)


async def test_waiting_posts_are_not_overdue(acme: Tenant) -> None:
    account = await add_waiting_account(acme)
    await add_posts(acme, account, [queued(NOW - 2 * HOUR), queued(NOW - HOUR / 2)])
    reader = acme.database.all_workspaces
    assert await read_backlog(reader, NOW) == Backlog(2, 0, None)
    await reconnect(acme, account)
    assert await read_backlog(reader, NOW + OVERDUE_AFTER - MS) == Backlog(2, 0, None)
    assert await read_backlog(reader, NOW + OVERDUE_AFTER) == Backlog(2, 1, NOW - HOUR / 2)
