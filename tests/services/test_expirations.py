"""Leases that end: settled once, by whoever comes first, wherever they are, and at what cost."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.models import Attempt, Destination, Event
from app.db.tools.integrity import find_problems
from app.domain.errors import ServiceUnavailable
from app.domain.settlement import Receipt
from app.services.expirations import MAX_LEASES_PER_RUN, settle_expired_leases
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.factories import NOW, add_account, add_post, add_workspace, queued
from tests.recording_driver import record_statements
from tests.services.publishing_calls import MINUTE, claim, report_published, start_attempt

SECOND = timedelta(seconds=1)


async def add_leases(database: Database, posts: int, *, accounts: int = 2) -> None:
    """In a workspace of its own: claimed, and all but those of the first account started."""
    workspace = await add_workspace(database)
    on = [await add_account(database, workspace) for _ in range(accounts)]
    for _ in range(posts):
        await add_post(database, workspace, dict.fromkeys(on, queued()))
    for each in await claim(database):
        if each.account.id != on[0]:
            await start_attempt(database, each.lease)


async def destination_outcomes(database: Database) -> Counter[tuple[object, ...]]:
    async with database.unscoped_connection() as connection:
        rows = await connection.execute(
            select(Destination.status, Destination.outcome, Destination.error_code)
        )
        return Counter(tuple(row) for row in rows)


RELEASED_OUTCOME = ("queued", "none", None)
UNKNOWN_OUTCOME = ("failed", "unknown", "OUTCOME_UNKNOWN")


async def test_what_was_started_is_unknown_and_the_rest_is_anybodys(database: Database) -> None:
    for _ in range(2):
        await add_leases(database, 3)

    await settle_expired_leases(database, NOW + MINUTE)

    assert await destination_outcomes(database) == {RELEASED_OUTCOME: 6, UNKNOWN_OUTCOME: 6}
    assert len(await claim(database, now=NOW + MINUTE)) == 6
    assert await find_problems(database) == []


async def test_nothing_is_settled_before_its_lease_ends_and_that_costs_one_statement(
    database: Database,
) -> None:
    await add_leases(database, 3)
    before = await all_rows(database)

    with record_statements(database) as statements:
        await settle_expired_leases(database, NOW + MINUTE - SECOND)

    assert len(statements) == 1
    assert await all_rows(database) == before


async def test_processes_at_once_settle_each_lease_once(
    database: Database, database_url: str
) -> None:
    await add_leases(database, 10)

    async def process() -> None:
        async with Database(database_url, timeout=MINUTE) as own:
            await settle_expired_leases(own, NOW + MINUTE)

    await asyncio.gather(*(process() for _ in range(4)))

    assert await destination_outcomes(database) == {RELEASED_OUTCOME: 10, UNKNOWN_OUTCOME: 10}
    async with database.unscoped_connection() as connection:
        lost = [
            row.destination_id
            for row in await connection.execute(
                select(Event.destination_id, Event.payload).where(
                    Event.kind == "destination.changed"
                )
            )
            if row.payload["operation"] == "loseLease"
        ]
        ends = Counter(await connection.scalars(select(Attempt.outcome)))
    assert len(lost) == len(set(lost)) == 20
    assert ends == {"unknown": 10}
    assert await find_problems(database) == []


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_a_call_settles_so_many_and_the_next_one_goes_on(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    for _ in range(MAX_LEASES_PER_RUN + 1):
        await add_post(acme.database, acme.workspace, {account: queued()})
    for _ in range(3):
        await claim(acme.database)

    counts = []
    for _ in range(2):
        await settle_expired_leases(acme.database, NOW + MINUTE)
        counts.append((await destination_outcomes(acme.database))[RELEASED_OUTCOME])

    assert counts == [MAX_LEASES_PER_RUN, MAX_LEASES_PER_RUN + 1]


async def test_what_is_reported_while_it_is_settled_is_not_lost(
    acme: Tenant, database_url: str
) -> None:
    account = await add_account(acme.database, acme.workspace)
    for _ in range(10):
        await add_post(acme.database, acme.workspace, {account: queued()})
    claims = await claim(acme.database)
    for each in claims:
        await start_attempt(acme.database, each.lease)
    late = NOW + MINUTE

    async with Database(database_url, timeout=MINUTE, pool_size=12) as busy:
        told = await asyncio.gather(
            *(report_published(busy, each.lease, late) for each in claims),
            settle_expired_leases(busy, late),
            settle_expired_leases(busy, late),
        )

    assert [each.receipt for each in told[:10] if each] == [Receipt.RECORDED] * 10
    assert await destination_outcomes(acme.database) == {("published", "published", None): 10}
    assert await find_problems(acme.database) == []


async def test_a_post_that_somebody_holds_for_too_long_holds_up_no_other(
    database: Database, database_url: str
) -> None:
    """On SQLite whoever holds anything holds everything."""
    if database.is_sqlite:
        return
    await add_leases(database, 3)
    async with database.write_engine.begin() as connection:
        held = await connection.scalar(
            select(Destination.post_id).limit(1).order_by(Destination.id)
        )
        await connection.exec_driver_sql(f"SELECT 1 FROM post WHERE id = '{held}' FOR UPDATE")
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
