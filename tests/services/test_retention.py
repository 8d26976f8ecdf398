"""Tests of the retention of events and idempotency keys."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.models import IdempotencyKey
from app.db.repositories.events import check_position
from app.db.tools.integrity import find_problems
from app.domain.events import FeedPosition
from app.domain.ids import WorkspaceId
from app.services.expirations import prune_events, prune_idempotency_keys
from tests.clients import app_client
from tests.db.all_tables import all_rows
from tests.db.repositories.event_rows import (
    ALL_CHANGES,
    append_events_at,
    append_test_events,
    numbered_events,
    read_all_pages,
    seqs_per_page,
    stored_seqs,
)
from tests.factories import NOW, add_workspace
from tests.raw_statements import insert_raw
from tests.recording_driver import record_writes
from tests.services.publishing_calls import error_code, run_concurrently

RETENTION = timedelta(days=30)
MOMENT = timedelta(milliseconds=1)
EXPIRED_AT = NOW - RETENTION - MOMENT
RETAINED_AT = NOW - RETENTION


async def prune(database: Database, now: datetime = NOW) -> None:
    await prune_events(database, now, retention=RETENTION)


RETENTION_CASES: list[tuple[list[datetime], list[int]]] = [
    ([], []),
    ([EXPIRED_AT], [1]),
    ([EXPIRED_AT, EXPIRED_AT, EXPIRED_AT], [3]),
    ([EXPIRED_AT, EXPIRED_AT, RETAINED_AT], [2, 3]),
    ([EXPIRED_AT, EXPIRED_AT, EXPIRED_AT, RETAINED_AT, NOW], [3, 4, 5]),
    ([EXPIRED_AT, RETAINED_AT, NOW], [1, 2, 3]),
    ([RETAINED_AT, RETAINED_AT], [1, 2]),
    # The clock was set back.
    ([EXPIRED_AT, EXPIRED_AT, RETAINED_AT, EXPIRED_AT, EXPIRED_AT], [2, 3, 4, 5]),
    ([RETAINED_AT, EXPIRED_AT, EXPIRED_AT], [1, 2, 3]),
    (
        [EXPIRED_AT, EXPIRED_AT, EXPIRED_AT, NOW + RETENTION, EXPIRED_AT, EXPIRED_AT, NOW],
        [3, 4, 5, 6, 7],
    ),
]
"""Times of a workspace's events, and the sequence numbers that are retained."""


async def test_newest_expired_event_and_all_after_it_are_retained(database: Database) -> None:
    retained: dict[WorkspaceId, list[int]] = {}
    for times, seqs in RETENTION_CASES:
        workspace = await add_workspace(database)
        await append_events_at(database, workspace, times)
        retained[workspace] = seqs
    before = await all_rows(database)

    await prune(database)

    after = await all_rows(database)
    assert after["event"] == [row for row in before["event"] if row[1] in retained[row[0]]]
    assert {key: await stored_seqs(database, key) for key in retained} == retained
    assert {**after, "event": ()} == {**before, "event": ()}
    assert await find_problems(database) == []
    await prune(database)
    assert await all_rows(database) == after


async def test_cursor_stays_valid_while_little_happens(database: Database) -> None:
    workspace = await add_workspace(database)
    reader = database.reader(workspace)
    await append_test_events(database, workspace, numbered_events(3), occurred_at=EXPIRED_AT)
    await prune(database)
    seen_all = FeedPosition(3, EXPIRED_AT)

    await append_test_events(database, workspace, numbered_events(2))
    await prune(database)

    assert seqs_per_page(await read_all_pages(reader, seen_all, ALL_CHANGES, 1)) == [4, 5]
    later = NOW + RETENTION
    await prune(database, later)
    assert seqs_per_page(await read_all_pages(reader, seen_all, ALL_CHANGES, 1)) == [4, 5]
    await prune(database, later + MOMENT)
    assert await stored_seqs(database, workspace) == [5]
    assert await error_code(check_position(reader, seen_all)) == "resync_required"


@pytest.mark.parametrize("old", [1001, 2001, 2500])
async def test_events_are_pruned_in_batches_of_a_thousand(database: Database, old: int) -> None:
    workspace = await add_workspace(database)
    await append_test_events(database, workspace, numbered_events(old), occurred_at=EXPIRED_AT)
    await append_test_events(database, workspace, numbered_events(2), occurred_at=RETAINED_AT)

    with record_writes(database) as statements:
        await prune(database)

    last_seqs = [statement.arguments[0] for statement in statements]
    assert last_seqs == [*range(1000, old, 1000)] + [old - 1] * bool((old - 1) % 1000)
    assert await stored_seqs(database, workspace) == [old, old + 1, old + 2]


async def test_concurrent_processes_prune_while_events_are_appended(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    await append_test_events(database, workspace, numbered_events(2100), occurred_at=EXPIRED_AT)
    async with Database(database_url, timeout=timedelta(minutes=1)) as other:
        await run_concurrently(
            [
                *(prune(d) for d in (database, other, database, other)),
                *(append_test_events(other, workspace, numbered_events(1)) for _ in range(5)),
            ]
        )
    assert await stored_seqs(database, workspace) == list(range(2100, 2106))
    assert await find_problems(database) == []


async def test_server_prunes_events_beyond_the_configured_retention(database: Database) -> None:
    workspace = await add_workspace(database)
    await append_test_events(database, workspace, numbered_events(3), occurred_at=EXPIRED_AT)
    await append_test_events(database, workspace, numbered_events(3), occurred_at=NOW)
    async with app_client(database, now=RETAINED_AT):
        pass
    assert await stored_seqs(database, workspace) == [1, 2, 3, 4, 5, 6]
    async with app_client(database):
        pass
    assert await stored_seqs(database, workspace) == [3, 4, 5, 6]


# Idempotency keys.


async def add_keys(database: Database, workspace: WorkspaceId, *expiries: datetime) -> None:
    rows: list[dict[str, Any]] = [
        {
            "workspace_id": workspace,
            "operation": "createPost",
            "key": f"given:{number}",
            "fingerprint": bytes(32),
            "outcome": {},
            "created_at": NOW,
            "expires_at": expires_at,
        }
        for number, expires_at in enumerate(expiries)
    ]

    await database.write_all_workspaces(lambda session: insert_raw(session, IdempotencyKey, rows))


async def stored_keys(database: Database) -> list[datetime]:
    async with database.read_connection() as connection:
        return list(
            await connection.scalars(
                select(IdempotencyKey.expires_at).order_by(IdempotencyKey.expires_at)
            )
        )


async def test_all_expired_idempotency_keys_are_pruned(database: Database) -> None:
    unexpired = [NOW + timedelta(milliseconds=1), NOW + timedelta(days=1)]
    for number in range(2):
        workspace = await add_workspace(database)
        expired = [NOW - timedelta(seconds=second // 2) for second in range(1, 1300)]
        await add_keys(database, workspace, *expired, NOW, unexpired[number])

    await prune_idempotency_keys(database, NOW)

    assert await stored_keys(database) == unexpired
    await prune_idempotency_keys(database, NOW)
    assert await stored_keys(database) == unexpired
