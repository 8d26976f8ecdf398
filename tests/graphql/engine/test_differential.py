"""A short differential run of the fast path against graphql-core."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.api_keys import Scope
from tests.db.core.test_database import only_on_postgresql, only_on_sqlite
from tests.graphql.engine.corrupting_driver import ColumnCorruption, corruptions
from tests.graphql.engine.differential import (
    CASES,
    SCOPES,
    SUBSCRIPTION_CASES,
    DifferentialBench,
    hypothesis_settings,
)
from tests.graphql.engine.random_queries import QueryCase

pytestmark = [
    pytest.mark.slow,
    # An error that nulls a parent cancels the tasks beside it. graphql-core never awaits the coroutines of
    # those that have not begun.
    pytest.mark.filterwarnings(
        "ignore:coroutine '(Executor|GraphQLCoreConverter)[.]:RuntimeWarning"
    ),
]


@only_on_sqlite
@hypothesis_settings(200, derandomize=True)
@given(CASES, corruptions, SCOPES)
async def test_any_operation_has_the_result_of_graphql_core(
    bench: DifferentialBench,
    case: QueryCase,
    column_corruptions: list[ColumnCorruption],
    scopes: tuple[Scope, ...],
) -> None:
    await bench.compare(case, column_corruptions, scopes)


@only_on_postgresql
@hypothesis_settings(60, derandomize=True)
@given(CASES)
async def test_any_operation_has_the_result_of_graphql_core_on_postgresql(
    bench: DifferentialBench, case: QueryCase
) -> None:
    await bench.compare(case)


@only_on_sqlite
@hypothesis_settings(60, derandomize=True)
@given(SUBSCRIPTION_CASES, corruptions)
async def test_any_event_has_the_response_of_graphql_core(
    bench: DifferentialBench, case: QueryCase, column_corruptions: list[ColumnCorruption]
) -> None:
    await bench.compare_events(case, column_corruptions)


@only_on_postgresql
@hypothesis_settings(30, derandomize=True)
@given(SUBSCRIPTION_CASES)
async def test_any_event_has_the_response_of_graphql_core_on_postgresql(
    bench: DifferentialBench, case: QueryCase
) -> None:
    await bench.compare_events(case)


@only_on_postgresql
@hypothesis_settings(15, derandomize=True)
@given(st.lists(CASES, min_size=4, max_size=4))
async def test_concurrent_operations_have_the_results_of_graphql_core(
    batching_bench: DifferentialBench, cases: list[QueryCase]
) -> None:
    await batching_bench.compare_concurrently(cases, copies=4)
