"""Tenant isolation: every table of a statement, at any depth, is restricted to one workspace."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    BindParameter,
    Insert,
    Select,
    UpdateBase,
    and_,
    bindparam,
    case,
    column,
    delete,
    exists,
    func,
    insert,
    literal_column,
    not_,
    or_,
    select,
    table,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased, outerjoin

from app.db.core.aggregates import edge_spans
from app.db.core.conditions import any_of
from app.db.core.database import Database
from app.db.core.statements import AnySelect, Statement
from app.db.core.tenancy import batch_point_read, restrict_to_workspace, set_workspace
from app.db.models import (
    Account,
    AccountPause,
    ApiKey,
    Deployment,
    Destination,
    Post,
    Workspace,
)
from app.db.repositories.post_search import (
    POST_SEARCH_KEY,
    SEARCH_CONDITIONS,
    join_search_index,
)
from app.domain.ids import WorkspaceId
from tests.factories import NOW, add_account, add_post, add_workspace, queued


async def two_tenants(database: Database) -> tuple[WorkspaceId, WorkspaceId]:
    """Add two workspaces, each with one post on account 1."""
    workspace = await add_workspace(database, name="Own")
    other = await add_workspace(database, name="Other")
    for workspace_id in (workspace, other):
        account_id = await add_account(database, workspace_id)
        await add_post(database, workspace_id, {account_id: queued()})
    return workspace, other


async def test_read_is_restricted_to_its_workspace(database: Database) -> None:
    for workspace_id in await two_tenants(database):
        reader = database.reader(workspace_id)
        rows = await reader.rows(Statement(select(Post.workspace_id)))
        first = await reader.first(Statement(select(Post.workspace_id)))
        number = await reader.count(Statement(select(func.count()).select_from(Destination)))

        assert [row.workspace_id for row in rows] == [workspace_id]
        assert first is not None
        assert first.workspace_id == workspace_id
        assert number == 1


async def test_count_of_each_span_of_time_is_restricted(database: Database) -> None:
    workspace, _other = await two_tenants(database)
    span, day = edge_spans(), timedelta(days=1)
    posts = select(func.count()).where(
        Post.created_at >= span.c.start, Post.created_at < span.c.stop
    )
    statement = Statement(select(span.c.number, posts.scalar_subquery().label("posts")))
    rows = await database.reader(workspace).rows(statement, edges=[NOW - day, NOW, NOW + day])
    assert [(row.number, row.posts) for row in rows] == [(0, 0), (1, 1), (2, 0)]


async def test_both_sides_of_a_join_are_restricted(database: Database) -> None:
    workspace, _other = await two_tenants(database)
    joined = select(
        Post.workspace_id.label("post"), Destination.workspace_id.label("destination")
    ).join(Destination, Destination.account_id > 0)

    reader = database.reader(workspace)
    rows = await reader.rows(Statement(joined))

    assert [(row.post, row.destination) for row in rows] == [(workspace, workspace)]


async def test_left_join_returns_rows_of_its_workspace_only(database: Database) -> None:
    """Both workspaces have a destination on account 1; account 2 has none."""
    workspace, other = await two_tenants(database)
    await add_account(database, workspace, id=2)
    same_account = and_(
        Account.workspace_id == Destination.workspace_id, Destination.account_id == Account.id
    )
    joined = select(
        Account.workspace_id.label("account"), Destination.workspace_id.label("destination")
    ).outerjoin(Destination, same_account)

    rows = await database.reader(workspace).rows(Statement(joined.order_by(Account.id)))
    other_rows = await database.reader(other).rows(Statement(joined))

    assert [(row.account, row.destination) for row in rows] == [
        (workspace, workspace),
        (workspace, None),
    ]
    assert [(row.account, row.destination) for row in other_rows] == [(other, other)]


async def test_lateral_select_is_restricted(database: Database) -> None:
    """Both workspaces have an account 1 with a destination."""
    if database.is_sqlite:  # does not have LATERAL
        return
    workspace, _other = await two_tenants(database)
    of_account = (
        select(Destination.workspace_id)
        .where(Destination.account_id == Account.id)
        .correlate(Account)
        .lateral()
    )
    statement = select(Account.workspace_id.label("account"), of_account.c.workspace_id).join(
        of_account, true()
    )

    rows = await database.reader(workspace).rows(Statement(statement))

    assert [(row.account, row.workspace_id) for row in rows] == [(workspace, workspace)]


POST_SEARCH_INDEX = table("post_search_index", column("rowid"))


def test_search_index_is_restricted_by_the_numbers_of_its_posts() -> None:
    statement = join_search_index(select(Post.id)).where(SEARCH_CONDITIONS["index_query"])
    restricted = restrict_to_workspace(statement, bindparam("workspace"))

    assert str(restricted.compile(dialect=sqlite.dialect())).split("\n") == [
        "SELECT post.id ",
        "FROM post JOIN post_search_key ON post_search_key.workspace_id = post.workspace_id"
        " AND post.id = +post_search_key.post_id ",
        "WHERE post_search_key.number IN (SELECT rowid FROM post_search_index"
        " WHERE post_search_index MATCH ?)"
        " AND post_search_key.workspace_id = ? AND post.workspace_id = ?",
    ]


FOREIGN_ACCOUNTS = select(Destination.account_id)
FOREIGN_GROUPS = (
    select(Destination.account_id, func.count().label("number"))
    .group_by(Destination.account_id)
    .order_by(Destination.account_id)
    .limit(5)
    .subquery()
)


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
        select(Account.id).join(FOREIGN_GROUPS, FOREIGN_GROUPS.c.account_id == Account.id),
        select(FOREIGN_GROUPS.c.account_id).join(Account, FOREIGN_GROUPS.c.number > 0),
        select(Account.id).where(Account.id.in_(select(FOREIGN_ACCOUNTS.subquery()))),
        select(Account.id).join(FOREIGN_ACCOUNTS.subquery(), Account.id > 0),
        select(select(FOREIGN_ACCOUNTS.subquery()).subquery()).join(Account, Account.id > 0),
        select(Account.id).join(
            union_all(FOREIGN_ACCOUNTS, FOREIGN_ACCOUNTS).subquery(), Account.id > 0
        ),
    ],
    ids=str,
)
async def test_subquery_is_restricted(
    database: Database, database_url: str, statement: AnySelect
) -> None:
    """Only the other workspace has a destination, on an account with the same id."""
    workspace = await add_workspace(database, name="Own")
    other = await add_workspace(database, name="Other")
    number = await add_account(database, workspace)
    await add_post(database, workspace)
    await add_account(database, other, id=number)
    await add_post(database, other, {number: queued()})

    reader = database.reader(workspace)
    rows = await reader.rows(Statement(statement))
    reader = database.reader(other)
    other_rows = await reader.rows(Statement(statement))
    async with database.read_connection() as connection:
        only_outside = await connection.execute(statement.where(Account.workspace_id == workspace))
        leaked = only_outside.all()

    found = [{tuple(row) for row in each} for each in (rows, other_rows, leaked)]
    assert found == [set(), {(number,)}, {(number,)}]


@pytest.mark.parametrize(
    "statement",
    [
        select(Deployment.secret_key),
        select(Post.id).join(Deployment, Deployment.id == Post.version),
        select(Post.id).where(Post.version.in_(select(Deployment.id))),
        select(Post.id).where(exists().where(Deployment.id == Post.version)),
        select(POST_SEARCH_INDEX.c.rowid),
        select(POST_SEARCH_KEY.c.post_id).join(
            POST_SEARCH_INDEX, POST_SEARCH_INDEX.c.rowid == POST_SEARCH_KEY.c.number
        ),
        select(Post.id).where(
            exists(select(POST_SEARCH_KEY.c.post_id).where(POST_SEARCH_INDEX.c.rowid > 0))
        ),
        select(Post.id).join(POST_SEARCH_KEY, Post.id == POST_SEARCH_KEY.c.post_id, isouter=True),
        select(select(Deployment.id).subquery()),
        select(text("SELECT id FROM post").columns(Post.id).subquery()),
        select(select(ApiKey.id).cte()),
        select(Post.id).where(Post.id.in_(select(select(Destination.post_id).cte()))),
        select(aliased(Post).id),
        select(literal_column("1")).select_from(text("post")),
        select(literal_column("(SELECT max(content) FROM post)")),
        select(Post.id).where(text("id IN (SELECT post_id FROM destination)")),
        select(Post.id).order_by(text("(SELECT max(content) FROM post)")),
        select(Post.id).join(Destination, Destination.post_id == Post.id, isouter=True),
        select(Post.id).join(Destination, Destination.post_id == Post.id, full=True),
        select(Post.id).outerjoin(Destination, Destination.post_id == Post.id),
        *(
            select(Post.id).outerjoin(Destination, on_clause)
            for on_clause in (
                or_(Post.workspace_id == Destination.workspace_id, Destination.position > 0),
                Post.workspace_id >= Destination.workspace_id,
                Destination.workspace_id == Destination.workspace_id,
                Destination.workspace_id == bindparam("other_workspace"),
                Post.workspace_id == Account.workspace_id,
                Destination.workspace_id == column("workspace_id"),
                not_(and_(Post.workspace_id == Destination.workspace_id)),
            )
        ),
        select(Post.id).outerjoin(
            Destination, Post.workspace_id == Destination.workspace_id, full=True
        ),
        select(Account.id)
        .outerjoin(Post, Post.workspace_id == Destination.workspace_id)
        .outerjoin(Destination, Destination.workspace_id == Post.workspace_id),
        select(Post.id).select_from(outerjoin(Post, Destination, Destination.post_id == Post.id)),
        select(Account.id).where(
            exists(select(Post.id).outerjoin(Destination, Destination.post_id == Post.id))
        ),
    ],
    ids=str,
)
def test_statement_that_cannot_be_restricted_is_refused(statement: AnySelect) -> None:
    with pytest.raises(TypeError, match="cannot be read inside a workspace"):
        restrict_to_workspace(statement, WorkspaceId(UUID(int=1)))


OTHER_ACCOUNTS = select(Destination.account_id).subquery()
UPSERT = sqlite.insert(ApiKey)
PAUSE_UPSERT = postgresql.insert(AccountPause)


@pytest.mark.parametrize(
    "statement",
    [
        text("DELETE FROM post"),
        delete(Deployment),
        insert(Deployment),
        update(Deployment).values(webhooks_polled_at=NOW),
        delete(Post).where(text("id IN (SELECT post_id FROM destination)")),
        delete(Post).where(Post.version == Deployment.id),
        delete(Post).where(Post.version.in_(select(Deployment.id))),
        delete(Account).where(Account.id == OTHER_ACCOUNTS.c.account_id),
        delete(Account).where(Account.id == aliased(Account).id),
        delete(Account).where(Account.id.in_(select(select(Destination.account_id).cte()))),
        update(Account).values(workspace_id=UUID(int=2)),
        update(Workspace).values(id=UUID(int=2)),
        update(Account).values(id=Deployment.id),
        update(Account).returning(Deployment.id),
        update(Account).returning(literal_column("(SELECT max(content) FROM post)")),
        UPSERT.on_conflict_do_update(set_={"name": "new"}),
        UPSERT.on_conflict_do_update(
            index_elements=["digest"], set_={"workspace_id": UPSERT.excluded.workspace_id}
        ),
        PAUSE_UPSERT.on_conflict_do_update(constraint="pk_account_pause", set_={"account_id": 1}),
        UPSERT.on_conflict_do_nothing(index_elements=["id"]).on_conflict_do_update(
            index_elements=["digest"], set_={"name": "new"}
        ),
        insert(Account).from_select(["id"], select(Deployment.id)),
    ],
    ids=lambda statement: type(statement).__name__,
)
def test_write_that_cannot_be_restricted_is_refused(statement: Any) -> None:
    with pytest.raises(TypeError, match=r"inside a workspace|cannot get another workspace"):
        restrict_to_workspace(statement, WorkspaceId(UUID(int=1)))


@pytest.mark.parametrize(
    "statement",
    [
        insert(Account).values(workspace_id=UUID(int=2), id=1),
        insert(Account).values([{"id": 1}, {"id": 2}]),
        insert(Deployment),
        insert(Account).from_select(
            ["workspace_id", "id"], select(Post.workspace_id, Post.version)
        ),
        insert(Account).from_select(["id"], union_all(FOREIGN_ACCOUNTS, FOREIGN_ACCOUNTS)),
    ],
    ids=["workspace", "several rows", "no workspace", "workspace of a SELECT", "UNION"],
)
def test_insert_that_cannot_get_a_workspace_is_refused(statement: Insert) -> None:
    with pytest.raises(TypeError, match="cannot run inside a workspace"):
        set_workspace(statement, WorkspaceId(UUID(int=1)))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            delete(AccountPause).where(AccountPause.account_id == 51),
            "DELETE FROM account_pause WHERE account_pause.account_id = ?"
            " AND account_pause.workspace_id = ?",
        ),
        (
            update(Workspace).values(event_seq=Workspace.event_seq + 1),
            "UPDATE workspace SET event_seq=(workspace.event_seq + ?) WHERE workspace.id = ?",
        ),
        (
            update(Post).values(version=Destination.position).where(Destination.post_id == Post.id),
            "UPDATE post SET version=destination.position FROM destination"
            " WHERE destination.post_id = post.id AND post.workspace_id = ?"
            " AND destination.workspace_id = ?",
        ),
        (
            update(Post)
            .values(version=select(func.max(Destination.position)).scalar_subquery())
            .where(exists().where(Destination.post_id == Post.id))
            .returning(Post.id, exists(FOREIGN_ACCOUNTS)),
            "UPDATE post SET version=(SELECT max(destination.position) AS max_1  FROM destination "
            " WHERE destination.workspace_id = ?) WHERE (EXISTS (SELECT *  FROM destination "
            " WHERE destination.post_id = post.id AND destination.workspace_id = ?"
            " AND post.workspace_id = ?)) AND post.workspace_id = ? RETURNING id,"
            " EXISTS (SELECT destination.account_id  FROM destination "
            " WHERE workspace_id = ?) AS anon_1",
        ),
        (
            delete(Account).where(Account.id.in_(select(OTHER_ACCOUNTS))),
            "DELETE FROM account WHERE account.id IN (SELECT anon_1.account_id "
            " FROM (SELECT destination.account_id AS account_id  FROM destination "
            " WHERE destination.workspace_id = ?) AS anon_1) AND account.workspace_id = ?",
        ),
        (
            sqlite.insert(ApiKey)
            .values(id=UUID(int=3), name="new")
            .on_conflict_do_update(
                index_elements=["digest"],
                set_={"name": UPSERT.excluded["name"]},
                where=ApiKey.revoked_at.is_(None),
            ),
            "INSERT INTO api_key (workspace_id, id, name) VALUES (?, ?, ?) ON CONFLICT (digest)"
            " DO UPDATE SET name = excluded.name"
            " WHERE api_key.revoked_at IS NULL AND api_key.workspace_id = ?",
        ),
        (
            sqlite.insert(AccountPause)
            .values(account_id=51)
            .on_conflict_do_update(
                index_elements=["workspace_id", "account_id"], set_={"paused_until": None}
            ),
            "INSERT INTO account_pause (workspace_id, account_id) VALUES (?, ?)"
            " ON CONFLICT (workspace_id, account_id) DO UPDATE SET paused_until = ?",
        ),
        (
            insert(AccountPause).from_select(["account_id"], FOREIGN_ACCOUNTS),
            "INSERT INTO account_pause (account_id, workspace_id) SELECT destination.account_id,"
            " ? AS anon_1  FROM destination  WHERE destination.workspace_id = ?",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_every_table_of_a_write_is_restricted(
    statement: Select[Any] | UpdateBase, expected: str
) -> None:
    workspace: BindParameter[Any] = bindparam("workspace")
    if isinstance(statement, Insert):
        statement = set_workspace(statement, workspace)
    restricted = restrict_to_workspace(statement, workspace)
    assert str(restricted.compile(dialect=sqlite.dialect())).replace("\n", " ") == expected


def test_restricting_does_not_modify_the_statement() -> None:
    statement = select(Account.id).where(Account.id.in_(FOREIGN_ACCOUNTS))
    before = str(statement)

    restricted = restrict_to_workspace(statement, WorkspaceId(UUID(int=1)))

    assert str(statement) == before
    assert str(restricted).count("workspace_id = ") == 2


async def test_table_of_workspaces_is_restricted_to_the_own_row(database: Database) -> None:
    workspace, _other = await two_tenants(database)
    rows = await database.reader(workspace).rows(Statement(select(Workspace.name)))
    assert [row.name for row in rows] == ["Own"]


async def test_workspace_filter_can_be_replaced(database: Database, database_url: str) -> None:
    """Tenancy tests rely on it to prove that they detect a missing filter."""
    workspace, other = await two_tenants(database)
    async with Database(
        database_url, workspace_filter=lambda statement, _workspace_id: statement
    ) as unrestricted:
        rows = await unrestricted.reader(workspace).rows(Statement(select(Post.workspace_id)))

    assert {row.workspace_id for row in rows} == {workspace, other}


WORKSPACE: BindParameter[Any] = bindparam("workspace")
KEY: BindParameter[Any] = bindparam("key")


def test_batched_statement_confines_every_table_to_the_workspace_of_the_request() -> None:
    statement = (
        select(Destination.id, Post.status)
        .join(
            Post,
            and_(Post.workspace_id == Destination.workspace_id, Post.id == Destination.post_id),
        )
        .where(Destination.post_id == KEY, Post.deleted_at.is_(None))
        .order_by(Destination.position.desc())
    )
    batched = batch_point_read(restrict_to_workspace(statement, WORKSPACE), "workspace", "key")

    assert str(batched.compile(dialect=postgresql.dialect())).split("\n") == [  # type: ignore[no-untyped-call]
        "SELECT destination.id, post.status, request.number AS request_number ",
        "FROM destination JOIN post ON post.workspace_id = destination.workspace_id"
        " AND post.id = destination.post_id, unnest(%(workspaces)s::UUID[], %(keys)s::UUID[])"
        " WITH ORDINALITY AS request(workspace, key, number) ",
        "WHERE destination.post_id = request.key AND post.deleted_at IS NULL"
        " AND post.workspace_id = request.workspace AND destination.workspace_id = request.workspace"
        " ORDER BY destination.position DESC",
    ]


BY_KEY = select(Account.id).where(Account.id == KEY)


@pytest.mark.parametrize(
    "statement",
    [
        BY_KEY.limit(1),
        BY_KEY.offset(1),
        BY_KEY.fetch(1),
        BY_KEY.distinct(),
        BY_KEY.group_by(Account.id),
        BY_KEY.having(Account.id > 0),
        BY_KEY.with_for_update(),
        BY_KEY.prefix_with("ALL"),
        BY_KEY.suffix_with("FOR UPDATE"),
        BY_KEY.with_statement_hint("x"),
        BY_KEY.add_cte(select(Post.id).cte("x")),
        BY_KEY.order_by(func.random()),
        select(func.count()).select_from(Account).where(Account.id == KEY),
        select(func.row_number().over(order_by=Account.id)).where(Account.id == KEY),
        BY_KEY.where(exists().where(Destination.account_id == Account.id)),
        BY_KEY.where(Account.id.in_(select(Destination.account_id))),
        BY_KEY.outerjoin(Post, Post.workspace_id == Account.workspace_id),
        BY_KEY.outerjoin(Post, Post.workspace_id == Account.workspace_id, full=True),
        BY_KEY.join(Post, Post.id == KEY),
        BY_KEY.where(Account.platform == bindparam("platform")),
        select(Account.id),
        select(Account.id).where(any_of(Account.id, "keys")),
        select(Account.id).where(text("id = :key")),
    ],
    ids=str,
)
def test_statement_that_could_mix_requests_is_refused(statement: AnySelect) -> None:
    restricted = statement.where(Account.workspace_id == WORKSPACE)

    with pytest.raises(TypeError, match="batch"):
        batch_point_read(restricted, "workspace", "key")


def test_batch_of_a_statement_without_a_workspace_is_refused() -> None:
    with pytest.raises(TypeError, match=r"needs the parameters workspace and key, not \['key'\]"):
        batch_point_read(BY_KEY, "workspace", "key")
