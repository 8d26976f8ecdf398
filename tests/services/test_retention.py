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

KEPT_FOR = timedelta(days=30)
MOMENT = timedelta(milliseconds=1)
OLD = NOW - KEPT_FOR - MOMENT
YOUNG = NOW - KEPT_FOR


async def forget(database: Database, now: datetime = NOW) -> None:
    await prune_events(database, now, retention=KEPT_FOR)


HISTORIES: list[tuple[list[datetime], list[int]]] = [
    ([], []),
    ([OLD], [1]),
    ([OLD, OLD, OLD], [3]),
    ([OLD, OLD, YOUNG], [2, 3]),
    ([OLD, OLD, OLD, YOUNG, NOW], [3, 4, 5]),
    ([OLD, YOUNG, NOW], [1, 2, 3]),
    ([YOUNG, YOUNG], [1, 2]),
    # A clock that was set back.
    ([OLD, OLD, YOUNG, OLD, OLD], [2, 3, 4, 5]),
    ([YOUNG, OLD, OLD], [1, 2, 3]),
    ([OLD, OLD, OLD, NOW + KEPT_FOR, OLD, OLD, NOW], [3, 4, 5, 6, 7]),
]
"""When things happened in a workspace, and which of them are kept."""


async def test_of_what_is_old_the_last_stays_and_whatever_is_behind_it(
    database: Database,
) -> None:
    kept_in: dict[WorkspaceId, list[int]] = {}
    for times, kept in HISTORIES:
        workspace = await add_workspace(database)
        await append_events_at(database, workspace, times)
        kept_in[workspace] = kept
    before = await all_rows(database)

    await forget(database)

    after = await all_rows(database)
    assert after["event"] == [row for row in before["event"] if row[1] in kept_in[row[0]]]
    assert {each: await stored_seqs(database, each) for each in kept_in} == kept_in
    assert {**after, "event": ()} == {**before, "event": ()}
    assert await find_problems(database) == []
    await forget(database)
    assert await all_rows(database) == after


async def test_who_looks_often_misses_nothing_where_next_to_nothing_happens(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    reader = database.read(workspace)
    await append_test_events(database, workspace, numbered_events(3), occurred_at=OLD)
    await forget(database)
    seen_all = FeedPosition(3, OLD)

    await append_test_events(database, workspace, numbered_events(2))
    await forget(database)

    assert seqs_per_page(await read_all_pages(reader, seen_all, ALL_CHANGES, 1)) == [4, 5]
    later = NOW + KEPT_FOR
    await forget(database, later)
    assert seqs_per_page(await read_all_pages(reader, seen_all, ALL_CHANGES, 1)) == [4, 5]
    await forget(database, later + MOMENT)
    assert await stored_seqs(database, workspace) == [5]
    assert await error_code(check_position(reader, seen_all)) == "resync_required"


async def test_a_cursor_that_is_good_afterwards_misses_nothing(database: Database) -> None:
    workspace = await add_workspace(database)
    times = [OLD, OLD, OLD, YOUNG, OLD, NOW, NOW]
    await append_events_at(database, workspace, times)
    await forget(database)

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
    await append_test_events(database, workspace, numbered_events(old), occurred_at=OLD)
    await append_test_events(database, workspace, numbered_events(2), occurred_at=YOUNG)
    deleted: list[int] = []

    def note(_connection: object, cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("DELETE"):
            deleted.append(getattr(cursor, "rowcount"))  # noqa: B009 - of any driver

    engine = database.write_engine.sync_engine
    event.listen(engine, "after_cursor_execute", note)
    try:
        await forget(database)
    finally:
        event.remove(engine, "after_cursor_execute", note)

    gone = old - 1
    assert deleted == [1000] * (gone // 1000) + [gone % 1000] * bool(gone % 1000)
    assert await stored_seqs(database, workspace) == [old, old + 1, old + 2]


async def test_several_processes_may_forget_at_once_while_somebody_writes(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    await append_test_events(database, workspace, numbered_events(2100), occurred_at=OLD)
    async with Database(database_url, timeout=timedelta(minutes=1)) as other:
        await run_concurrently(
            [
                *(forget(each) for each in (database, other, database, other)),
                *(append_test_events(other, workspace, numbered_events(1)) for _ in range(5)),
            ]
        )
    assert await stored_seqs(database, workspace) == list(range(2100, 2106))
    assert await find_problems(database) == []


async def test_a_service_forgets_what_is_older_than_it_is_told_to_keep(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    await append_test_events(database, workspace, numbered_events(3), occurred_at=OLD)
    await append_test_events(database, workspace, numbered_events(3), occurred_at=NOW)
    async with app_client(database, now=YOUNG):
        pass
    assert await stored_seqs(database, workspace) == [1, 2, 3, 4, 5, 6]
    async with app_client(database):
        pass
    assert await stored_seqs(database, workspace) == [3, 4, 5, 6]
