"""Fixtures of the tests of query plans."""

from collections.abc import AsyncIterator, Iterator

import pytest

from app.db.core.database import Database
from app.db.core.sqlite import REFRESH_STATISTICS
from tests.databases import DatabaseTemplates, cached_database
from tests.db.repositories.explain import OTHER_WORKSPACE, OWN_WORKSPACE
from tests.db.repositories.many_posts import add_many_posts


@pytest.fixture
def analyzed_database_url(database_templates: DatabaseTemplates) -> Iterator[str]:
    with database_templates.copy(fill_and_analyze) as url:
        yield url


async def fill_and_analyze(database: Database) -> None:
    await add_many_posts(database, OWN_WORKSPACE)
    await add_many_posts(database, OTHER_WORKSPACE)
    tables = "account, post, destination, attempt, event"
    vacuum = [f"VACUUM (FULL) {tables}", f"VACUUM (ANALYZE) {tables}"]
    async with database.write_engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in [REFRESH_STATISTICS] if database.is_sqlite else vacuum:
            await connection.exec_driver_sql(statement)


@pytest.fixture
async def analyzed_database(
    anyio_backend: str, analyzed_database_url: str
) -> AsyncIterator[Database]:
    """Database with two equal workspaces, and fresh statistics."""
    async with cached_database(analyzed_database_url) as opened:
        yield opened
