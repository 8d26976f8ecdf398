"""Rotation of stored secrets while other processes store some: nothing is left with an old key unnoticed."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from sqlalchemy import text

from app.db.core.database import Database, ReadDriver
from app.db.core.statements import CompiledStatement, Record
from app.db.core.write_session import AllWorkspacesWriteSession, Transaction, WriteDriver
from app.db.repositories.checkpoints import delete_checkpoints, find_checkpoint
from app.platforms.protocol import CredentialValues
from app.services.claims import Claim
from app.services.secret_cipher import SecretCipher, checkpoint_row_name
from app.services.stored_secrets import (
    Rotation,
    count_secrets_of_other_keys,
    find_unreadable,
    rotate_secrets,
)
from tests.credential_rows import (
    KEY,
    OTHER_CIPHER,
    OTHER_KEY,
    PLATFORM,
    VALUES,
    add_checkpoint,
    add_credentials,
    publishing_secrets,
    stored_values,
)
from tests.db.core.test_database import only_on_postgresql
from tests.factories import NOW, add_workspace
from tests.raw_statements import run_raw
from tests.services import publishing_calls
from tests.services.publishing_calls import add_due
from tests.test_concurrency import count_lock_waits

T = TypeVar("T")

NEW = OTHER_CIPHER
ROTATING = SecretCipher([OTHER_KEY, KEY])
NEW_VALUES = {"identifier": "alice.test", "password": "new"}
CHECKPOINT = {"container": "17890"}


class _Steps:
    """Calls a function before each read and each transaction, with its number, from 1 on."""

    def __init__(self) -> None:
        self.number = 0
        self.on_step: Callable[[int], Awaitable[None]] | None = None

    async def begin(self) -> None:
        self.number += 1
        if self.on_step is not None:
            await self.on_step(self.number)


class _SteppedReader:
    def __init__(self, driver: ReadDriver, steps: _Steps) -> None:
        self._driver, self._steps = driver, steps

    async def fetch(
        self, query: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        await self._steps.begin()
        return await self._driver.fetch(query, arguments)

    async def close(self) -> None:
        await self._driver.close()


class _SteppedWriter:
    def __init__(self, writer: WriteDriver, steps: _Steps) -> None:
        self._writer, self._steps = writer, steps

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        await self._steps.begin()
        return await self._writer.write(work)

    async def close(self) -> None:
        await self._writer.close()


async def rotate_with_steps(
    database_url: str, on_step: Callable[[int], Awaitable[None]]
) -> Rotation:
    """Rotate in a process of its own, with a call before each of its steps."""
    steps = _Steps()
    async with Database(
        database_url,
        wrap_driver=lambda driver: _SteppedReader(driver, steps),
        wrap_writer=lambda writer: _SteppedWriter(writer, steps),
    ) as database:
        steps.on_step = on_step
        return await rotate_secrets(database, ROTATING, NOW)


@pytest.fixture
async def claim(database: Database) -> Claim:
    """A claimed destination, whose account and checkpoint have the old key."""
    workspace = await add_workspace(database)
    account = await add_due(database, workspace, platform=PLATFORM)
    await add_credentials(database, workspace, account)
    (claimed,) = await publishing_calls.claim(database)
    await add_checkpoint(database, workspace, claimed.destination.id, {"container": "17889"})
    return claimed


async def stored_secrets(database: Database, claim: Claim) -> tuple[object, object]:
    """Decrypt the credentials and the checkpoint of a claim with the new key alone."""
    workspace, destination = claim.lease.workspace_id, claim.destination.id
    checkpoint = await find_checkpoint(database.reader(workspace), destination)
    assert checkpoint is not None
    return (
        await stored_values(database, workspace, claim.account.id, cipher=NEW),
        json.loads(NEW.decrypt_data(checkpoint, checkpoint_row_name(workspace, destination))),
    )


@asynccontextmanager
async def refreshing(
    database: Database, claim: Claim
) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Begin a refresh by a worker with both keys; the function lets the platform answer, and ends it."""
    was_requested, may_answer = asyncio.Event(), asyncio.Event()

    async def request_new(_values: CredentialValues) -> CredentialValues:
        was_requested.set()
        await may_answer.wait()
        return NEW_VALUES

    credentials = publishing_secrets(database, cipher=ROTATING).credentials(claim)
    task = asyncio.create_task(credentials.refresh(VALUES, request_new))
    await was_requested.wait()

    async def end() -> None:
        may_answer.set()
        assert await task == NEW_VALUES

    yield end
    assert task.done()


