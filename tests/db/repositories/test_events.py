"""The feed as it is read in pages: every change once and in order, and where that cannot be, a refusal."""

from collections.abc import Callable
from dataclasses import astuple
from datetime import timedelta
from functools import partial
from itertools import cycle, islice
from math import ceil
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest

from app.db.core.database import Database
from app.db.repositories.events import (
    check_position,
    delete_events,
    newest_position,
    read_changes,
    read_contiguous_changes,
)
from app.domain.errors import ResyncRequired
from app.domain.events import FEED_START, ChangeFilter, Event, EventKind, FeedPosition
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
CHANGE_COUNT = 205


class EventSummary(NamedTuple):
    """Of a change, as a filter sees it."""

    kind: EventKind
    post_id: PostId | None


FILTERS: dict[str, tuple[ChangeFilter, Callable[[EventSummary], bool]]] = {
    "all": (ALL_CHANGES, lambda _each: True),
    "one type": (
        ChangeFilter(kinds=[EventKind.POST_CREATED]),
        lambda each: each.kind == "post.created",
    ),
    "two types, one of them twice": (
        ChangeFilter(
            kinds=[EventKind.ACCOUNT_CHANGED, EventKind.POST_DELETED, EventKind.ACCOUNT_CHANGED]
        ),
        lambda each: each.kind in ("account.changed", "post.deleted"),
    ),
    "every type": (ChangeFilter(kinds=list(EventKind)), lambda _each: True),
    "no type": (ChangeFilter(kinds=[]), lambda _each: False),
    "a post": (ChangeFilter(post_id=POST), lambda each: each.post_id == POST),
    "no post": (ChangeFilter(post_id=PostId(UUID(int=99))), lambda _each: False),
    "both": (
        ChangeFilter(kinds=[EventKind.DESTINATION_CHANGED], post_id=OTHER_POST),
        lambda each: each == (EventKind.DESTINATION_CHANGED, OTHER_POST),
    ),
    "no type, of a post": (ChangeFilter(kinds=[], post_id=POST), lambda _each: False),
}


@pytest.fixture
async def workspace(anyio_backend: str, database: Database) -> WorkspaceId:
    """With two posts, beside another workspace in which as much happened."""
    other = await add_workspace(database)
    await append_test_events(database, other, numbered_events(7), occurred_at=NOW - SECOND)
    own = await add_workspace(database)
    for post in (POST, OTHER_POST):
        await add_post(database, own, id=post)
    return own


async def append_all_kinds(database: Database, workspace: WorkspaceId) -> list[EventSummary]:
    """Many changes, of which each kind and each post has some."""
    made = list(
        map(
            EventSummary,
            islice(cycle(EventKind), CHANGE_COUNT),
            cycle([POST, OTHER_POST, None, POST]),
        )
    )
    events = [Event(kind=each.kind, post_id=each.post_id, changes={}) for each in made]
    await append_test_events(database, workspace, events)
    return made


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_pages_of_any_size_have_every_wanted_change_once_and_in_order(
    database: Database, workspace: WorkspaceId, size: int
) -> None:
    made = await append_all_kinds(database, workspace)
    reader = database.read(workspace)
    newest = FeedPosition(CHANGE_COUNT, NOW)
    for wanted, is_wanted in FILTERS.values():
        expected = [seq for seq, each in enumerate(made, 1) if is_wanted(each)]
        for after in (None, FEED_START, FeedPosition(41, NOW)):
            rest = [seq for seq in expected if after is None or seq > after.seq]
            read = await read_all_pages(reader, after, wanted, size)
            assert seqs_per_page(read) == rest
            # Each page is full but the last one, which is never empty where another one is.
            assert len(read) == max(1, ceil(len(rest) / size))
            assert [len(page.changes) for page in read[:-1]] == [size] * (len(read) - 1)
            assert [page.next_position for page in read[:-1]] == [
                page.changes[-1].position for page in read[:-1]
            ]
            assert read[-1].next_position == newest
            assert {page.latest_position for page in read} == {newest}


async def test_a_change_is_read_as_it_was_told(database: Database, workspace: WorkspaceId) -> None:
    account = await add_account(database, workspace)
    key = ApiKeyId(uuid4())
    destination = DestinationId(uuid4())
    changes = {"b": [1, None, True], "a": {"é": "\u2028"}}
    event = Event(
        kind=EventKind.DESTINATION_ADDED,
        post_id=POST,
        destination_id=destination,
        account_id=account,
        changes=changes,
    )
    at = NOW + timedelta(milliseconds=7)
    await append_test_events(
        database, workspace, [event], occurred_at=at, actor=key, operation="createPost"
    )
    await append_test_events(
        database, workspace, [Event(kind=EventKind.ACCOUNT_CHANGED, changes={})]
    )

    first, second = (
        await read_changes(database.read(workspace), None, ALL_CHANGES, limit=9)
    ).changes

    assert repr(first.changes) == repr(changes)
    assert astuple(first) == (
        1,
        EventKind.DESTINATION_ADDED,
        "createPost",
        key,
        POST,
        destination,
        account,
        changes,
        at,
    )
    assert first.position == FeedPosition(1, at)
    assert astuple(second) == (
        2,
        EventKind.ACCOUNT_CHANGED,
        "test",
        None,
        None,
        None,
        None,
        {},
        NOW,
    )


