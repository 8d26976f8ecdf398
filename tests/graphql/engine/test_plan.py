"""Execution plans: statements, permissions, limits and the fallback to graphql-core."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

import pytest

from app.db.core.database import Database
from app.domain.api_keys import Scope
from app.graphql.engine.executable_schema import Schema, create_schema
from app.graphql.loading.response_limit import ResponseLimit
from tests.db.core.test_database import only_on_sqlite
from tests.graphql.engine.corrupting_driver import ColumnCorruption, CorruptingDriver
from tests.graphql.engine.differential import (
    FAST_SCHEMA,
    LIMITS,
    POSTS,
    REFERENCE_SCHEMA,
    DifferentialBench,
    add_posts_in_all_states,
    run_query,
)
from tests.graphql.engine.failing_driver import FailingDriver
from tests.recording_driver import record_statements

T = TypeVar("T")

POST = UUID(int=4)
"""A post with three destinations."""


async def run_twice(
    bench: DifferentialBench,
    document: str,
    *,
    corruptions: Sequence[ColumnCorruption] = (),
    scopes: Sequence[Scope] = (Scope.READ,),
    **variables: object,
) -> tuple[object, list[str], int]:
    """Run a query twice; return data, error messages and number of statements of the second run."""
    bench.corrupting_driver.corruptions = ()
    await run_query(FAST_SCHEMA, document, variables, bench.context())
    bench.corrupting_driver.corruptions = corruptions
    context = replace(bench.context(scopes), response_limit=ResponseLimit(None, None))
    with record_statements(bench.database) as statements:
        result = await run_query(FAST_SCHEMA, document, variables, context)
    return result.data, [error["message"] for error in result.errors], len(statements)


@pytest.mark.parametrize(
    ("document", "variables", "expected"),
    [
        (
            "query ($id: UUID!) { post(postId: $id) { destinations { accountId } } }",
            {"id": str(POST)},
            {"post": {"destinations": [{"accountId": 1}, {"accountId": 2}, {"accountId": 3}]}},
        ),
        (
            "query ($off: Boolean!) { accounts @skip(if: $off) { accountId }"
            " posts(first: 1) @include(if: $off) { nodes { content } } }",
            {"off": True},
            {"posts": {"nodes": [{"content": "Sale 1 \N{PARTY POPPER}"}]}},
        ),
        (
            f'{{ a: post(postId: "{POSTS[1]}") {{ postId }} b: post(postId: "{POSTS[2]}")'
            " { postId } }",
            {},
            {"a": {"postId": str(POSTS[1])}, "b": {"postId": str(POSTS[2])}},
        ),
    ],
    ids=["children of a row", "excluded field", "concurrent root fields share a loader"],
)
async def test_a_query_takes_one_statement(
    bench: DifferentialBench, document: str, variables: dict[str, Any], expected: object
) -> None:
    assert await run_twice(bench, document, **variables) == (expected, [], 1)


async def test_without_the_scope_nothing_is_read(bench: DifferentialBench) -> None:
    document = "{ accounts { accountId } viewer { apiKey { name } } }"

    assert await run_twice(bench, document, scopes=()) == (
        {"accounts": None, "viewer": {"apiKey": {"name": "a key"}}},
        ["This needs an API key with the scope read."],
        0,
    )


@only_on_sqlite
async def test_a_resolver_is_not_called_again_if_its_value_cannot_be_completed(
    bench: DifferentialBench,
) -> None:
    document = (
        "query ($id: UUID!) { post(postId: $id) { postId createdAt } accounts { accountId } }"
    )

    _, expected_errors, expected_count = await run_twice(bench, document, id=str(POST))
    data, errors, count = await run_twice(
        bench, document, corruptions=[ColumnCorruption("created_at", 7, 1)], id=str(POST)
    )

    assert expected_errors == []
    assert data == {
        "post": None,
        "accounts": [{"accountId": 1}, {"accountId": 2}, {"accountId": 3}],
    }
    assert len(errors) == 1
    assert count == expected_count == 2


@only_on_sqlite
@pytest.mark.parametrize("is_corrupted", [False, True])
@pytest.mark.parametrize(("entries", "is_exceeded"), [(3, False), (2, True)])
async def test_list_entries_are_counted_once_despite_a_fallback(
    bench: DifferentialBench, *, is_corrupted: bool, entries: int, is_exceeded: bool
) -> None:
    context = replace(bench.context(), response_limit=ResponseLimit(entries, None))
    document = "query ($id: UUID!) { post(postId: $id) { destinations { attempts publishedAt } } }"
    variables = {"id": str(POST)}
    await run_query(FAST_SCHEMA, document, variables, bench.context())
    bench.corrupting_driver.corruptions = (
        [ColumnCorruption("published_at", 7, 1)] if is_corrupted else []
    )

    result = await run_query(FAST_SCHEMA, document, variables, context)

    assert (context.response_limit.error is not None) == is_exceeded
    assert bool(result.errors) == (is_corrupted or is_exceeded)


class CallCountingLimit(ResponseLimit):
    """Limit of two entries that counts the calls of compiled functions."""

    def __init__(self) -> None:
        super().__init__(2, None)
        self.call_count = 0

    def rollback_on_error(self, complete: Callable[..., T], *arguments: object) -> T:
        self.call_count += 1
        return super().rollback_on_error(complete, *arguments)


async def test_refused_query_is_not_completed_again(bench: DifferentialBench) -> None:
    document = "query ($id: UUID!) { post(postId: $id) { destinations { attempts } } }"
    limit = CallCountingLimit()

    result = await run_query(
        FAST_SCHEMA, document, {"id": str(POST)}, replace(bench.context(), response_limit=limit)
    )

    assert (result.is_executed, result.data, limit.call_count) == (False, None, 1)
    assert [error["extensions"] for error in result.errors] == [{"code": "LIMIT_EXCEEDED"}]


@pytest.mark.parametrize("is_fast", [True, False])
@pytest.mark.parametrize(
    ("document", "allowed", "excessive", "message"),
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
async def test_limits_apply_to_a_cached_operation_with_other_variables(
    bench: DifferentialBench,
    document: str,
    allowed: dict[str, object],
    excessive: dict[str, object],
    message: str,
    *,
    is_fast: bool,
) -> None:
    schema = create_schema(replace(LIMITS, nodes=2), use_fast_path=is_fast)
    for _ in range(2):
        executed = await run_query(schema, document, allowed, bench.context())
        with record_statements(bench.database) as statements:
            rejected = await run_query(schema, document, excessive, bench.context())

        assert (executed.data is None, executed.errors) == (False, [])
        assert (rejected.data, [error["message"] for error in rejected.errors]) == (
            None,
            [message],
        )
        assert statements == []


@pytest.mark.parametrize("schema", [FAST_SCHEMA, REFERENCE_SCHEMA])
@pytest.mark.parametrize("field", ["totalCount", "totalCountCapped", "totalCountIsCapped"])
async def test_a_failed_total_count_leaves_the_page(
    anyio_backend: str, database_url: str, field: str, schema: Schema
) -> None:
    async with Database(
        database_url, wrap_driver=lambda driver: FailingDriver(driver, TimeoutError(), "count(")
    ) as database:
        bench = DifferentialBench(
            database, CorruptingDriver(), await add_posts_in_all_states(database)
        )
        for _ in range(2):
            result = await run_query(
                schema,
                f"{{ posts(first: 1) {{ nodes {{ reference }} of: {field} }} accounts {{ accountId }} }}",
                {},
                bench.context(),
            )

            assert result.data == {
                "posts": {"nodes": [{"reference": "reference-1"}], "of": None},
                "accounts": [{"accountId": 1}, {"accountId": 2}, {"accountId": 3}],
            }
            (error,) = result.errors
            assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
            assert error["path"] == ["posts", "of"]
