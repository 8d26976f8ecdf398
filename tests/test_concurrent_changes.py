"""Many who write while others read what happened: each change once, in order, none missing.

The guard takes the counter out of what a database runs, and shows that its lack is noticed.
"""

import asyncio
from uuid import uuid4

from sqlalchemy import text

from app.db.core.database import Database, WriteSession
from app.db.repositories.events import append_events, read_changes
from app.domain.events import FEED_START, Change, ChangeFilter, Event, EventKind
from app.domain.ids import PostId, WorkspaceId
from app.domain.post_commands import PostChanges
from app.services.change_feed import ChangeFeed
from app.services.posts import cancel_post, change_post, create_post, delete_post
from app.services.unit_of_work import UnitOfWork, run_in_transaction
from tests.clients import Tenant
from tests.db.core.test_database import only_on_postgresql
from tests.db.repositories.event_rows import (
    ALL_CHANGES,
    append_test_events,
    numbered_events,
    read_all_pages,
    seqs_per_page,
    stored_seqs,
)
from tests.domain.test_post_commands import wanted
from tests.factories import NOW, add_account, add_workspace, no_quota
from tests.servers import TIMEOUT_SECONDS
from tests.services.feed_scenario import NO_POLLING
from tests.services.publishing_calls import write_context
from tests.test_concurrency import LONG_TIMEOUT, count_lock_waits, database_with_replaced_sql

WRITERS = 8
ROUNDS = 4
END_EVENT_KIND = EventKind.ACCOUNT_CONNECTED
CREATED = ChangeFilter(kinds=[EventKind.POST_CREATED, END_EVENT_KIND])


async def write_posts(database: Database, workspace: WorkspaceId, number: int) -> list[PostId]:
    """Posts of its own, each of which writes other rows before its events, and several events at once."""
    made = []
    for turn in range(ROUNDS):
        on = write_context(workspace)
        post = await create_post(
            database,
            on,
            wanted(account_ids=[1, 2, 3][: (number + turn) % 3 + 1]),
            None,
            check_quota=no_quota,
            new_id=uuid4,
        )
        made.append(post.id)
        if turn % 2:
            changes = PostChanges(content=f"Writer {number}, turn {turn}")
            await change_post(
                database,
                on,
                post.id,
                changes,
                account_ids=None,
                expected_version=None,
                new_id=uuid4,
            )
            await cancel_post(database, on, post.id, expected_version=None)
            await delete_post(database, on, post.id, expected_version=None)
    return made


async def poll_changes(
    database: Database, workspace: WorkspaceId, change_filter: ChangeFilter, size: int
) -> list[Change]:
    """What somebody gets who reads page after page until all is over."""
    reader = database.read(workspace)
    after = FEED_START
    found: list[Change] = []
    while not found or found[-1].kind is not END_EVENT_KIND:
        page = await read_changes(reader, after, change_filter, limit=size)
        found += page.changes
        after = page.next_position
        await asyncio.sleep(0)
    return found[:-1]


async def follow_changes(feed: ChangeFeed, workspace: WorkspaceId, change_filter: ChangeFilter) -> list[Change]:
    """What somebody gets who is told of each change as it happens, until all is over."""
    found: list[Change] = []
    async with feed.subscribe(workspace, FEED_START) as following:
        while not found or found[-1].kind is not END_EVENT_KIND:
            found += await following.next_changes(change_filter)
    return found[:-1]


async def write_all(database: Database, workspace: WorkspaceId) -> list[PostId]:
    """The posts that were created."""
    made = await asyncio.gather(*(write_posts(database, workspace, n) for n in range(WRITERS)))

    async def end(writing: UnitOfWork) -> None:
        writing.add_event(Event(kind=END_EVENT_KIND, changes={}))

    await run_in_transaction(database, write_context(workspace), end)
    return [post for each in made for post in each]


async def test_beside_many_writers_who_reads_gets_each_change_once_and_in_order(
    acme: Tenant, database_url: str
) -> None:
    for _ in range(3):
        await add_account(acme.database, acme.workspace)
    async with Database(database_url, timeout=LONG_TIMEOUT, pool_size=12) as busy:
        feeds = ChangeFeed(busy, poll_interval=NO_POLLING)
        readers = [
            poll_changes(acme.database, acme.workspace, ALL_CHANGES, 1),
            poll_changes(busy, acme.workspace, ALL_CHANGES, 100),
            *(follow_changes(feeds, acme.workspace, ALL_CHANGES) for _ in range(3)),
            poll_changes(acme.database, acme.workspace, CREATED, 2),
            follow_changes(feeds, acme.workspace, CREATED),
        ]
        with busy.on_commit(feeds.wake):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                made, read = await asyncio.gather(
                    write_all(busy, acme.workspace), asyncio.gather(*readers)
                )

    numbers = await stored_seqs(acme.database, acme.workspace)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > WRITERS * ROUNDS * 2
    found = [[each.seq for each in one] for one in read]
    assert found[:5] == [numbers[:-1]] * 5
    created = [each.seq for each in read[0] if each.kind is EventKind.POST_CREATED]
    assert found[5:] == [created] * 2
    assert {each.post_id for each in read[5]} == set(made)
    assert len(created) == len(made) == WRITERS * ROUNDS


async def missed_beside_slow_writer(database: Database, writers: Database) -> list[int]:
    """What somebody never gets who reads on after a quick writer has ended, or waits for a slow one."""
    workspace = await add_workspace(database)
    await append_test_events(writers, workspace, numbered_events(1))
    has_number, may_end = asyncio.Event(), asyncio.Event()

    async def append_slowly(session: WriteSession) -> None:
        await append_events(
            session, workspace, numbered_events(1), actor=None, operation="slow", now=NOW
        )
        has_number.set()
        await may_end.wait()

    async with asyncio.timeout(TIMEOUT_SECONDS), asyncio.TaskGroup() as both:
        both.create_task(writers.write(append_slowly))
        await has_number.wait()
        quick = both.create_task(append_test_events(writers, workspace, numbered_events(1)))
        while not quick.done() and not await count_lock_waits(database):
            pass
        reader = database.read(workspace)
        first = await read_changes(reader, None, ALL_CHANGES, limit=9)
        may_end.set()
    read = seqs_per_page(
        [first, *await read_all_pages(reader, first.next_position, ALL_CHANGES, 9)]
    )
    return [each for each in await stored_seqs(database, workspace) if each not in read]


@only_on_postgresql
async def test_without_a_counter_that_others_wait_for_changes_would_be_lost(
    database: Database, database_url: str
) -> None:
    async with database.schema_transaction() as connection:
        await connection.execute(text("CREATE SEQUENCE numbers"))
    counting = (
        r"UPDATE workspace SET event_seq=\(workspace.event_seq \+ (\S+)\) (WHERE .*) RETURNING .*"
    )
    try:
        of_a_sequence = r"SELECT nextval('numbers') + 0 * \1 FROM workspace \2"
        async with database_with_replaced_sql(database_url, counting, of_a_sequence) as careless:
            assert await missed_beside_slow_writer(database, careless) == [2]
    finally:
        async with database.schema_transaction() as connection:
            await connection.execute(text("DROP SEQUENCE numbers"))

    async with Database(database_url) as careful:
        assert await missed_beside_slow_writer(database, careful) == []
