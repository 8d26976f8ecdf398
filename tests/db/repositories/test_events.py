"""Pages of the change feed: every change once and in order, or ResyncRequired."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from itertools import cycle, groupby, islice
from math import ceil
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest

from app.db.core.database import Database
from app.db.repositories.events import (
    EventPage,
    check_position,
    delete_events,
    latest_position,
    read_contiguous_events,
    read_earlier_events,
    read_events,
    read_events_after,
)
from app.domain.errors import ResyncRequired
from app.domain.events import FEED_START, Event, EventFilter, EventKind, FeedPosition
from app.domain.ids import ApiKeyId, DestinationId, PostId, WorkspaceId
from tests.db.all_tables import all_rows
from tests.db.repositories.event_rows import (
    ALL_CHANGES,
    append_events_at,
    append_test_events,
    delete_events_after,
    numbered_events,
    read_all_pages,
    seqs_per_page,
)
from tests.factories import NOW, add_account, add_post, add_workspace
from tests.recording_driver import record_statements
from tests.services.publishing_calls import error_code

SECOND = timedelta(seconds=1)
POST, OTHER_POST = PostId(UUID(int=1)), PostId(UUID(int=2))
DESTINATION = DestinationId(UUID(int=5))
KEY = ApiKeyId(UUID(int=7))
CHANGE_COUNT = 205


class EventSummary(NamedTuple):
    """Properties of a change that filters use."""

    kind: EventKind
    post_id: PostId | None
    actor: ApiKeyId | None
    person: str | None
    operation: str
    destination_id: DestinationId | None


FILTERS: dict[str, tuple[EventFilter, Callable[[EventSummary], bool]]] = {
    "all": (ALL_CHANGES, lambda _change: True),
    "one type": (
        EventFilter(kinds=[EventKind.POST_CREATED]),
        lambda change: change.kind == "post.created",
    ),
    "two types, one of them twice": (
        EventFilter(
            kinds=[EventKind.ACCOUNT_CHANGED, EventKind.POST_DELETED, EventKind.ACCOUNT_CHANGED]
        ),
        lambda change: change.kind in ("account.changed", "post.deleted"),
    ),
    "every type": (EventFilter(kinds=list(EventKind)), lambda _change: True),
    "no type": (EventFilter(kinds=[]), lambda _change: False),
    "a post": (EventFilter(post_id=POST), lambda change: change.post_id == POST),
    "no post": (EventFilter(post_id=PostId(UUID(int=99))), lambda _change: False),
    "both": (
        EventFilter(kinds=[EventKind.DESTINATION_CHANGED], post_id=OTHER_POST),
        lambda change: change[:2] == (EventKind.DESTINATION_CHANGED, OTHER_POST),
    ),
    "a key": (EventFilter(actor=KEY), lambda change: change.actor == KEY),
    "a person": (EventFilter(person="Ann"), lambda change: change.person == "Ann"),
    "a person in another case": (EventFilter(person="ann"), lambda _change: False),
    "a person with a key, on a post": (
        EventFilter(actor=KEY, person="Ann", post_id=POST),
        lambda change: change[1:4] == (POST, KEY, "Ann"),
    ),
    "a destination": (
        EventFilter(destination_id=DESTINATION),
        lambda change: change.destination_id == DESTINATION,
    ),
    "a destination on a post, without two operations": (
        EventFilter(
            post_id=POST,
            destination_id=DESTINATION,
            excluded_operations=["claimDestinations", "reportFailed"],
        ),
        lambda change: change[1] == POST and change[4:] == ("retryPost", DESTINATION),
    ),
    "without an operation": (
        EventFilter(excluded_operations=["retryPost"]),
        lambda change: change.operation != "retryPost",
    ),
    "without no operation": (EventFilter(excluded_operations=[]), lambda _change: True),
    "no type, of a post": (EventFilter(kinds=[], post_id=POST), lambda _change: False),
}


@pytest.fixture(name="workspace")
async def add_workspace_with_posts(anyio_backend: str, database: Database) -> WorkspaceId:
    """Workspace with two posts, beside another workspace with events."""
    other = await add_workspace(database)
    await append_test_events(database, other, numbered_events(7), occurred_at=NOW - SECOND)
    own = await add_workspace(database)
    for post in (POST, OTHER_POST):
        await add_post(database, own, id=post)
    return own


async def append_all_kinds(database: Database, workspace: WorkspaceId) -> list[EventSummary]:
    """Append many events, with all kinds, posts, keys and persons among them."""
    appended = list(
        map(
            EventSummary,
            islice(cycle(EventKind), CHANGE_COUNT),
            cycle([POST, OTHER_POST, None, POST]),
            cycle([KEY] * 5 + [None] * 5),
            cycle([None] * 10 + ["Ann"] * 10 + ["Ben"] * 5),
            cycle(["claimDestinations"] * 5 + ["reportFailed"] * 5 + ["retryPost"] * 5),
            cycle([DESTINATION, None, None]),
        )
    )
    for (actor, person, operation), summaries in groupby(appended, key=itemgetter(2, 3, 4)):
        events = [
            Event(
                kind=summary.kind,
                post_id=summary.post_id,
                destination_id=summary.destination_id,
                values={},
            )
            for summary in summaries
        ]
        await append_test_events(
            database, workspace, events, actor=actor, person=person, operation=operation
        )
    return appended


async def test_filters_select_the_same_events_of_a_list(
    database: Database, workspace: WorkspaceId
) -> None:
    appended = await append_all_kinds(database, workspace)
    events = await read_events_after(database.reader(workspace), 0, limit=CHANGE_COUNT)
    for name, (event_filter, matches) in FILTERS.items():
        expected = [seq for seq, summary in enumerate(appended, 1) if matches(summary)]
        assert [event.seq for event in event_filter.select(events)] == expected, name


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_pages_of_any_size_return_each_matching_change_once_and_in_order(
    database: Database, workspace: WorkspaceId, size: int
) -> None:
    appended = await append_all_kinds(database, workspace)
    reader = database.reader(workspace)
    newest = FeedPosition(CHANGE_COUNT, NOW)
    for event_filter, matches in FILTERS.values():
        expected = [seq for seq, summary in enumerate(appended, 1) if matches(summary)]
        for after in (None, FEED_START, FeedPosition(41, NOW)):
            rest = [seq for seq in expected if after is None or seq > after.seq]
            pages = await read_all_pages(reader, after, event_filter, size)
            assert seqs_per_page(pages) == rest
            # All pages but the last are full, and the last is empty only if it is the only one.
            assert len(pages) == max(1, ceil(len(rest) / size))
            assert [len(page.events) for page in pages[:-1]] == [size] * (len(pages) - 1)
            assert [page.next_position for page in pages[:-1]] == [
                page.events[-1].position for page in pages[:-1]
            ]
            assert pages[-1].next_position == newest
            assert {page.latest_position for page in pages} == {newest}


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_pages_of_earlier_changes_return_each_matching_change_once_newest_first(
    database: Database, workspace: WorkspaceId, size: int
) -> None:
    appended = await append_all_kinds(database, workspace)
    reader = database.reader(workspace)
    newest, oldest = FeedPosition(CHANGE_COUNT, NOW), FeedPosition(1, NOW)
    for event_filter, matches in FILTERS.values():
        expected = [seq for seq, summary in enumerate(appended, 1) if matches(summary)][::-1]
        for before in (None, FeedPosition(41, NOW), oldest, FEED_START):
            rest = [seq for seq in expected if before is None or seq < before.seq]
            pages = await read_all_pages(
                reader, before, event_filter, size, read=read_earlier_events
            )
            assert seqs_per_page(pages) == rest
            assert len(pages) == max(1, ceil(len(rest) / size))
            assert [page.next_position for page in pages[:-1]] == [
                page.events[-1].position for page in pages[:-1]
            ]
            assert pages[-1].next_position == oldest
            assert {page.latest_position for page in pages} == {newest}


async def test_earlier_changes_of_an_empty_feed_are_none(
    database: Database, workspace: WorkspaceId
) -> None:
    page = await read_earlier_events(database.reader(workspace), None, ALL_CHANGES, limit=1)
    assert page == EventPage([], FEED_START, has_more=False, latest_position=FEED_START)


async def test_earlier_changes_end_at_pruned_events_and_are_scanned_in_parts(
    database: Database, workspace: WorkspaceId
) -> None:
    deleted = Event(kind=EventKind.POST_DELETED, values={})
    await append_test_events(
        database, workspace, [deleted, *numbered_events(4), deleted, *numbered_events(3)]
    )
    reader, event_filter = database.reader(workspace), EventFilter(kinds=[EventKind.POST_DELETED])

    async def read(scan_limit: int) -> list[tuple[list[int], int, bool]]:
        """Return for each page the sequence numbers, the next position, and has_more."""
        pages, before, has_more = [], None, True
        while has_more:
            page = await read_earlier_events(
                reader, before, event_filter, limit=1, scan_limit=scan_limit
            )
            before, has_more = page.next_position, page.has_more
            pages.append(([change.seq for change in page.events], before.seq, has_more))
        return pages

    assert await read(3) == [([], 7, True), ([6], 4, True), ([1], 1, False)]
    assert await read(9) == [([6], 6, True), ([1], 1, False)]
    await database.write(workspace, partial(delete_events, last_seq=4))
    assert await read(3) == [([], 7, True), ([6], 5, False)]
    assert await read(9) == [([6], 5, False)]
    for before in (FeedPosition(6, NOW - SECOND), FeedPosition(10, NOW)):
        with pytest.raises(ResyncRequired):
            await read_earlier_events(reader, before, event_filter, limit=1)
    for before in (FeedPosition(5, NOW), FeedPosition(2, NOW)):
        page = await read_earlier_events(reader, before, event_filter, limit=1, scan_limit=3)
        assert (page.events, page.has_more) == ([], False)


async def test_change_is_read_as_it_was_appended(
    database: Database, workspace: WorkspaceId
) -> None:
    account = await add_account(database, workspace)
    key = ApiKeyId(uuid4())
    destination = DestinationId(uuid4())
    changes = {"b": [1, None, True], "a": {"é": "\u2028"}}
    event = Event(
        kind=EventKind.DESTINATION_ADDED,
        post_id=POST,
        destination_id=destination,
        account_id=account,
        values=changes,
    )
    happened_at = NOW + timedelta(milliseconds=7)
    await append_test_events(
        database, workspace, [event], occurred_at=happened_at, actor=key, operation="createPost"
    )
    await append_test_events(
        database, workspace, [Event(kind=EventKind.ACCOUNT_CHANGED, values={})]
    )

    first, second = (
        await read_events(database.reader(workspace), None, ALL_CHANGES, limit=9)
    ).events

    assert repr(first.values) == repr(changes)
    assert asdict(first) == {
        "seq": 1,
        "kind": EventKind.DESTINATION_ADDED,
        "operation": "createPost",
        "actor": key,
        "person": None,
        "post_id": POST,
        "destination_id": destination,
        "account_id": account,
        "values": changes,
        "previous": None,
        "happened_at": happened_at,
    }
    assert first.position == FeedPosition(1, happened_at)
    assert asdict(second) == {
        "seq": 2,
        "kind": EventKind.ACCOUNT_CHANGED,
        "operation": "test",
        "actor": None,
        "person": None,
        "post_id": None,
        "destination_id": None,
        "account_id": None,
        "values": {},
        "previous": None,
        "happened_at": NOW,
    }


async def test_reader_that_starts_in_an_empty_feed_reads_all_later_changes(
    database: Database, workspace: WorkspaceId
) -> None:
    reader = database.reader(workspace)
    empty = await read_events(reader, None, ALL_CHANGES, limit=1)
    assert (empty.events, empty.next_position, empty.has_more, empty.latest_position) == (
        [],
        FEED_START,
        False,
        FEED_START,
    )
    assert await read_events(reader, FEED_START, ALL_CHANGES, limit=1) == empty
    assert await latest_position(reader) == FEED_START

    await append_test_events(database, workspace, numbered_events(3))

    assert seqs_per_page(await read_all_pages(reader, empty.next_position, ALL_CHANGES, 2)) == [
        1,
        2,
        3,
    ]
    assert await latest_position(reader) == FeedPosition(3, NOW)


async def test_next_position_skips_changes_that_do_not_match(
    database: Database, workspace: WorkspaceId
) -> None:
    reader = database.reader(workspace)
    event_filter = EventFilter(kinds=[EventKind.POST_DELETED], post_id=POST)
    deleted = Event(kind=EventKind.POST_DELETED, post_id=POST, values={})
    await append_test_events(
        database, workspace, [*numbered_events(2), deleted, *numbered_events(2)]
    )

    page = await read_events(reader, FEED_START, event_filter, limit=1)
    assert ([change.seq for change in page.events], page.has_more) == ([3], False)
    assert page.next_position == page.latest_position == FeedPosition(5, NOW)

    await append_test_events(database, workspace, numbered_events(2), occurred_at=NOW + SECOND)
    page = await read_events(reader, page.next_position, event_filter, limit=1)
    assert (page.events, page.next_position, page.has_more) == (
        [],
        FeedPosition(7, NOW + SECOND),
        False,
    )
    await append_test_events(database, workspace, [deleted, deleted, *numbered_events(1)])
    page = await read_events(reader, page.next_position, event_filter, limit=1)
    assert ([change.seq for change in page.events], page.has_more) == ([8], True)
    assert (page.next_position, page.latest_position) == (
        FeedPosition(8, NOW),
        FeedPosition(10, NOW),
    )


async def test_filter_by_kind_scans_a_long_feed_in_parts(
    database: Database, workspace: WorkspaceId
) -> None:
    reader = database.reader(workspace)
    event_filter = EventFilter(kinds=[EventKind.POST_DELETED])
    deleted = Event(kind=EventKind.POST_DELETED, post_id=POST, values={})
    await append_test_events(
        database, workspace, [*numbered_events(3), deleted, *numbered_events(3), deleted, deleted]
    )

    async def read(scan_limit: int) -> list[tuple[list[int], int, bool]]:
        """Return for each page the sequence numbers, the next position, and has_more."""
        pages, after, has_more = [], None, True
        while has_more:
            page = await read_events(reader, after, event_filter, limit=1, scan_limit=scan_limit)
            after, has_more = page.next_position, page.has_more
            assert page.latest_position == FeedPosition(9, NOW)
            pages.append(([change.seq for change in page.events], page.next_position.seq, has_more))
        return pages

    assert await read(3) == [([], 3, True), ([4], 6, True), ([8], 8, True), ([9], 9, False)]
    assert await read(8) == [([4], 4, True), ([8], 8, True), ([9], 9, False)]
    assert await read(9) == [([4], 4, True), ([8], 8, True), ([9], 9, False)]
    await database.write(workspace, partial(delete_events, last_seq=4))
    assert await read(3) == [([], 7, True), ([8], 8, True), ([9], 9, False)]

    of_post = EventFilter(kinds=[EventKind.POST_DELETED], post_id=POST)
    page = await read_events(reader, None, of_post, limit=2, scan_limit=1)
    assert ([change.seq for change in page.events], page.has_more) == ([8, 9], False)


async def test_filter_by_kind_scans_at_most_fifty_thousand_events(
    database: Database, workspace: WorkspaceId
) -> None:
    for last in (0, 49_999, 60_000):  # gaps stand for other events
        await delete_events_after(database, workspace, last_seq=last)
        await append_test_events(database, workspace, numbered_events(1))
    page = await read_events(
        database.reader(workspace), None, EventFilter(kinds=[EventKind.POST_DELETED]), limit=1
    )
    assert (page.next_position, page.has_more) == (FeedPosition(50_000, NOW), True)


async def test_pruned_position_is_refused_before_the_scan(
    database: Database, workspace: WorkspaceId
) -> None:
    reader, event_filter = database.reader(workspace), EventFilter(kinds=[EventKind.POST_DELETED])
    await append_test_events(database, workspace, numbered_events(9))
    await database.write(workspace, partial(delete_events, last_seq=6))
    for after in (FEED_START, FeedPosition(2, NOW)):
        with record_statements(database) as statements, pytest.raises(ResyncRequired):
            await read_events(reader, after, event_filter, limit=1, scan_limit=3)
        assert len(statements) == 2  # the newest event and the end of the scan


async def refused_positions(
    database: Database, workspace: WorkspaceId, positions: Sequence[FeedPosition]
) -> list[FeedPosition]:
    """The positions from which reading requires a resync, with every filter."""
    reader = database.reader(workspace)
    refused = []
    for position in positions:
        codes = {
            await error_code(read_events(reader, position, event_filter, limit=1))
            for event_filter in (ALL_CHANGES, EventFilter(kinds=[]), EventFilter(post_id=POST))
        } | {await error_code(check_position(reader, position))}
        assert codes in ({None}, {"resync_required"})
        if codes != {None}:
            refused.append(position)
    return refused


async def test_position_before_pruned_events_requires_a_resync(
    database: Database, workspace: WorkspaceId
) -> None:
    times = [NOW + number * SECOND for number in range(1, 7)]
    await append_events_at(database, workspace, times)
    positions = [FEED_START, *(FeedPosition(seq, at) for seq, at in enumerate(times, 1))]
    assert await refused_positions(database, workspace, positions) == []

    await database.write(workspace, partial(delete_events, last_seq=1))
    assert await refused_positions(database, workspace, positions) == positions[:2]

    await database.write(workspace, partial(delete_events, last_seq=4))
    before = await all_rows(database)
    assert await refused_positions(database, workspace, positions) == positions[:5]
    assert await all_rows(database) == before
    reader = database.reader(workspace)
    assert seqs_per_page(await read_all_pages(reader, positions[5], ALL_CHANGES, 1)) == [6]
    assert seqs_per_page(await read_all_pages(reader, None, ALL_CHANGES, 1)) == [5, 6]


async def test_position_of_another_feed_requires_a_resync(
    database: Database, workspace: WorkspaceId
) -> None:
    await append_test_events(database, workspace, numbered_events(3))
    positions = [
        FeedPosition(4, NOW),
        FeedPosition(2**62, NOW),
        FeedPosition(2, NOW - SECOND),  # from the other workspace
        FeedPosition(2, NOW + timedelta(milliseconds=1)),
        FeedPosition(2, None),
        FeedPosition(0, NOW),
    ]
    assert await refused_positions(database, workspace, positions) == positions


async def test_position_lost_by_restoring_a_backup_requires_a_resync(
    database: Database, workspace: WorkspaceId
) -> None:
    await append_events_at(database, workspace, [NOW, NOW + SECOND, NOW + 2 * SECOND])
    await delete_events_after(database, workspace, last_seq=1)
    restored, *lost = [FeedPosition(seq, NOW + (seq - 1) * SECOND) for seq in (1, 2, 3)]
    for _ in range(4):  # while their numbers are free, reused, and passed
        assert await refused_positions(database, workspace, [restored, *lost]) == lost
        await append_test_events(
            database, workspace, numbered_events(1), occurred_at=NOW + 3 * SECOND
        )


async def test_contiguous_changes_are_read_without_a_gap_or_refused(
    database: Database, workspace: WorkspaceId
) -> None:
    reader = database.reader(workspace)
    assert await read_contiguous_events(reader, FEED_START, limit=3) == []
    await append_test_events(database, workspace, numbered_events(7))

    following = [
        [change.seq for change in await read_contiguous_events(reader, position, limit=3)]
        for position in (FEED_START, *(FeedPosition(seq, NOW) for seq in (3, 6, 7)))
    ]
    assert following == [[1, 2, 3], [4, 5, 6], [7], []]

    await database.write(workspace, partial(delete_events, last_seq=4))
    pruned = (FEED_START, FeedPosition(3, NOW), FeedPosition(4, NOW))
    replaced = FeedPosition(6, NOW - SECOND)  # from a history that a restored backup has replaced
    for position in (*pruned, replaced, FeedPosition(8, NOW)):
        with pytest.raises(ResyncRequired):
            await read_contiguous_events(reader, position, limit=3)
    (first, *_) = await read_contiguous_events(reader, FeedPosition(5, NOW), limit=3)
    assert first.seq == 6
