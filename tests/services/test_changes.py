"""What is forgotten of a feed and what is kept, whatever the clock has done. Reading is tested in db."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import event

from app.db.engine import Database
from app.db.events import check_position
from app.db.integrity import find_problems
from app.domain.events import FeedPosition
from app.domain.ids import WorkspaceId
from app.services.changes import forget_old_changes
from tests.clients import serving
from tests.db.contents import all_rows
from tests.db.feeds import (
    EVERYTHING,
    kept_numbers,
    numbered,
    numbers_on,
    pages,
    tell,
    tell_one_by_one,
)
from tests.factories import NOW, add_workspace
from tests.services.publishers import at_once, code_of

KEPT_FOR = timedelta(days=30)
MOMENT = timedelta(milliseconds=1)
OLD = NOW - KEPT_FOR - MOMENT
YOUNG = NOW - KEPT_FOR


async def forget(database: Database, now: datetime = NOW) -> None:
    await forget_old_changes(database, now, kept_for=KEPT_FOR)


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
        await tell_one_by_one(database, workspace, times)
        kept_in[workspace] = kept
    before = await all_rows(database)

    await forget(database)

    after = await all_rows(database)
    assert after["event"] == [row for row in before["event"] if row[1] in kept_in[row[0]]]
    assert {each: await kept_numbers(database, each) for each in kept_in} == kept_in
    assert {**after, "event": ()} == {**before, "event": ()}
    assert await find_problems(database) == []
    await forget(database)
    assert await all_rows(database) == after


async def test_who_looks_often_misses_nothing_where_next_to_nothing_happens(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    reader = database.read(workspace)
    await tell(database, workspace, numbered(3), at=OLD)
    await forget(database)
    seen_all = FeedPosition(3, OLD)

    await tell(database, workspace, numbered(2))
    await forget(database)

    assert numbers_on(await pages(reader, seen_all, EVERYTHING, 1)) == [4, 5]
    later = NOW + KEPT_FOR
    await forget(database, later)
    assert numbers_on(await pages(reader, seen_all, EVERYTHING, 1)) == [4, 5]
    await forget(database, later + MOMENT)
    assert await kept_numbers(database, workspace) == [5]
    assert await code_of(check_position(reader, seen_all)) == "resync_required"


async def test_a_cursor_that_is_good_afterwards_misses_nothing(database: Database) -> None:
    workspace = await add_workspace(database)
    times = [OLD, OLD, OLD, YOUNG, OLD, NOW, NOW]
    await tell_one_by_one(database, workspace, times)
    await forget(database)

    reader = database.read(workspace)
    found: list[object] = []
    for seq, at in enumerate(times, 1):
        position = FeedPosition(seq, at)
        code = await code_of(check_position(reader, position))
        found.append(code or numbers_on(await pages(reader, position, EVERYTHING, 2)))
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
    await tell(database, workspace, numbered(old), at=OLD)
    await tell(database, workspace, numbered(2), at=YOUNG)
    deleted: list[int] = []

    def note(_connection: object, cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("DELETE"):
            deleted.append(getattr(cursor, "rowcount"))  # noqa: B009 - of any driver

    engine = database.writing.sync_engine
    event.listen(engine, "after_cursor_execute", note)
    try:
        await forget(database)
    finally:
        event.remove(engine, "after_cursor_execute", note)

    gone = old - 1
    assert deleted == [1000] * (gone // 1000) + [gone % 1000] * bool(gone % 1000)
    assert await kept_numbers(database, workspace) == [old, old + 1, old + 2]


async def test_several_processes_may_forget_at_once_while_somebody_writes(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    await tell(database, workspace, numbered(2100), at=OLD)
    async with Database(database_url, timeout=timedelta(minutes=1)) as other:
        await at_once(
            [
                *(forget(each) for each in (database, other, database, other)),
                *(tell(other, workspace, numbered(1)) for _ in range(5)),
            ]
        )
    assert await kept_numbers(database, workspace) == list(range(2100, 2106))
    assert await find_problems(database) == []


async def test_a_service_forgets_what_is_older_than_it_is_told_to_keep(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    await tell(database, workspace, numbered(3), at=OLD)
    await tell(database, workspace, numbered(3), at=NOW)
    async with serving(database, now=YOUNG):
        pass
    assert await kept_numbers(database, workspace) == [1, 2, 3, 4, 5, 6]
    async with serving(database):
        pass
    assert await kept_numbers(database, workspace) == [3, 4, 5, 6]
