"""Concurrent claims: each destination is claimed once per fence, and only by its workspace.

The tests named `…_tests_detect_…` remove one protection from the SQL and show that its absence is detected.
"""

from collections import Counter
from datetime import timedelta

import pytest

from app.db.core.database import Database
from app.domain.ids import DestinationId, WorkspaceId
from app.domain.leases import Lease
from app.services.unit_of_work import Publisher
from tests.db.core.test_database import INTEGRITY_ERRORS, only_on_postgresql
from tests.factories import add_account, add_post, add_workspace, queued
from tests.services import publishing_calls
from tests.test_concurrency import database_with_replaced_sql, run_behind_lock

MINUTE = timedelta(minutes=1)


async def claim_leases(
    database: Database, workspace: WorkspaceId | None, limit: int = 10
) -> list[Lease]:
    claims = await publishing_calls.claim(database, limit, publisher=Publisher(workspace, None))
    return [claim.lease for claim in claims]


async def add_due_pairs(
    database: Database, workspace: WorkspaceId, count: int = 1
) -> list[DestinationId]:
    """Add due destinations, two per post, or a single one."""
    accounts = [await add_account(database, workspace) for _ in range(2)]
    states = dict.fromkeys(accounts if count > 1 else accounts[:1], queued())
    posts = [await add_post(database, workspace, states) for _ in range(max(count // 2, 1))]
    return [destination_id for post in posts for destination_id in post.destinations]


async def claim_behind_lock(database: Database, claimers: Database) -> Counter[object]:
    """Fences that two concurrent claims of one due destination return."""
    workspace = await add_workspace(database)
    await add_due_pairs(database, workspace)

    async def fences() -> object:
        return tuple(lease.fence for lease in await claim_leases(claimers, workspace))

    return await run_behind_lock(
        database,
        f"SELECT 1 FROM workspace WHERE id = '{workspace}' FOR NO KEY UPDATE",
        [fences() for _ in range(2)],
    )


@only_on_postgresql
async def test_tests_detect_a_missing_lock_of_claimed_rows(
    database: Database, database_url: str
) -> None:
    async with database_with_replaced_sql(
        database_url, r" FOR UPDATE OF .* SKIP LOCKED", ""
    ) as unlocked:
        assert await claim_behind_lock(database, unlocked) == {(1,): 2}

    async with Database(database_url) as locked:
        assert await claim_behind_lock(database, locked) == {(1,): 1, (): 1}


@only_on_postgresql
async def test_claims_skip_locked_posts_instead_of_waiting(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    await add_due_pairs(database, workspace, 4)
    lock = f"SELECT 1 FROM post WHERE workspace_id = '{workspace}' LIMIT 1 FOR UPDATE"

    async def claim_count(claimers: Database) -> object:
        return len(await claim_leases(claimers, workspace))

    async with database_with_replaced_sql(database_url, " SKIP LOCKED", "") as waiting:
        assert await run_behind_lock(database, lock, [claim_count(waiting)]) == {4: 1}

    await add_due_pairs(database, workspace, 4)
    all_locked = lock.replace(" LIMIT 1", "")
    async with Database(database_url) as skipping:
        assert await run_behind_lock(database, all_locked, [claim_count(skipping)]) == {0: 1}


async def start_behind_lock(database: Database, publishers: Database) -> Counter[object]:
    """Receipts or errors of two concurrent starts with one lease."""
    workspace = await add_workspace(database)
    await add_due_pairs(database, workspace)
    (lease,) = await claim_leases(database, workspace)

    async def start() -> object:
        try:
            result = await publishing_calls.start_attempt(publishers, lease)
        except Exception as error:  # noqa: BLE001 - any error is a result
            return type(error).__name__
        return result.receipt.value

    return await run_behind_lock(
        database,
        f"SELECT 1 FROM post WHERE workspace_id = '{workspace}' FOR UPDATE",
        [start() for _ in range(2)],
    )


@only_on_postgresql
async def test_tests_detect_a_missing_lock_of_started_posts(
    database: Database, database_url: str
) -> None:
    async with database_with_replaced_sql(database_url, " FOR UPDATE", "") as unlocked:
        outcomes = await start_behind_lock(database, unlocked)
        assert outcomes["recorded"] == 1
        assert outcomes["repeated"] == 0

    async with Database(database_url) as locked:
        assert await start_behind_lock(database, locked) == {"recorded": 1, "repeated": 1}


async def test_tests_detect_a_missing_workspace_filter_of_claims(
    database: Database, database_url: str
) -> None:
    ours, theirs = [await add_workspace(database) for _ in range(2)]
    foreign = await add_due_pairs(database, theirs)
    (own,) = await add_due_pairs(database, ours)
    async with Database(
        database_url, workspace_filter=lambda statement, _workspace: statement
    ) as unfiltered:
        # The claim selects foreign rows, and the composite foreign keys reject its writes.
        with pytest.raises((RuntimeError, *INTEGRITY_ERRORS)):
            await claim_leases(unfiltered, ours)

    assert [lease.destination_id for lease in await claim_leases(database, ours)] == [own]
    assert [lease.destination_id for lease in await claim_leases(database, theirs)] == foreign
