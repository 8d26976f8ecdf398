"""Fixtures of the tests of query plans."""

import pytest

from app.db.core.database import Database
from app.db.core.sqlite import REFRESH_STATISTICS
from tests.db.repositories.explain import OTHER_WORKSPACE, OWN_WORKSPACE
from tests.db.repositories.many_posts import add_many_posts


@pytest.fixture
async def analyzed_database(database: Database) -> Database:
    """Database with two equal workspaces, fresh statistics, and no dead rows of earlier tests."""
    await add_many_posts(database, OWN_WORKSPACE)
    await add_many_posts(database, OTHER_WORKSPACE)
    tables = "account, post, destination, attempt, event"
    vacuum = [f"VACUUM (FULL) {tables}", f"VACUUM (ANALYZE) {tables}"]
    async with database.write_engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in [REFRESH_STATISTICS] if database.is_sqlite else vacuum:
            await connection.exec_driver_sql(statement)
    return database
