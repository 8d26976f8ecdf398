"""Fixture of a publisher for the tests of the publishing protocol."""

from collections.abc import AsyncIterator

import pytest

from app.db.core.database import Database
from tests.graphql.schema.mutations.publisher_client import PublisherClient, open_publisher


@pytest.fixture
async def publisher(database: Database) -> AsyncIterator[PublisherClient]:
    """A publisher in an empty workspace."""
    async with open_publisher(database) as opened:
        yield opened
