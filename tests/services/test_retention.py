"""What is forgotten of a feed and what is kept, whatever the clock has done. Reading is tested in db."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import event

from app.db.core.database import Database
from app.db.repositories.events import check_position
from app.db.tools.integrity import find_problems
from app.domain.events import FeedPosition
from app.domain.ids import WorkspaceId
from app.services.retention import prune_events
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
    # A clock that was set back.
    ([EXPIRED_AT, EXPIRED_AT, RETAINED_AT, EXPIRED_AT, EXPIRED_AT], [2, 3, 4, 5]),
    ([RETAINED_AT, EXPIRED_AT, EXPIRED_AT], [1, 2, 3]),
    ([EXPIRED_AT, EXPIRED_AT, EXPIRED_AT, NOW + RETENTION, EXPIRED_AT, EXPIRED_AT, NOW], [3, 4, 5, 6, 7]),
]
"""When things happened in a workspace, and which of them are kept."""


async def test_of_what_is_old_the_last_stays_and_whatever_is_behind_it(
    database: Database,
) -> None:
    kept_in: dict[WorkspaceId, list[int]] = {}
    for times, kept in RETENTION_CASES:
        workspace = await add_workspace(database)
        await append_events_at(database, workspace, times)
        kept_in[workspace] = kept
    before = await all_rows(database)

    await prune(database)

    after = await all_rows(database)
    assert after["event"] == [row for row in before["event"] if row[1] in kept_in[row[0]]]
    assert {each: await stored_seqs(database, each) for each in kept_in} == kept_in
    assert {**after, "event": ()} == {**before, "event": ()}
    assert await find_problems(database) == []
    await prune(database)
    assert await all_rows(database) == after


async def test_who_looks_often_misses_nothing_where_next_to_nothing_happens(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    reader = database.read(workspace)
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


async def test_a_cursor_that_is_good_afterwards_misses_nothing(database: Database) -> None:
    workspace = await add_workspace(database)
    times = [EXPIRED_AT, EXPIRED_AT, EXPIRED_AT, RETAINED_AT, EXPIRED_AT, NOW, NOW]
    await append_events_at(database, workspace, times)
    await prune(database)

    reader = database.read(workspace)
    found: list[object] = []
    for seq, at in enumerate(times, 1):
        position = FeedPosition(seq, at)
        code = await error_code(check_position(reader, position))
        found.append(code or seqs_per_page(await read_all_pages(reader, position, ALL_CHANGES, 2)))
    assert found == [
        "resync_required",
        "resync_required",
        [4, 5, 6, 7],
        [5, 6, 7],
        [6, 7],
        [7],
        [],
    ]


@pytest.mark.parametrize("old", [1001, 2001, 2500])
async def test_however_many_are_old_all_of_them_go_a_thousand_at_once(
    database: Database, old: int
) -> None:
    workspace = await add_workspace(database)
    await append_test_events(database, workspace, numbered_events(old), occurred_at=EXPIRED_AT)
    await append_test_events(database, workspace, numbered_events(2), occurred_at=RETAINED_AT)
    deleted: list[int] = []

    def note(_connection: object, cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("DELETE"):
            deleted.append(getattr(cursor, "rowcount"))  # noqa: B009 - of any driver

    engine = database.write_engine.sync_engine
    event.listen(engine, "after_cursor_execute", note)
    try:
        await prune(database)
    finally:
        event.remove(engine, "after_cursor_execute", note)

    gone = old - 1
    assert deleted == [1000] * (gone // 1000) + [gone % 1000] * bool(gone % 1000)
    assert await stored_seqs(database, workspace) == [old, old + 1, old + 2]


async def test_several_processes_may_forget_at_once_while_somebody_writes(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    await append_test_events(database, workspace, numbered_events(2100), occurred_at=EXPIRED_AT)
    async with Database(database_url, timeout=timedelta(minutes=1)) as other:
        await run_concurrently(
            [
                *(prune(each) for each in (database, other, database, other)),
                *(append_test_events(other, workspace, numbered_events(1)) for _ in range(5)),
            ]
        )
    assert await stored_seqs(database, workspace) == list(range(2100, 2106))
    assert await find_problems(database) == []


async def test_a_service_forgets_what_is_older_than_it_is_told_to_keep(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    await append_test_events(database, workspace, numbered_events(3), occurred_at=EXPIRED_AT)
    await append_test_events(database, workspace, numbered_events(3), occurred_at=NOW)
    async with app_client(database, now=RETAINED_AT):
        pass
    assert await stored_seqs(database, workspace) == [1, 2, 3, 4, 5, 6]
    async with app_client(database):
        pass
    assert await stored_seqs(database, workspace) == [3, 4, 5, 6]
