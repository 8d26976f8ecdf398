"""Concurrent writes: idempotency keys, versions, tenants, deadlocks and gaps between events.

The tests named `…_tests_detect_…` remove one protection from the SQL and show that its absence is detected.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.db.core.database import Database
from app.db.core.statements import CompiledStatement
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.repositories.workspaces import WorkspaceRef
from app.db.tools.integrity import find_problems
from app.domain.errors import ErrorCode, NotFound, PostResultsError, StaleVersion
from app.domain.idempotency import parse_client_key
from app.domain.ids import AccountId, PostId, WorkspaceId, WorkspaceKind
from app.domain.importing.records import JsonText, parse_records
from app.services.imports import import_records
from app.services.posts import cancel_post, delete_post
from app.services.retries import retry_one_post
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.db.core.test_database import only_on_postgresql
from tests.domain.post_commands import new_post_request
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    failed,
    queued,
)
from tests.raw_statements import run_raw
from tests.recording_driver import InterceptingWriter
from tests.servers import TIMEOUT_SECONDS, run_server
from tests.services.publishing_calls import change, create, write_context

CALL_COUNT = 100
CREATE = "mutation($input: CreatePostInput!) { createPost(input: $input) { post { postId } } }"
LONG_TIMEOUT = timedelta(minutes=1)


async def count_outcomes(calls: Iterable[Awaitable[object]]) -> Counter[object]:
    """Run the calls concurrently and count their results; an error counts by its code."""

    async def outcome(call: Awaitable[object]) -> object:
        try:
            return await call
        except PostResultsError as error:
            return error.code

    return Counter(await asyncio.gather(*map(outcome, calls)))


async def stored_event_kinds(database: Database) -> list[tuple[int, str]]:
    return [(row[1], row[2]) for row in (await all_rows(database))["event"]]


@asynccontextmanager
async def database_with_replaced_sql(
    database_url: str, pattern: str, replacement: str
) -> AsyncIterator[Database]:
    """Open a database that replaces the regular expression in each written statement."""

    def replace_sql(statement: CompiledStatement, _arguments: object) -> CompiledStatement:
        return replace(statement, sql=re.sub(pattern, replacement, statement.sql))

    async with Database(
        database_url,
        timeout=LONG_TIMEOUT,
        pool_size=20,
        wrap_writer=lambda writer: InterceptingWriter(writer, replace_sql),
    ) as database:
        yield database


async def assert_one_effect(database: Database, responses: Iterable[dict[str, Any]]) -> None:
    codes, ids = Counter[str](), set[str]()
    for response in responses:
        if "errors" in response:
            codes[response["errors"][0]["extensions"]["code"]] += 1
        else:
            codes["created"] += 1
            ids.add(response["data"]["createPost"]["post"]["postId"])
    assert codes["created"] + codes["IDEMPOTENCY_IN_PROGRESS"] == CALL_COUNT
    assert codes["created"] >= 1
    if database.is_sqlite:  # the write lock queues all calls, and each returns the same post
        assert codes["created"] == CALL_COUNT
    rows = await all_rows(database)
    assert {str(row[1]) for row in rows["post"]} == ids
    assert len(ids) == len(rows["destination"]) == len(rows["idempotency_key"]) == 1
    assert await stored_event_kinds(database) == [(1, "post.created"), (2, "destination.added")]


async def test_hundred_concurrent_calls_with_one_key_have_one_effect(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    new = {"content": "Sale", "accountIds": [account], "idempotencyKey": "once"}

    responses = await asyncio.gather(
        *(acme.client.execute(CREATE, input=new) for _ in range(CALL_COUNT))
    )

    await assert_one_effect(acme.database, responses)
    assert await find_problems(acme.database) == []


@pytest.mark.slow
async def test_hundred_concurrent_calls_with_one_key_on_two_servers_have_one_effect(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    headers = {"Authorization": f"Bearer {(await add_api_key(database, workspace)).token}"}
    new = {"content": "Sale", "accountIds": [account], "idempotencyKey": "once"}
    body = {"query": CREATE, "variables": {"input": new}}
    environment = {"DATABASE_URL": database_url, "RATE_LIMIT": "off"}
    with ExitStack() as stack:
        servers = [stack.enter_context(run_server(tmp_path, environment)) for _ in range(2)]
        async with httpx.AsyncClient(headers=headers, timeout=TIMEOUT_SECONDS) as http:
            responses = await asyncio.gather(
                *(
                    http.post(f"{servers[number % 2].url}/graphql", json=body)
                    for number in range(CALL_COUNT)
                )
            )

    await assert_one_effect(database, [response.json() for response in responses])


async def create_once(database: Database, workspace: WorkspaceId) -> UUID:
    draft = new_post_request(is_draft=True, account_ids=[])
    key = parse_client_key("once", "idempotencyKey")
    return (await create(database, workspace, draft, key)).id


async def test_tests_detect_a_missing_lookup_of_idempotency_keys(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    pattern, no_rows = r"(?s)(FROM idempotency_key.*?WHERE )", r"\1 1 = 0 AND "
    async with database_with_replaced_sql(database_url, pattern, no_rows) as without_keys:
        assert len({await create_once(without_keys, workspace) for _ in range(3)}) == 3

    assert len({await create_once(database, workspace) for _ in range(3)}) == 1


@only_on_postgresql
async def test_tests_detect_a_missing_lock_of_idempotency_keys(
    database: Database, database_url: str
) -> None:
    lock = r"pg_try_advisory_xact_lock\((.*?)\)"
    async with database_with_replaced_sql(database_url, lock, r"(\1 IS NOT NULL)") as unlocked:
        outcomes = await create_behind_lock(database, unlocked)
        assert (len(outcomes), set(outcomes.values())) == (3, {1})

    async with Database(database_url) as locked:
        outcomes = await create_behind_lock(database, locked)
        assert outcomes[ErrorCode.IDEMPOTENCY_IN_PROGRESS] == 2
        assert len(outcomes) == 2


async def create_behind_lock(database: Database, writers: Database) -> Counter[object]:
    """Run three creations with one key while the event counter, which each needs last, is locked."""
    workspace = await add_workspace(database)
    return await run_behind_lock(
        database,
        f"SELECT 1 FROM workspace WHERE id = '{workspace}' FOR NO KEY UPDATE",
        [create_once(writers, workspace) for _ in range(3)],
    )


async def run_behind_lock(
    database: Database, lock: str, calls: Sequence[Awaitable[object]]
) -> Counter[object]:
    """Hold a lock until each call has ended or waits for a lock, and count their outcomes."""
    tasks: list[asyncio.Future[object]] = []

    async def hold_lock(session: AllWorkspacesWriteSession) -> None:
        await run_raw(session, text(lock))
        tasks.extend(map(asyncio.ensure_future, calls))
        while sum(task.done() for task in tasks) + await count_lock_waits(database) < len(tasks):
            pass

    async with asyncio.timeout(TIMEOUT_SECONDS):
        await database.write_all_workspaces(hold_lock)
    return await count_outcomes(tasks)


async def count_lock_waits(database: Database) -> int:
    """Number of PostgreSQL connections of this database that wait for a lock."""
    statement = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with database.read_connection() as connection:
        return await connection.scalar(statement) or 0


async def change_first_version(
    database: Database, workspace: WorkspaceId, post: PostId, content: str
) -> object:
    try:
        await change(database, workspace, post, content=content, expected_version=1)
    except StaleVersion as error:
        return error.code
    return "changed"


async def test_one_of_several_concurrent_changes_of_one_version_wins(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    async with Database(database_url) as other:
        for _ in range(10):
            post = (await add_post(database, workspace, is_draft=True)).id
            outcomes = await count_outcomes(
                change_first_version([database, other][n % 2], workspace, post, f"Text {n}")
                for n in range(8)
            )
            assert outcomes == {"changed": 1, ErrorCode.STALE_VERSION: 7}

    rows = await all_rows(database)
    assert len(rows["event"]) == 10
    assert await find_problems(database) == []


async def change_behind_lock(database: Database, writers: Database) -> Counter[object]:
    workspace = await add_workspace(database)
    post = (await add_post(database, workspace, is_draft=True)).id
    return await run_behind_lock(
        database,
        f"SELECT 1 FROM post WHERE id = '{post}' FOR UPDATE",
        [change_first_version(writers, workspace, post, f"Text {n}") for n in range(2)],
    )


@only_on_postgresql
async def test_tests_detect_a_missing_lock_of_posts(database: Database, database_url: str) -> None:
    async with database_with_replaced_sql(database_url, " FOR UPDATE", "") as unlocked:
        assert await change_behind_lock(database, unlocked) == {"changed": 2}

    async with Database(database_url) as locked:
        outcomes = await change_behind_lock(database, locked)
        assert outcomes == {"changed": 1, ErrorCode.STALE_VERSION: 1}


def all_changes(
    database: Database, workspace: WorkspaceId, post: PostId
) -> list[Awaitable[object]]:
    target = (database, write_context(workspace), post)
    return [
        change(database, workspace, post, content="Stolen"),
        cancel_post(*target, expected_version=None, idempotency_key=None),
        delete_post(*target, expected_version=None, idempotency_key=None),
        retry_one_post(*target, account_ids=None, force=True, idempotency_key=None),
    ]


async def test_changes_of_a_foreign_post_raise_not_found_and_write_nothing(
    database: Database,
) -> None:
    ours, theirs = [await add_workspace(database) for _ in range(2)]
    account = await add_account(database, theirs)
    post = (await add_post(database, theirs, {account: queued()})).id
    before = await all_rows(database)

    for call in all_changes(database, ours, post):
        with pytest.raises(NotFound):
            await call

    assert await all_rows(database) == before


async def test_equal_ids_and_keys_in_two_workspaces_are_independent(database: Database) -> None:
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
        foreign = [row for row in before[table] if row[0] == theirs]
        assert foreign
        assert [row for row in after[table] if row in foreign] == foreign


async def test_tests_detect_a_missing_workspace_filter(
    database: Database, database_url: str
) -> None:
    ours, theirs = [await add_workspace(database) for _ in range(2)]
    account = await add_account(database, theirs)
    post = (await add_post(database, theirs, {account: failed()})).id
    async with Database(
        database_url, workspace_filter=lambda statement, _workspace: statement
    ) as unfiltered:
        assert await create_once(unfiltered, ours) == await create_once(unfiltered, theirs)
        for call in all_changes(unfiltered, ours, post):
            with pytest.raises(Exception) as raised:  # noqa: PT011 - any error except NotFound
                await call
            assert not isinstance(raised.value, NotFound)


def import_response(number: int, accounts: int) -> dict[str, object]:
    results = [
        {"account_id": account, "platform": "instagram", "status": "published", "attempts": 1}
        for account in range(1, accounts + 1)
    ]
    return {"post_id": str(UUID(int=number)), "content": f"Post {number}", "destinations": results}


async def import_posts(database: Database, workspace: WorkspaceId, first: int) -> None:
    target = WorkspaceRef(workspace, WorkspaceKind.LOCAL)
    for start in range(first, first + 60, 20):
        texts = (JsonText(1, import_response(number, 3)) for number in range(start, start + 20))
        records = (record for text in texts for record in parse_records(text))
        async for _effect in import_records(database, target, records, now=NOW):
            pass


async def run_all_writes(
    database: Database, workspace: WorkspaceId, shared: PostId, number: int
) -> None:
    """Change the shared post, and create, cancel and delete posts, five times."""
    for iteration in range(5):
        context = write_context(workspace)
        new = new_post_request(account_ids=[1, 2, 3][: 1 + number % 3])
        key = parse_client_key(f"{number}-{iteration}", "idempotencyKey")
        own = await create(database, workspace, new, key)
        order = [AccountId(account) for account in ([1, 2, 3] if number % 2 else [3, 2, 1])]
        content = f"Writer {number}, iteration {iteration}"
        await change(database, workspace, shared, order, content=content)
        await cancel_post(database, context, own.id, expected_version=1, idempotency_key=None)
        await delete_post(database, context, own.id, expected_version=2, idempotency_key=None)


async def deadlock_count(database: Database) -> int:
    """Deadlocks that PostgreSQL counted in this database; 0 on SQLite."""
    if database.is_sqlite:
        return 0
    statement = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    async with database.snapshot() as connection:
        await connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        return await connection.scalar(statement) or 0


async def test_twenty_writers_and_two_imports_cause_no_deadlock_and_no_gap(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    accounts = [await add_account(database, workspace) for _ in range(3)]
    shared = (await add_post(database, workspace, dict.fromkeys(accounts, queued()))).id
    before = await deadlock_count(database)

    async with Database(database_url, timeout=LONG_TIMEOUT, pool_size=24) as busy:
        writers = [run_all_writes(busy, workspace, shared, number) for number in range(20)]
        imports = [import_posts(busy, workspace, 1), import_posts(busy, workspace, 21)]
        await asyncio.gather(*writers, *imports)

    assert await deadlock_count(database) == before
    posts = {row[1]: row for row in (await all_rows(database))["post"]}
    assert len(posts) == 1 + 20 * 5 + 80
    numbers = [seq for seq, _kind in await stored_event_kinds(database)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert await find_problems(database) == []
