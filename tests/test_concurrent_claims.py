"""Many publishers at once: each destination is given out once for each fence, and to its own workspace.

The guards take one thing out of what a database runs, and show that its lack is noticed.
"""

import asyncio
from collections import Counter
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from app.db.core.database import Database
from app.db.tools.integrity import find_problems
from app.domain.ids import DestinationId, WorkspaceId
from app.domain.leases import Lease
from app.services.claims import ClaimRequest, claim_destinations
from app.services.reports import Publisher, start_attempt
from tests.db.core.test_database import only_on_postgresql
from tests.factories import NOW, add_account, add_post, add_workspace, queued
from tests.test_concurrency import LONG_TIMEOUT, run_behind_lock, database_with_replaced_sql

CLAIMERS = 16
DUE_COUNT = 160
MINUTE = timedelta(minutes=1)


async def claim(database: Database, workspace: WorkspaceId | None, limit: int = 10) -> list[Lease]:
    claims = await claim_destinations(
        database,
        Publisher(workspace, None),
        ClaimRequest(limit=limit, lease_duration=MINUTE, platforms=None),
        new_id=uuid4,
        now=NOW,
    )
    return [each.lease for each in claims]


async def add_due(
    database: Database, workspace: WorkspaceId, count: int = 1
) -> list[DestinationId]:
    """Destinations that are due, two of a post."""
    accounts = [await add_account(database, workspace) for _ in range(2)]
    on = dict.fromkeys(accounts if count > 1 else accounts[:1], queued())
    posts = [await add_post(database, workspace, on) for _ in range(max(count // 2, 1))]
    return [each for post in posts for each in post.destinations]


async def test_sixteen_claimers_are_given_each_destination_once(
    database: Database, database_url: str
) -> None:
    workspaces = [await add_workspace(database) for _ in range(2)]
    due = [each for one in workspaces for each in await add_due(database, one, DUE_COUNT // 2)]
    given: list[Lease] = []

    async def claimer(busy: Database) -> None:
        while len(given) < DUE_COUNT:
            given.extend(await claim(busy, None, limit=7))

    async with Database(database_url, timeout=LONG_TIMEOUT, pool_size=CLAIMERS + 4) as busy:
        async with asyncio.timeout(120):
            await asyncio.gather(*(claimer(busy) for _ in range(CLAIMERS)))

    assert Counter((each.destination_id, each.fence) for each in given) == Counter(
        (each, 1) for each in due
    )
    assert await find_problems(database) == []


async def claim_behind_lock(database: Database, claimers: Database) -> Counter[object]:
    """What two are given who claim the one that is due, and have both begun before either can end."""
    workspace = await add_workspace(database)
    await add_due(database, workspace)

    async def fences() -> object:
        return tuple(each.fence for each in await claim(claimers, workspace))

    return await run_behind_lock(
        database,
        f"SELECT 1 FROM workspace WHERE id = '{workspace}' FOR NO KEY UPDATE",
        [fences() for _ in range(2)],
    )


@only_on_postgresql
async def test_without_the_lock_of_what_is_given_out_that_would_be_noticed(
    database: Database, database_url: str
) -> None:
    async with database_with_replaced_sql(database_url, r" FOR UPDATE OF .* SKIP LOCKED", "") as unlocked:
        assert await claim_behind_lock(database, unlocked) == {(1,): 2}

    async with Database(database_url) as locked:
        assert await claim_behind_lock(database, locked) == {(1,): 1, (): 1}


@only_on_postgresql
async def test_without_passing_over_what_is_locked_claimers_would_wait_for_each_other(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    await add_due(database, workspace, 4)
    lock = f"SELECT 1 FROM post WHERE workspace_id = '{workspace}' LIMIT 1 FOR UPDATE"

    async def given(claimers: Database) -> object:
        return len(await claim(claimers, workspace))

    async with database_with_replaced_sql(database_url, " SKIP LOCKED", "") as waiting:
        assert await run_behind_lock(database, lock, [given(waiting)]) == {4: 1}

    await add_due(database, workspace, 4)
    async with Database(database_url) as passing:
        assert await run_behind_lock(database, lock.replace(" LIMIT 1", ""), [given(passing)]) == {0: 1}


async def start_behind_lock(database: Database, publishers: Database) -> Counter[object]:
    """What two are told who start the attempt of one lease, and have both begun before either can end."""
    workspace = await add_workspace(database)
    await add_due(database, workspace)
    (lease,) = await claim(database, workspace)

    async def start() -> object:
        try:
            told, _ = await start_attempt(
                publishers,
                Publisher(workspace, None),
                lease,
                worker=None,
                new_id=uuid4,
                now=NOW,
            )
        except Exception as error:  # noqa: BLE001 - whatever, but what is right
            return type(error).__name__
        return told.receipt.value

    return await run_behind_lock(
        database,
        f"SELECT 1 FROM post WHERE workspace_id = '{workspace}' FOR UPDATE",
        [start() for _ in range(2)],
    )


@only_on_postgresql
async def test_without_the_lock_of_the_post_two_starts_would_be_noticed(
    database: Database, database_url: str
) -> None:
    async with database_with_replaced_sql(database_url, " FOR UPDATE", "") as unlocked:
        told = await start_behind_lock(database, unlocked)
        assert told["recorded"] == 1
        assert told["repeated"] == 0

    async with Database(database_url) as locked:
        assert await start_behind_lock(database, locked) == {"recorded": 1, "repeated": 1}


async def test_without_the_wall_what_is_claimed_would_be_noticed(
    database: Database, database_url: str
) -> None:
    ours, theirs = [await add_workspace(database) for _ in range(2)]
    foreign = await add_due(database, theirs)
    (own,) = await add_due(database, ours)
    async with Database(
        database_url, workspace_filter=lambda statement, _workspace: statement
    ) as unwalled:
        # It takes what is theirs, and the keys of the tables refuse to keep that.
        with pytest.raises((StaleDataError, IntegrityError)):
            await claim(unwalled, ours)

    assert [each.destination_id for each in await claim(database, ours)] == [own]
    assert [each.destination_id for each in await claim(database, theirs)] == foreign
