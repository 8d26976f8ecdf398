"""Pages of a feed in which something happens, or is forgotten, between the statements that read them."""

from collections.abc import AsyncIterator
from functools import partial
from typing import NamedTuple

import pytest

from app.db.core.database import Database, Reader
from app.db.repositories.events import delete_events, read_changes
from app.domain.errors import ResyncRequired
from app.domain.events import FEED_START, ChangeFilter, FeedPosition
from app.domain.ids import WorkspaceId
from tests.db.core.intercepting_driver import InterceptingDriver
from tests.db.repositories.event_rows import (
    ALL_CHANGES,
    append_test_events,
    delete_events_after,
    numbered_events,
    read_all_pages,
    seqs_per_page,
    stored_seqs,
)
from tests.factories import NOW, add_workspace

STATEMENTS_PER_PAGE = 3
"""By which a page after a position is read."""


class InterceptedFeed(NamedTuple):
    """Of a workspace, and what is between its reader and the database."""

    database: Database
    workspace: WorkspaceId
    reader: Reader
    interceptor: InterceptingDriver

    async def reset(self) -> None:
        """With ten changes."""
        await delete_events_after(self.database, self.workspace, last_seq=0)
        await append_test_events(self.database, self.workspace, numbered_events(10))

    async def prune_four(self) -> None:
        await self.database.write(partial(delete_events, workspace_id=self.workspace, last_seq=4))


@pytest.fixture
async def feed(database: Database, database_url: str) -> AsyncIterator[InterceptedFeed]:
    workspace = await add_workspace(database)
    between = InterceptingDriver()
    async with Database(database_url, wrap_driver=between) as read_meanwhile:
        yield InterceptedFeed(database, workspace, read_meanwhile.read(workspace), between)


@pytest.mark.parametrize("wanted", [ALL_CHANGES, ChangeFilter(kinds=[])], ids=["all", "none"])
@pytest.mark.parametrize(
    "after", [FEED_START, FeedPosition(4, NOW)], ids=["start", "last forgotten"]
)
async def test_a_page_from_which_something_was_forgotten_meanwhile_is_refused(
    feed: InterceptedFeed, wanted: ChangeFilter, after: FeedPosition
) -> None:
    for statement in range(STATEMENTS_PER_PAGE):
        await feed.reset()
        feed.interceptor.before_nth(statement, feed.prune_four)
        with pytest.raises(ResyncRequired):
            await read_changes(feed.reader, after, wanted, limit=9)
        assert await stored_seqs(feed.database, feed.workspace) == [5, 6, 7, 8, 9, 10]

    await feed.reset()
    feed.interceptor.before_nth(STATEMENTS_PER_PAGE, feed.prune_four)
    page = await read_changes(feed.reader, after, wanted, limit=9)
    found = [each.seq for each in page.changes]
    assert found == ([] if wanted.kinds == [] else list(range(after.seq + 1, 11))[:9])


async def test_of_a_long_feed_too_nothing_is_passed_over_that_was_forgotten_meanwhile(
    feed: InterceptedFeed,
) -> None:
    nothing = ChangeFilter(kinds=[])
    for statement in range(STATEMENTS_PER_PAGE + 1):  # one more: where to end
        await feed.reset()
        feed.interceptor.before_nth(statement, feed.prune_four)
        with pytest.raises(ResyncRequired):
            await read_changes(feed.reader, FEED_START, nothing, limit=9, scan_limit=3)

    ends = []
    for statement in range(STATEMENTS_PER_PAGE + 1):
        await feed.reset()
        feed.interceptor.before_nth(statement, feed.prune_four)
        page = await read_changes(feed.reader, None, nothing, limit=9, scan_limit=3)
        ends.append((page.next_position.seq, page.has_more))
    # It begins with the oldest there is; where the end that it has chosen is gone, it looks at all.
    assert ends == [(7, True), (7, True), (10, False), (3, True)]


@pytest.mark.parametrize("after", [FeedPosition(5, NOW), None])
async def test_a_page_is_whole_where_nothing_after_its_cursor_was_forgotten(
    feed: InterceptedFeed, after: FeedPosition | None
) -> None:
    firsts = []
    for statement in range(STATEMENTS_PER_PAGE):
        await feed.reset()
        feed.interceptor.before_nth(statement, feed.prune_four)
        page = await read_changes(feed.reader, after, ALL_CHANGES, limit=100)
        found = [each.seq for each in page.changes]
        assert found == list(range(found[0], 11))
        firsts.append(found[0])
    # Without a cursor it begins with whatever was kept when the changes were read.
    assert firsts == ([5, 5, 1] if after is None else [6, 6, 6])


async def test_what_happens_while_a_page_is_read_is_on_it_or_on_the_next_one(
    feed: InterceptedFeed,
) -> None:
    for statement in range(STATEMENTS_PER_PAGE):
        await feed.reset()
        feed.interceptor.before_nth(
            statement,
            partial(append_test_events, feed.database, feed.workspace, numbered_events(2)),
        )
        read = [await read_changes(feed.reader, FEED_START, ALL_CHANGES, limit=100)]
        assert (
            read[0].next_position
            == read[0].latest_position
            == FeedPosition(10 if statement else 12, NOW)
        )
        read += await read_all_pages(feed.reader, read[0].next_position, ALL_CHANGES, 100)
        assert seqs_per_page(read) == list(range(1, 13))
