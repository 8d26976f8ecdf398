"""Who is told of a write: once, of its workspace, when everybody can read what it told. No rules."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sqlalchemy.exc import DBAPIError

from app.db.core.database import Database
from app.domain.errors import NotFound
from app.domain.events import Event, EventKind
from app.domain.ids import PostId, WorkspaceId
from app.services.posts import change_post, create_post, delete_post
from app.services.unit_of_work import UnitOfWork, run_in_transaction
from tests.db.all_tables import all_rows
from tests.db.repositories.event_rows import stored_seqs
from tests.domain.test_post_commands import wanted
from tests.factories import add_account, add_workspace, no_quota
from tests.services.publishing_calls import write_context

EVENT = Event(kind=EventKind.POST_CHANGED, changes={})


class Told:
    """Notes each workspace, and which events another connection finds there at that moment."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.of: list[tuple[WorkspaceId, list[int]]] = []

    def __call__(self, workspace_id: WorkspaceId) -> None:
        with ThreadPoolExecutor(1) as elsewhere:
            seen = elsewhere.submit(asyncio.run, self._look(workspace_id)).result()
        self.of.append((workspace_id, seen))

    async def _look(self, workspace_id: WorkspaceId) -> list[int]:
        async with Database(self._url) as database:
            return await stored_seqs(database, workspace_id)


@pytest.fixture
async def writer(anyio_backend: str, database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as database:
        yield database


@pytest.fixture
def told(writer: Database, database_url: str) -> Iterator[Told]:
    telling = Told(database_url)
    with writer.on_commit(telling):
        yield telling


async def test_a_write_is_told_once_however_much_it_changed_and_when_it_can_be_read(
    writer: Database, told: Told
) -> None:
    first, second = [await add_workspace(writer) for _ in range(2)]
    posts = {}
    for workspace in (first, second):
        accounts = [await add_account(writer, workspace) for _ in range(2)]
        posts[workspace] = await create_post(
            writer,
            write_context(workspace),
            wanted(account_ids=accounts),
            None,
            check_quota=no_quota,
            new_id=uuid4,
        )
    await delete_post(writer, write_context(first), posts[first].id, expected_version=None)

    assert told.of == [(first, [1, 2, 3]), (second, [1, 2, 3]), (first, [1, 2, 3, 4, 5, 6])]


async def test_a_write_that_changed_nothing_is_not_told(writer: Database, told: Told) -> None:
    workspace = await add_workspace(writer)

    async def look(writing: UnitOfWork) -> int:
        return len(await writing.load_posts([PostId(uuid4())]))

    assert await run_in_transaction(writer, write_context(workspace), look) == 0
    assert told.of == []


async def test_a_write_that_failed_is_not_told_and_has_left_nothing(
    writer: Database, told: Told
) -> None:
    workspace = await add_workspace(writer)
    before = await all_rows(writer)

    async def fail(writing: UnitOfWork) -> None:
        writing.add_event(EVENT)
        await writing.append_events()
        raise NotFound("Nothing is there.")

    with pytest.raises(NotFound):
        await run_in_transaction(writer, write_context(workspace), fail)
    with pytest.raises(NotFound):
        await change_post(
            writer,
            write_context(workspace),
            PostId(uuid4()),
            {"content": "Else"},
            account_ids=None,
            expected_version=None,
            new_id=uuid4,
        )
    with pytest.raises(ValueError, match="does not exist"):
        await run_in_transaction(writer, write_context(WorkspaceId(uuid4())), tell_of_one)

    assert told.of == []
    assert await all_rows(writer) == before


async def test_a_write_that_had_to_be_tried_again_is_told_once(
    writer: Database, told: Told
) -> None:
    workspace = await add_workspace(writer)
    tries = []

    class Serialization(Exception):
        sqlstate = "40001"

    async def work(writing: UnitOfWork) -> None:
        tries.append(writing)
        writing.add_event(EVENT)
        if len(tries) < 3:
            raise DBAPIError("", None, Serialization())

    await run_in_transaction(writer, write_context(workspace), work)

    assert len(tries) == 3
    assert told.of == [(workspace, [1])]


async def tell_of_one(writing: UnitOfWork) -> None:
    writing.add_event(EVENT)


async def test_all_are_told_who_wait_and_as_long_as_they_do(writer: Database) -> None:
    workspace = await add_workspace(writer)
    heard: list[str] = []
    await run_in_transaction(writer, write_context(workspace), tell_of_one)
    with writer.on_commit(lambda _of: heard.append("first")):
        await run_in_transaction(writer, write_context(workspace), tell_of_one)
        with writer.on_commit(lambda _of: heard.append("second")):
            await run_in_transaction(writer, write_context(workspace), tell_of_one)
        await run_in_transaction(writer, write_context(workspace), tell_of_one)
    await run_in_transaction(writer, write_context(workspace), tell_of_one)

    assert heard == ["first", "first", "second", "first"]
    assert await stored_seqs(writer, workspace) == [1, 2, 3, 4, 5]
