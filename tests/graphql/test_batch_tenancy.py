"""Tenancy of batches: requests of two workspaces at the same time have the responses they have alone."""

import asyncio
import re
from collections.abc import Sequence

import pytest

from app.db.core.database import Database
from app.settings import read_settings
from tests.clients import app_client
from tests.db.core.batching_driver import BatchingDriver
from tests.db.core.test_database import only_on_postgresql
from tests.graphql.generated_queries import GeneratedQuery
from tests.graphql.tenants import NO_LIMITS, add_foreign_workspace, add_own_workspace
from tests.graphql.test_tenancy import HttpResponse, all_queries, send_query

pytestmark = only_on_postgresql

POINT_READS = tuple(
    f"Query.{position} = "
    for position in ("post(postId)", "node(id)", "nodes(ids)", "account(accountId)")
)
"""Positions whose values are keys of reads that may run in a batch."""

CONCURRENCY = 16
COPIES = 4
"""Equal requests at a time; only reads of the same statement run in one batch."""


@pytest.fixture
async def tokens(database: Database) -> tuple[str, str]:
    return await add_own_workspace(database), await add_foreign_workspace(database)


async def concurrent_responses(
    database_url: str, driver: BatchingDriver, requests: Sequence[tuple[str, GeneratedQuery]]
) -> list[HttpResponse]:
    """Send each query with the token beside it."""
    responses: list[HttpResponse] = []
    async with (
        Database(database_url, wrap_driver=driver) as database,
        app_client(database, settings=read_settings(NO_LIMITS)) as client,
    ):
        for start in range(0, len(requests), CONCURRENCY):
            responses += await asyncio.gather(
                *(
                    send_query(client.with_token(token), query)
                    for token, query in requests[start : start + CONCURRENCY]
                )
            )
    return responses


@pytest.mark.parametrize(
    ("pattern", "replacement", "are_equal"),
    [
        ("$", "", True),
        (r"\w+\.workspace_id = request\.workspace", "TRUE", False),
        (r"request\.number AS", "cardinality($1) + 1 - request.number AS", False),
    ],
    ids=["unchanged", "not restricted to workspaces", "rows of another request"],
)
async def test_concurrent_requests_have_the_responses_of_sequential_ones(
    database: Database,
    database_url: str,
    tokens: tuple[str, str],
    pattern: str,
    replacement: str,
    are_equal: bool,
) -> None:
    """Two wrong forms of the batched statements prove that the test would detect them."""
    queries = [query for name, query in all_queries().items() if name.startswith(POINT_READS)]
    requests = [(token, query) for query in queries for token in tokens]
    async with app_client(database, settings=read_settings(NO_LIMITS)) as client:
        expected = [await send_query(client.with_token(token), query) for token, query in requests]

    driver = BatchingDriver(lambda sql: re.sub(pattern, replacement, sql), interval=0.02)
    actual = await concurrent_responses(database_url, driver, requests * COPIES)

    assert driver.batched_reads > len(requests)
    assert (actual == expected * COPIES) == are_equal