@pytest.mark.parametrize("step", range(1, 13))
async def test_what_a_worker_with_both_keys_stores_at_any_step_has_the_new_key_afterwards(
    database: Database, database_url: str, claim: Claim, step: int
) -> None:
    """The worker has begun with the old key, before the rotation."""
    checkpoint = publishing_secrets(database, cipher=ROTATING).checkpoint(claim)
    async with refreshing(database, claim) as end_refresh:

        async def store_at_step(number: int) -> None:
            if number == step:
                await end_refresh()
                await checkpoint.save(CHECKPOINT)

        rotation = await rotate_with_steps(database_url, store_at_step)

    assert (rotation.unreadable, rotation.is_complete, rotation.other_key_count) == ([], True, 0)
    assert await stored_secrets(database, claim) == (NEW_VALUES, CHECKPOINT)
    assert await count_secrets_of_other_keys(database, NEW, NOW) == 0


@pytest.mark.parametrize("step", range(1, 13))
async def test_what_a_process_with_the_old_key_stores_at_any_step_is_counted_until_it_is_rotated(
    database: Database, database_url: str, claim: Claim, step: int
) -> None:
    workspace = claim.lease.workspace_id

    async def store_at_step(number: int) -> None:
        if number == step:
            await add_credentials(database, workspace, claim.account.id, NEW_VALUES)
            await add_checkpoint(database, workspace, claim.destination.id, CHECKPOINT)

    rotation = await rotate_with_steps(database_url, store_at_step)

    assert (rotation.unreadable, rotation.is_complete) == ([], True)
    left = await count_secrets_of_other_keys(database, ROTATING, NOW)
    assert left == len(await find_unreadable(database, NEW, NOW))
    if step <= LAST_STEP_OF_FIRST_ROUND:
        assert (rotation.other_key_count, left) == (0, 0)
    again = await rotate_secrets(database, ROTATING, NOW)
    assert again == Rotation(left, [], is_complete=True, other_key_count=0)
    assert await stored_secrets(database, claim) == (NEW_VALUES, CHECKPOINT)


LAST_STEP_OF_FIRST_ROUND = 7
"""Reads of webhooks, then of checkpoints and of credentials, each with one transaction and a last read."""


async def test_rotation_ends_although_a_process_stores_with_the_old_key_again_and_again(
    database: Database, database_url: str, claim: Claim
) -> None:
    workspace = claim.lease.workspace_id

    async def store_again(_number: int) -> None:
        await add_credentials(database, workspace, claim.account.id, NEW_VALUES)

    rotation = await rotate_with_steps(database_url, store_again)

    assert rotation == Rotation(1, [], is_complete=False, other_key_count=1)
    assert await stored_values(database, workspace, claim.account.id) == NEW_VALUES


@only_on_postgresql
async def test_rotation_waits_for_a_checkpoint_that_is_being_stored_with_the_old_key(
    database: Database, claim: Claim
) -> None:
    """The worker has read the key of the credentials before the rotation, which finds no checkpoint yet."""
    checkpoint = publishing_secrets(database, cipher=ROTATING).checkpoint(claim)
    await database.write(
        claim.lease.workspace_id,
        lambda session: delete_checkpoints(session, [claim.destination.id]),
    )
    calls: list[asyncio.Task[object]] = []

    async def hold_checkpoints(session: AllWorkspacesWriteSession) -> None:
        await run_raw(session, text("LOCK TABLE checkpoint IN SHARE ROW EXCLUSIVE MODE"))
        calls.append(asyncio.create_task(checkpoint.save(CHECKPOINT)))
        await until_waiting(database, calls)
        calls.append(asyncio.create_task(rotate_secrets(database, ROTATING, NOW)))
        await until_waiting(database, calls)

    async with asyncio.timeout(10):
        await database.write_all_workspaces(hold_checkpoints)
        await asyncio.gather(*calls)

    assert await stored_secrets(database, claim) == (VALUES, CHECKPOINT)


async def until_waiting(database: Database, calls: Sequence["asyncio.Task[object]"]) -> None:
    """Wait until each call has ended or waits for a lock of the database."""
    while sum(call.done() for call in calls) + await count_lock_waits(database) < len(calls):
        pass
