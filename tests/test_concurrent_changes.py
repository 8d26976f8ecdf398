"""Readers of the change feed beside concurrent writers receive each change once and in order.

The test named `test_tests_detect_…` removes the event counter and shows that its absence is detected.
"""

import asyncio

from sqlalchemy import text

from app.db.core.database import Database
from app.db.core.write_session import WriteSession
from app.db.repositories.events import append_events, read_events
from app.domain.events import FEED_START, Event, EventFilter, EventKind, StoredEvent
from app.domain.ids import PostId, WorkspaceId
from app.services.change_feed import ChangeFeed
from app.services.posts import cancel_post, delete_post
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
from tests.domain.post_commands import new_post_request
from tests.factories import NOW, add_account, add_workspace
from tests.servers import TIMEOUT_SECONDS
from tests.services.feed_scenario import NO_POLLING
from tests.services.publishing_calls import change, create, write_context
from tests.test_concurrency import LONG_TIMEOUT, count_lock_waits, database_with_replaced_sql

WRITERS = 8
ROUNDS = 4
END_EVENT_KIND = EventKind.ACCOUNT_CONNECTED
CREATED = EventFilter(kinds=[EventKind.POST_CREATED, END_EVENT_KIND])


async def write_posts(database: Database, workspace: WorkspaceId, number: int) -> list[PostId]:
    """Create, change, cancel and delete posts; each transaction writes rows and then several events."""
    post_ids = []
    for iteration in range(ROUNDS):
        context = write_context(workspace)
        new = new_post_request(account_ids=[1, 2, 3][: (number + iteration) % 3 + 1])
        post = await create(database, workspace, new)
        post_ids.append(post.id)
        if iteration % 2:
            content = f"Writer {number}, iteration {iteration}"
            await change(database, workspace, post.id, content=content)
            await cancel_post(
                database, context, post.id, expected_version=None, idempotency_key=None
            )
            await delete_post(
                database, context, post.id, expected_version=None, idempotency_key=None
            )
    return post_ids


async def read_until_end(
    database: Database, workspace: WorkspaceId, event_filter: EventFilter, size: int
) -> list[StoredEvent]:
    """Read page by page until the end event."""
    reader = database.reader(workspace)
    after = FEED_START
    received: list[StoredEvent] = []
    while not received or received[-1].kind is not END_EVENT_KIND:
        page = await read_events(reader, after, event_filter, limit=size)
        received += page.events
        after = page.next_position
        await asyncio.sleep(0)
    return received[:-1]


async def follow_changes(
    feed: ChangeFeed, workspace: WorkspaceId, event_filter: EventFilter
) -> list[StoredEvent]:
    """Read the feed until the end event."""
    received: list[StoredEvent] = []
    async with feed.subscribe(workspace, FEED_START) as subscription:
        while not received or received[-1].kind is not END_EVENT_KIND:
            received += await subscription.next_events(event_filter)
    return received[:-1]


async def write_all(database: Database, workspace: WorkspaceId) -> list[PostId]:
    """Run the writers, append the end event, and return the created posts."""
    created = await asyncio.gather(*(write_posts(database, workspace, n) for n in range(WRITERS)))

    async def end(unit: UnitOfWork) -> None:
        unit.add_event(Event(kind=END_EVENT_KIND, values={}))

    await run_in_transaction(database, write_context(workspace), end)
    return [post_id for post_ids in created for post_id in post_ids]


async def test_readers_beside_concurrent_writers_receive_each_change_once_and_in_order(
    acme: Tenant, database_url: str
) -> None:
    for _ in range(3):
        await add_account(acme.database, acme.workspace)
    async with Database(database_url, timeout=LONG_TIMEOUT, pool_size=12) as busy:
        feed = ChangeFeed(busy, poll_interval=NO_POLLING)
        readers = [
            read_until_end(acme.database, acme.workspace, ALL_CHANGES, 1),
            read_until_end(busy, acme.workspace, ALL_CHANGES, 100),
            *(follow_changes(feed, acme.workspace, ALL_CHANGES) for _ in range(3)),
            read_until_end(acme.database, acme.workspace, CREATED, 2),
            follow_changes(feed, acme.workspace, CREATED),
        ]
        with busy.on_commit(feed.wake):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                created_ids, received = await asyncio.gather(
                    write_all(busy, acme.workspace), asyncio.gather(*readers)
                )

    numbers = await stored_seqs(acme.database, acme.workspace)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > WRITERS * ROUNDS * 2
    received_seqs = [[change.seq for change in changes] for changes in received]
    assert received_seqs[:5] == [numbers[:-1]] * 5
    created = [each.seq for each in received[0] if each.kind is EventKind.POST_CREATED]
    assert received_seqs[5:] == [created] * 2
    assert {change.post_id for change in received[5]} == set(created_ids)
    assert len(created) == len(created_ids) == WRITERS * ROUNDS


async def missed_beside_slow_writer(database: Database, writers: Database) -> list[int]:
    """Sequence numbers that a reader misses if it reads while a slow writer has not committed.

    A quick writer appends after the slow one; it either commits first or waits for the counter.
    """
    workspace = await add_workspace(database)
    await append_test_events(writers, workspace, numbered_events(1))
    has_number, may_end = asyncio.Event(), asyncio.Event()

    async def append_slowly(session: WriteSession) -> None:
        await append_events(session, numbered_events(1), actor=None, operation="slow", now=NOW)
        has_number.set()
        await may_end.wait()

    async with asyncio.timeout(TIMEOUT_SECONDS), asyncio.TaskGroup() as both:
        both.create_task(writers.write(workspace, append_slowly))
        await has_number.wait()
        quick = both.create_task(append_test_events(writers, workspace, numbered_events(1)))
        while not quick.done() and not await count_lock_waits(database):
            pass
        reader = database.reader(workspace)
        first = await read_events(reader, None, ALL_CHANGES, limit=9)
        may_end.set()
    read_seqs = seqs_per_page(
        [first, *await read_all_pages(reader, first.next_position, ALL_CHANGES, 9)]
    )
    return [seq for seq in await stored_seqs(database, workspace) if seq not in read_seqs]


@only_on_postgresql
async def test_tests_detect_changes_lost_by_a_sequence_instead_of_the_counter(
    database: Database, database_url: str
) -> None:
    async with database.schema_transaction() as connection:
        await connection.execute(text("CREATE SEQUENCE numbers"))
    counter_update = (
        r"UPDATE workspace SET event_seq=\(workspace.event_seq \+ (\S+)\) (WHERE .*) RETURNING .*"
    )
    try:
        sequence = r"SELECT nextval('numbers') + 0 * \1 FROM workspace \2"
        async with database_with_replaced_sql(
            database_url, counter_update, sequence
        ) as with_sequence:
            assert await missed_beside_slow_writer(database, with_sequence) == [2]
    finally:
        async with database.schema_transaction() as connection:
            await connection.execute(text("DROP SEQUENCE numbers"))

    async with Database(database_url) as with_counter:
        assert await missed_beside_slow_writer(database, with_counter) == []
