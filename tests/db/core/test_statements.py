"""Precompiled statements: same values as SQLAlchemy decodes, argument encoding, and index use."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import bindparam, literal, select
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.conditions import any_of
from app.db.core.database import Database
from app.db.core.projections import ALL_COLUMNS, Projection, labelled_columns
from app.db.core.statements import (
    AnySelect,
    CompiledStatement,
    Record,
    Statement,
    compile_statement,
    decoded_rows,
)
from app.db.models import Account, Base, Destination
from app.domain.destinations import DestinationStatus
from app.domain.ids import WorkspaceId
from app.domain.times import format_instant
from tests.db.all_tables import add_row_in_every_table
from tests.db.core.test_database import only_on_sqlite
from tests.factories import NOW, add_account, add_post, add_workspace, failed, published, queued

TABLES = Base.metadata.sorted_tables


def prepare_statement(database: Database, statement: AnySelect) -> CompiledStatement:
    return compile_statement(statement, database.read_engine.dialect)


async def fetch_rows(database: Database, statement: AnySelect, **values: object) -> list[Record]:
    """Run a statement of all workspaces through the driver."""
    query = prepare_statement(database, statement)
    return list(await database.driver.fetch(query, query.encode_arguments(values)))


async def test_record_has_the_values_that_sqlalchemy_decodes(database: Database) -> None:
    await add_row_in_every_table(database)
    for table in TABLES:
        statement = select(*table.c).order_by(*table.primary_key.columns)
        async with database.read_connection() as connection:
            expected = [dict(row._mapping) for row in await connection.execute(statement)]
        records = await fetch_rows(database, statement)
        decoded = [{name: getattr(record, name) for name in record.indexes} for record in records]

        assert len(decoded) > 0
        assert (table.name, decoded) == (table.name, expected)
        assert decoded_rows(records) == [list(values.values()) for values in decoded]
        for one, other in zip(decoded, expected, strict=True):
            assert {name: type(one[name]) for name in one} == {
                name: type(other[name]) for name in other
            }


async def test_statements_with_equal_columns_share_their_record_class(database: Database) -> None:
    columns = (Account.id, Account.platform)
    of_all = prepare_statement(database, select(*columns)).record_class
    of_some = prepare_statement(
        database, select(*columns).where(Account.id == bindparam("id"))
    ).record_class

    assert of_some is of_all
    assert prepare_statement(database, select(*reversed(columns))).record_class is not of_all


async def test_serializers_format_datetimes_and_uuids_like_their_decoded_values(
    database: Database,
) -> None:
    await add_row_in_every_table(database)
    for table in TABLES:
        for record in await fetch_rows(database, select(*table.c)):
            serialized = {
                name: (serialize(record[record.indexes[name]]), getattr(record, name))
                for name, serialize in record.serializers.items()
                if record[record.indexes[name]] is not None
            }
            assert {name: text for name, (text, _) in serialized.items()} == {
                name: format_instant(value) if isinstance(value, datetime) else str(value)
                for name, (_, value) in serialized.items()
            }
            kinds = {type(getattr(record, name)) for name in record.indexes}
            assert bool(serialized) == bool(kinds & {datetime, UUID})


async def test_record_has_no_attribute_for_a_column_that_is_not_selected(
    database: Database,
) -> None:
    await add_workspace(database, name="acme")
    (record,) = await fetch_rows(database, select(Base.metadata.tables["workspace"].c.name))

    assert record.name == "acme"
    with pytest.raises(AttributeError, match="kind"):
        _ = record.kind


async def test_related_row_has_the_columns_of_its_own_table(database: Database) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, platform="youtube")
    post = await add_post(database, workspace, {account: published()})
    statement = (
        select(Destination.id, Destination.created_at)
        .add_columns(
            *labelled_columns(
                "account", [Account.id, Account.platform, Account.created_at], ALL_COLUMNS
            )
        )
        .join(Account, Account.id == Destination.account_id)
    )
    (record,) = await fetch_rows(database, statement)
    related = record.related_row("account")

    assert related is not None
    assert (record.id, record.created_at) == (post.destinations[0], NOW)
    assert (related.id, related.platform, related.created_at) == (account, "youtube", NOW)
    assert list(related) == [record[index] for index in (2, 3, 4)]
    assert related.serializers["created_at"](record[4]) == format_instant(NOW)
    assert record.related_row("post") is None
    assert related.related_row("account") is None


def test_labelled_columns_are_the_projected_and_the_required_ones() -> None:
    columns = [Account.id, Account.platform, Account.avatar_url]
    platform = Projection(frozenset({"platform"}))

    every = labelled_columns("account", columns, ALL_COLUMNS)
    projected = labelled_columns("account", columns, platform, "id")

    assert [label.key for label in every] == [f"account__{column.key}" for column in columns]
    assert [label.key for label in projected] == ["account__id", "account__platform"]


async def add_three_destinations(database: Database) -> tuple[WorkspaceId, list[UUID]]:
    workspace = await add_workspace(database)
    accounts = [await add_account(database, workspace) for _ in range(3)]
    states = dict(zip(accounts, (published(), failed(), queued()), strict=True))
    post = await add_post(database, workspace, states)
    return workspace, list(post.destinations)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        (Destination.account_id, [1, 3], [0, 2]),
        (Destination.account_id, [2], [1]),
        (Destination.account_id, [], []),
        (Destination.status, [DestinationStatus.FAILED, DestinationStatus.QUEUED], [1, 2]),
        (Destination.platform, ["instagram", 'quo"ted', "ü"], [0, 1, 2]),
        (Destination.platform, ['quo"ted'], []),
    ],
)
async def test_any_of_compares_with_any_number_of_values(
    database: Database, column: InstrumentedAttribute[Any], values: list[Any], expected: list[int]
) -> None:
    workspace, ids = await add_three_destinations(database)
    query = Statement(
        select(Destination.id).where(any_of(column, "values")).order_by(Destination.position)
    )
    reader = database.reader(workspace)

    rows = await reader.rows(query, values=values)
    within = await database.write(
        workspace, lambda session: database.reader_in(session).rows(query, values=values)
    )

    assert [row.id for row in rows] == [ids[index] for index in expected]
    assert [row.id for row in within] == [row.id for row in rows]


async def test_any_of_compares_with_any_number_of_uuids(database: Database) -> None:
    workspace, ids = await add_three_destinations(database)
    query = Statement(select(Destination.id).where(any_of(Destination.id, "ids")))

    rows = await database.reader(workspace).rows(query, ids=[ids[2], uuid4(), ids[0]])

    assert {row.id for row in rows} == {ids[0], ids[2]}


async def test_null_matches_no_row(database: Database) -> None:
    workspace, _ids = await add_three_destinations(database)
    reader = database.reader(workspace)
    equal = Statement(select(Destination.id).where(Destination.due_at == bindparam("due_at")))
    any_ = Statement(select(Destination.id).where(any_of(Destination.id, "ids")))

    assert list(await reader.rows(equal, due_at=None)) == []
    assert list(await reader.rows(any_, ids=None)) == []
    assert list(await reader.rows(any_, ids=[None])) == []


async def test_missing_value_raises_key_error(database: Database) -> None:
    query = Statement(select(Destination.id).where(any_of(Destination.id, "ids")))

    with pytest.raises(KeyError, match="ids"):
        await database.reader(WorkspaceId(uuid4())).rows(query)


async def test_constants_and_in_lists_of_a_statement_are_encoded(database: Database) -> None:
    workspace, ids = await add_three_destinations(database)
    statuses = [DestinationStatus.FAILED, DestinationStatus.QUEUED]
    query = Statement(
        select(Destination.id, literal(NOW).label("now"))
        .where(Destination.status.in_(statuses), Destination.attempts >= bindparam("least"))
        .order_by(Destination.position)
    )

    rows = await database.reader(workspace).rows(query, least=0)

    assert [row.id for row in rows] == ids[1:]


@only_on_sqlite
@pytest.mark.parametrize(
    ("column", "index"),
    [
        (Destination.id, "sqlite_autoindex_destination_1 (workspace_id=? AND id=?)"),
        (Destination.post_id, "sqlite_autoindex_destination_2 (workspace_id=? AND post_id=?)"),
        (
            Destination.status,
            "ix_destination_workspace_id_status_created_at_id (workspace_id=? AND status=?)",
        ),
    ],
)
async def test_index_serves_any_of(
    database: Database, column: InstrumentedAttribute[Any], index: str
) -> None:
    """SQLAlchemy appends `= 1` to a boolean on SQLite, which would prevent the use of an index."""
    of_workspace = Destination.workspace_id == bindparam("workspace")
    query = prepare_statement(
        database, select(Destination.id).where(of_workspace, any_of(column, "values"))
    )
    arguments = query.encode_arguments({"workspace": WorkspaceId(uuid4()), "values": []})
    async with database.read_engine.connect() as connection:
        rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query.sql}", tuple(arguments))
        plan = [str(row[-1]) for row in rows]

    assert "= 1" not in query.sql
    assert any(line.endswith(index) for line in plan), plan
