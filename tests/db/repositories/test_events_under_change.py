"""Pages of the change feed while events are appended or pruned between the statements that read them."""

from collections.abc import AsyncIterator
from functools import partial
from typing import NamedTuple

import pytest

from app.db.core.database import Database, Reader
from app.db.repositories.events import delete_events, read_events
from app.domain.errors import ResyncRequired
from app.domain.events import FEED_START, EventFilter, FeedPosition
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
"""Statements that read a page after a position."""


class InterceptedFeed(NamedTuple):
    """Feed of a workspace, with a reader whose statements a test can intercept."""

    database: Database
    workspace: WorkspaceId
    reader: Reader
    interceptor: InterceptingDriver

    async def reset(self) -> None:
        """Replace the feed by ten changes."""
        await delete_events_after(self.database, self.workspace, last_seq=0)
        await append_test_events(self.database, self.workspace, numbered_events(10))

    async def prune_four(self) -> None:
        await self.database.write(self.workspace, partial(delete_events, last_seq=4))


@pytest.fixture
async def feed(database: Database, database_url: str) -> AsyncIterator[InterceptedFeed]:
    workspace = await add_workspace(database)
    interceptor = InterceptingDriver()
    async with Database(database_url, wrap_driver=interceptor) as intercepted:
        yield InterceptedFeed(database, workspace, intercepted.reader(workspace), interceptor)


@pytest.mark.parametrize("event_filter", [ALL_CHANGES, EventFilter(kinds=[])], ids=["all", "none"])
@pytest.mark.parametrize("after", [FEED_START, FeedPosition(4, NOW)], ids=["start", "last pruned"])
async def test_page_is_refused_if_its_events_are_pruned_meanwhile(
    feed: InterceptedFeed, event_filter: EventFilter, after: FeedPosition
) -> None:
    for statement in range(STATEMENTS_PER_PAGE):
        await feed.reset()
        feed.interceptor.before_nth(statement, feed.prune_four)
        with pytest.raises(ResyncRequired):
            await read_events(feed.reader, after, event_filter, limit=9)
        assert await stored_seqs(feed.database, feed.workspace) == [5, 6, 7, 8, 9, 10]

    await feed.reset()
    feed.interceptor.before_nth(STATEMENTS_PER_PAGE, feed.prune_four)
    page = await read_events(feed.reader, after, event_filter, limit=9)
    seqs = [change.seq for change in page.events]
    assert seqs == ([] if event_filter.kinds == [] else list(range(after.seq + 1, 11))[:9])


async def test_scan_of_a_long_feed_never_skips_events_pruned_meanwhile(
    feed: InterceptedFeed,
) -> None:
    no_kinds = EventFilter(kinds=[])
    for statement in range(STATEMENTS_PER_PAGE + 1):  # one more for the end of the scan
        await feed.reset()
        feed.interceptor.before_nth(statement, feed.prune_four)
        with pytest.raises(ResyncRequired):
            await read_events(feed.reader, FEED_START, no_kinds, limit=9, scan_limit=3)

    ends = []
    for statement in range(STATEMENTS_PER_PAGE + 1):
        await feed.reset()
        feed.interceptor.before_nth(statement, feed.prune_four)
        page = await read_events(feed.reader, None, no_kinds, limit=9, scan_limit=3)
        ends.append((page.next_position.seq, page.has_more))
    # The scan starts at the oldest event. If the chosen end was pruned, it covers the whole feed.
    assert ends == [(7, True), (7, True), (10, False), (3, True)]


@pytest.mark.parametrize("after", [FeedPosition(5, NOW), None])
async def test_page_is_complete_if_only_events_before_its_cursor_are_pruned(
    feed: InterceptedFeed, after: FeedPosition | None
) -> None:
    firsts = []
    for statement in range(STATEMENTS_PER_PAGE):
        await feed.reset()
        feed.interceptor.before_nth(statement, feed.prune_four)
        page = await read_events(feed.reader, after, ALL_CHANGES, limit=100)
        seqs = [change.seq for change in page.events]
        assert seqs == list(range(seqs[0], 11))
        firsts.append(seqs[0])
    # Without a cursor the page starts at the oldest event that was stored when the changes were read.
    assert firsts == ([5, 5, 1] if after is None else [6, 6, 6])


async def test_event_appended_during_a_read_is_on_this_page_or_the_next(
    feed: InterceptedFeed,
) -> None:
    for statement in range(STATEMENTS_PER_PAGE):
        await feed.reset()
        feed.interceptor.before_nth(
            statement,
            partial(append_test_events, feed.database, feed.workspace, numbered_events(2)),
        )
        pages = [await read_events(feed.reader, FEED_START, ALL_CHANGES, limit=100)]
        assert (
            pages[0].next_position
            == pages[0].latest_position
            == FeedPosition(10 if statement else 12, NOW)
        )
        pages += await read_all_pages(feed.reader, pages[0].next_position, ALL_CHANGES, 100)
        assert seqs_per_page(pages) == list(range(1, 13))
