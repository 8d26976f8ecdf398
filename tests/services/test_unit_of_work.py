"""Tests of commit notifications: once per write, for its workspace, after its events are readable."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import asyncpg
import pytest

from app.db.core.database import Database
from app.domain.errors import NotFound
from app.domain.events import Event, EventKind
from app.domain.ids import PostId, WorkspaceId
from app.services.posts import delete_post
from app.services.unit_of_work import UnitOfWork, run_in_transaction
from tests.db.all_tables import all_rows
from tests.db.core.test_database import only_on_postgresql
from tests.db.repositories.event_rows import stored_seqs
from tests.factories import add_account, add_workspace
from tests.services.publishing_calls import change, create, new_post, write_context

EVENT = Event(kind=EventKind.POST_CHANGED, values={})


class RecordingCallback:
    """Records each notified workspace, with the events that another connection sees at that moment."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.notifications: list[tuple[WorkspaceId, list[int]]] = []

    def __call__(self, workspace_id: WorkspaceId) -> None:
        with ThreadPoolExecutor(1) as executor:
            seqs = executor.submit(asyncio.run, self._read_events(workspace_id)).result()
        self.notifications.append((workspace_id, seqs))

    async def _read_events(self, workspace_id: WorkspaceId) -> list[int]:
        async with Database(self._url) as database:
            return await stored_seqs(database, workspace_id)


@pytest.fixture
def callback(database: Database, database_url: str) -> Iterator[RecordingCallback]:
    recording = RecordingCallback(database_url)
    with database.on_commit(recording):
        yield recording


async def test_write_is_notified_once_after_its_events_are_readable(
    database: Database, callback: RecordingCallback
) -> None:
    first, second = [await add_workspace(database) for _ in range(2)]
    posts = {}
    for workspace in (first, second):
        accounts = [await add_account(database, workspace) for _ in range(2)]
        posts[workspace] = await create(database, workspace, new_post(accounts))
    await delete_post(
        database, write_context(first), posts[first].id, expected_version=None, idempotency_key=None
    )

    assert callback.notifications == [
        (first, [1, 2, 3]),
        (second, [1, 2, 3]),
        (first, [1, 2, 3, 4, 5, 6]),
    ]


async def test_write_without_changes_is_not_notified(
    database: Database, callback: RecordingCallback
) -> None:
    workspace = await add_workspace(database)

    async def read_posts(uow: UnitOfWork) -> int:
        return len(await uow.load_posts([PostId(uuid4())]))

    assert await run_in_transaction(database, write_context(workspace), read_posts) == 0
    assert callback.notifications == []


async def test_failed_write_is_rolled_back_and_not_notified(
    database: Database, callback: RecordingCallback
) -> None:
    workspace = await add_workspace(database)
    before = await all_rows(database)

    async def fail(uow: UnitOfWork) -> None:
        uow.add_event(EVENT)
        await uow.append_events()
        raise NotFound("Not found.")

    with pytest.raises(NotFound):
        await run_in_transaction(database, write_context(workspace), fail)
    with pytest.raises(NotFound):
        await change(database, workspace, PostId(uuid4()), content="Else")
    with pytest.raises(ValueError, match="does not exist"):
        await run_in_transaction(database, write_context(WorkspaceId(uuid4())), add_one_event)

    assert callback.notifications == []
    assert await all_rows(database) == before


@only_on_postgresql
async def test_retried_write_is_notified_once(
    database: Database, callback: RecordingCallback
) -> None:
    workspace = await add_workspace(database)
    attempts = []

    async def work(uow: UnitOfWork) -> None:
        attempts.append(uow)
        uow.add_event(EVENT)
        if len(attempts) < 3:
            raise asyncpg.SerializationError("")

    await run_in_transaction(database, write_context(workspace), work)

    assert len(attempts) == 3
    assert callback.notifications == [(workspace, [1])]


async def add_one_event(uow: UnitOfWork) -> None:
    uow.add_event(EVENT)


async def test_all_registered_callbacks_are_notified(database: Database) -> None:
    workspace = await add_workspace(database)
    called: list[str] = []
    await run_in_transaction(database, write_context(workspace), add_one_event)
    with database.on_commit(lambda _: called.append("first")):
        await run_in_transaction(database, write_context(workspace), add_one_event)
        with database.on_commit(lambda _: called.append("second")):
            await run_in_transaction(database, write_context(workspace), add_one_event)
        await run_in_transaction(database, write_context(workspace), add_one_event)
    await run_in_transaction(database, write_context(workspace), add_one_event)

    assert called == ["first", "first", "second", "first"]
    assert await stored_seqs(database, workspace) == [1, 2, 3, 4, 5]
