"""The database's promises to its callers: what a read may do, what a write keeps, when it gives up."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import (
    TextClause,
    case,
    exists,
    func,
    insert,
    literal_column,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased, outerjoin

from app.db.core.database import Database
from app.db.core.statements import AnySelect
from app.db.core.tenancy import restrict_to_workspace
from app.db.models import Account, ApiKey, Destination, Post, Workspace
from app.domain.errors import ServiceUnavailable
from app.domain.ids import WorkspaceId
from app.domain.workspaces import WorkspaceKind
from tests.factories import NOW, add_account, add_api_key, add_post, add_workspace, queued

SHORT_TIMEOUT = timedelta(milliseconds=200)

only_on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
only_on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
async def short_timeout_database(anyio_backend: str, database_url: str) -> AsyncIterator[Database]:
    """One connection for reading, and little patience."""
    async with Database(database_url, pool_size=1, timeout=SHORT_TIMEOUT) as opened:
        yield opened


def build_workspace(name: str) -> Workspace:
    return Workspace(
        id=uuid4(),
        name=name,
        kind=WorkspaceKind.LOCAL,
        mirror_of=None,
        event_seq=0,
        next_account_id=1,
        created_at=NOW,
    )


async def workspace_names(database: Database) -> list[str]:
    async with database.unscoped_connection() as connection:
        return list(await connection.scalars(select(Workspace.name).order_by(Workspace.name)))


async def event_seq(database: Database, workspace_id: WorkspaceId) -> int | None:
    async with database.unscoped_connection() as connection:
        return await connection.scalar(
            select(Workspace.event_seq).where(Workspace.id == workspace_id)
        )


async def test_a_reader_cannot_write(database: Database) -> None:
    await add_workspace(database, name="before")

    async with database.unscoped_connection() as connection:
        with pytest.raises(DBAPIError):
            await connection.execute(update(Workspace).values(name="after"))
    with pytest.raises(DBAPIError):
        async with database.snapshot() as connection:
            await connection.execute(update(Workspace).values(name="after"))

    assert await workspace_names(database) == ["before"]


async def test_an_exception_in_a_write_keeps_nothing(database: Database) -> None:
    async def work(session: AsyncSession) -> None:
        session.add(build_workspace("half"))
        await session.flush()
        raise LookupError("half way")

    with pytest.raises(LookupError, match="half way"):
        await database.write(work)

    assert await workspace_names(database) == []


async def test_a_constraint_is_reported_as_it_is_and_keeps_nothing(database: Database) -> None:
    await add_workspace(database, name="taken")

    async def work(session: AsyncSession) -> None:
        session.add(build_workspace("free"))
        await session.flush()
        session.add(build_workspace("taken"))

    with pytest.raises(IntegrityError):
        await database.write(work)

    assert await workspace_names(database) == ["taken"]


async def test_a_write_returns_what_its_work_returned(database: Database) -> None:
    async def work(session: AsyncSession) -> str:
        return "done"

    assert await database.write(work) == "done"


async def test_concurrent_read_modify_writes_all_land(database: Database) -> None:
    workspace_id = await add_workspace(database)

    async def count(session: AsyncSession) -> None:
        seen = await session.scalar(
            select(Workspace.event_seq).where(Workspace.id == workspace_id).with_for_update()
        )
        assert seen is not None
        await session.execute(
            update(Workspace).where(Workspace.id == workspace_id).values(event_seq=seen + 1)
        )

    await asyncio.gather(*(database.write(count) for _ in range(50)))

    assert await event_seq(database, workspace_id) == 50


async def test_two_processes_worth_of_writers_wait_for_each_other(
    database: Database, database_url: str
) -> None:
    workspace_id = await add_workspace(database)
    async with Database(database_url) as other:

        async def count(session: AsyncSession) -> None:
            await session.execute(
                update(Workspace)
                .where(Workspace.id == workspace_id)
                .values(event_seq=Workspace.event_seq + 1)
            )

        await asyncio.gather(*(each.write(count) for each in [database, other] * 10))

    assert await event_seq(database, workspace_id) == 20


async def raise_sqlstate(session: AsyncSession, sqlstate: str) -> None:
    await session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END $$"))


@only_on_postgresql
@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_a_serialization_failure_repeats_the_whole_transaction(
    database: Database, sqlstate: str
) -> None:
    names: list[str] = []

    async def work(session: AsyncSession) -> None:
        names.append(f"try {len(names) + 1}")
        session.add(build_workspace(names[-1]))
        await session.flush()
        if len(names) < 3:
            await raise_sqlstate(session, sqlstate)

    await database.write(work)

    assert names == ["try 1", "try 2", "try 3"]
    assert await workspace_names(database) == ["try 3"]


@only_on_postgresql
async def test_a_lasting_serialization_failure_is_given_up(database: Database) -> None:
    tries = []

    async def work(session: AsyncSession) -> None:
        tries.append(1)
        await raise_sqlstate(session, "40001")

    with pytest.raises(ServiceUnavailable):
        await database.write(work)

    assert len(tries) == 5


def slow_statement(number: int) -> TextClause:
    """A statement that is at work for a while, on both engines: a million takes some 0.2 s."""
    return text(
        "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers"
        f" WHERE i < {number}) SELECT count(*) FROM numbers"
    )


MINUTE_LONG_STATEMENT = slow_statement(300_000_000)


async def test_a_statement_over_the_timeout_is_unavailable(
    short_timeout_database: Database,
) -> None:
    async def work(session: AsyncSession) -> None:
        session.add(build_workspace("half"))
        await session.flush()
        await session.execute(MINUTE_LONG_STATEMENT)

    with pytest.raises(ServiceUnavailable):
        await short_timeout_database.write(work)
    with pytest.raises(ServiceUnavailable):
        async with short_timeout_database.unscoped_connection() as connection:
            await connection.execute(MINUTE_LONG_STATEMENT)

    assert await workspace_names(short_timeout_database) == []


async def test_each_statement_has_the_timeout_for_itself(short_timeout_database: Database) -> None:
    async with short_timeout_database.unscoped_connection() as connection:
        for _ in range(20):
            await connection.execute(slow_statement(100_000))


async def test_a_snapshot_may_take_longer_than_a_request(short_timeout_database: Database) -> None:
    started = time.monotonic()
    async with short_timeout_database.snapshot() as connection:
        assert await connection.scalar(slow_statement(3_000_000)) == 3_000_000
    assert time.monotonic() - started > SHORT_TIMEOUT.total_seconds()

    with pytest.raises(ServiceUnavailable):
        async with short_timeout_database.unscoped_connection() as connection:
            await connection.execute(MINUTE_LONG_STATEMENT)


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4, 5, 100])
async def test_a_cancelled_read_ends_its_statement_and_gives_its_connection_back(
    database: Database, database_url: str, turns: int
) -> None:
    """However far it has come."""

    async def read() -> None:
        async with single.unscoped_connection() as connection:
            await connection.execute(MINUTE_LONG_STATEMENT)

    async with Database(database_url, pool_size=1, timeout=timedelta(minutes=5)) as single:
        await single.ping()
        reading = asyncio.create_task(read())
        for _ in range(turns):
            await asyncio.sleep(0.001 if turns == 100 else 0)
        reading.cancel()
        async with asyncio.timeout(10):
            await asyncio.wait([reading])
            await single.ping()

    assert reading.cancelled()


async def test_a_lock_held_for_too_long_is_unavailable(
    database: Database, short_timeout_database: Database
) -> None:
    workspace_id = await add_workspace(database, name="before")
    rename = update(Workspace).where(Workspace.id == workspace_id)

    async def quick(session: AsyncSession) -> None:
        await session.execute(rename.values(name="quick"))

    async def slow(session: AsyncSession) -> None:
        await session.execute(rename.values(name="slow"))
        with pytest.raises(ServiceUnavailable):
            await short_timeout_database.write(quick)

    await database.write(slow)

    assert await workspace_names(database) == ["slow"]


async def test_an_exhausted_pool_is_unavailable_and_recovers(
    short_timeout_database: Database,
) -> None:
    async with short_timeout_database.unscoped_connection():
        with pytest.raises(ServiceUnavailable) as refused:
            await short_timeout_database.ping()

    assert refused.value.retry_after == 2
    await short_timeout_database.ping()


async def test_a_pool_of_one_serves_many_readers_and_writers(
    database_url: str, database: Database
) -> None:
    async with Database(database_url, pool_size=1) as single:
        workspace_id = await add_workspace(database)

        async def read() -> int:
            reader = single.read(workspace_id)
            return await reader.count(select(func.count()).select_from(Post))

        async def write() -> int:
            await add_post(single, workspace_id)
            return await read()

        await asyncio.gather(*(read() for _ in range(20)), *(write() for _ in range(5)))

        assert await read() == 5


@only_on_postgresql
@pytest.mark.parametrize(
    ("part", "replacement"), [("/post_results_test_", "/no_such_"), ("host=", "host=/nowhere")]
)
async def test_a_server_or_database_that_is_not_there_is_unavailable(
    database_url: str, part: str, replacement: str
) -> None:
    async with Database(database_url.replace(part, replacement), timeout=SHORT_TIMEOUT) as absent:
        with pytest.raises(ServiceUnavailable):
            await absent.ping()
        with pytest.raises(ServiceUnavailable):
            await add_workspace(absent)


async def test_an_unreachable_file_or_port_is_unavailable(
    anyio_backend: str, tmp_path: Path
) -> None:
    for absent in (
        Database.from_file(tmp_path / "no-such-folder" / "post-results.db"),
        Database("postgresql+asyncpg://nobody@127.0.0.1:1/nothing"),
    ):
        async with absent:
            with pytest.raises(ServiceUnavailable):
                await absent.ping()
            with pytest.raises(ServiceUnavailable):
                async with absent.snapshot():
                    pass
            with pytest.raises(ServiceUnavailable):
                await add_workspace(absent)


@only_on_postgresql
async def test_a_connection_that_was_cut_is_replaced(database: Database) -> None:
    await database.ping()
    async with database.write_engine.connect() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND application_name = 'post-results'"
            )
        )

    await database.ping()


@only_on_postgresql
async def test_a_write_whose_connection_is_cut_is_unavailable_and_keeps_nothing(
    database: Database, database_url: str
) -> None:
    async def work(session: AsyncSession) -> None:
        session.add(build_workspace("lost"))
        await session.flush()
        await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(ServiceUnavailable):
        await database.write(work)

    assert await workspace_names(database) == []


async def test_a_snapshot_does_not_see_later_writes(database: Database) -> None:
    await add_workspace(database, name="a")

    async with database.snapshot() as connection:
        before = list(await connection.scalars(select(Workspace.name)))
        await add_workspace(database, name="b")
        after = list(await connection.scalars(select(Workspace.name)))

    assert (before, after) == (["a"], ["a"])
    assert await workspace_names(database) == ["a", "b"]


async def test_a_failed_schema_change_leaves_nothing_and_links_stay_checked(
    database: Database,
) -> None:
    async def change_and_fail() -> None:
        async with database.schema_transaction() as connection:
            await connection.execute(text("CREATE TABLE half (id INTEGER)"))
            raise LookupError("half way")

    with pytest.raises(LookupError, match="half way"):
        await change_and_fail()

    async with database.unscoped_connection() as connection:
        with pytest.raises(DBAPIError, match="half"):
            await connection.execute(text("SELECT * FROM half"))
    with pytest.raises(IntegrityError):
        await add_api_key(database, WorkspaceId(uuid4()))


@only_on_sqlite
async def test_a_schema_change_that_would_break_a_link_is_undone(database: Database) -> None:
    workspace_id = await add_workspace(database, name="kept")
    await add_api_key(database, workspace_id)

    async def remove_the_workspace() -> None:
        async with database.schema_transaction() as connection:
            await connection.execute(text("DELETE FROM workspace"))

    with pytest.raises(RuntimeError, match="1 rows would refer to rows that do not exist"):
        await remove_the_workspace()

    assert await workspace_names(database) == ["kept"]


async def two_tenants(database: Database) -> tuple[WorkspaceId, WorkspaceId]:
    """Two workspaces, each with one post on account 1."""
    ours = await add_workspace(database, name="ours")
    theirs = await add_workspace(database, name="theirs")
    for workspace_id in (ours, theirs):
        account_id = await add_account(database, workspace_id)
        await add_post(database, workspace_id, {account_id: queued()})
    return ours, theirs


async def test_a_read_is_confined_to_its_workspace(database: Database) -> None:
    for workspace_id in await two_tenants(database):
        reader = database.read(workspace_id)
        rows = await reader.rows(select(Post.workspace_id))
        first = await reader.first(select(Post.workspace_id))
        number = await reader.count(select(func.count()).select_from(Destination))

        assert [row.workspace_id for row in rows] == [workspace_id]
        assert first is not None
        assert first.workspace_id == workspace_id
        assert number == 1


async def test_both_sides_of_a_careless_join_are_confined(database: Database) -> None:
    ours, _theirs = await two_tenants(database)
    joined = select(
        Post.workspace_id.label("post"), Destination.workspace_id.label("destination")
    ).join(Destination, Destination.account_id > 0)

    reader = database.read(ours)
    rows = await reader.rows(joined)

    assert [(row.post, row.destination) for row in rows] == [(ours, ours)]


FOREIGN_ACCOUNTS = select(Destination.account_id)


@pytest.mark.parametrize(
    "statement",
    [
        select(Account.id).where(exists().where(Destination.account_id == Account.id)),
        select(Account.id).where(exists(FOREIGN_ACCOUNTS)),
        select(Account.id).where(Account.id.in_(FOREIGN_ACCOUNTS)),
        select(Account.id).where(Account.id.in_(union_all(FOREIGN_ACCOUNTS, FOREIGN_ACCOUNTS))),
        select(Account.id).where(
            Account.id == select(func.max(Destination.account_id)).scalar_subquery()
        ),
        select(Account.id).where(select(func.count(Destination.id)).scalar_subquery() > 0),
        select(Account.id).join(Post, exists(FOREIGN_ACCOUNTS)),
        select(Account.id).group_by(Account.id).having(exists(FOREIGN_ACCOUNTS)),
        select(Account.id).where(
            exists(
                select(Post.id)
                .join(Account, Account.id > 0)
                .where(Account.id.in_(FOREIGN_ACCOUNTS))
                .correlate(None)
            )
        ),
        select(Account.id).where(select(exists(FOREIGN_ACCOUNTS)).scalar_subquery()),
        select(Account.id).where(case((exists(FOREIGN_ACCOUNTS), 1), else_=0) == 1),
    ],
    ids=str,
)
async def test_a_query_in_a_query_is_confined_as_well(
    database: Database, database_url: str, statement: AnySelect
) -> None:
    """Only the other workspace has a destination, on an account with the number of ours."""
    ours = await add_workspace(database, name="ours")
    theirs = await add_workspace(database, name="theirs")
    number = await add_account(database, ours)
    await add_post(database, ours)
    await add_account(database, theirs, id=number)
    await add_post(database, theirs, {number: queued()})

    reader = database.read(ours)
    rows = await reader.rows(statement)
    reader = database.read(theirs)
    their_rows = await reader.rows(statement)
    async with database.unscoped_connection() as connection:
        only_outside = await connection.execute(statement.where(Account.workspace_id == ours))
        leaked = only_outside.all()

    assert ({*rows}, {*their_rows}, {*leaked}) == (set(), {(number,)}, {(number,)})


@pytest.mark.parametrize(
    "statement",
    [
        select(Workspace.name),
        select(Post.id).join(Workspace, Workspace.id == Post.workspace_id),
        select(Post.id).where(Post.workspace_id.in_(select(Workspace.id))),
        select(Post.id).where(exists().where(Workspace.id == Post.workspace_id)),
        select(select(ApiKey.id).subquery()),
        select(select(ApiKey.id).cte()),
        select(Post.id).where(Post.id.in_(select(select(Destination.post_id).cte()))),
        select(Post.id).where(Post.id.in_(select(select(Destination.post_id).subquery()))),
        select(select(ApiKey.id).lateral()),
        select(aliased(Post).id),
        select(literal_column("1")).select_from(text("post")),
        select(literal_column("(SELECT max(content) FROM post)")),
        select(Post.id).where(text("id IN (SELECT post_id FROM destination)")),
        select(Post.id).order_by(text("(SELECT max(content) FROM post)")),
        select(Post.id).join(Destination, Destination.post_id == Post.id, isouter=True),
        select(Post.id).join(Destination, Destination.post_id == Post.id, full=True),
        select(Post.id).outerjoin(Destination, Destination.post_id == Post.id),
        select(Post.id).select_from(outerjoin(Post, Destination, Destination.post_id == Post.id)),
        select(Account.id).where(
            exists(select(Post.id).outerjoin(Destination, Destination.post_id == Post.id))
        ),
    ],
    ids=str,
)
def test_what_cannot_be_confined_cannot_be_read_inside_a_workspace(statement: AnySelect) -> None:
    with pytest.raises(TypeError, match="cannot be read inside a workspace"):
        restrict_to_workspace(statement, WorkspaceId(UUID(int=1)))


def test_confining_leaves_the_statement_of_the_caller_as_it_was() -> None:
    statement = select(Account.id).where(Account.id.in_(FOREIGN_ACCOUNTS))
    before = str(statement)

    confined = restrict_to_workspace(statement, WorkspaceId(UUID(int=1)))

    assert str(statement) == before
    assert str(confined).count("workspace_id = ") == 2


async def test_a_filter_that_is_given_replaces_the_workspaces(
    database: Database, database_url: str
) -> None:
    """So that a test of tenancy can prove that it would notice a missing filter."""
    ours, theirs = await two_tenants(database)
    async with Database(
        database_url, workspace_filter=lambda statement, _workspace_id: statement
    ) as open_to_all:
        rows = await open_to_all.read(ours).rows(select(Post.workspace_id))

    assert {row.workspace_id for row in rows} == {ours, theirs}


async def test_rows_come_back_as_they_were_written(database: Database) -> None:
    """Instants to the millisecond, documents in the order of their keys."""
    workspace_id = await add_workspace(database)
    content = {"zulu": {"content": "ü"}, "alpha": [1.0, None, {"b": True, "a": 2**53}]}
    post = await add_post(
        database,
        workspace_id,
        platform_content=content,
        created_at=NOW + timedelta(microseconds=1999),
    )

    reader = database.read(workspace_id)
    row = await reader.first(
        select(Post.platform_content, Post.created_at).where(Post.id == post.id)
    )

    assert row is not None
    assert repr(row.platform_content) == repr(content)
    assert row.created_at == NOW + timedelta(milliseconds=1)
    assert row.created_at.utcoffset() == timedelta(0)


async def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    async def work(session: AsyncSession) -> None:
        values = {"id": uuid4(), "name": "naive", "kind": "local", "event_seq": 0}
        await session.execute(
            insert(Workspace).values(
                **values, next_account_id=1, created_at=NOW.replace(tzinfo=None)
            )
        )

    with pytest.raises(Exception, match="a stored datetime needs a time zone"):
        await database.write(work)

    assert await workspace_names(database) == []
