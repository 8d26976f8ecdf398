"""Operations are answered alike with and without what makes them fast; a small part of the long run."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given

from app.db.engine import Database
from app.domain.api_keys import Scope
from tests.db.test_engine import only_on_postgresql, only_on_sqlite
from tests.graphql.execution.breaking import BREAKAGES, Breakage, Breaking
from tests.graphql.execution.cases import Case
from tests.graphql.execution.differential import CASES, SCOPES, Bench, add_rows, checked


@pytest.fixture
async def bench(anyio_backend: str, database_url: str) -> AsyncIterator[Bench]:
    breaking = Breaking()
    async with Database(database_url, driven_by=breaking) as database:
        yield Bench(database, breaking, await add_rows(database))


@only_on_sqlite
@checked(200, derandomize=True)
@given(CASES, BREAKAGES, SCOPES)
async def test_any_operation_is_answered_as_it_is_by_graphql_core(
    bench: Bench, case: Case, breakages: list[Breakage], scopes: tuple[Scope, ...]
) -> None:
    await bench.compare(case, breakages, scopes)


@only_on_postgresql
@checked(60, derandomize=True)
@given(CASES)
async def test_any_operation_is_answered_alike_on_postgresql_too(bench: Bench, case: Case) -> None:
    await bench.compare(case)
