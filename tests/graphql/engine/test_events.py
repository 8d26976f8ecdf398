"""Responses to the events of subscriptions: statements, errors, limits and conditions."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from app.db.core.database import Database
from app.domain.errors import ServiceUnavailable
from app.domain.events import StoredEvent
from app.graphql.engine.executable_schema import Schema
from app.graphql.loading.response_limit import ResponseLimit
from tests.db.core.test_database import only_on_sqlite
from tests.graphql.engine.corrupting_driver import ColumnCorruption, CorruptingDriver
from tests.graphql.engine.differential import (
    DESTINATIONS,
    FAST_SCHEMA,
    POSTS,
    REFERENCE_SCHEMA,
    DifferentialBench,
    add_posts_in_all_states,
    run_query,
)
from tests.graphql.engine.failing_driver import FailingDriver
from tests.recording_driver import record_statements

DESTINATION = DESTINATIONS[3]
"""A destination of the post POSTS[3], which has three."""

both_schemas = pytest.mark.parametrize(
    "schema", [FAST_SCHEMA, REFERENCE_SCHEMA], ids=["fast", "plain"]
)


def in_document(selection: str, *booleans: str) -> str:
    """Return a subscription with these Boolean variables."""
    declared = "".join(f", ${name}: Boolean!" for name in booleans)
    return f"subscription ($after: String{declared}) {{ {selection} }}"


async def bench_event(bench: DifferentialBench) -> StoredEvent:
    """Return the event of the destination."""
    (event,) = [each for each in await bench.events() if each.destination_id == DESTINATION]
    return event


async def execute_event(
    bench: DifferentialBench,
    schema: Schema,
    selection: str,
    entries: int | None = None,
    **variables: object,
) -> tuple[object, Sequence[Mapping[str, Any]], int]:
    """Run a subscription on the same event twice; return data, errors and statements of the second run."""
    subscription = await bench.subscribe(schema, in_document(selection, *variables), variables)
    event = await bench_event(bench)
    for _ in ("first", "second"):
        limit = ResponseLimit(entries, None)
        context = replace(subscription.context, response_limit=limit).for_next_event()
        with record_statements(bench.database) as statements:
            result = await subscription.execute(event, context)
    assert result is not None
    return result.data, result.errors, len(statements)


async def test_rows_of_one_event_do_not_count_for_the_next(bench: DifferentialBench) -> None:
    document = in_document("destinationChanged(after: $after) { destination { status } }")
    subscription = await bench.subscribe(FAST_SCHEMA, document, {})
    first = subscription.context.for_next_event()
    await subscription.execute(await bench_event(bench), first)

    assert first.value_count > 0
    assert first.for_next_event().value_count == 0


@both_schemas
@pytest.mark.parametrize(
    ("selection", "expected", "statement_count"),
    [
        (
            "destinationChanged(after: $after) { change { type } }",
            {"change": {"type": "DESTINATION_CHANGED"}},
            0,
        ),
        (
            "destinationChanged(after: $after) { destination { status account { accountId } } }",
            {"destination": {"status": "PUBLISHING", "account": {"accountId": 1}}},
            1,
        ),
        (
            "destinationChanged(after: $after, filter: {accountId: [1]})"
            " { destination { status account { accountId } } change { type } }",
            {
                "destination": {"status": "PUBLISHING", "account": {"accountId": 1}},
                "change": {"type": "DESTINATION_CHANGED"},
            },
            1,
        ),
        (
            "destinationChanged(after: $after) { destination { attempts }"
            " change { destination { status } post { content } } }",
            {
                "destination": {"attempts": 1},
                "change": {
                    "destination": {"status": "PUBLISHING"},
                    "post": {"content": "Sale 3 \N{PARTY POPPER}"},
                },
            },
            2,
        ),
        (
            f'postChanged(after: $after, postId: "{POSTS[3]}")'
            " { post { destinations { accountId } } }",
            {"post": {"destinations": [{"accountId": 1}, {"accountId": 2}, {"accountId": 3}]}},
            2,
        ),
        (
            "changes(after: $after) { account { platform } }",
            {"account": {"platform": "instagram"}},
            1,
        ),
    ],
)
async def test_event_takes_one_statement_for_each_kind_of_object(
    bench: DifferentialBench,
    schema: Schema,
    selection: str,
    expected: Mapping[str, object],
    statement_count: int,
) -> None:
    data, errors, count = await execute_event(bench, schema, selection)

    assert (data, errors, count) == (
        {selection.partition("(")[0]: expected},
        [],
        statement_count,
    )


@both_schemas
@pytest.mark.parametrize(("is_selected", "count"), [(True, 1), (False, 0)])
async def test_object_excluded_by_a_variable_is_not_read(
    bench: DifferentialBench, schema: Schema, *, is_selected: bool, count: int
) -> None:
    selection = "destinationChanged(after: $after) { destination @include(if: $on) { accountId } }"
    expected = {"destination": {"accountId": 1}} if is_selected else {}

    assert await execute_event(bench, schema, selection, on=is_selected) == (
        {"destinationChanged": expected},
        [],
        count,
    )


@both_schemas
async def test_list_entries_are_counted_for_each_event(
    bench: DifferentialBench, schema: Schema
) -> None:
    root_field = f'postChanged(after: $after, postId: "{POSTS[3]}")'
    selection = f"{root_field} {{ post {{ destinations {{ outcome }} }} }}"
    _, errors, _ = await execute_event(bench, schema, selection, entries=3)
    assert errors == []

    data, errors, _ = await execute_event(bench, schema, selection, entries=2)
    assert data is None
    assert [error["extensions"] for error in errors] == [{"code": "LIMIT_EXCEEDED"}]


@only_on_sqlite
async def test_list_entries_are_counted_once_despite_a_fallback(bench: DifferentialBench) -> None:
    root_field = f'postChanged(after: $after, postId: "{POSTS[3]}")'
    selection = f"{root_field} {{ post {{ destinations {{ attempts publishedAt }} }} }}"
    bench.corrupting_driver.corruptions = [ColumnCorruption("published_at", 7, 1)]

    _, errors, _ = await execute_event(bench, FAST_SCHEMA, selection, entries=3)

    assert [error["extensions"]["code"] for error in errors] == ["INTERNAL_ERROR"] * 3


@asynccontextmanager
async def bench_without_destinations(
    database_url: str, error: Exception
) -> AsyncIterator[DifferentialBench]:
    """Open a bench in which each read of destinations fails with the error."""
    async with Database(
        database_url, wrap_driver=lambda driver: FailingDriver(driver, error, "FROM destination")
    ) as database:
        workspace = await add_posts_in_all_states(database)
        yield DifferentialBench(database, CorruptingDriver(), workspace)


@both_schemas
async def test_object_that_cannot_be_read_is_null(
    anyio_backend: str, database_url: str, schema: Schema
) -> None:
    selection = "destinationChanged(after: $after) { destination { status } change { type } }"
    async with bench_without_destinations(database_url, ValueError("secret")) as bench:
        subscription = await bench.subscribe(schema, in_document(selection), {})
        result = await subscription.execute(await bench_event(bench), subscription.context)

    assert result is not None
    assert result.data == {
        "destinationChanged": {"destination": None, "change": {"type": "DESTINATION_CHANGED"}}
    }
    (error,) = result.errors
    assert error["path"] == ["destinationChanged", "destination"]
    assert error["extensions"] == {"code": "INTERNAL_ERROR", "requestId": "0"}
    assert "secret" not in str(error)


@both_schemas
async def test_event_is_not_answered_while_the_database_is_unavailable(
    anyio_backend: str, database_url: str, schema: Schema
) -> None:
    selection = "destinationChanged(after: $after) { destination { status } }"
    async with bench_without_destinations(database_url, TimeoutError()) as bench:
        subscription = await bench.subscribe(schema, in_document(selection), {})
        event = await bench_event(bench)
        with pytest.raises(ServiceUnavailable):
            await subscription.execute(event, subscription.context)


@both_schemas
async def test_page_of_changes_has_the_objects_that_can_be_read(
    anyio_backend: str, database_url: str, schema: Schema
) -> None:
    async with bench_without_destinations(database_url, ValueError("secret")) as bench:
        document = "{ changes { nodes { destination { status } account { accountId } } } }"
        result = await run_query(schema, document, {}, bench.context())

    assert result.data is not None
    nodes = result.data["changes"]["nodes"]
    assert [node["account"] for node in nodes] == [
        {"accountId": 2},
        *[None] * 3,
        *[{"accountId": 1}] * 5,
    ]
    assert [node["destination"] for node in nodes] == [None] * 9
    assert [error["path"] for error in result.errors] == [
        ["changes", "nodes", number, "destination"] for number in range(4, 9)
    ]
