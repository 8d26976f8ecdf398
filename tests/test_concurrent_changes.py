"""Many who write while others read what happened: each change once, in order, none missing.

The guard takes the counter out of what a database runs, and shows that its lack is noticed.
"""

import asyncio
from uuid import uuid4

from sqlalchemy import text

from app.db.engine import Database, WriteSession
from app.db.events import append_events, read_changes
from app.domain.editing import PostChanges
from app.domain.events import START, Change, ChangeFilter, Event, EventKind
from app.domain.ids import PostId, WorkspaceId
from app.services.feeds import Feeds
from app.services.posts import cancel_post, change_post, create_post, delete_post
from app.services.writing import Writing, write
from tests.clients import Tenant
from tests.db.feeds import EVERYTHING, kept_numbers, numbered, numbers_on, pages, tell
from tests.db.test_engine import only_on_postgresql
from tests.domain.test_editing import wanted
from tests.factories import NOW, add_account, add_workspace, nobody_minds
from tests.servers import SECONDS
from tests.services.following import BY_WAKE_UPS_ALONE
from tests.services.publishers import errand
from tests.test_concurrency import PATIENT, waiting, without

WRITERS = 8
TURNS = 4
THE_END = EventKind.ACCOUNT_CONNECTED
CREATED = ChangeFilter(kinds=[EventKind.POST_CREATED, THE_END])


async def write_much(database: Database, workspace: WorkspaceId, number: int) -> list[PostId]:
    """Posts of its own, each of which writes other rows before its events, and several events at once."""
    made = []
    for turn in range(TURNS):
        on = errand(workspace)
        post = await create_post(
            database,
            on,
            wanted(account_ids=[1, 2, 3][: (number + turn) % 3 + 1]),
            None,
            admit=nobody_minds,
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


async def poll(
    database: Database, workspace: WorkspaceId, of: ChangeFilter, size: int
) -> list[Change]:
    """What somebody gets who reads page after page until all is over."""
    reader = database.read(workspace)
    after = START
    found: list[Change] = []
    while not found or found[-1].kind is not THE_END:
        page = await read_changes(reader, after, of, limit=size)
        found += page.found
        after = page.until
        await asyncio.sleep(0)
    return found[:-1]


async def follow(feeds: Feeds, workspace: WorkspaceId, of: ChangeFilter) -> list[Change]:
    """What somebody gets who is told of each change as it happens, until all is over."""
    found: list[Change] = []
    async with feeds.following(workspace, START) as following:
        while not found or found[-1].kind is not THE_END:
            found += await following.changes(of)
    return found[:-1]


async def write_all(database: Database, workspace: WorkspaceId) -> list[PostId]:
    """The posts that were created."""
    made = await asyncio.gather(*(write_much(database, workspace, n) for n in range(WRITERS)))

    async def end(writing: Writing) -> None:
        writing.tell_of(Event(kind=THE_END, changes={}))

    await write(database, errand(workspace), end)
    return [post for each in made for post in each]


async def test_beside_many_writers_who_reads_gets_each_change_once_and_in_order(
    acme: Tenant, database_url: str
) -> None:
    for _ in range(3):
        await add_account(acme.database, acme.workspace)
    async with Database(database_url, timeout=PATIENT, pool_size=12) as busy:
        feeds = Feeds(busy, poll=BY_WAKE_UPS_ALONE)
        readers = [
            poll(acme.database, acme.workspace, EVERYTHING, 1),
            poll(busy, acme.workspace, EVERYTHING, 100),
            *(follow(feeds, acme.workspace, EVERYTHING) for _ in range(3)),
            poll(acme.database, acme.workspace, CREATED, 2),
            follow(feeds, acme.workspace, CREATED),
        ]
        with busy.telling(feeds.wake):
            async with asyncio.timeout(SECONDS):
                made, read = await asyncio.gather(
                    write_all(busy, acme.workspace), asyncio.gather(*readers)
                )

    numbers = await kept_numbers(acme.database, acme.workspace)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > WRITERS * TURNS * 2
    found = [[each.seq for each in one] for one in read]
    assert found[:5] == [numbers[:-1]] * 5
    created = [each.seq for each in read[0] if each.kind is EventKind.POST_CREATED]
    assert found[5:] == [created] * 2
    assert {each.post_id for each in read[5]} == set(made)
    assert len(created) == len(made) == WRITERS * TURNS


async def lost_beside_a_slow_writer(database: Database, writers: Database) -> list[int]:
    """What somebody never gets who reads on after a quick writer has ended, or waits for a slow one."""
    workspace = await add_workspace(database)
    await tell(writers, workspace, numbered(1))
    has_number, may_end = asyncio.Event(), asyncio.Event()

    async def tell_slowly(session: WriteSession) -> None:
        await append_events(session, workspace, numbered(1), actor=None, operation="slow", now=NOW)
        has_number.set()
        await may_end.wait()

    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as both:
        both.create_task(writers.write(tell_slowly))
        await has_number.wait()
        quick = both.create_task(tell(writers, workspace, numbered(1)))
        while not quick.done() and not await waiting(database):
            pass
        reader = database.read(workspace)
        first = await read_changes(reader, None, EVERYTHING, limit=9)
        may_end.set()
    read = numbers_on([first, *await pages(reader, first.until, EVERYTHING, 9)])
    return [each for each in await kept_numbers(database, workspace) if each not in read]


@only_on_postgresql
async def test_without_a_counter_that_others_wait_for_changes_would_be_lost(
    database: Database, database_url: str
) -> None:
    async with database.changing_schema() as connection:
        await connection.execute(text("CREATE SEQUENCE numbers"))
    counting = (
        r"UPDATE workspace SET event_seq=\(workspace.event_seq \+ (\S+)\) (WHERE .*) RETURNING .*"
    )
    try:
        of_a_sequence = r"SELECT nextval('numbers') + 0 * \1 FROM workspace \2"
        async with without(database_url, counting, of_a_sequence) as careless:
            assert await lost_beside_a_slow_writer(database, careless) == [2]
    finally:
        async with database.changing_schema() as connection:
            await connection.execute(text("DROP SEQUENCE numbers"))

    async with Database(database_url) as careful:
        assert await lost_beside_a_slow_writer(database, careful) == []