async def test_who_begins_before_anything_has_happened_gets_everything_later(
    database: Database, workspace: WorkspaceId
) -> None:
    reader = database.read(workspace)
    empty = await read_changes(reader, None, ALL_CHANGES, limit=1)
    assert (empty.changes, empty.next_position, empty.has_more, empty.latest_position) == (
        [],
        FEED_START,
        False,
        FEED_START,
    )
    assert await read_changes(reader, FEED_START, ALL_CHANGES, limit=1) == empty
    assert await newest_position(reader) == FEED_START

    await append_test_events(database, workspace, numbered_events(3))

    assert seqs_per_page(await read_all_pages(reader, empty.next_position, ALL_CHANGES, 2)) == [
        1,
        2,
        3,
    ]
    assert await newest_position(reader) == FeedPosition(3, NOW)


async def test_the_end_of_a_page_passes_over_what_was_not_wanted(
    database: Database, workspace: WorkspaceId
) -> None:
    reader = database.read(workspace)
    wanted = ChangeFilter(kinds=[EventKind.POST_DELETED], post_id=POST)
    deleted = Event(kind=EventKind.POST_DELETED, post_id=POST, changes={})
    await append_test_events(
        database, workspace, [*numbered_events(2), deleted, *numbered_events(2)]
    )

    page = await read_changes(reader, FEED_START, wanted, limit=1)
    assert ([each.seq for each in page.changes], page.has_more) == ([3], False)
    assert page.next_position == page.latest_position == FeedPosition(5, NOW)

    await append_test_events(database, workspace, numbered_events(2), occurred_at=NOW + SECOND)
    page = await read_changes(reader, page.next_position, wanted, limit=1)
    assert (page.changes, page.next_position, page.has_more) == (
        [],
        FeedPosition(7, NOW + SECOND),
        False,
    )
    await append_test_events(database, workspace, [deleted, deleted, *numbered_events(1)])
    page = await read_changes(reader, page.next_position, wanted, limit=1)
    assert ([each.seq for each in page.changes], page.has_more) == ([8], True)
    assert (page.next_position, page.latest_position) == (
        FeedPosition(8, NOW),
        FeedPosition(10, NOW),
    )


async def test_a_search_by_kind_looks_at_one_part_of_a_long_feed_after_the_other(
    database: Database, workspace: WorkspaceId
) -> None:
    reader = database.read(workspace)
    wanted = ChangeFilter(kinds=[EventKind.POST_DELETED])
    deleted = Event(kind=EventKind.POST_DELETED, post_id=POST, changes={})
    await append_test_events(
        database, workspace, [*numbered_events(3), deleted, *numbered_events(3), deleted, deleted]
    )

    async def read(looks_at: int) -> list[tuple[list[int], int, bool]]:
        """The numbers of the changes on each page, where it ends, and whether it says that there is more."""
        found, after, has_more = [], None, True
        while has_more:
            page = await read_changes(reader, after, wanted, limit=1, scan_limit=looks_at)
            after, has_more = page.next_position, page.has_more
            assert page.latest_position == FeedPosition(9, NOW)
            found.append(([each.seq for each in page.changes], page.next_position.seq, has_more))
        return found

    assert await read(3) == [([], 3, True), ([4], 6, True), ([8], 8, True), ([9], 9, False)]
    assert await read(8) == [([4], 4, True), ([8], 8, True), ([9], 9, False)]
    assert await read(9) == [([4], 4, True), ([8], 8, True), ([9], 9, False)]
    await database.write(partial(delete_events, workspace_id=workspace, last_seq=4))
    assert await read(3) == [([], 7, True), ([8], 8, True), ([9], 9, False)]

    of_post = ChangeFilter(kinds=[EventKind.POST_DELETED], post_id=POST)
    page = await read_changes(reader, None, of_post, limit=2, scan_limit=1)
    assert ([each.seq for each in page.changes], page.has_more) == ([8, 9], False)


async def test_of_a_feed_of_some_kinds_fifty_thousand_changes_are_looked_at(
    database: Database, workspace: WorkspaceId
) -> None:
    for last in (0, 49_999, 60_000):  # as if there were others in between
        await delete_events_after(database, workspace, last_seq=last)
        await append_test_events(database, workspace, numbered_events(1))
    page = await read_changes(
        database.read(workspace), None, ChangeFilter(kinds=[EventKind.POST_DELETED]), limit=1
    )
    assert (page.next_position, page.has_more) == (FeedPosition(50_000, NOW), True)


