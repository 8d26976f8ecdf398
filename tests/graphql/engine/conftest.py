"""Fixture of the comparison of the fast path with graphql-core."""

import gc
from collections.abc import AsyncIterator

import pytest

from app.db.core.database import Database
from tests.db.core.batching_driver import BatchingDriver
from tests.graphql.engine.corrupting_driver import CorruptingDriver
from tests.graphql.engine.differential import DifferentialBench, add_posts_in_all_states
from tests.recording_driver import RecordingDriver


@pytest.fixture
async def bench(anyio_backend: str, database_url: str) -> AsyncIterator[DifferentialBench]:
    corrupting_driver = CorruptingDriver()
    async with Database(
        database_url, wrap_driver=lambda driver: RecordingDriver(corrupting_driver(driver))
    ) as database:
        workspace = await add_posts_in_all_states(database)
        yield DifferentialBench(database, corrupting_driver, workspace)
    # Coroutines that graphql-core never awaited warn now rather than during a later test.
    gc.collect()


@pytest.fixture
async def batching_bench(anyio_backend: str, database_url: str) -> AsyncIterator[DifferentialBench]:
    """Bench for concurrent operations, whose point reads on PostgreSQL must have formed batches."""
    driver = BatchingDriver()
    async with Database(database_url, wrap_driver=driver) as database:
        workspace = await add_posts_in_all_states(database)
        yield DifferentialBench(database, CorruptingDriver(), workspace)
    assert driver.batched_reads > 100
