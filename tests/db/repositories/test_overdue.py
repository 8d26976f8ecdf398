"""The backlog of all workspaces: its numbers, their limits, and the oldest overdue destination."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from app.db.core.database import Database
from app.db.repositories.overdue import read_backlog
from app.domain.destinations import (
    Backlog,
    DestinationState,
    is_overdue,
)
from tests.factories import (
    NOW,
    add_account,
    add_accounts,
    add_post,
    add_workspace,
    published,
    queued,
    started,
)

MINUTE = timedelta(minutes=1)


def retried(state: DestinationState, minutes_ago: int) -> DestinationState:
    """The state after a manual retry, which keeps the due time."""
    return replace(state, round_started_at=NOW - minutes_ago * MINUTE)


STATES: Mapping[str, tuple[DestinationState, Backlog]] = {
    "due later": (queued(NOW + MINUTE), Backlog(0, 0, None)),
    "due": (queued(NOW - 4 * MINUTE), Backlog(1, 0, None)),
    "overdue": (queued(NOW - 5 * MINUTE), Backlog(1, 1, NOW - 5 * MINUTE)),
    "retried": (retried(queued(NOW - 60 * MINUTE), 4), Backlog(1, 0, None)),
    "retried before": (
        retried(queued(NOW - 60 * MINUTE), 6),
        Backlog(1, 1, NOW - 6 * MINUTE),
    ),
    "running": (started(NOW - 9 * MINUTE, lease_expires_at=NOW), Backlog(0, 0, None)),
    "expired": (
        started(NOW - 60 * MINUTE, lease_expires_at=NOW - 7 * MINUTE),
        Backlog(0, 1, NOW - 7 * MINUTE),
    ),
    "published": (published(), Backlog(0, 0, None)),
}


@pytest.mark.parametrize(("state", "backlog"), STATES.values(), ids=STATES)
async def test_backlog_agrees_with_the_rule_of_the_domain(
    database: Database, state: DestinationState, backlog: Backlog
) -> None:
    assert await read_backlog(database.all_workspaces, NOW) == Backlog(0, 0, None)
    workspace = await add_workspace(database)
    await add_post(database, workspace, {await add_account(database, workspace): state})

    assert await read_backlog(database.all_workspaces, NOW) == backlog
    assert backlog.overdue == is_overdue(
        claimable_at=state.claimable_at,
        round_started_at=state.round_started_at,
        started_at=state.started_at,
        lease_expires_at=state.lease_expires_at,
        waited_until=None,
        account=None,
        now=NOW,
    )


async def test_backlog_is_that_of_all_workspaces(database: Database) -> None:
    for state, _ in STATES.values():
        workspace = await add_workspace(database)
        for _ in range(2):
            await add_post(database, workspace, {await add_account(database, workspace): state})

    assert await read_backlog(database.all_workspaces, NOW) == Backlog(8, 6, NOW - 7 * MINUTE)


async def test_oldest_overdue_is_found_behind_recent_retries(database: Database) -> None:
    workspace = await add_workspace(database)
    for state in (retried(queued(NOW - 90 * MINUTE), 1), queued(NOW - 80 * MINUTE)):
        await add_post(database, workspace, {await add_account(database, workspace): state})

    assert await read_backlog(database.all_workspaces, NOW) == Backlog(2, 1, NOW - 80 * MINUTE)


async def test_counts_are_limited_but_the_oldest_is_found_in_every_workspace(
    database: Database,
) -> None:
    async def read_limited() -> Backlog:
        return await read_backlog(database.all_workspaces, NOW, max_due=5, max_overdue=3)

    for minutes in (10, 11, 12):
        workspace = await add_workspace(database)
        accounts = await add_accounts(database, workspace, 6)
        state = queued(NOW - minutes * MINUTE)
        await add_post(database, workspace, dict.fromkeys(accounts, state))
        assert await read_limited() == Backlog(5, 3, NOW - minutes * MINUTE)
    (account,) = await add_accounts(database, workspace, 1)
    expired = started(NOW - 60 * MINUTE, lease_expires_at=NOW - 13 * MINUTE)
    await add_post(database, workspace, {account: expired})
    assert await read_limited() == Backlog(5, 3, NOW - 13 * MINUTE)