async def test_what_is_too_old_is_refused_before_anything_is_looked_for(
    database: Database, workspace: WorkspaceId
) -> None:
    reader, wanted = database.read(workspace), ChangeFilter(kinds=[EventKind.POST_DELETED])
    await append_test_events(database, workspace, numbered_events(9))
    await database.write(partial(delete_events, workspace_id=workspace, last_seq=6))
    for after in (FEED_START, FeedPosition(2, NOW)):
        with record_statements(database) as statements, pytest.raises(ResyncRequired):
            await read_changes(reader, after, wanted, limit=1, scan_limit=3)
        assert len(statements) == 2  # which is the newest, and where to end


async def is_resync_required(
    database: Database, workspace: WorkspaceId, after: FeedPosition
) -> bool:
    """Whether going on from there is, whatever is asked for."""
    reader = database.read(workspace)
    codes = {
        await error_code(read_changes(reader, after, wanted, limit=1))
        for wanted in (ALL_CHANGES, ChangeFilter(kinds=[]), ChangeFilter(post_id=POST))
    } | {await error_code(check_position(reader, after))}
    (code,) = codes
    assert code in (None, "resync_required")
    return code is not None


async def test_whoever_has_seen_less_than_is_forgotten_must_read_anew(
    database: Database, workspace: WorkspaceId
) -> None:
    times = [NOW + number * SECOND for number in range(1, 7)]
    await append_events_at(database, workspace, times)
    positions = [FEED_START, *(FeedPosition(seq, at) for seq, at in enumerate(times, 1))]
    assert [await is_resync_required(database, workspace, each) for each in positions] == [
        False
    ] * 7

    await database.write(partial(delete_events, workspace_id=workspace, last_seq=1))
    assert [await is_resync_required(database, workspace, each) for each in positions] == [
        *[True] * 2,
        *[False] * 5,
    ]
    await database.write(partial(delete_events, workspace_id=workspace, last_seq=4))
    before = await all_rows(database)
    assert [await is_resync_required(database, workspace, each) for each in positions] == [
        *[True] * 5,
        *[False] * 2,
    ]
    assert await all_rows(database) == before
    reader = database.read(workspace)
    assert seqs_per_page(await read_all_pages(reader, positions[5], ALL_CHANGES, 1)) == [6]
    assert seqs_per_page(await read_all_pages(reader, None, ALL_CHANGES, 1)) == [5, 6]


async def test_a_position_that_this_feed_never_had_must_be_left(
    database: Database, workspace: WorkspaceId
) -> None:
    await append_test_events(database, workspace, numbered_events(3))
    for strange in (
        FeedPosition(4, NOW),
        FeedPosition(2**62, NOW),
        FeedPosition(2, NOW - SECOND),  # as in the other workspace
        FeedPosition(2, NOW + timedelta(milliseconds=1)),
        FeedPosition(2, None),
        FeedPosition(0, NOW),
    ):
        assert await is_resync_required(database, workspace, strange), strange


async def test_what_was_seen_before_a_backup_was_restored_is_not_gone_on_from(
    database: Database, workspace: WorkspaceId
) -> None:
    await append_events_at(database, workspace, [NOW, NOW + SECOND, NOW + 2 * SECOND])
    await delete_events_after(database, workspace, last_seq=1)
    lost = [FeedPosition(2, NOW + SECOND), FeedPosition(3, NOW + 2 * SECOND)]
    for _ in range(4):  # while their numbers are free, taken by others, and passed
        assert [await is_resync_required(database, workspace, each) for each in lost] == [
            True,
            True,
        ]
        await append_test_events(
            database, workspace, numbered_events(1), occurred_at=NOW + 3 * SECOND
        )
    assert not await is_resync_required(database, workspace, FeedPosition(1, NOW))


async def test_what_follows_is_read_without_a_gap_or_not_at_all(
    database: Database, workspace: WorkspaceId
) -> None:
    reader = database.read(workspace)
    assert await read_contiguous_changes(reader, FEED_START, limit=3) == []
    await append_test_events(database, workspace, numbered_events(7))

    following = [
        [each.seq for each in await read_contiguous_changes(reader, position, limit=3)]
        for position in (FEED_START, *(FeedPosition(seq, NOW) for seq in (3, 6, 7)))
    ]
    assert following == [[1, 2, 3], [4, 5, 6], [7], []]

    await database.write(partial(delete_events, workspace_id=workspace, last_seq=4))
    gone = (FEED_START, FeedPosition(3, NOW), FeedPosition(4, NOW))
    another = FeedPosition(6, NOW - SECOND)  # as in a history that a restored backup has ended
    for position in (*gone, another, FeedPosition(8, NOW)):
        with pytest.raises(ResyncRequired):
            await read_contiguous_changes(reader, position, limit=3)
    (first, *_) = await read_contiguous_changes(reader, FeedPosition(5, NOW), limit=3)
    assert first.seq == 6
