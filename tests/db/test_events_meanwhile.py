"""Pages of a feed in which something happens, or is forgotten, between the statements that read them."""

from collections.abc import AsyncIterator
from functools import partial
from typing import NamedTuple

import pytest

from app.db.engine import Database, Reader
from app.db.events import forget_events, read_changes
from app.domain.errors import ResyncRequired
from app.domain.events import START, ChangeFilter, FeedPosition
from app.domain.ids import WorkspaceId
from tests.db.between import Between
from tests.db.feeds import (
    EVERYTHING,
    kept_numbers,
    numbered,
    numbers_on,
    pages,
    restore,
    tell,
)
from tests.factories import NOW, add_workspace

STATEMENTS = 3
"""By which a page after a position is read."""


class Feed(NamedTuple):
    """Of a workspace, and what is between its reader and the database."""

    database: Database
    workspace: WorkspaceId
    reader: Reader
    between: Between

    async def begin_anew(self) -> None:
        """With ten changes."""
        await restore(self.database, self.workspace, until=0)
        await tell(self.database, self.workspace, numbered(10))

    async def forget_four(self) -> None:
        await self.database.write(partial(forget_events, workspace_id=self.workspace, until=4))


@pytest.fixture
async def feed(database: Database, database_url: str) -> AsyncIterator[Feed]:
    workspace = await add_workspace(database)
    between = Between()
    async with Database(database_url, driven_by=between) as read_meanwhile:
        yield Feed(database, workspace, read_meanwhile.read(workspace), between)


@pytest.mark.parametrize("wanted", [EVERYTHING, ChangeFilter(kinds=[])], ids=["all", "none"])
@pytest.mark.parametrize("after", [START, FeedPosition(4, NOW)], ids=["start", "last forgotten"])
async def test_a_page_from_which_something_was_forgotten_meanwhile_is_refused(
    feed: Feed, wanted: ChangeFilter, after: FeedPosition
) -> None:
    for statement in range(STATEMENTS):
        await feed.begin_anew()
        feed.between.once_before(statement, feed.forget_four)
        with pytest.raises(ResyncRequired):
            await read_changes(feed.reader, after, wanted, limit=9)
        assert await kept_numbers(feed.database, feed.workspace) == [5, 6, 7, 8, 9, 10]

    await feed.begin_anew()
    feed.between.once_before(STATEMENTS, feed.forget_four)
    page = await read_changes(feed.reader, after, wanted, limit=9)
    found = [each.seq for each in page.found]
    assert found == ([] if wanted.kinds == [] else list(range(after.seq + 1, 11))[:9])


async def test_of_a_long_feed_too_nothing_is_passed_over_that_was_forgotten_meanwhile(
    feed: Feed,
) -> None:
    nothing = ChangeFilter(kinds=[])
    for statement in range(STATEMENTS + 1):  # one more: where to end
        await feed.begin_anew()
        feed.between.once_before(statement, feed.forget_four)
        with pytest.raises(ResyncRequired):
            await read_changes(feed.reader, START, nothing, limit=9, looks_at=3)

    ends = []
    for statement in range(STATEMENTS + 1):
        await feed.begin_anew()
        feed.between.once_before(statement, feed.forget_four)
        page = await read_changes(feed.reader, None, nothing, limit=9, looks_at=3)
        ends.append((page.until.seq, page.has_more))
    # It begins with the oldest there is; where the end that it has chosen is gone, it looks at all.
    assert ends == [(7, True), (7, True), (10, False), (3, True)]


@pytest.mark.parametrize("after", [FeedPosition(5, NOW), None])
async def test_a_page_is_whole_where_nothing_after_its_cursor_was_forgotten(
    feed: Feed, after: FeedPosition | None
) -> None:
    firsts = []
    for statement in range(STATEMENTS):
        await feed.begin_anew()
        feed.between.once_before(statement, feed.forget_four)
        page = await read_changes(feed.reader, after, EVERYTHING, limit=100)
        found = [each.seq for each in page.found]
        assert found == list(range(found[0], 11))
        firsts.append(found[0])
    # Without a cursor it begins with whatever was kept when the changes were read.
    assert firsts == ([5, 5, 1] if after is None else [6, 6, 6])


async def test_what_happens_while_a_page_is_read_is_on_it_or_on_the_next_one(feed: Feed) -> None:
    for statement in range(STATEMENTS):
        await feed.begin_anew()
        feed.between.once_before(
            statement, partial(tell, feed.database, feed.workspace, numbered(2))
        )
        read = [await read_changes(feed.reader, START, EVERYTHING, limit=100)]
        assert read[0].until == read[0].newest == FeedPosition(10 if statement else 12, NOW)
        read += await pages(feed.reader, read[0].until, EVERYTHING, 100)
        assert numbers_on(read) == list(range(1, 13))
