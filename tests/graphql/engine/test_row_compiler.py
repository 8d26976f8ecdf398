"""Compiled completion of row-backed objects, and its fallback to graphql-core."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import sqlite

from app.db.core.projections import ALL_COLUMNS, labelled_columns
from app.db.core.statements import Record, compile_statement
from app.db.models import Account, Destination
from app.graphql.ast.selections import NotCompilable
from app.graphql.engine.executable_schema import create_schema
from app.graphql.loading.response_limit import ResponseLimit
from app.graphql.schema import accounts, destinations
from app.settings import GraphQLLimits
from tests.factories import NOW
from tests.graphql.engine.compiling import compile_object

SCHEMA = create_schema(GraphQLLimits()).graphql_schema
DESTINATION = compile_statement(
    select(
        *Destination.__table__.c,
        *labelled_columns("account", Account.__table__.c, ALL_COLUMNS),  # type: ignore[arg-type]
    ),
    sqlite.dialect(),
).record_class

TIME = "2026-04-15 15:00:00.001000"
ID = "00000000-0000-0000-0000-000000000001"


@dataclass(frozen=True)
class DestinationColumns:
    """Columns in the form of SQLite's driver; all others are null."""

    columns: Mapping[str, object]
    account: Mapping[str, object]

    def record(self) -> Record:
        values = [None] * (
            len(DESTINATION.indexes) + len(DESTINATION.related_classes["account"].indexes)
        )
        for indexes, columns in (
            (DESTINATION.indexes, self.columns),
            (DESTINATION.related_classes["account"].indexes, self.account),
        ):
            for name, value in columns.items():
                values[indexes[name]] = cast("None", value)
        return DESTINATION(values)  # type: ignore[call-arg]


COLUMNS: Mapping[str, object] = {
    "id": ID,
    "post_id": ID,
    "account_id": 3,
    "platform": "youtube",
    "status": "failed",
    "outcome": "failed",
    "attempts": 2,
    "error": "No",
    "error_category": "auth",
    "error_code": "AUTH",
    "due_at": TIME,
    "created_at": TIME,
    "updated_at": TIME,
}
ACCOUNT: Mapping[str, object] = {
    "id": 3,
    "platform": "youtube",
    "is_active": 1,
    "connected_at": TIME,
}
COMPILED_FIELDS = (
    "{ id destinationId platform accountId status attempts errorCategory scheduledFor publishedAt"
    " pollAfterSeconds diagnosis { source willRetry } accountName account { isActive accountName"
    " connectedAt displayName readiness { canPost } __typename } }"
)


def complete_row(row: DestinationColumns, selection: str = COMPILED_FIELDS) -> object:
    value = destinations.Destination.from_row(row.record(), NOW)
    return compile_object(SCHEMA, "Destination", selection)(value, {}, ResponseLimit(None, None))


def test_columns_are_completed_from_the_values_of_the_driver() -> None:
    assert complete_row(DestinationColumns(COLUMNS, ACCOUNT)) == {
        "id": "RGVzdGluYXRpb246MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAx",
        "destinationId": ID,
        "platform": "youtube",
        "accountId": 3,
        "status": "FAILED",
        "attempts": 2,
        "errorCategory": "AUTH",
        "scheduledFor": "2026-04-15T15:00:00.001Z",
        "publishedAt": None,
        "pollAfterSeconds": None,
        "diagnosis": {"source": "USER", "willRetry": False},
        "accountName": "youtube account 3",
        "account": {
            "isActive": True,
            "accountName": "youtube account 3",
            "connectedAt": "2026-04-15T15:00:00.001Z",
            "displayName": None,
            "readiness": {"canPost": True},
            "__typename": "Account",
        },
    }


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *((name, None) for name in ("id", "platform", "account_id", "status", "attempts")),
        ("id", "nope"),
        ("id", 5),
        ("platform", 5),
        ("account_id", 2**31),
        ("account_id", "3"),
        ("status", "gone"),
        ("status", 5),
        ("error_category", "gone"),
        ("outcome", "gone"),
        ("due_at", "2026-04-15 25:00:00"),
        ("due_at", "nope"),
        ("due_at", "2026-04-15"),
        ("due_at", "2026-04-15 15:00:00"),
        ("due_at", 5),
        ("published_at", b"x"),
        ("attempts", 1.5),
        ("account.is_active", None),
        ("account.connected_at", None),
        ("account.connected_at", "nope"),
    ],
)
def test_an_invalid_column_makes_the_function_fail(column: str, value: object) -> None:
    table, _, name = column.rpartition(".")
    row = (
        DestinationColumns(COLUMNS, {**ACCOUNT, name: value})
        if table
        else DestinationColumns({**COLUMNS, name: value}, ACCOUNT)
    )
    with pytest.raises(Exception):  # noqa: B017, PT011 - of any type
        complete_row(row)


@pytest.mark.parametrize("selection", ["{ attemptLog { number } }", "{ post { content } }"])
def test_deferred_fields_are_not_compiled(selection: str) -> None:
    with pytest.raises(NotCompilable):
        complete_row(DestinationColumns(COLUMNS, ACCOUNT), selection)


def test_a_row_without_the_relation_or_of_another_class_makes_the_function_fail() -> None:
    without_account = compile_statement(
        select(Destination.id, Destination.account_id), sqlite.dialect()
    ).record_class
    function = compile_object(SCHEMA, "Destination", "{ destinationId accountName }")
    value = destinations.Destination.from_row(without_account((ID, 3)), NOW)  # type: ignore[call-arg]
    not_a_record = destinations.Destination.from_row(cast("Any", SimpleNamespace(id=UUID(ID))), NOW)

    for source in (
        value,
        not_a_record,
        accounts.Account.from_row(DestinationColumns(COLUMNS, ACCOUNT).record(), NOW),
        None,
    ):
        with pytest.raises(Exception):  # noqa: B017, PT011 - of any type
            function(source, {}, ResponseLimit(None, None))


def test_time_dependent_fields_use_the_read_time_of_the_row() -> None:
    later = NOW + timedelta(days=1)
    row = DestinationColumns(
        {**COLUMNS, "status": "queued", "due_at": TIME, "claimable_at": TIME}, ACCOUNT
    )
    function = compile_object(SCHEMA, "Destination", "{ latenessSeconds }")

    results = [
        function(destinations.Destination.from_row(row.record(), at), {}, ResponseLimit(None, None))
        for at in (NOW, later)
    ]

    assert results == [{"latenessSeconds": None}, {"latenessSeconds": 86_399.999}]
