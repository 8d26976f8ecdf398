"""What a prepared query does beside answering: what it runs, how often, and what it counts."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from app.db.core.database import Database, Driver
from app.db.core.statements import CompiledStatement, Record
from app.domain.api_keys import Scope
from app.domain.errors import ServiceUnavailable
from app.graphql.engine.executable_schema import Schema, create_schema
from app.graphql.loading.loaders import ListSizeLimit
from tests.db.core.test_database import only_on_sqlite
from tests.graphql.engine.corrupting_driver import ColumnCorruption, CorruptingDriver
from tests.graphql.engine.differential import (
    FAST_SCHEMA,
    LIMITS,
    POSTS,
    REFERENCE_SCHEMA,
    DifferentialBench,
    add_rows,
    run_query,
)
from tests.recording_driver import RecordingDriver, record_statements

POST = UUID(int=4)
"""With three destinations."""


@pytest.fixture
async def bench(anyio_backend: str, database_url: str) -> AsyncIterator[DifferentialBench]:
    breaking = CorruptingDriver()
    async with Database(
        database_url, wrap_driver=lambda driver: RecordingDriver(breaking(driver))
    ) as database:
        yield DifferentialBench(database, breaking, await add_rows(database))


async def run_twice(
    bench: DifferentialBench,
    document: str,
    *,
    corruptions: Sequence[ColumnCorruption] = (),
    scopes: Sequence[Scope] = (Scope.READ,),
    entries: int | None = None,
    **variables: object,
) -> tuple[object, list[str], int]:
    """Of the second run: the data, what the errors say, and how many statements it took."""
    bench.corrupting_driver.corruptions = ()
    await run_query(FAST_SCHEMA, document, variables, bench.context())
    bench.corrupting_driver.corruptions = corruptions
    context = replace(bench.context(scopes), list_limit=ListSizeLimit(entries))
    with record_statements(bench.database) as statements:
        result = await run_query(FAST_SCHEMA, document, variables, context)
    return result.data, [each.message for each in result.errors or ()], len(statements)


async def test_it_takes_one_statement_for_a_post_and_its_destinations(
    bench: DifferentialBench,
) -> None:
    data, errors, count = await run_twice(
        bench,
        "query ($id: UUID!) { post(postId: $id) { destinations { accountId } } }",
        id=str(POST),
    )

    assert (data, errors) == (
        {"post": {"destinations": [{"accountId": 1}, {"accountId": 2}, {"accountId": 3}]}},
        [],
    )
    assert count == 1


async def test_a_field_that_is_left_out_is_not_resolved(bench: DifferentialBench) -> None:
    document = (
        "query ($off: Boolean!) { accounts @skip(if: $off) { accountId }"
        " posts(first: 1) @include(if: $off) { nodes { content } } }"
    )

    data, errors, count = await run_twice(bench, document, off=True)

    assert (data, errors, count) == (
        {"posts": {"nodes": [{"content": "Sale 1 \N{PARTY POPPER}"}]}},
        [],
        1,
    )


async def test_without_the_scope_nothing_is_read(bench: DifferentialBench) -> None:
    data, errors, count = await run_twice(
        bench, "{ accounts { accountId } viewer { apiKey { name } } }", scopes=()
    )

    assert (data, errors, count) == (
        {"accounts": None, "viewer": {"apiKey": {"name": "a key"}}},
        ["This needs an API key with the scope read."],
        0,
    )


@only_on_sqlite
async def test_a_resolver_is_not_called_again_for_a_value_that_cannot_be_answered(
    bench: DifferentialBench,
) -> None:
    document = (
        "query ($id: UUID!) { post(postId: $id) { postId createdAt } accounts { accountId } }"
    )

    _, sound, expected = await run_twice(bench, document, id=str(POST))
    data, errors, count = await run_twice(
        bench, document, corruptions=[ColumnCorruption("created_at", 7, 1)], id=str(POST)
    )

    assert sound == []
    assert data == {
        "post": None,
        "accounts": [{"accountId": 1}, {"accountId": 2}, {"accountId": 3}],
    }
    assert len(errors) == 1
    assert count == expected == 2


@only_on_sqlite
@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize(("entries", "refused"), [(3, False), (2, True)])
async def test_entries_are_counted_once_however_often_an_answer_is_begun(
    bench: DifferentialBench, *, broken: bool, entries: int, refused: bool
) -> None:
    context = replace(bench.context(), list_limit=ListSizeLimit(entries))
    document = "query ($id: UUID!) { post(postId: $id) { destinations { attempts publishedAt } } }"
    given = {"id": str(POST)}
    await run_query(FAST_SCHEMA, document, given, bench.context())
    bench.corrupting_driver.corruptions = [ColumnCorruption("published_at", 7, 1)] if broken else []

    result = await run_query(FAST_SCHEMA, document, given, context)

    assert (context.list_limit.error is not None) == refused
    assert bool(result.errors) == (broken or refused)


async def test_root_fields_are_resolved_side_by_side(bench: DifferentialBench) -> None:
    """The loaders read what both of them need in one statement."""
    first, second = POSTS[1], POSTS[2]
    document = (
        f'{{ a: post(postId: "{first}") {{ postId }} b: post(postId: "{second}") {{ postId }} }}'
    )

    data, errors, count = await run_twice(bench, document)

    assert (data, errors) == ({"a": {"postId": str(first)}, "b": {"postId": str(second)}}, [])
    assert count == 1


@pytest.mark.parametrize("is_fast", [True, False])
@pytest.mark.parametrize(
    ("document", "fitting", "excessive", "message"),
    [
        (
            "query ($n: Int!) { posts(first: $n) { nodes { postId } } }",
            {"n": 2},
            {"n": 3},
            "The document asks for 3 nodes; at most 2 are allowed.",
        ),
        (
            "query ($f: DestinationFilter) { destinations(first: 1, filter: $f) { totalCount } }",
            {"f": {"accountId": [1] * 100}},
            {"f": {"accountId": [1] * 101}},
            "filter.accountId has 101 values; at most 100 are allowed.",
        ),
    ],
)
async def test_limits_hold_for_what_was_within_them_before(
    bench: DifferentialBench,
    document: str,
    fitting: dict[str, object],
    excessive: dict[str, object],
    message: str,
    *,
    is_fast: bool,
) -> None:
    schema = create_schema(replace(LIMITS, nodes=2), use_fast_path=is_fast)
    for _ in range(2):
        allowed = await run_query(schema, document, fitting, bench.context())
        with record_statements(bench.database) as statements:
            refused = await run_query(schema, document, excessive, bench.context())

        assert (allowed.data is None, allowed.errors) == (False, None)
        assert (refused.data, [each.message for each in refused.errors or ()]) == (None, [message])
        assert statements == []


@dataclass(slots=True)
class CountTimeoutDriver:
    """A driver in front of a database that does not count in time."""

    driver: Driver

    async def fetch(
        self, query: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        if "count(" in query.sql:
            raise TimeoutError
        return await self.driver.fetch(query, arguments)

    async def close(self) -> None:
        await self.driver.close()


@pytest.mark.parametrize("schema", [FAST_SCHEMA, REFERENCE_SCHEMA])
async def test_a_total_that_cannot_be_counted_fails_alone(
    anyio_backend: str, database_url: str, schema: Schema
) -> None:
    async with Database(database_url, wrap_driver=CountTimeoutDriver) as database:
        bench = DifferentialBench(database, CorruptingDriver(), await add_rows(database))
        for _ in range(2):
            result = await run_query(
                schema,
                "{ posts(first: 1) { nodes { reference } of: totalCount } accounts { accountId } }",
                {},
                bench.context(),
            )

            assert result.data == {
                "posts": {"nodes": [{"reference": "reference-1"}], "of": None},
                "accounts": [{"accountId": 1}, {"accountId": 2}, {"accountId": 3}],
            }
            (error,) = result.errors or []
            assert isinstance(error.original_error, ServiceUnavailable)
            assert error.path == ["posts", "of"]
