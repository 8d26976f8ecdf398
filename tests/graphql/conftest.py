"""A tenant whose service can be followed, for whoever asks for one."""

from collections.abc import AsyncIterator

import pytest

from app.db.engine import Database
from tests.graphql.following import Live, living


@pytest.fixture
async def live(database: Database) -> AsyncIterator[Live]:
    async with living(database) as tenant:
        yield tenant
