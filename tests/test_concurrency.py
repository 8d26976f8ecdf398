"""Many at once: one effect for a key, one winner for a version, no deadlock, and events without a gap.

The guards take one thing out of the statements that a database runs, and show that its lack is noticed.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import event, text

from app.db.core.database import Database, WriteSession
from app.db.repositories.workspaces import WorkspaceRef
from app.db.tools.integrity import find_problems
from app.domain.errors import (
    ErrorCode,
    NotFound,
    PostResultsError,
    StaleVersion,
)
from app.domain.idempotency import parse_client_key
from app.domain.ids import PostId, WorkspaceId
from app.domain.importing.json_stream import JsonText
from app.domain.importing.records import parse_records
from app.domain.post_commands import PostChanges
from app.domain.workspaces import WorkspaceKind
from app.services.imports import import_records
from app.services.posts import cancel_post, change_post, create_post, delete_post
from app.services.retries import retry_one_post
from app.services.unit_of_work import WriteContext
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.db.core.test_database import only_on_postgresql
from tests.domain.test_post_commands import wanted
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    failed,
    no_quota,
    queued,
)
from tests.servers import TIMEOUT_SECONDS, ServerProcess

CALL_COUNT = 100
CREATE = (
    "mutation($input: CreatePostInput!) { made: createPost(input: $input) { post { postId } } }"
)
LONG_TIMEOUT = timedelta(minutes=1)


def write_context(workspace: WorkspaceId, operation: str = "test") -> WriteContext:
    return WriteContext(workspace_id=workspace, actor=None, operation=operation, now=NOW)


async def count_outcomes(works: Iterable[Awaitable[object]]) -> Counter[object]:
    """How often each came out, an error by its code."""

    async def outcome(work: Awaitable[object]) -> object:
        try:
            return await work
        except PostResultsError as error:
            return error.code

    return Counter(await asyncio.gather(*map(outcome, works)))


async def stored_events(database: Database) -> list[tuple[int, str]]:
    return [(row[1], row[2]) for row in (await all_rows(database))["event"]]


@asynccontextmanager
async def database_with_replaced_sql(database_url: str, pattern: str, replacement: str) -> AsyncIterator[Database]:
    """The database, with something in what it runs in writes replaced."""
    async with Database(database_url, timeout=LONG_TIMEOUT, pool_size=20) as opened:

        @event.listens_for(opened.write_engine.sync_engine, "before_cursor_execute", retval=True)
        def replaced(
            _connection: object, _cursor: object, statement: str, parameters: object, *_: object
        ) -> tuple[str, object]:
            return re.sub(pattern, replacement, statement), parameters

        yield opened


# One key.


def codes_and_ids(answers: Iterable[dict[str, Any]]) -> tuple[Counter[str], set[str]]:
    codes, ids = Counter[str](), set[str]()
    for answer in answers:
        if "errors" in answer:
            codes[answer["errors"][0]["extensions"]["code"]] += 1
        else:
            codes["made"] += 1
            ids.add(answer["data"]["made"]["post"]["postId"])
    return codes, ids


async def assert_one_effect(database: Database, answers: Iterable[dict[str, Any]]) -> None:
    codes, ids = codes_and_ids(answers)
    assert codes["made"] + codes["IDEMPOTENCY_IN_PROGRESS"] == CALL_COUNT
    assert codes["made"] >= 1
    if database.is_sqlite:
        assert codes["made"] == CALL_COUNT  # each waits its turn, and is told the same
    rows = await all_rows(database)
    assert {str(row[1]) for row in rows["post"]} == ids
    assert len(ids) == len(rows["destination"]) == len(rows["idempotency_key"]) == 1
    assert await stored_events(database) == [(1, "post.created"), (2, "destination.added")]


async def test_a_hundred_calls_with_one_key_have_one_effect(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    given = {"content": "Sale", "accountIds": [account], "idempotencyKey": "once"}

    answers = await asyncio.gather(
        *(acme.client.execute(CREATE, input=given) for _ in range(CALL_COUNT))
    )

    await assert_one_effect(acme.database, answers)
    assert await find_problems(acme.database) == []


async def test_a_hundred_calls_with_one_key_at_two_servers_have_one_effect(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    headers = {"Authorization": f"Bearer {(await add_api_key(database, workspace)).token}"}
    given = {"content": "Sale", "accountIds": [account], "idempotencyKey": "once"}
    body = {"query": CREATE, "variables": {"input": given}}
    environment = {"DATABASE_URL": database_url, "RATE_LIMIT": "off"}
    logs = tmp_path / "logs"
    logs.mkdir()
    servers = [ServerProcess(logs, environment) for _ in range(2)]
    try:
        for each in servers:
            await asyncio.to_thread(each.wait_until_ready)
        async with httpx.AsyncClient(headers=headers, timeout=TIMEOUT_SECONDS) as http:
            answers = await asyncio.gather(
                *(
                    http.post(f"{servers[number % 2].url}/graphql", json=body)
                    for number in range(CALL_COUNT)
                )
            )
        for each in servers:
            await asyncio.to_thread(each.stop)
    finally:
        for each in servers:
            each.kill()

    await assert_one_effect(database, [each.json() for each in answers])


async def create_once(database: Database, workspace: WorkspaceId) -> UUID:
    draft = wanted(is_draft=True, account_ids=[])
    key = parse_client_key("once", "idempotencyKey")
    return (
        await create_post(
            database, write_context(workspace), draft, key, check_quota=no_quota, new_id=uuid4
        )
    ).id


async def test_without_the_row_of_a_key_that_would_be_noticed(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    hidden = database_with_replaced_sql(database_url, r"(?s)(FROM idempotency_key.*?WHERE )", r"\1 1 = 0 AND ")
    async with hidden as forgetful:
        assert len({await create_once(forgetful, workspace) for _ in range(3)}) == 3

    assert len({await create_once(database, workspace) for _ in range(3)}) == 1


@only_on_postgresql
async def test_without_the_lock_of_a_key_that_would_be_noticed(
    database: Database, database_url: str
) -> None:
    lock = r"pg_try_advisory_xact_lock\((.*?)\)"
    async with database_with_replaced_sql(database_url, lock, r"(\1 IS NOT NULL)") as unlocked:
        made = await create_behind_lock(database, unlocked)
        assert (len(made), set(made.values())) == (3, {1})

    async with Database(database_url) as locked:
        told = await create_behind_lock(database, locked)
        assert told[ErrorCode.IDEMPOTENCY_IN_PROGRESS] == 2
        assert len(told) == 2


async def create_behind_lock(database: Database, writers: Database) -> Counter[object]:
    """Three with one key in a workspace whose counter, which each needs at its end, is held."""
    workspace = await add_workspace(database)
    return await run_behind_lock(
        database,
        f"SELECT 1 FROM workspace WHERE id = '{workspace}' FOR NO KEY UPDATE",
        [create_once(writers, workspace) for _ in range(3)],
    )


async def run_behind_lock(
    database: Database, lock: str, works: Sequence[Awaitable[object]]
) -> Counter[object]:
    """What comes of works that have all begun before one can end, as somebody holds what they need."""
    tasks: list[asyncio.Future[object]] = []

    async def hold_lock(session: WriteSession) -> None:
        await session.execute(text(lock))
        tasks.extend(asyncio.ensure_future(each) for each in works)
        while sum(each.done() for each in tasks) + await count_lock_waits(database) < len(tasks):
            pass

    async with asyncio.timeout(TIMEOUT_SECONDS):
        await database.write(hold_lock)
    return await count_outcomes(tasks)


async def count_lock_waits(database: Database) -> int:
    """How many wait for a lock in this PostgreSQL database."""
    statement = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with database.unscoped_connection() as connection:
        return await connection.scalar(statement) or 0


# One version.


async def change_first_version(
    database: Database, workspace: WorkspaceId, post: PostId, content: str
) -> object:
    try:
        await change_post(
            database,
            write_context(workspace),
            post,
            PostChanges(content=content),
            account_ids=None,
            expected_version=1,
            new_id=uuid4,
        )
    except StaleVersion as error:
        return error.code
    return "changed"


async def test_of_concurrent_changes_of_one_version_one_wins(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    async with Database(database_url) as other:
        for _ in range(10):
            post = (await add_post(database, workspace, is_draft=True)).id
            told = await count_outcomes(
                change_first_version([database, other][each % 2], workspace, post, f"Text {each}")
                for each in range(8)
            )
            assert told == {"changed": 1, ErrorCode.STALE_VERSION: 7}

    rows = await all_rows(database)
    assert len(rows["event"]) == 10
    assert await find_problems(database) == []


async def change_behind_lock(database: Database, writers: Database) -> Counter[object]:
    workspace = await add_workspace(database)
    post = (await add_post(database, workspace, is_draft=True)).id
    return await run_behind_lock(
        database,
        f"SELECT 1 FROM post WHERE id = '{post}' FOR UPDATE",
        [change_first_version(writers, workspace, post, f"Text {each}") for each in range(2)],
    )


@only_on_postgresql
async def test_without_the_lock_of_a_post_that_would_be_noticed(
    database: Database, database_url: str
) -> None:
    async with database_with_replaced_sql(database_url, " FOR UPDATE", "") as unlocked:
        assert await change_behind_lock(database, unlocked) == {"changed": 2}

    async with Database(database_url) as locked:
        told = await change_behind_lock(database, locked)
        assert told == {"changed": 1, ErrorCode.STALE_VERSION: 1}


# The wall between tenants.


def all_changes(
    database: Database, workspace: WorkspaceId, post: PostId
) -> dict[str, Awaitable[object]]:
    on = (database, write_context(workspace), post)
    return {
        "change": change_post(
            *on,
            PostChanges(content="Stolen"),
            account_ids=None,
            expected_version=None,
            new_id=uuid4,
        ),
        "cancel": cancel_post(*on, expected_version=None),
        "delete": delete_post(*on, expected_version=None),
        "retry": retry_one_post(*on, account_ids=None, force=True, idempotency_key=None),
    }


async def test_another_workspaces_post_is_not_found_and_stays(database: Database) -> None:
    ours, theirs = [await add_workspace(database) for _ in range(2)]
    account = await add_account(database, theirs)
    post = (await add_post(database, theirs, {account: queued()})).id
    before = await all_rows(database)

    for work in all_changes(database, ours, post).values():
        with pytest.raises(NotFound):
            await work

    assert await all_rows(database) == before


async def test_the_same_ids_and_keys_in_two_workspaces_do_not_meet(database: Database) -> None:
    ours, theirs = [await add_workspace(database) for _ in range(2)]
    for workspace in (ours, theirs):
        account = await add_account(database, workspace, id=1)
        await add_post(
            database, workspace, {account: failed()}, id=UUID(int=1), destination_ids=[UUID(int=2)]
        )
    before = await all_rows(database)

    await retry_one_post(
        database,
        write_context(ours),
        PostId(UUID(int=1)),
        account_ids=None,
        force=False,
        idempotency_key=None,
    )
    assert await create_once(database, ours) != await create_once(database, theirs)

    after = await all_rows(database)
    for table in ("post", "destination", "account"):
        kept = [row for row in before[table] if row[0] == theirs]
        assert kept
        assert [row for row in after[table] if row in kept] == kept


async def test_without_the_wall_that_would_be_noticed(
    database: Database, database_url: str
) -> None:
    ours, theirs = [await add_workspace(database) for _ in range(2)]
    account = await add_account(database, theirs)
    post = (await add_post(database, theirs, {account: failed()})).id
    async with Database(
        database_url, workspace_filter=lambda statement, _workspace: statement
    ) as unwalled:
        assert await create_once(unwalled, ours) == await create_once(unwalled, theirs)
        for work in all_changes(unwalled, ours, post).values():
            with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever, but what is right
                await work
            assert not isinstance(raised.value, NotFound)


# Everybody at once.


def import_response(number: int, accounts: int) -> dict[str, object]:
    results = [
        {"account_id": account, "platform": "instagram", "status": "published", "attempts": 1}
        for account in range(1, accounts + 1)
    ]
    return {"post_id": str(UUID(int=number)), "content": f"Post {number}", "destinations": results}


async def import_posts(database: Database, workspace: WorkspaceId, first: int) -> None:
    into = WorkspaceRef(workspace, WorkspaceKind.LOCAL)
    for start in range(first, first + 60, 20):
        answers = (JsonText(1, import_response(each, 3)) for each in range(start, start + 20))
        records = (record for answer in answers for record in parse_records(answer))
        async for _effect in import_records(database, into, records, now=NOW):
            pass


async def run_all_writes(
    database: Database, workspace: WorkspaceId, shared: PostId, number: int
) -> int:
    """How often the shared post was changed."""
    changed = 0
    for turn in range(5):
        at = write_context(workspace)
        own = await create_post(
            database,
            at,
            wanted(account_ids=[1, 2, 3][: 1 + number % 3]),
            parse_client_key(f"{number}-{turn}", "idempotencyKey"),
            check_quota=no_quota,
            new_id=uuid4,
        )
        order = [1, 2, 3] if number % 2 else [3, 2, 1]
        await change_post(
            database,
            at,
            shared,
            PostChanges(content=f"Writer {number}, turn {turn}"),
            account_ids=order,  # type: ignore[arg-type]
            expected_version=None,
            new_id=uuid4,
        )
        changed += 1
        await cancel_post(database, at, own.id, expected_version=1)
        await delete_post(database, at, own.id, expected_version=2)
    return changed


async def deadlock_count(database: Database) -> int:
    if database.is_sqlite:
        return 0
    statement = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    async with database.snapshot() as connection:
        await connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        return await connection.scalar(statement) or 0


async def test_twenty_writers_and_imports_at_once_wait_for_each_other(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    accounts = [await add_account(database, workspace) for _ in range(3)]
    shared = (await add_post(database, workspace, dict.fromkeys(accounts, queued()))).id
    before = await deadlock_count(database)

    async with Database(database_url, timeout=LONG_TIMEOUT, pool_size=24) as busy:
        writers = [run_all_writes(busy, workspace, shared, each) for each in range(20)]
        imports = [import_posts(busy, workspace, 1), import_posts(busy, workspace, 21)]
        changed, _ = await asyncio.gather(asyncio.gather(*writers), asyncio.gather(*imports))

    assert changed == [5] * 20
    assert await deadlock_count(database) == before
    posts = {row[1]: row for row in (await all_rows(database))["post"]}
    assert len(posts) == 1 + 20 * 5 + 80
    numbers = [seq for seq, _kind in await stored_events(database)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert await find_problems(database) == []
